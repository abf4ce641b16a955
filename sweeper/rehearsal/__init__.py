"""``sweeper plan --rehearse``: train a few configurations for seconds, then estimate the sweep.

1. `cost` picks configurations from cheap to expensive.
2. `process` starts a process for Ray, so that planning itself imports neither Ray nor torch.
3. `worker` runs in that process and trains them in workers like the sweep's.
4. `forecast` turns the measurements into an estimate of the whole sweep.
"""
