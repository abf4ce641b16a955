"""What is carried away of a run: an agent that acts by itself, a spec that is trained again."""
