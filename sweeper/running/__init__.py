"""From a plan to a finished run folder: launches on Ray Tune, limits, failures, resumption."""
