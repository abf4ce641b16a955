"""From a journal to what a later launch has to do."""
