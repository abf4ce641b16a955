"""An RLModule of a user's own."""

from __future__ import annotations

from ray.rllib.algorithms.ppo.torch.default_ppo_torch_rl_module import DefaultPPOTorchRLModule


class OwnModule(DefaultPPOTorchRLModule):
    """RLlib's, under another name."""
