"""The MLflow record of a run, written from its journal without holding up the training."""
