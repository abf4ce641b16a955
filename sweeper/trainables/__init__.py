"""Trains trials: the contract, the one Tune Trainable (`trial`), and the backends."""
