"""The environment that a spec names: its settings, built, vectorised, its spaces."""
