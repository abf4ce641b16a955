"""Looking after runs: overview, cleaning, doctor, logging to MLflow again."""
