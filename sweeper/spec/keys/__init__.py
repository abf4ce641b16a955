"""Hyperparameters: their names, domains and defaults, and what each backend supports."""
