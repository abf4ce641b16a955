"""One RLlib Algorithm a replica, all in one process."""
