"""Profiles of the torch backend's PPO at the shapes of `ppo_throughput.py`."""

from __future__ import annotations

import time
from typing import Any

from arithmetic import count_multiplications
from measuring import build_trainer, matmul_peak, shortest
from ppo_contestants import SHAPES, Shape, build_ours, hyperparameters


def measure_arithmetic(shape: Shape, replicas: int) -> dict[str, Any]:
    """Measure an update of a shape, and its share of one core's peak."""
    peak = matmul_peak()
    trainer = build_ours(shape, 100_000, replicas, 0)
    fields = trainer._to_fields(trainer._collector.collect(trainer._networks.act, _nobody(trainer)))
    batch, learner = trainer._to_batch([fields]), trainer._learner
    seconds = shortest(lambda: learner.update(batch, 0), 2 if shape.is_image else 20)
    rows = shape.epochs * shape.envs * shape.steps * replicas
    count = count_multiplications(trainer._networks.architecture)
    operations = 2 * rows * (count.forward + count.backward)
    return {
        "update_ms": 1000 * seconds / shape.epochs,
        "gflops": operations / seconds / 1e9,
        "peak_gflops": peak / 1e9,
        "share": operations / seconds / peak,
    }


def _nobody(trainer: Any) -> Any:
    """A mask of the replicas that are frozen, of which there are none."""
    return trainer._learner.is_frozen.copy()


def measure_phases(replicas: int) -> dict[str, float]:
    """Milliseconds per phase of an iteration of the first shape."""
    from sweeper.environments.settings import EnvironmentSettings
    from sweeper.trainables.torch_backend import optimiser
    from sweeper.trainables.torch_backend.ppo import update

    spent: dict[str, float] = {}

    def timed(owner: Any, name: str, phase: str) -> None:
        function = getattr(owner, name)

        def call(*arguments: Any, **keywords: Any) -> Any:
            started = time.perf_counter()
            result = function(*arguments, **keywords)
            spent[phase] = spent.get(phase, 0.0) + time.perf_counter() - started
            return result

        setattr(owner, name, call)

    shape = SHAPES["cartpole"]
    environment = EnvironmentSettings(shape.env)
    given = hyperparameters(shape, 100_000)
    trainer = build_trainer("PPO", environment, given, replicas=replicas)
    for _ in range(20):
        trainer.train()
    for envs in trainer._envs.vector_envs:
        timed(envs, "step", "collect: environments")
    timed(trainer._networks, "policy", "collect: policy")
    timed(trainer._collector, "collect", "collect")
    timed(trainer, "_to_fields", "values and advantages")
    timed(trainer._learner, "update", "update")
    timed(trainer._learner, "_draw_order", "update: shuffling")
    timed(trainer._networks.packed, "forward", "update: networks forward")
    timed(trainer._networks.packed, "backward", "update: networks backward")
    timed(update, "differentiate_loss", "update: loss and networks")
    timed(optimiser, "clip_gradients", "update: clipping")
    timed(trainer._learner._optimiser, "step", "update: Adam")
    timed(trainer, "train", "iteration")
    iterations = 100
    for _ in range(iterations):
        trainer.train()
    spent["update: loss"] = spent.pop("update: loss and networks") - sum(
        spent[phase] for phase in spent if phase.startswith("update: networks ")
    )
    spent["update: gather and the rest"] = spent["update"] - sum(
        spent[phase] for phase in spent if phase.startswith("update: ")
    )
    return {phase: 1000 * seconds / iterations for phase, seconds in sorted(spent.items())}
