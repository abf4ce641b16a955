from __future__ import annotations

import errno
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from sweeper.trainables.torch_backend.checkpoints import read_tensors, write_arrays, write_tensors


@contextmanager
def small_files() -> Iterator[None]:
    """No file of this process may grow beyond a kilobyte: not even the one it prints to."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_tensors_are_read_as_they_were_written(tmp_path: Path) -> None:
    write_tensors(tmp_path / "a.safetensors", {"x": torch.arange(6.0).reshape(2, 3).T})
    assert read_tensors(tmp_path / "a.safetensors")["x"].tolist() == [[0, 3], [1, 4], [2, 5]]
    assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]


def test_a_file_that_can_t_be_written_is_an_os_error_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"a\.safetensors can't be written"), small_files():
        write_tensors(tmp_path / "a.safetensors", {"x": torch.zeros(10_000)})
    assert list(tmp_path.iterdir()) == []


def test_arrays_that_can_t_be_written_are_an_os_error_and_leave_the_older_file(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.safetensors"
    write_arrays(path, {"x": np.arange(6.0).reshape(2, 3)})
    with pytest.raises(OSError, match=r"a\.safetensors can't be written") as caught, small_files():
        write_arrays(path, {"x": np.zeros((100, 100))})
    assert caught.value.errno == errno.EFBIG
    assert list(tmp_path.iterdir()) == [path]
    assert read_tensors(path)["x"].tolist() == [[0, 1, 2], [3, 4, 5]]
