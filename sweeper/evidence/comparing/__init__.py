"""Runs held against each other: an `entry` each, whether they are alike, what each came to."""
