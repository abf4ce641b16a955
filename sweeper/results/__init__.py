"""From a journal to what is known of a run: its trials, their scores and ranks."""
