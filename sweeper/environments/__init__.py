"""A spec's environment: its settings, its id, building, vectorising, its spaces."""
