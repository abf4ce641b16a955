"""The champion's model in MLflow; needs neither sweeper nor the run.

MLflow copies this file into the model and executes it when the model is loaded, with
``torch_policy`` or ``rllib_policy.py`` on the path ("models from code").
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel


class ChampionModel(PythonModel):  # type: ignore[misc]
    """``predict(float32[batch, *observation]) -> actions``, greedy."""

    def load_context(self, context: Any) -> None:
        """Load the policy from the model's artifacts."""
        folder = Path(context.artifacts["checkpoint"])
        is_rllib = (folder / "rllib_checkpoint.json").is_file()
        module, name = ("rllib", "RLlibPolicy") if is_rllib else ("torch", "TorchPolicy")
        policy = importlib.import_module(f"{module}_policy")
        self._policy = getattr(policy, name)(folder)

    def predict(self, context: Any, model_input: np.ndarray, params: Any = None) -> Any:  # noqa: ARG002
        """Act greedily.

        Args:
            context: MLflow's, unused.
            model_input: float32[batch, *observation].
            params: unused.

        Returns:
            int64[batch] or int64[batch, parts] for discrete actions, float32[batch, *action]
            for continuous ones, as the environment takes them.
        """
        return self._policy.act(np.asarray(model_input))


set_model(ChampionModel())
