"""What stands behind the verbs around runs: overview, cleaning, doctor, a second record."""
