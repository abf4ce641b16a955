"""Training that begins with the weights of another agent."""
