"""The winner and the evidence for it: selection, evaluation on fresh seeds, statistics."""
