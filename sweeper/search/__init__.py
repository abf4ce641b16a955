"""The search: distributions, their expansion into configurations, search algorithms."""
