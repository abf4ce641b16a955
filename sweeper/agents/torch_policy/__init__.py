"""The policy of a torch agent, which needs neither sweeper nor ray nor gymnasium.

This folder is copied into the champion's MLflow model and into an exported agent, so its imports
are relative. Loading an agent reads JSON and safetensors; it runs no code from the files. An agent
that sees no images acts in numpy alone: importing torch takes seconds.
"""

from .policy import TorchPolicy

__all__ = ["TorchPolicy"]
