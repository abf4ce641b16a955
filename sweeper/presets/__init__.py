"""Specs that come with the package: RL Baselines3 Zoo's hyperparameters, in ``zoo``."""
