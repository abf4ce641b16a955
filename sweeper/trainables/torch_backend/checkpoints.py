"""The files of a torch checkpoint: JSON and safetensors, because loading them runs no code.

``agent.json`` and ``weights.safetensors`` are the agent, all that acting needs. The first axis of
every tensor is the replica, in the order of ``agent.json``'s seeds. To continue training,
``trainer.safetensors`` has further tensors, ``trainer.json`` counters and generator states.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from sweeper.errors import SweeperError
from sweeper.json_values import to_json
from sweeper.paths import CheckpointPaths, write_atomically
from sweeper.run_files import open_reading

__all__ = ["read_tensors", "write_agent", "write_arrays", "write_tensors"]

# Numpy's names of dtypes, without the byte order, to safetensors' names.
_SAFETENSORS_TYPES: Mapping[str, str] = {
    "b1": "BOOL",
    **{f"{kind}{size}": f"{kind.upper()}{8 * size}" for kind in "ui" for size in (1, 2, 4, 8)},
    **{f"f{size}": f"F{8 * size}" for size in (2, 4, 8)},
}


def write_agent(folder: Path, agent: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Write an agent into an existing folder."""
    write_tensors(CheckpointPaths(folder).weights, tensors)
    text = json.dumps(to_json(agent), indent=2, allow_nan=False)
    write_atomically(CheckpointPaths(folder).agent, text + "\n", syncs=False)


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors to one file, whole or not at all.

    Raises:
        OSError: the file can't be written, e.g. because the disk is full.
    """
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with _replacing(path) as temporary:
        save_file(plain, temporary)


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays as `write_tensors` does, but copy no more than one row at a time.

    safetensors' own functions need contiguous arrays; views of a replay memory are not.
    """
    header, end = {}, 0
    # The widest types first, so that every number is aligned to its own width.
    ordered = sorted(arrays.items(), key=lambda item: -item[1].itemsize)
    for name, array in ordered:
        begin, end = end, end + array.nbytes
        header[name] = {
            "dtype": _SAFETENSORS_TYPES[array.dtype.str[1:]],
            "shape": list(array.shape),
            "data_offsets": [begin, end],
        }
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # aligns the numbers after it
    with _replacing(path) as temporary, temporary.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for _, array in ordered:
            for row in array if array.ndim > 1 else [array]:
                file.write(np.ascontiguousarray(row).data)


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A temporary file that replaces ``path`` if the block succeeds, and is removed if not."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    except SafetensorError as error:
        raise OSError(f"{path} can't be written: {error}") from error
    except OSError as error:
        # The error of a write names no file.
        raise OSError(error.errno, f"{path} can't be written: {error.strerror}") from error
    finally:
        temporary.unlink(missing_ok=True)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read what `write_tensors` or `write_arrays` wrote; the file is memory-mapped.

    Raises:
        SweeperError: the file is missing or damaged.
    """
    try:
        open_reading(path).close()  # `load_file` would wait for a named pipe
        tensors: dict[str, Tensor] = load_file(path)
    except (OSError, SafetensorError) as error:
        raise SweeperError(f"checkpoint file {path} can't be read: {error}") from error
    return tensors
