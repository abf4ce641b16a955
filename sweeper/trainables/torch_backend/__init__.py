"""The torch backend: trains all replicas of a trial as one batch, in torch and numpy."""
