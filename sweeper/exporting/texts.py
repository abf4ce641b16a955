"""The texts of an exported agent's folder: the script that plays, README, requirements."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from typing import Any

import gymnasium

from sweeper.environments.settings import EnvironmentSettings
from sweeper.exporting.onnx_model import OnnxModel
from sweeper.hints import join_words
from sweeper.printable import printable

__all__ = ["PLAY", "list_needs", "write_readme", "write_requirements"]

PLAY = '''\
"""Play the agent's reported evaluation again; exits with 0 if it lands where that was, else 1."""

import json
import sys
from pathlib import Path

from episodes import judge, play
from torch_policy import TorchPolicy

folder = Path(__file__).parent
evaluation = json.loads((folder / "evaluation.json").read_text("utf-8"))
returns = play(TorchPolicy(folder), evaluation)
print(f"mean return {sum(returns) / len(returns):.6g} over {len(returns)} episodes")
words, lands = judge(returns, evaluation)
print(words)
sys.exit(0 if lands else 1)
'''

# Convolutions are torch's.
_PACKAGES = ("numpy", "gymnasium")
_PACKAGES_FOR_IMAGES = ("torch", *_PACKAGES)
# What gymnasium's own environments and wrappers need beside it: by their place, or their name.
_OF_ENVIRONMENTS: Mapping[str, tuple[str, ...]] = {
    "gymnasium.envs.box2d": ("box2d", "pygame"),
    "gymnasium.envs.mujoco": ("mujoco",),
    "ale_py": ("ale-py",),
}
_OF_WRAPPERS: Mapping[str, tuple[str, ...]] = {
    "AtariPreprocessing": ("opencv-python-headless",),
    "GrayscaleObservation": ("opencv-python-headless",),
    "ResizeObservation": ("opencv-python-headless",),
}


def write_requirements(
    description: Mapping[str, Any], environment: EnvironmentSettings | None
) -> str:
    """The packages that acting and playing need, with the versions that are installed here."""
    own = list_packages(description)
    names = [*own, *([] if environment is None else _find_packages(environment))]
    return "".join(f"{_pin(name)}\n" for name in dict.fromkeys(names))


def list_packages(description: Mapping[str, Any]) -> tuple[str, ...]:
    """The packages that acting needs, from the contents of ``agent.json``."""
    return _PACKAGES_FOR_IMAGES if description["network"]["convolutions"] else _PACKAGES


def _find_packages(environment: EnvironmentSettings) -> Iterator[str]:
    for wrapper in environment.wrappers:
        yield from _OF_WRAPPERS.get(wrapper.name, ())
    module, _, name = environment.id.rpartition(":")
    yield from _OF_ENVIRONMENTS.get(environment.module or module, ())
    found = gymnasium.registry.get(name)
    place = found.entry_point if found is not None else None
    if isinstance(place, str):
        for prefix, packages in _OF_ENVIRONMENTS.items():
            if place.startswith(prefix):
                yield from packages


def _pin(name: str) -> str:
    try:
        return f"{name}=={metadata.version(name).partition('+')[0]}"
    except metadata.PackageNotFoundError:
        return name


def list_needs(environment: EnvironmentSettings | None) -> list[str]:
    """What playing needs that the folder does not bring along, a sentence each."""
    if environment is None:
        return ["The checkpoint does not say which environment it acts in, so nothing plays it."]
    modules = [environment.module or "", environment.id.rpartition(":")[0]]
    modules += [wrapper.name.rpartition(".")[0] for wrapper in environment.wrappers]
    named = [name for name in dict.fromkeys(modules) if name]
    needs = [
        f"The environment needs the module {name}: put it beside play.py, or install it."
        for name in named
    ]
    if environment.variables:
        names = ", ".join(environment.variables)
        needs.append(f"The environment reads the variable {names}; set it before.")
    return needs


def write_readme(
    description: Mapping[str, Any],
    evaluation: Mapping[str, Any] | None,
    *,
    observation_shape: tuple[int, ...],
    needs: Sequence[str],
    model: OnnxModel | None,
) -> str:
    """The folder's README, a few lines of Markdown."""
    environment = "" if evaluation is None else f" on {evaluation['environment']['id']}"
    trained = [
        f"{name} {description[key]}"
        for name, key in (("trial", "trial_id"), ("retrained as", "retrained_as"))
        if description.get(key)
    ]
    seed = description["seeds"][0]
    trained += [] if seed is None else [f"seed {seed}"]
    shape = ", ".join(["batch", *map(str, observation_shape)])
    return "\n\n".join(
        _paragraphs(
            [
                f"# {description['algorithm']}{environment}",
                f"An agent, exported by sweeper{' (' * bool(trained)}{', '.join(trained)}"
                f"{')' * bool(trained)}. It acts where "
                f"{join_words(list_packages(description))} are installed: "
                "`pip install -r requirements.txt`.",
                *_describe_playing(evaluation),
                " ".join(needs),
                "In Python, in this folder:",
                "```python\n"
                "from torch_policy import TorchPolicy\n\n"
                'policy = TorchPolicy(".")\n'
                f"actions = policy.act(observations)  # a batch, [{shape}]; greedy\n"
                "```",
                "Observations are given as the environment returns them; those of a Dict or Tuple "
                "as its own structure with batched leaves, or as gymnasium.spaces.flatten has "
                "them. `policy.distribution`, `policy.values` and, of DQN, `policy.q_values` "
                "answer, too.",
                *_describe_model(model),
            ]
        )
    )


def _paragraphs(texts: Sequence[str]) -> Iterator[str]:
    for text in texts:
        if text:
            yield printable(text)
    yield ""


def _describe_playing(evaluation: Mapping[str, Any] | None) -> Iterator[str]:
    if evaluation is None:
        return
    reported = evaluation["reported"]
    number = sum(map(len, evaluation["seeds"]))
    if reported is None:
        yield (
            f"`python play.py` plays {number} episodes, those of `sweeper evaluate` with seed 0, "
            "and prints their mean return. No evaluation of this agent was reported."
        )
        return
    where = "the same mean"
    if reported["interval"] is not None:
        low, high = reported["interval"]
        where = f"within the reported 95 % interval, {low:.6g} to {high:.6g}"
    elif reported["returns"] is None:
        where = (
            "the same mean, or a 95 % interval of the episodes played that holds the reported one"
        )
    yield (
        f"`python play.py` plays the reported evaluation again, on the same environment seeds: "
        f"{reported['mean']:.6g} of {reported['of']}. It ends with exit code 0 if it comes to "
        f"{where}, else with 1."
    )
    yield from evaluation["notes"] or [
        "With the same versions every episode comes to the same return, but for what the last bits "
        "of floating-point numbers change."
    ]


def _describe_model(model: OnnxModel | None) -> Iterator[str]:
    if model is None:
        return
    yield f"`{model.file}` is the same agent as an ONNX model (opset {model.opset}), greedy:"
    rows = [("in", name, form) for name, form in model.inputs.items()]
    rows += [("out", name, form) for name, form in model.outputs.items()]
    lines = [f"| {way} | `{name}` | {form} |" for way, name, form in rows]
    yield "\n".join(["| | name | type and shape |", "|---|---|---|", *lines])
