"""All replicas of a trial trained as one batch, in torch and numpy."""
