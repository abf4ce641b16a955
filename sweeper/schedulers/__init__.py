"""Which trials go on: decided from their reports alone, without Ray."""
