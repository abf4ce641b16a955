"""Results of Ray Tune experiments that were made without sweeper."""
