"""The slow tier: the benchmarks' short forms run, and compare like with like."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"

pytestmark = pytest.mark.acceptance


def run(name: str, *arguments: str) -> str:
    return subprocess.run(
        [sys.executable, str(BENCHMARKS / name), *arguments],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout


def rows(text: str, head: str) -> list[list[str]]:
    """The cells of the table whose first column is called so."""
    table = text.partition(f"\n| {head} |")[2].partition("\n\n")[0]
    return [
        [cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]
    ]


@pytest.mark.parametrize(
    ("script", "shape", "asked"),
    [("ppo_throughput.py", "cartpole", "15 x (25)"), ("dqn_throughput.py", "default", "7 x (14)")],
)
def test_a_contest_gives_everyone_the_same_number_of_gradient_steps(
    script: str, shape: str, asked: str
) -> None:
    text = run(script, "--short", "--shapes", shape)
    contestants = {row[1]: row for row in rows(text, "shape")}
    assert {"RLlib", "ours, 5 replicas"} <= set(contestants)
    steps = [int(row[5].replace(",", "")) for row in contestants.values()]
    assert max(steps) <= 1.02 * min(steps)
    targets = {row[0].partition(": ")[2]: row for row in rows(text, "what")}
    row = targets["ours, 5 replicas / RLlib"]
    assert row[1] == asked
    assert float(row[3].split()[0]) > 1
    assert row[4] in ("yes", "the aim too", "**no**")


def test_orchestration_stays_within_its_limits_on_a_small_sweep() -> None:
    text = run("orchestration.py", "--sizes", "30", "60")
    assert [row[0] for row in rows(text, "trials")] == ["30", "60"]
    reached = {row[0]: row[-1] for row in rows(text, "what")}
    assert reached["driver MB at 60 trials"] == "yes"
    assert reached["KB a trial without checkpoints, at the worst size"] == "yes"


def test_mlflow_s_share_is_of_two_equal_sweeps() -> None:
    text = run("mlflow_share.py", "--short")
    assert re.search(r"MLflow got 9 runs and [\d,]{5,} values", text)
    share = rows(text, "MLflow's share")
    assert len(share) == 3
    assert all(row[1] == "at most 2%" and re.match(r"-?\d+\.\d%", row[2]) for row in share)
    waits, computes = rows(text, "the driver's time for a result, ms: median (least to greatest)")
    assert (waits[3], waits[5]) == ("at least 20 x", "yes")
    assert float(computes[4].split()[0]) > 1


def test_search_quality_simulates_the_same_sweeps_each_time() -> None:
    first = run("search_quality.py", "ppo_cartpole", "--short")
    regrets = {row[0]: row[1:] for row in rows(first, "method")}
    assert list(regrets) == ["random", "qmc", "tpe", "asha-10", "asha-30"]
    # A sweep of eight trials finds more than one of two does, by any method.
    for cells in regrets.values():
        two, eight, _ = (float(cell.split()[0]) for cell in cells[:3])
        assert eight < two < 1
    assert regrets["random"][3] == "1.0 x (1.0 to 1.0)"
    assert first == run("search_quality.py", "ppo_cartpole", "--short")


def test_a_whole_sweep_does_as_many_trainings_everywhere_or_says_so() -> None:
    text = run("whole_sweep.py", "--short", "--only", "sweeper", "tune")
    did = {row[0]: row[1] for row in rows(text, "who")}
    assert did == {"sweeper": "all 14", "Ray Tune + RLlib": "10 of 14, the rest scaled"}
    (row,) = rows(text, "sweeper is faster than")
    assert row[:2] == ["Ray Tune + RLlib", "20 x (30)"]
    assert float(row[2].split()[0]) > 1


def test_what_evidence_costs_is_measured_on_real_trainings() -> None:
    text = run("evidence_cost.py", "--short")
    (stages,) = rows(text, "4 trials of 10 seeds, s")
    assert float(stages[1]) > 0
    assert float(stages[2]) == pytest.approx(float(stages[1]) / float(stages[0]), abs=0.05)
    (evaluation,) = rows(text, "100 episodes x 5 agents, s")
    assert 9 < float(evaluation[1]) <= 500


def test_a_launch_chooses_as_its_simulation_does() -> None:
    (row,) = rows(run("drawn_launches.py", "--short"), "space")
    assert row[-1] == "yes"


def test_advice_finds_what_is_planted_and_little_else() -> None:
    found = {tuple(row[:2]): row[2:] for row in rows(run("advice.py", "--short"), "sweep")}
    assert found["pure noise, flat at a ceiling", "32"] == ["0.0%"] * 6
    assert float(found["pure noise", "32"][-1].rstrip("%")) <= 10
    assert float(found["the best lr lies beyond the bound", "32"][1].strip("*%")) >= 75


def test_an_agent_acts_as_fast_as_its_network() -> None:
    text = run("agent_latency.py", "--short")
    single, batch = (
        [row for row in rows(text, "agent") if row[1] == number] for number in ("1", "1,024")
    )
    assert len(single) >= 2
    assert len(batch) == 2
    assert rows(text, "a process of its own")[0][0].startswith("loads an agent")
