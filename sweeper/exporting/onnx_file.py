"""Write an agent as an ONNX model, and have onnxruntime act with it before it is kept."""

from __future__ import annotations

import contextlib
import copy
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.vector.utils import concatenate, create_empty_array
from numpy.typing import NDArray

from sweeper.agents.torch_policy import TorchPolicy
from sweeper.errors import SweeperError
from sweeper.exporting.onnx_graph import PolicyGraph
from sweeper.exporting.onnx_model import OnnxModel, check_onnx_installed

__all__ = ["write_onnx"]

_OPSET = 18
_INPUT = "observations"
_SAMPLES, _SAMPLES_OF_IMAGES = 200, 20
_TOLERANCE = 1e-4


def write_onnx(policy: TorchPolicy, space: gymnasium.Space[Any], file: Path) -> OnnxModel:
    """Write a model, and hold it against the policy on samples of the observation space.

    Args:
        policy: of the agent.
        space: of its observations.
        file: where to; it is there afterwards only if onnxruntime acts as the policy does.

    Raises:
        UserError: a package is missing.
        SweeperError: the model acts otherwise.
    """
    check_onnx_installed()
    graph = PolicyGraph(policy).eval()
    with _quiet():
        program = torch.onnx.export(
            graph,
            (graph.example(3),),
            input_names=[_INPUT],
            output_names=list(graph.outputs),
            dynamic_shapes={_INPUT: {0: torch.export.Dim("batch")}},
            opset_version=_OPSET,
            external_data=False,
            dynamo=True,
            verbose=False,
        )
        if program is None:
            raise AssertionError("torch.onnx gave no program")
        program.save(file)
    try:
        return _try(policy, graph, space, file)
    except BaseException:
        file.unlink()
        raise


def _try(
    policy: TorchPolicy, graph: PolicyGraph, space: gymnasium.Space[Any], file: Path
) -> OnnxModel:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors alone
    session = onnxruntime.InferenceSession(
        str(file), sess_options=options, providers=["CPUExecutionProvider"]
    )
    number = _SAMPLES if len(policy.observation_shape) < 3 else _SAMPLES_OF_IMAGES
    observations = _sample(space, number).astype(graph.example(1).numpy().dtype)
    for size in (1, number):  # the batch's axis is free
        batch = observations[:size]
        found = dict(zip(graph.outputs, session.run(None, {_INPUT: batch}), strict=True))
        for name, expected in _expect(policy, batch).items():
            if not _agree(name, found[name], expected):
                raise SweeperError(
                    f"the ONNX model is not kept: in onnxruntime its {name} differ from the agent's"
                )
    return OnnxModel(
        file.name,
        _OPSET,
        {one.name: _describe(one) for one in session.get_inputs()},
        {one.name: _describe(one) for one in session.get_outputs()},
    )


def _sample(space: gymnasium.Space[Any], number: int) -> NDArray[Any]:
    source = copy.deepcopy(space)
    source.seed(0)
    items = [source.sample() for _ in range(number)]
    if space.shape is None:
        items = [gymnasium.spaces.flatten(space, item) for item in items]
        return np.stack(items).astype(np.float32)
    batch: NDArray[Any] = concatenate(space, items, create_empty_array(space, number))
    return batch


def _expect(policy: TorchPolicy, batch: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """What the policy answers, by the model's names."""
    expected = {"actions": policy.act(batch)}
    if policy.has_q_values:
        found = policy.q_values(batch)
        expected |= {"q_values": found["values"], "value": policy.values(batch)}
        if found["probabilities"] is not None:
            expected["return_probabilities"] = found["probabilities"]
        return expected
    parts = policy.distribution(batch)
    if policy.box is None:
        logits = parts["logits"]
        weights = [np.exp(one - one.max(axis=1, keepdims=True)) for one in logits]
        shares = [one / one.sum(axis=1, keepdims=True) for one in weights]
        expected["logits"] = np.concatenate(logits, axis=1)
        expected["probabilities"] = np.concatenate(shares, axis=1)
    else:
        size = policy.box.size
        expected |= {name: parts[name].reshape(-1, size) for name in ("mean", "deviation")}
    return expected | ({"value": policy.values(batch)} if policy.has_value else {})


def _agree(name: str, found: NDArray[Any], expected: NDArray[Any]) -> bool:
    if found.shape != expected.shape or found.dtype.kind != expected.dtype.kind:
        return False
    close = np.isclose(found, expected, rtol=10 * _TOLERANCE, atol=_TOLERANCE)
    # Where two choices are equally good, the last bits decide.
    is_choice = name == "actions" and found.dtype.kind == "i"
    return bool(close.mean() >= 0.99 if is_choice else close.all())


def _describe(tensor: Any) -> str:
    shape = ", ".join(map(str, tensor.shape))
    return f"{tensor.type.removeprefix('tensor(').removesuffix(')')}[{shape}]"


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporter tells of its own deprecations and of optional packages."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
