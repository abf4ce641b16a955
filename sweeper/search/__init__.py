"""What is searched: distributions, their expansion into configurations, search algorithms."""
