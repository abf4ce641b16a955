"""Measure one contestant: train it, and return its speed, returns and memory."""

from __future__ import annotations

import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from sweeper.environments.settings import EnvironmentSettings

_LAST_EPISODES = 20


class Training(NamedTuple):
    """A finished training.

    Attributes:
        measured: ``env_steps_per_s`` and ``env_steps_per_cpu_s`` of all seeds together, and
            ``episode_returns``, one mean per seed.
        env_steps: of each seed.
        iterations: of the algorithm.
    """

    measured: dict[str, Any]
    env_steps: int
    iterations: int


class _Stopwatch:
    """Measures by the clock and by this process's CPU time."""

    def __init__(self) -> None:
        self._started = time.perf_counter(), time.process_time()

    def speeds(self, env_steps: int) -> dict[str, float]:
        clock, cpu = self._started
        return {
            "env_steps_per_s": env_steps / (time.perf_counter() - clock),
            "env_steps_per_cpu_s": env_steps / (time.process_time() - cpu),
        }


def build_trainer(
    algorithm: str,
    environment: EnvironmentSettings,
    hyperparameters: Mapping[str, Any],
    *,
    replicas: int,
    seed: int = 0,
) -> Any:
    """Build a trainer of the torch backend; two values of ``seed`` share no replica's seed."""
    from sweeper.trainables.contract import TrialSettings
    from sweeper.trainables.torch_backend.dqn.trainer import TorchDQNTrainer
    from sweeper.trainables.torch_backend.ppo.trainer import TorchPPOTrainer

    settings = TrialSettings(
        algorithm=algorithm,
        backend="torch",
        environment=environment,
        constants={},
        seeds=tuple(range(seed * replicas, (seed + 1) * replicas)),
    )
    trainers = {"DQN": TorchDQNTrainer, "PPO": TorchPPOTrainer}
    return trainers[algorithm](settings, hyperparameters)


def train_ours(trainer: Any, env_steps: int, *, replicas: int) -> Training:
    """Train all replicas of a `build_trainer` for at least this many env steps each."""
    returns: list[list[float]] = [[] for _ in range(replicas)]
    taken, iterations = 0, 0
    stopwatch = _Stopwatch()
    while taken < env_steps:
        progress = trainer.train()
        taken, iterations = progress[0].env_steps, iterations + 1
        for mine, replica in zip(returns, progress, strict=True):
            mine += replica.episode_returns
    measured = {
        **stopwatch.speeds(taken * replicas),
        "episode_returns": [_mean_of_last(mine) for mine in returns],
    }
    return Training(measured, taken, iterations)


def train_rllib(algorithm: Any, env_steps: int) -> Training:
    """Train an RLlib Algorithm, in this process, for at least this many env steps."""
    taken, iterations, returns = 0, 0, math.nan
    stopwatch = _Stopwatch()
    while taken < env_steps:
        runners = algorithm.train()["env_runners"]
        taken, iterations = int(runners["num_env_steps_sampled_lifetime"]), iterations + 1
        latest = runners.get("episode_return_mean", math.nan)
        returns = returns if math.isnan(latest) else latest  # NaN if no episode has ended
    measured = {**stopwatch.speeds(taken), "episode_returns": [float(returns)]}
    return Training(measured, taken, iterations)


def train_stable_baselines3(model: Any, env_steps: int) -> dict[str, Any]:
    """Train a Stable-Baselines3 model and return `Training.measured`."""
    stopwatch = _Stopwatch()
    model.learn(env_steps)
    return {
        **stopwatch.speeds(model.num_timesteps),
        "episode_returns": [_mean_of_last(episode["r"] for episode in model.ep_info_buffer)],
    }


def _mean_of_last(returns: Iterable[float]) -> float:
    """The mean of the last 20 returns; NaN if there are none."""
    last = list(returns)[-_LAST_EPISODES:]
    return statistics.mean(last) if last else math.nan


def run_sweep(spec: Path, *overrides: str) -> tuple[Path, float]:
    """Run a spec by `sweeper run` in a process of its own.

    Returns:
        The run folder, and the seconds from the start of the process to its exit.
    """
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "sweeper", "run", str(spec), "--quiet", *overrides],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return Path(done.stdout.strip()), time.perf_counter() - began


def start_ray() -> None:
    """Start a minimal Ray; RLlib trains in this process."""
    import ray

    ray.init(
        address="local",
        num_cpus=1,
        include_dashboard=False,
        log_to_driver=False,
        object_store_memory=200 * 2**20,
        logging_level="ERROR",
    )


def peak_memory_mb() -> float:
    """The peak memory of this process so far."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def shortest(call: Callable[[], Any], times: int) -> float:
    """The seconds of the shortest call of so many, after one to warm up."""

    def once() -> float:
        started = time.perf_counter()
        call()
        return time.perf_counter() - started

    once()
    return min(once() for _ in range(times))


def matmul_peak() -> float:
    """Floating-point operations per second of one core in a plain matrix product."""
    import numpy as np

    square = np.random.default_rng(0).normal(size=(1024, 1024)).astype(np.float32)
    return 2 * 1024**3 / shortest(lambda: square @ square, 20)
