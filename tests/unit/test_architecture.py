"""The module map holds: imports point one way, and heavy libraries stay at the edge."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import sweeper

PACKAGE = Path(sweeper.__file__).parent

# Lower first. A module imports from layers below its own, or from its own.
# A room's `*` stands for its modules that are not named elsewhere.
LAYERS: list[set[str]] = [
    {"errors", "evidence.statistics", "results.divergence"},
    {"paths", "metrics", "answers", "locks", "machine_memory"},
    {"spec.distributions", "spec.space", "environments"},
    {"spec", "spec.*"},
    {"trainables.plateau", "trainables.replicas"},
    # What the plan counts with, all of it without torch.
    {
        "trainables.dqn_memory",
        "trainables.envpool_envs",
        "trainables.observation_store",
        "trainables.replay",
        "trainables.spaces",
        "trainables.sum_tree",
        "trainables.vector_envs",
    },
    {"planning", "planning.*", "spec.schema"},
    {"spec.starter"},
    {"trainables", "trainables.*"},
    {"agents.rllib_policy", "agents.torch_policy"},
    {"agents"},
    {"journal"},
    {"results.scoring"},
    {"results.records"},
    {"results", "results.*"},
    {"wording"},
    {
        "running.extension",
        "running.resumption",
        "running.remaining",
        "running.failures",
        "running.limits",
        "running.nodes",
        "running.processes",
    },
    {"running.tuning", "running.ray_session"},
    {"running.recording"},
    {"running", "running.runner", "running.provenance"},
    {"evidence", "evidence.selection"},
    {"running.retention", "results.standing", "planning.estimates", "planning.rehearsed"},
    {"opened"},
    {"tracking", "tracking.*"},
    {"running.stages"},
    {"api"},
    {"evidence.evaluation", "views.overview", "tracking.relog", "doctor"},
    {"running.probes", "running.rehearsal"},
    {"planning.plan_text", "planning.rehearsal_text", "running.cleaning"},
    {"views", "views.*"},
    {"cli", "cli.*"},
    {"__main__", ""},
]
# The method `ExperimentSpec.plan()`, which a notebook wants, imports when it is called.
UPWARD = {("spec.experiment", "planning.plan")}
HEAVY = {
    "ray": {
        "running.tuning",
        "running.probes",
        "running.ray_session",
        "running.recording",
        "running.runner",
        "agents",
        "agents.rllib_policy",
        "trainables.trial",
        "trainables.rllib",
        "trainables.rllib_config",
    },
    "torch": {"agents.rllib_policy", "agents.torch_policy", "trainables.*"},
    "mlflow": {"tracking.*"},
}


def _modules() -> dict[str, Path]:
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = path
    return found


def _imports(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def _is_in(module: str, names: set[str]) -> bool:
    return module in names or f"{module.split('.')[0]}.*" in names


def _layer(module: str) -> int:
    # A module named by itself lies where it is named, whatever its package says.
    for is_found in (lambda layer: module in layer, lambda layer: _is_in(module, layer)):
        for number, layer in enumerate(LAYERS):
            if is_found(layer):
                return number
    return pytest.fail(f"sweeper.{module} is not on the map in {__file__}")


@pytest.mark.parametrize("module", _modules())
def test_imports_point_down_the_map(module: str) -> None:
    modules = _modules()
    for imported in _imports(modules[module]):
        if not imported.startswith("sweeper."):
            continue
        target = imported.removeprefix("sweeper.")
        if target in modules and module and (module, target) not in UPWARD:
            assert _layer(target) <= _layer(module), f"{module} imports {target}"


@pytest.mark.parametrize("library", HEAVY)
def test_only_adapters_import_a_heavy_library(library: str) -> None:
    for module, path in _modules().items():
        imports = {name.split(".")[0] for name in _imports(path)}
        if library in imports:
            assert _is_in(module, HEAVY[library]), f"{module} imports {library}"


def test_every_public_name_can_be_imported() -> None:
    for name in sweeper.__all__:
        if name != "to_tune":  # which needs Ray
            assert getattr(sweeper, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'sweep'"):
        sweeper.sweep  # noqa: B018


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        ["run", "--help"],
        ["plan", "configs/quickstart.yaml"],
        ["plan", "configs/cartpole_dqn.yaml"],
    ],
    ids=" ".join,
)
def test_words_come_without_heavy_imports(arguments: list[str]) -> None:
    code = (
        "import sys\n"
        "from sweeper.cli import cli\n"
        f"cli.main({arguments!r}, standalone_mode=False)\n"
        "heavy = {'ray', 'torch', 'mlflow', 'pandas'} & sys.modules.keys()\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=PACKAGE.parent,
        env={**os.environ, "PYTHONWARNINGS": "error::DeprecationWarning:sweeper"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout
