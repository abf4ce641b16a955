from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from sweeper.trainables.checkpoints import read_tensors, write_tensors


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
