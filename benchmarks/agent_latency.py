"""How fast an agent acts: on one observation, on a batch, and after its process has started.

A PPO agent of [64, 64] on CartPole-v1 and one on Pendulum-v1 act greedily beside
Stable-Baselines3's `predict` of the same network, in turns in one process and one thread. A batch
of 1,024 observations is held against a plain torch forward pass of the policy's layers. Then
processes load the agent and act once, timed from their start to their exit; torch's import, which
they do without, is timed beside them.

    python benchmarks/agent_latency.py             # a minute
    python benchmarks/agent_latency.py --short     # some seconds
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from conditions import Conditions
from measuring import build_trainer
from tables import print_head, print_row, spread, verdict

MAX_SINGLE_MS = 0.2
MAX_BATCH_RATIO = 2.0
MIN_SPEEDUP = 1.5
MAX_START_S = 2.5
ROWS = 1024
HIDDENS = [64, 64]
TASKS = ("CartPole-v1", "Pendulum-v1")
TRAINED = {
    "train_batch_size_per_learner": 256,
    "minibatch_size": 64,
    "num_epochs": 1,
    "model_config": {"fcnet_hiddens": HIDDENS},
}
FIRST_ACTION = """
import numpy, sweeper
agent = sweeper.load_agent({folder!r})
agent.act(numpy.zeros(agent.observation_space.shape, numpy.float32))
"""


def main() -> None:
    """Measure all three and print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--short", action="store_true", help="few repeats")
    arguments = parser.parse_args()
    calls, turns, starts = (200, 3, 1) if arguments.short else (2_000, 9, 5)
    conditions = Conditions(("torch", "numpy", "gymnasium", "stable-baselines3"))
    with tempfile.TemporaryDirectory() as folder:
        print_head("agent", "rows", "sweeper, µs", "other", "its µs", "ratio", "asked", "met")
        for task in TASKS:
            agent = train(task, Path(folder) / task)
            compare_single(task, agent, calls, turns)
            compare_batch(task, agent, max(calls // 10, 20), turns)
        print_starts(Path(folder) / TASKS[0], starts)
    print(f"\n{conditions.describe()}")


def train(task: str, folder: Path) -> Any:
    """An agent after one iteration; how good it is makes no difference."""
    import sweeper
    from sweeper.environments.settings import EnvironmentSettings

    trainer = build_trainer("PPO", EnvironmentSettings(task), TRAINED, replicas=1)
    trainer.train()
    folder.mkdir()
    trainer.save(folder)
    trainer.close()
    return sweeper.load_agent(folder)


def compare_single(task: str, agent: Any, calls: int, turns: int) -> None:
    """One observation at a time, beside Stable-Baselines3."""
    observations = [agent.observation_space.sample() for _ in range(64)]
    rivals: dict[str, Callable[[Any], Any]] = {"sweeper": agent.act}
    if find_spec("stable_baselines3") is not None:
        from stable_baselines3 import PPO

        model = PPO("MlpPolicy", task, policy_kwargs={"net_arch": HIDDENS}, device="cpu")
        rivals["sb3"] = lambda observation: model.predict(observation, deterministic=True)
    times = time_in_turns(rivals, observations, calls, turns)
    ours = times["sweeper"]
    is_fast = statistics.median(ours) <= MAX_SINGLE_MS * 1e3
    asked = f"at most {MAX_SINGLE_MS * 1e3:.0f} µs"
    print_row(task, "1", spread(ours, ".1f"), "-", "-", "-", asked, verdict(is_fast))
    if "sb3" in times:
        ratios = [other / own for own, other in zip(ours, times["sb3"], strict=True)]
        print_row(
            task,
            "1",
            spread(ours, ".1f"),
            "Stable-Baselines3's predict",
            spread(times["sb3"], ".1f"),
            spread(ratios, ".2f", " x"),
            f"at least {MIN_SPEEDUP} x",
            verdict(statistics.median(ratios) >= MIN_SPEEDUP),
        )


def compare_batch(task: str, agent: Any, calls: int, turns: int) -> None:
    """A batch, beside a plain forward pass of the policy's layers."""
    import torch
    from torch import nn

    batch = np.stack([agent.observation_space.sample() for _ in range(ROWS)])
    weights = agent.weights
    sizes = [len(weights["encoder.policy.0.bias"]), len(weights["encoder.policy.1.bias"])]
    outputs = len(weights["head.policy.out.bias"])
    network = nn.Sequential(
        nn.Linear(batch.shape[1], sizes[0]),
        nn.Tanh(),
        nn.Linear(sizes[0], sizes[1]),
        nn.Tanh(),
        nn.Linear(sizes[1], outputs),
    )
    tensor = torch.from_numpy(batch.astype(np.float32))

    def forward(_: Any) -> Any:
        with torch.no_grad():
            return network(tensor)

    times = time_in_turns({"sweeper": agent.act, "plain": forward}, [batch], calls, turns)
    ratios = [own / other for own, other in zip(times["sweeper"], times["plain"], strict=True)]
    print_row(
        task,
        f"{ROWS:,}",
        spread(times["sweeper"], ".0f"),
        "a plain torch forward pass",
        spread(times["plain"], ".0f"),
        spread(ratios, ".2f", " x"),
        f"at most {MAX_BATCH_RATIO:g} x",
        verdict(statistics.median(ratios) <= MAX_BATCH_RATIO),
    )


def time_in_turns(
    rivals: dict[str, Callable[[Any], Any]], inputs: list[Any], calls: int, turns: int
) -> dict[str, list[float]]:
    """Each rival's median microseconds a call, one number a turn; in one thread."""
    import torch
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(1)
    threadpool_limits(limits=1, user_api="blas")
    times: dict[str, list[float]] = {name: [] for name in rivals}
    for _ in range(turns):
        for name, act in rivals.items():
            for one in inputs[:8]:
                act(one)
            taken = []
            for number in range(calls):
                one = inputs[number % len(inputs)]
                began = time.perf_counter()
                act(one)
                taken.append(time.perf_counter() - began)
            times[name].append(statistics.median(taken) * 1e6)
    return times


def print_starts(folder: Path, turns: int) -> None:
    """From a process's start to its exit after one action, and torch's import alone."""
    codes = {
        "first action": FIRST_ACTION.format(folder=str(folder)),
        "import torch": "import torch",
    }
    times: dict[str, list[float]] = {name: [] for name in codes}
    for _ in range(turns):
        for name, code in codes.items():
            began = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True)
            times[name].append(time.perf_counter() - began)
    print_head("a process of its own", "s", "asked", "met")
    is_met = statistics.median(times["first action"]) <= MAX_START_S
    loaded = spread(times["first action"], ".2f")
    print_row("loads an agent and acts once", loaded, f"at most {MAX_START_S}", verdict(is_met))
    print_row("imports torch", spread(times["import torch"], ".2f"), "-", "-")


if __name__ == "__main__":
    main()
