"""What a trial's process computes on: CPU threads, or a GPU."""

from __future__ import annotations

import threadpoolctl  # type: ignore[import-untyped]
import torch

from sweeper.errors import UserError
from sweeper.trainables.contract import TrialSettings

__all__ = ["find_device", "limit_threads"]


def find_device(settings: TrialSettings) -> torch.device:
    """The GPU if the trial has one, else the CPU.

    Raises:
        UserError: a GPU is asked for and there is none.
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
    """One thread a core, for torch and for numpy's BLAS, which has a pool of its own.

    Returns:
        A context at whose end BLAS gets its threads back.
    """
    threads = max(1, int(settings.cpus))
    torch.set_num_threads(threads)
    return threadpoolctl.threadpool_limits(limits=threads, user_api="blas")
