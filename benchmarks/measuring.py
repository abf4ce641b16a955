"""How a contestant is measured: speeds, returns, peaks; for the files that say who trains how."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

__all__ = [
    "Stopwatch",
    "matmul_peak",
    "mean_of_last",
    "peak_memory_mb",
    "shortest",
    "start_ray",
]

_LAST_EPISODES = 20


class Stopwatch:
    """By the clock, and by this process's own time."""

    def __init__(self) -> None:
        self._started = time.perf_counter(), time.process_time()

    def speeds(self, env_steps: int) -> dict[str, float]:
        """Of this many env steps since the start."""
        clock, cpu = self._started
        return {
            "env_steps_per_s": env_steps / (time.perf_counter() - clock),
            "env_steps_per_cpu_s": env_steps / (time.process_time() - cpu),
        }


def mean_of_last(returns: Iterable[float]) -> float:
    """Of the last 20 episodes; NaN where none has ended."""
    last = list(returns)[-_LAST_EPISODES:]
    return statistics.mean(last) if last else float("nan")


def start_ray() -> None:
    """Ray as small as it gets: RLlib trains in this process."""
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
    """Of this process, so far."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def shortest(call: Callable[[], Any], times: int) -> float:
    """The shortest of so many calls, in seconds, after one to warm up."""

    def once() -> float:
        started = time.perf_counter()
        call()
        return time.perf_counter() - started

    once()
    return min(once() for _ in range(times))


def matmul_peak() -> float:
    """What one core does in a plain product of matrices, in operations a second."""
    import numpy as np

    square = np.random.default_rng(0).normal(size=(1024, 1024)).astype(np.float32)
    return 2 * 1024**3 / shortest(lambda: square @ square, 20)
