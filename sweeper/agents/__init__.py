"""Agents: checkpoints loaded for acting, and the champion's folder that stands on its own."""
