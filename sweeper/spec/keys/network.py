"""Checks of a network's initialisers and convolutional filters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sweeper.hints import did_you_mean, show
from sweeper.search.distributions import Distribution, SpaceProblem

__all__ = ["BIAS_INITIALISERS", "INITIALISERS", "check_filters", "check_initialisers"]

# The in-place functions of torch.nn.init that fill a weight of any shape, with their arguments.
_ARGUMENTS: Mapping[str, tuple[str, ...]] = {
    "uniform_": ("a", "b"),
    "normal_": ("mean", "std"),
    "trunc_normal_": ("mean", "std", "a", "b"),
    "constant_": ("val",),
    "ones_": (),
    "zeros_": (),
    "xavier_uniform_": ("gain",),
    "xavier_normal_": ("gain",),
    "kaiming_uniform_": ("a", "mode", "nonlinearity"),
    "kaiming_normal_": ("a", "mode", "nonlinearity"),
    "orthogonal_": ("gain",),
}
INITIALISERS: tuple[str, ...] = tuple(_ARGUMENTS)
# A bias has one dimension, from which no fan can be computed.
BIAS_INITIALISERS: tuple[str, ...] = INITIALISERS[:6]

_WORDS: Mapping[str, tuple[str, ...]] = {
    "mode": ("fan_in", "fan_out"),
    "nonlinearity": (
        "linear", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d",
        "conv_transpose3d", "sigmoid", "tanh", "relu", "leaky_relu", "selu",
    ),
}  # fmt: skip
_FILTER = (
    "[channels, kernel, stride], whole numbers from 1 on, kernel and stride also as pairs, with "
    "valid as a fourth for no padding"
)
_PADDING = ("same", "valid")


def check_filters(value: Any) -> str | None:
    """Why ``conv_filters`` are wrong; None if they are right."""
    if value is None:
        return None
    if not isinstance(value, list) or not value:
        return f"must be null or a list of filters {_FILTER}; found {show(value)}"
    for row in value:
        if not (
            isinstance(row, list)
            and (len(row) == 3 or (len(row) == 4 and row[3] in _PADDING))
            and _is_size(row[0])
            and all(_is_size(one) or _is_pair(one) for one in row[1:3])
        ):
            return f"a filter must be {_FILTER}; found {show(row)}"
    return None


def check_initialisers(network: Mapping[str, Any]) -> Iterator[SpaceProblem]:
    """Problems of initialisers' arguments; paths are below ``model_config``."""
    for key, given in network.items():
        base, is_kwargs, _ = key.partition("_kwargs")
        if not is_kwargs or not base.endswith("_initializer"):
            continue
        name = network.get(base)
        if isinstance(given, Mapping):
            yield from _check_arguments(key, base, name, given)
    for key, name in network.items():
        if name == "constant_" and not network.get(f"{key}_kwargs"):
            yield SpaceProblem((key,), f"constant_ needs its value: {key}_kwargs: {{val: 0.1}}")


def _check_arguments(
    key: str, base: str, name: Any, given: Mapping[str, Any]
) -> Iterator[SpaceProblem]:
    if name is None and given:
        yield SpaceProblem((key,), f"arguments without an initialiser; give {base} too")
        return
    known = _ARGUMENTS.get(name) if isinstance(name, str) else None
    if known is None:
        return  # a distribution, or reported already
    for argument, value in given.items():
        here = (key, argument)
        if isinstance(value, Distribution):
            continue  # checked in the drawn configurations
        if argument not in known:
            has = f"it takes {', '.join(known)}" if known else "it takes none"
            hint = did_you_mean(argument, known)
            yield SpaceProblem(here, f"{name} has no argument {argument}; {has}{hint}")
        elif argument in _WORDS:
            if value not in _WORDS[argument]:
                words = ", ".join(_WORDS[argument])
                yield SpaceProblem(here, f"must be one of {words}; found {show(value)}")
        elif not _is_finite(value) or (argument == "std" and value < 0):
            kind = "a number from 0 on" if argument == "std" else "a finite number"
            yield SpaceProblem(here, f"must be {kind}; found {show(value)}")


def _is_finite(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and abs(value) < 1e30  # torch fills float32


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 100_000


def _is_pair(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_is_size, value))
