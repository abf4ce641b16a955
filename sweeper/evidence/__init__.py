"""Who won and how sure that is: selection, evaluation on held-out seeds, statistics."""
