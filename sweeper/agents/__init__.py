"""Load agents from checkpoints, and export the champion as a standalone agent."""
