"""From an experiment spec to the plan of a run: what it will do, what it costs, what is odd."""
