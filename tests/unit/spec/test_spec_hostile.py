"""Hostile files are refused in time and without much memory."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from effort import count_calls
from spec_cases import LEAST

from sweeper.errors import SpecError
from sweeper.planning.plan import load_plan
from sweeper.spec import load_spec
from sweeper.spec.experiment import parse

MIB = 1 << 20


def _fill(line: Callable[[int], str], size: int = MIB - 1000) -> str:
    """Numbered lines up to a size."""
    lines, length, number = [], 0, 0
    while length < size:
        lines.append(line(number))
        length += len(lines[-1])
        number += 1
    return "".join(lines)


def _bomb(levels: int) -> str:
    text = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n"
    for level in range(1, levels):
        text += f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]\n"
    return text


def _conditional_grids() -> str:
    keys = ("gamma", "lambda_", "clip_param", "kl_coeff", "kl_target", "vf_loss_coeff", "lr")
    values = ", ".join(f"0.{digit}" for digit in range(1, 10))
    grid = f"{{grid_search: [{values}], when: {{use_kl_loss: true}}}}"
    space = "".join(f"  {key}: {grid}\n" for key in keys)
    return f"{LEAST}param_space:\n  use_kl_loss: {{grid_search: [true, false]}}\n{space}"


def _lines(number: int, line: str) -> str:
    """A line a number of times; N is the line's number, M the next one's."""
    return "".join(
        line.replace("N", str(at)).replace("M", str(at + 1)) + "\n" for at in range(number)
    )


_MUCH = MIB - 100
# What a line is repeated in, and the line.
MANY = {
    "unknown keys": (LEAST, "kN: 1"),
    "hyperparameters": (LEAST + "param_space:\n", "  hN: 1"),
    "keys of a section": (LEAST + "search:\n", "  sN: 1"),
    "points": (LEAST + "search:\n  points_to_evaluate:\n", "  - lr: N"),
    "wrappers": ("environment:\n  id: CartPole-v1\n  wrappers:\n", "  - WN"),
    "metrics": ("stop:\n", "  rewardN: 1"),
}


def _many(name: str, number: int) -> str:
    head, line = MANY[name]
    return head + _lines(number, line)


HOSTILE = {
    "aliases that explode": _bomb(9),
    "aliases as values of the space": "x: &x {lr: 1}\nparam_space:\n" + _lines(9000, "  kN: *x"),
    "sequences thousands deep": "[" * 500_000,
    "mappings thousands deep": "{a: " * 200_000,
    "a block mapping thousands deep": "".join(f"{' ' * n}k:\n" for n in range(1200)),
    "a million unknown keys": _fill(lambda n: f"k{n}: 1\n"),
    "one key a hundred thousand times": _fill(lambda _: "seeds: 1\n"),
    "seeds without number": "seeds: [" + "1, " * 9000 + "2]\n",
    **{f"{name} without number": _many(name, 2000) for name in MANY},
    "a key of a megabyte": LEAST + "k" * _MUCH + ": 1\n",
    "a name of a megabyte": LEAST + "name: " + "n" * _MUCH + "\n",
    "an environment of a megabyte": LEAST.replace("CartPole-v1", "e" * _MUCH),
    "a storage of a megabyte": LEAST + "storage: " + "s" * _MUCH + "\n",
    "a number of a megabyte": LEAST + "seeds: " + "9" * _MUCH + "\n",
    "references that explode": LEAST + "a0: x\n" + _lines(9, "aM: '" + "${aN}" * 9 + "'"),
    "references that multiply mappings": LEAST
    + "a0: {x: 1, y: 2}\n"
    + _lines(40, "aM: {x: '${aN}', y: '${aN}'}"),
    "quotes that never end": LEAST + 'name: "' + "\\\\" * 500_000,
    "a regular expression's nightmare": LEAST + "name: '" + "${" * 250_000 + "'\n",
    "conditions in a long chain": LEAST
    + "param_space:\n"
    + _lines(2000, "  cN: {choice: [1], when: {cM: 1}}"),
    "grids with conditions": _conditional_grids(),
}


def refuse(path: str) -> SpecError:
    with pytest.raises(SpecError) as raised:
        load_plan(path)
    return raised.value


@pytest.mark.timeout(60)
@pytest.mark.parametrize("text", HOSTILE.values(), ids=list(HOSTILE))
def test_a_hostile_file_is_refused_in_time(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "spec.yaml").write_text(text)
    assert len(str(refuse("spec.yaml"))) < 100_000


@pytest.mark.parametrize("name", MANY)
def test_the_work_of_refusing_grows_with_what_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    def calls(number: int) -> int:
        (tmp_path / "spec.yaml").write_text(_many(name, number))
        return count_calls(lambda: refuse("spec.yaml"))

    assert calls(400) < 3 * calls(200)  # were it quadratic, four times as many


def test_the_work_of_merging_grows_with_what_is_merged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def calls(bases: int, keys: int) -> int:
        folder = tmp_path / f"{bases} {keys}"
        folder.mkdir()
        monkeypatch.chdir(folder)
        space = "param_space:\n" + _lines(keys, "  hN: 1")
        for number in range(bases - 1):
            Path(f"b{number}.yaml").write_text(f"extends: b{number + 1}.yaml\n{space}")
        Path(f"b{bases - 1}.yaml").write_text(space)
        Path("spec.yaml").write_text(f"extends: b0.yaml\n{LEAST}")
        return count_calls(lambda: refuse("spec.yaml"))

    few = calls(5, 200)
    assert calls(10, 200) < 3 * few  # were it quadratic, four times as many
    assert calls(5, 400) < 3 * few


def test_memory_stays_bounded(tmp_path: Path) -> None:
    (tmp_path / "large.yaml").write_bytes(LEAST.encode() + b"# " + b"x" * (50 * MIB))
    (tmp_path / "bomb.yaml").write_text(_bomb(30))
    paths = [str(tmp_path / "large.yaml"), str(tmp_path / "bomb.yaml"), "/dev/zero"]
    code = (
        "import json, resource, sys\n"
        "from sweeper.errors import SpecError\n"
        "from sweeper.planning.plan import load_plan\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "before, problems = peak(), []\n"
        "for path in sys.argv[1:]:\n"
        "    try:\n"
        "        load_plan(path)\n"
        "    except SpecError as error:\n"
        "        problems.append(len(error.problems))\n"
        "print(json.dumps([problems, peak() - before]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *paths], capture_output=True, text=True, check=True
    )
    problems, grown_kib = json.loads(done.stdout)
    assert len(problems) == len(paths)
    assert all(problems)
    assert grown_kib < 100_000


SECRETS = {
    "yaml": "password: hunter2\napi_token: [hunter2]\nusers: {hunter2: 1}\n",
    "json": '{"hunter2": "hunter2", "lr": 5}\n',
    "lines": "API_KEY=hunter2\nDB: *hunter2\n",
    "tags": "TOKEN: !hunter2 x\nhunter2: 1\nhunter2: 2\n",
    "key": "-----BEGIN OPENSSH PRIVATE KEY-----\nhunter2\n",
    "passwd": "root:x:0:0:hunter2:/root:/bin/sh\n",
    "list": "- hunter2\n",
    "name": "name: hunter2\non: [hunter2]\n",
    "broken": "a: [hunter2\nb: }hunter2\n",
}


@pytest.mark.parametrize("text", SECRETS.values(), ids=list(SECRETS))
def test_nothing_of_a_file_that_is_no_spec_is_repeated(tmp_path: Path, text: str) -> None:
    (tmp_path / "secret").write_text(text)
    (tmp_path / "spec.yaml").write_text(LEAST + "extends: secret\n")
    with pytest.raises(SpecError) as caught:
        load_spec(tmp_path / "spec.yaml")
    assert "hunter2" not in str(caught.value)
    assert "secret is no spec: it has none of a spec's keys" in str(caught.value)


@pytest.mark.parametrize(
    "text", ["stop: {time_total_s: 9}\n", '{"stop": {"time_total_s": 9}}', "# x\n'stop':\n  a: 1\n"]
)
def test_a_part_of_a_spec_can_be_extended(tmp_path: Path, text: str) -> None:
    (tmp_path / "base.yaml").write_text(text)
    (tmp_path / "spec.yaml").write_text("extends: base.yaml\nx: 1\n")
    with pytest.raises(SpecError) as caught:
        load_spec(tmp_path / "spec.yaml")
    assert "is no spec" not in str(caught.value)


HUGE = ["9" * 400, "9" * 5000, "-" + "9" * 5000, "0x" + "f" * 5000, "0o" + "7" * 6000]


@pytest.mark.parametrize("number", HUGE, ids=lambda text: f"{text[:2]}{len(text)}")
@pytest.mark.parametrize(
    "line",
    [
        "seeds: N",
        "name: N",
        "budget: {time_s: N}",
        "search: {num_samples: N}",
        "param_space: {lr: N}",
        "param_space: {lr: {uniform: [0, N]}}",
        "param_space: {num_epochs: {randint: [1, N]}}",
        "seeds: [1,N]",
    ],
)
def test_a_number_of_thousands_of_digits_is_named(tmp_path: Path, line: str, number: str) -> None:
    (tmp_path / "spec.yaml").write_text(LEAST + line.replace("N", number) + "\n")
    with pytest.raises(SpecError, match="a number of more digits than can be read"):
        load_spec(tmp_path / "spec.yaml")


@pytest.mark.parametrize(
    "values",
    [
        {"seeds": 10**5000},
        {"param_space": {"lr": 10**400}},
        {"param_space": {"lr": {"choice": [1, 16**5000]}}},
        {"stop": {"num_env_steps_sampled_lifetime": 10**400}},
    ],
)
def test_so_is_one_in_plain_values(values: dict[str, Any]) -> None:
    least = {"environment": "CartPole-v1", "algorithm": "PPO", "stop": {"time_total_s": 9}}
    with pytest.raises(SpecError, match="a number of more digits than can be read"):
        parse({"name": "x", **least, **values})
