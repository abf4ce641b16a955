"""Reads a safetensors file; the format is a header of JSON, then the numbers.

https://huggingface.co/docs/safetensors. By ourselves, so that an exported agent acts where only
numpy and gymnasium are installed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

__all__ = ["DamagedTensorsError", "read_tensors"]

Array: TypeAlias = np.ndarray[Any, Any]

_LENGTH_BYTES = 8  # of the header's length, little endian
_TYPES: Mapping[str, np.dtype[Any]] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "BOOL": np.dtype("?"),
}


class DamagedTensorsError(Exception):
    """A file holds no tensors that can be read."""


def read_tensors(path: Path) -> dict[str, Array]:
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


def _read_tensor(numbers: bytearray, entry: Mapping[str, Any]) -> Array:
    kind, shape, (first, end) = _TYPES[entry["dtype"]], entry["shape"], entry["data_offsets"]
    count = math.prod(shape)
    if not 0 <= first <= end <= len(numbers) or any(size < 0 for size in shape):
        raise ValueError("a tensor is cut off")
    if count * kind.itemsize != end - first:
        raise ValueError("a tensor has another size than its shape says")
    if not count:
        return np.empty(shape, kind)
    return np.frombuffer(numbers, dtype=kind, count=count, offset=first).reshape(shape)
