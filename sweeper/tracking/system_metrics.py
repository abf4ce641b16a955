"""The load of the driver's machine, by the names of MLflow's own system metrics.

MLflow's monitor has a thread and a connection of its own, and would log to the process-wide URI. So
this takes its samples alone, and the tracker writes them as it writes everything.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

from sweeper.tracking.progress import MetricValue

__all__ = ["SystemMetrics"]

_EVERY_S = 10.0


class SystemMetrics:
    """Takes a sample every ten seconds, whenever it is asked."""

    def __init__(self, every_s: float = _EVERY_S) -> None:
        """Set up MLflow's monitors: of the CPU, memory, the disk, the network, and NVIDIA GPUs."""
        from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
        from mlflow.system_metrics.metrics.disk_monitor import DiskMonitor
        from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor
        from mlflow.system_metrics.metrics.network_monitor import NetworkMonitor

        self._monitors: list[Any] = [CPUMonitor(), DiskMonitor(), NetworkMonitor()]
        with suppress(ImportError, RuntimeError):  # no driver or no GPU
            self._monitors.append(GPUMonitor())
        self._every_s, self._due = every_s, 0.0
        self._monitors[0].collect_metrics()  # the CPU's load is counted from the last sample
        self._monitors[0].clear_metrics()

    def sample(self, began_ms: int) -> list[MetricValue]:
        """The load now, over the seconds since the sweep began; empty until it is time again."""
        if time.monotonic() < self._due:
            return []
        self._due = time.monotonic() + self._every_s
        now_ms = int(time.time() * 1000)
        step = max(0, now_ms - began_ms) // 1000
        values = []
        for monitor in self._monitors:
            monitor.collect_metrics()
            found = monitor.aggregate_metrics()
            monitor.clear_metrics()
            values += [(f"system/{name}", float(one), now_ms, step) for name, one in found.items()]
        return values
