"""The HTML report of a run: one file that opens from disk and asks for nothing else."""
