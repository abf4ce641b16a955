"""``sweeper plan --rehearse``: a few configurations trained for seconds, and what follows."""
