"""The RLlib backend: one Algorithm per replica, all in one process."""
