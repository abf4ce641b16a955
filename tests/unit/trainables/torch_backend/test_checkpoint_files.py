from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from sweeper.trainables.torch_backend.checkpoints import read_tensors, write_arrays, write_tensors


@contextmanager
def small_files() -> Iterator[None]:
    """Limits every file of this process to 1000 bytes, even its captured output."""
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


def test_arrays_are_read_as_they_were_written(tmp_path: Path) -> None:
    columns = np.arange(6.0).reshape(3, 2).T
    write_arrays(tmp_path / "a.safetensors", {"x": columns, "y": np.array([True])})
    read = read_tensors(tmp_path / "a.safetensors")
    assert (read["x"].tolist(), read["y"].tolist()) == ([[0, 2, 4], [1, 3, 5]], [True])


def write_zeros_as_tensors(path: Path, count: int) -> None:
    write_tensors(path, {"x": torch.zeros(count)})


def write_zeros_as_arrays(path: Path, count: int) -> None:
    write_arrays(path, {"x": np.zeros((count, 1))})


@pytest.mark.parametrize("write", [write_zeros_as_tensors, write_zeros_as_arrays])
@pytest.mark.parametrize("is_first", [True, False])
def test_a_failed_write_is_an_os_error_and_leaves_only_an_older_file(
    tmp_path: Path, write: Callable[[Path, int], None], is_first: bool
) -> None:
    path = tmp_path / "a.safetensors"
    if not is_first:
        write(path, 2)
    message = r"a\.safetensors can't be written.*File too large"
    with pytest.raises(OSError, match=message), small_files():
        write(path, 10_000)
    assert list(tmp_path.iterdir()) == ([] if is_first else [path])
    assert is_first or read_tensors(path)["x"].flatten().tolist() == [0, 0]
