"""The kinds of plots: one file each, from a run's data to a `Chart`."""
