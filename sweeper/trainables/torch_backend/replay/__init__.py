"""Replay memories of all replicas, for algorithms that learn from one.

settings           what is replayed, and how large a ring is
buffer             the rings: append, draw, restore
sum_tree           draws in proportion to priorities
observation_store  how observations are kept
memory             how much memory all of it takes; torch-free, for `plan`

This file imports nothing, because `plan` imports `memory` and must not load torch.
"""
