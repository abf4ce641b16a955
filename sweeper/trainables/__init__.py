"""What trains a trial: the contract (`replicas`), the one Tune Trainable, the backends."""
