"""Reads a safetensors file; the format is a header of JSON, then the numbers.

https://huggingface.co/docs/safetensors. By ourselves, so that an exported agent acts where only
torch, numpy and gymnasium are installed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

__all__ = ["DamagedTensorsError", "read_tensors"]

_LENGTH_BYTES = 8  # of the header's length, little endian
_TYPES: Mapping[str, torch.dtype] = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "I64": torch.int64,
    "I32": torch.int32,
    "BOOL": torch.bool,
}


class DamagedTensorsError(Exception):
    """A file holds no tensors that can be read."""


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a file, by name.

    Raises:
        OSError: it can't be read.
        DamagedTensorsError: it is no such file, or a part of one.
    """
    data = path.read_bytes()
    start = _LENGTH_BYTES + int.from_bytes(data[:_LENGTH_BYTES], "little")
    if not _LENGTH_BYTES < start <= len(data):
        raise DamagedTensorsError("it is no safetensors file, or a part of one")
    numbers = bytearray(data[start:])
    try:
        header = json.loads(data[_LENGTH_BYTES:start])
        header.pop("__metadata__", None)
        return {name: _read_tensor(numbers, entry) for name, entry in header.items()}
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        raise DamagedTensorsError(f"its header is damaged ({error})") from error


def _read_tensor(numbers: bytearray, entry: Mapping[str, Any]) -> Tensor:
    kind, shape, (first, end) = _TYPES[entry["dtype"]], entry["shape"], entry["data_offsets"]
    count = math.prod(shape)
    if not 0 <= first <= end <= len(numbers) or any(size < 0 for size in shape):
        raise ValueError("a tensor is cut off")
    if count * kind.itemsize != end - first:
        raise ValueError("a tensor has another size than its shape says")
    if not count:
        return torch.empty(shape, dtype=kind)
    return torch.frombuffer(numbers, dtype=kind, count=count, offset=first).reshape(shape)
