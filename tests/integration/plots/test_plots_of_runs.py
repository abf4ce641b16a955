"""Plots of a sweep that was really run, and every plot drawn to the last pixel."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from command_line import sweeper, sweeper_here
from PIL import Image
from plotted_runs import RUNS, plotted_run
from tiers import leave_after

from sweeper.opened_run import open_run
from sweeper.plots.catalogue import KINDS, draw
from sweeper.plots.matplotlib_figure import to_matplotlib

SPEC = """
name: plotted
environment: CartPole-v1
algorithm: PPO
seeds: 2
param_space:
  lr: {loguniform: [1.0e-4, 1.0e-2]}
  train_batch_size_per_learner: 256
  num_epochs: 2
search: {algorithm: random, num_samples: 3, seed: 0}
stop: {num_env_steps_sampled_lifetime: 1024}
evaluation: {episodes: 2, every_env_steps: 512}
selection: {finalists: 1, confirm_seeds: 3, confirm_episodes: 2}
tracking: null
"""


# The unit tier makes all their figures. Here every kind and every run is drawn once, and each with
# each in the acceptance tier.
ONCE = [(list(KINDS)[place % len(KINDS)], run) for place, run in enumerate(RUNS)]
OTHERS = [pair for pair in itertools.product(KINDS, RUNS) if pair not in ONCE]


@pytest.mark.parametrize(("kind", "run"), leave_after(len(ONCE), [*ONCE, *OTHERS]))
def test_matplotlib_draws_every_kind_of_every_run(kind: str, run: str) -> None:
    figure = to_matplotlib(draw(kind, plotted_run(run)))
    figure.canvas.draw()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plots")
    (folder / "plotted.yaml").write_text(SPEC)
    done = sweeper("run", "plotted.yaml", "-q", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_a_sweep_that_was_run_has_every_plot(finished: Path, kind: str) -> None:
    done = sweeper_here("plot", "last", kind, "-o", f"{kind}.png", cwd=finished)
    assert done.returncode == 0, done.stderr
    pixels = np.asarray(Image.open(finished / f"{kind}.png").convert("L"))
    assert pixels.min() < 100 < 240 < pixels.max()


def test_the_numbers_are_those_of_the_run(finished: Path) -> None:
    run = open_run("last", finished / "runs")
    assert run.selection.verdict is not None
    chart = run.plot.chart("finalists")
    means = next(one for one in chart.panels[0].marks if one.name == "mean and interval")
    evidence = run.selection.verdict.evidence
    assert sorted(means.x) == sorted(one.mean for one in evidence.values())
    lines = run.plot.chart("learning_curves").panels[0].marks
    last = run.results.trial(run.selection.search_choice or "").last_report
    assert any(
        np.isclose(line.y[-1], last["evaluation/episode_return_mean"])
        for line in lines
        if line.name.startswith(str(run.selection.search_choice))
    )
