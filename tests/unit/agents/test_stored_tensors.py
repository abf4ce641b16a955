"""A policy reads safetensors as safetensors' own package does, and refuses what is damaged."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from sweeper.agents.torch_policy.tensors import DamagedTensorsError, read_tensors


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file with every kind of tensor that agents have."""
    tensors = {
        "floats": torch.randn(2, 3, 4),
        "doubles": torch.randn(2, 3, dtype=torch.float64),
        "halves": torch.randn(3, dtype=torch.float16),
        "counts": torch.arange(5),
        "a number": torch.tensor(7, dtype=torch.int32),
        "flags": torch.tensor([True, False]),
        "empty": torch.zeros(0, 3),
    }
    save_file(tensors, tmp_path / "x.safetensors", metadata={"made": "here"})
    return tmp_path / "x.safetensors"


def test_every_tensor_is_what_was_written(file: Path) -> None:
    found, expected = read_tensors(file), load_file(file)
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.from_numpy(found[name]).dtype == tensor.dtype
        np.testing.assert_array_equal(found[name], tensor.numpy())


def test_a_part_of_a_file_is_refused_whatever_is_missing(file: Path) -> None:
    data = file.read_bytes()
    for length in range(len(data)):
        file.write_bytes(data[:length])
        with pytest.raises(DamagedTensorsError):
            read_tensors(file)


@pytest.mark.parametrize(
    "entry",
    [
        None,
        [],
        {},
        {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [2], "data_offsets": [0, 800]},
        {"dtype": "F32", "shape": [2], "data_offsets": [-8, 0]},
        {"dtype": "F32", "shape": [2], "data_offsets": [8, 0]},
        {"dtype": "F32", "shape": [-2, -1], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": ["x"], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": 2, "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [10**30], "data_offsets": [0, 8]},
        {"dtype": "pickle", "shape": [2], "data_offsets": [0, 8]},
    ],
)
def test_a_header_that_does_not_fit_its_numbers_is_refused(tmp_path: Path, entry: object) -> None:
    header = json.dumps({"x": entry}).encode()
    whole = len(header).to_bytes(8, "little") + header + bytes(8)
    (tmp_path / "x.safetensors").write_bytes(whole)
    with pytest.raises(DamagedTensorsError):
        read_tensors(tmp_path / "x.safetensors")


def test_changed_bytes_are_refused_or_change_numbers(file: Path) -> None:
    random, data = Random(4), file.read_bytes()  # noqa: S311
    refused = 0
    for _ in range(300):
        changed = bytearray(data)
        for _ in range(random.choice((1, 4))):
            changed[random.randrange(len(data) // 2)] = random.randrange(256)
        file.write_bytes(changed)
        try:
            assert all(isinstance(one, np.ndarray) for one in read_tensors(file).values())
        except DamagedTensorsError:
            refused += 1
    assert refused > 50
