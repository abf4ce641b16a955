"""The device and the number of threads of a trial's process."""

from __future__ import annotations

import threadpoolctl  # type: ignore[import-untyped]
import torch

from sweeper.errors import UserError
from sweeper.trainables.contract import TrialSettings

__all__ = ["find_device", "limit_threads"]


def find_device(settings: TrialSettings) -> torch.device:
    """The GPU if the trial has one, else the CPU.

    Raises:
        UserError: a GPU is requested and none is found.
    """
    if not settings.gpus:
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise UserError(
            f"resources.gpus is {settings.gpus:g}, but torch {torch.__version__} finds no CUDA "
            "device here; set it to 0, or install a torch build for CUDA on a machine with a GPU"
        )
    return torch.device("cuda")


def limit_threads(settings: TrialSettings) -> threadpoolctl.threadpool_limits:
    """Use one thread per core in torch and in numpy's BLAS, which has its own thread pool.

    Returns:
        A context that restores BLAS's threads at its end.
    """
    threads = max(1, int(settings.cpus))
    torch.set_num_threads(threads)
    return threadpoolctl.threadpool_limits(limits=threads, user_api="blas")
