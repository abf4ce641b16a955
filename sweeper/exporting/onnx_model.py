"""What an agent's ONNX model is, and whether one can be written here; imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from typing import Any

from sweeper.errors import UserError
from sweeper.installation import install_extra

__all__ = ["OnnxModel", "check_onnx_installed"]

_EXTRA, _PACKAGES = "onnx", ("onnx", "onnxruntime", "onnxscript")


@dataclass(frozen=True)
class OnnxModel:
    """A model's file, and what it takes and gives; the first axis of everything is the batch.

    Attributes:
        file: its name in the agent's folder.
        opset: version of ONNX's operators.
        inputs: type and shape by name; the first axis is called ``batch``.
        outputs: the same.
    """

    file: str
    opset: int
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        """For ``sweeper export --json``."""
        return asdict(self)


def check_onnx_installed() -> None:
    """Check that a model can be written and tried.

    Raises:
        UserError: a package is missing.
    """
    missing = [name for name in _PACKAGES if find_spec(name) is None]
    if missing:
        raise UserError(
            f"--onnx needs {', '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not "
            f"installed: {install_extra(_EXTRA)}"
        )
