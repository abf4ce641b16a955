"""Results of Ray Tune experiments that were made without a spec of ours."""
