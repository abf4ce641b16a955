"""Numbers that damage or ill will leaves in a run are answered by every view, and never end one."""

from __future__ import annotations

import json
import math
import zlib
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from command_line import sweeper_here
from run_folders import SPEC, add_confirmation, make_run

from sweeper.evidence.ties import find_ties
from sweeper.formatting import format_clock, format_duration
from sweeper.journal import Journal, TrialReported
from sweeper.journal_lines import LineError, NoLineError, decode_line, encode_line
from sweeper.json_values import decode_json, encode_json, parse_json
from sweeper.metrics import Objective
from sweeper.results.records import TrialRecord
from sweeper.results.scoring import metric_value
from sweeper.results.spread import Spread
from sweeper.tracking.curves import name_replicas
from sweeper.tracking.mirror import env_steps
from sweeper.tracking.naming import scalar_metrics

NUMBERS = [math.nan, math.inf, -math.inf, 1e155, -1e200, 1.7e308, 10**300, 10**400, -(10**400)]
# One of each reader; ``results`` as a table, as data and for other programs.
VERBS = [
    ("list",),
    ("list", "--json"),
    ("status", "last"),
    ("status", "last", "--json"),
    ("results", "last"),
    ("results", "last", "--json"),
    ("results", "last", "--csv"),
    ("results", "last", "--parquet", "trials.parquet"),
    ("results", "last", "--stage", "confirmation"),
    ("results", "last", "--stage", "confirmation", "--json"),
    ("best", "last", "--threshold", "9"),
    ("best", "last", "--threshold", "9", "--json"),
    ("advise", "last"),
    ("advise", "last", "--json"),
    ("clean", "--keep", "0", "--json"),
]
DIGITS = "1" + 400 * "0"


def rows(number: Any) -> list[dict[str, Any]]:
    """Two reports in which every number that a view reads is the given one."""
    replicas = [number, 1.0, -1.0] if abs(number) < 2**63 or isinstance(number, float) else [1.0]
    return [
        {
            "training_iteration": iteration,
            "num_env_steps_sampled_lifetime": steps,
            "time_total_s": number,
            "env_steps_per_s": number,
            "episode_return_mean": number,
            "replica/episode_return_mean": replicas,
        }
        for iteration, steps in ((2, 800), (3, number))
    ]


@pytest.mark.parametrize("number", NUMBERS, ids=lambda number: f"{str(number)[:8]}")
def test_every_view_bears_any_number(
    tmp_path: Path, number: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    paths = make_run(tmp_path / "runs", "a-20260101-000000", ["TERMINATED"] * 12)
    journal = Journal(paths.journal)
    for trial in range(3, 13):
        for row in rows(number):
            journal.append(TrialReported(2e9, f"t{trial:04d}", row))
    journal.close()
    is_whole = isinstance(number, int)
    values = [1.0 if is_whole else number, 1.0, -1.0, 2.0, 3.0]
    add_confirmation(
        paths,
        **{
            "replica/confirmation/episode_return_mean": values,
            "replica/num_env_steps_sampled_lifetime": values,
            "agent/episode_returns": values,
            "time_total_s": number,
        },
    )
    for verb in VERBS:
        done = sweeper_here(*verb, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        if "--json" in verb:
            json.loads(done.stdout, parse_constant=pytest.fail)


@pytest.mark.parametrize("place", ["first", "last"])
@pytest.mark.parametrize(
    "value",
    [DIGITS, f'{{"$float": {DIGITS}}}', '{"$float": "x"}', '{"$float": []}', "[" * 60 + "]" * 60],
)
def test_a_line_that_none_of_ours_can_be_is_damaged_and_hides_no_other_run(
    tmp_path: Path, place: str, value: str
) -> None:
    make_run(tmp_path / "runs", "a-20260101-000000")
    paths = make_run(tmp_path / "runs", "b-20260102-000000")
    lines = paths.journal.read_bytes().splitlines(keepends=True)
    text = f'{{"event": "trial_reported", "trial_id": "t0001", "time": {value}'.encode()
    line = b'%s, "crc": "%08x"}' % (text, zlib.crc32(text))
    with pytest.raises(LineError) as raised:
        decode_line(line)
    assert not isinstance(raised.value, NoLineError)
    lines.insert(0 if place == "first" else len(lines) - 1, line + b"\n")
    paths.journal.write_bytes(b"".join(lines))
    listed = json.loads(sweeper_here("list", "--json", cwd=tmp_path).stdout)
    assert sorted(Path(run["run"]).name[0] for run in listed) == ["a", "b"]
    name = paths.root.name
    for verb in (("status", "last"), ("clean", "--keep", "0", "--json"), ("results", name)):
        assert sweeper_here(*verb, cwd=tmp_path).returncode == 0
    assert sweeper_here("resume", name, cwd=tmp_path).returncode == 1


@pytest.mark.parametrize("value", [1e308, math.nan, "x", None, [], {}, math.inf, -5])
def test_advice_bears_parameters_that_the_search_can_not_have_chosen(
    tmp_path: Path, value: Any
) -> None:
    paths = make_run(tmp_path / "runs", "a-20260101-000000", ["TERMINATED"] * 12)
    for space in ("grid_search: [0.1, 0.2, 0.3, 1.5]", "uniform: [0.01, 1.0]"):
        spec = SPEC.replace("grid_search: [0.1, 0.2, 0.3, 0.4]", space)
        paths.spec.write_text(f"{spec}search: {{num_samples: 1}}\n")
        lines = [json.loads(line) for line in paths.journal.read_bytes().splitlines()]
        for line in lines:
            line.pop("crc")
            if line["event"] == "trial_asked" and line["trial_id"] in ("t0001", "t0007"):
                line["configuration"] = line["parameters"] = {"lr": encode_json(value)}
        paths.journal.write_bytes(b"".join(map(encode_line, lines)))
        for verb in (("advise", "last"), ("results", "last"), ("status", "last", "--json")):
            done = sweeper_here(*verb, cwd=tmp_path)
            assert done.returncode == 0, done.stderr


def test_what_fits_no_float_is_an_infinity_in_our_records() -> None:
    for number, infinity in ((10**400, math.inf), (-(10**400), -math.inf)):
        assert decode_json(encode_json([number])) == [infinity]
        assert metric_value({"a": number}, "a") == infinity
    assert encode_json([10**308, -(10**308), True]) == [10**308, -(10**308), True]


@pytest.mark.parametrize("digits", [309, 310, 4000, 5000])
def test_a_whole_number_beyond_the_largest_float_is_none_of_ours(digits: int) -> None:
    for text in ("9" * digits, "-" + "9" * digits, f'{{"a": [{"9" * digits}]}}'):
        with pytest.raises(ValueError, match="beyond the largest float"):
            parse_json(text)
    assert parse_json(f'["{"9" * digits}", {"9" * 308}, 1e{digits}]')[1] == int("9" * 308)


@pytest.mark.parametrize("depth", [51, 60, 300, 500, 900, 990, 3000, 100_000])
def test_what_is_nested_deeper_than_ours_is_refused(depth: int) -> None:
    for begin, end in (("[", "]"), ('{"a":', "}")):
        with pytest.raises(ValueError, match="nested too deeply"):
            parse_json(begin * depth + "1" + end * depth)
    assert parse_json("[" * 50 + "]" * 50)


@pytest.mark.parametrize("scale", [1.0, 1e-320, 1e-200, 1e153, 1e155, 1e300])
def test_a_deviation_is_the_same_on_any_scale(scale: float) -> None:
    deviation = Spread((1.0 * scale, 2.0 * scale, 6.0 * scale)).deviation
    assert deviation == pytest.approx(math.sqrt(7) * scale, rel=1e-3)
    assert Spread((0.0, 0.0)).deviation == 0.0
    assert Spread((1.7e308, -1.7e308)).deviation is None


@pytest.mark.parametrize("scale", [1.0, 1e49, 1e60, 1e154, 1e300])
def test_ties_are_the_same_on_any_scale(scale: float) -> None:
    records = [
        TrialRecord(
            f"t{number}",
            "TERMINATED",
            reports=({"a": mean * scale, "replica/a": [(mean + d) * scale for d in (-1, 0, 1)]},),
        )
        for number, mean in enumerate((50.0, 50.5, 1.0))
    ]
    assert find_ties(records, Objective("a")) == {"t0"}


def test_mlflow_gets_numbers_that_it_can_store() -> None:
    row = {"a": 10**400, "b": 1.0, "c": math.nan, "num_env_steps_sampled_lifetime": 1e300}
    assert scalar_metrics(row) == {"b": 1.0, "num_env_steps_sampled_lifetime": 1e300}
    assert env_steps(row) < 2**63
    assert env_steps({"num_env_steps_sampled_lifetime": -5}) == 0
    name = "episode_return_mean"
    assert name_replicas(name, [1e200, 10**400, "x"], (0, 1, 2)) == {
        f"replica/{name}.seed_0": 1e200
    }


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf, 1e300, -1e300, 1e20, 1e11])
def test_any_number_of_seconds_has_a_form(number: float) -> None:
    assert len(format_duration(number)) < 12
    assert format_clock(number, 0.0)


@pytest.mark.parametrize(
    ("seconds", "text"), [(-3.0, "0s"), (59.4, "59s"), (86400e6, "1e+06d"), (math.nan, "-")]
)
def test_durations_beyond_a_calendar_are_in_days(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


COLUMNS: list[Any] = [
    *(10**40, {}, [0.1, "x"], [{}], {"a": {}}, [1, None, 2.5]),
    *([True, 1], True, "é", 2**63, [[]]),
]


@pytest.mark.parametrize("value", COLUMNS, ids=lambda value: str(value)[:12])
def test_any_metric_is_written_as_parquet(tmp_path: Path, value: Any) -> None:
    paths = make_run(tmp_path / "runs", "a-20260101-000000", ["TERMINATED"] * 3)
    journal = Journal(paths.journal)
    row = {"training_iteration": 2, "odd": value, "mixed": 1}
    journal.append(TrialReported(2e9, "t0001", row))
    journal.append(TrialReported(2e9, "t0002", {**row, "odd": 0.5, "mixed": value}))
    journal.append(TrialReported(2e9, "t0003", {**row, "odd": value, "mixed": math.nan}))
    journal.close()
    done = sweeper_here("results", "last", "--parquet", "table.parquet", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    table = pd.read_parquet(tmp_path / "table.parquet")
    assert list(table["trial_id"]) == ["t0001", "t0002", "t0003"]
    assert not table["odd"].isna().any()
