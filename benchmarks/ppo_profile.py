"""Profile of the torch backend's PPO at the first shape of `ppo_throughput.py`."""

from __future__ import annotations

import time
from typing import Any

from measuring import build_trainer, matmul_peak, shortest
from ppo_contestants import SHAPES, hyperparameters


def measure_arithmetic(replicas: int) -> dict[str, Any]:
    """Measure an update of the first shape, and its share of one core's peak."""
    import numpy as np
    import torch
    from gymnasium.spaces import Discrete

    from sweeper.trainables.torch_backend.architecture import build_architecture
    from sweeper.trainables.torch_backend.distributions import build_distribution
    from sweeper.trainables.torch_backend.networks import ReplicaNetworks
    from sweeper.trainables.torch_backend.ppo.loss import Minibatch
    from sweeper.trainables.torch_backend.ppo.settings import read_settings
    from sweeper.trainables.torch_backend.ppo.update import PPOLearner, TrainBatch

    torch.set_num_threads(1)
    peak = matmul_peak()
    shape, observation, actions = SHAPES["cartpole"], 4, 2
    rows = shape.envs * shape.steps
    distribution = build_distribution(Discrete(actions), normalize_actions=True)
    architecture = build_architecture(
        {"fcnet_hiddens": list(shape.hiddens)},
        observation_shape=(observation,),
        distribution_inputs=actions,
        is_gaussian=False,
    )
    networks = ReplicaNetworks(architecture, replicas=replicas, device=torch.device("cpu"))
    networks.initialise([torch.Generator().manual_seed(i) for i in range(replicas)])
    learner = PPOLearner(
        networks,
        distribution,
        read_settings(hyperparameters(shape, 100_000)),
        [np.random.default_rng(i) for i in range(replicas)],
    )
    batch = TrainBatch.build(
        Minibatch(
            torch.randn(replicas, rows, observation),
            torch.zeros(replicas, rows, 1),
            torch.full((replicas, rows), -0.7),
            torch.randn(replicas, rows),
            torch.randn(replicas, rows),
            torch.full((replicas, rows, actions), -0.7),
        )
    )
    seconds = shortest(lambda: learner.update(batch, 0), 20)
    first, second = shape.hiddens
    # Backward costs two forward passes, but the first layer's input needs no gradient.
    encoder = 2 * observation * first + 3 * first * second
    heads = 3 * second * (actions + 1)
    operations = 2 * shape.epochs * rows * replicas * (2 * encoder + heads)
    return {
        "update_ms": 1000 * seconds / shape.epochs,
        "gflops": operations / seconds / 1e9,
        "peak_gflops": peak / 1e9,
        "share": operations / seconds / peak,
    }


def measure_phases(replicas: int) -> dict[str, float]:
    """Milliseconds per phase of an iteration of the first shape."""
    from sweeper.environments.settings import EnvironmentSettings
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
    timed(update, "clip_gradients", "update: clipping")
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
