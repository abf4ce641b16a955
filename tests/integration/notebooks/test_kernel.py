"""A sweep that is run in a notebook: what its cell shows, and what an interrupt does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from kernels import Cell, Kernel, started_kernel

SWEEP = """
import sweeper
from sweeper import space

spec = {{
    "name": "nb",
    "environment": "CartPole-v1",
    "algorithm": "PPO",
    "seeds": 2,
    "param_space": {{"lr": space.loguniform(1e-4, 1e-2), "num_epochs": 1}},
    "search": {{"num_samples": 2}},
    "stop": {{"num_env_steps_sampled_lifetime": {steps}}},
    "selection": {{"finalists": {finalists}, "confirm_seeds": 2, "confirm_episodes": 2}},
    "tracking": None,
}}
run = sweeper.run(spec)
"""


def interrupt_when(word: str, times: int = 1) -> Callable[[Kernel, Cell], None]:
    """Interrupt as soon as a display has the word, and again at each of the next ones."""
    left = [times]

    def check(kernel: Kernel, cell: Cell) -> None:
        if left[0] and word in cell.displays[-1]:
            left[0] -= 1
            kernel.interrupt()

    return check


def test_a_sweep_shows_its_progress_in_place_and_leaves_a_small_table(tmp_path: Path) -> None:
    with started_kernel(tmp_path) as kernel:
        sweep = kernel.run(SWEEP.format(steps=4000, finalists=1))
        assert sweep.error is None
        assert sweep.text == ""  # neither Ray nor Tune adds anything
        assert "starting Ray" in sweep.displays[0]
        assert any("running</th>" in one for one in sweep.displays)
        last = sweep.displays[-1]
        assert "2 of 2 done; confirmation: 2 of 2 done" in last
        assert "best so far" in last
        assert "elapsed" not in last
        shown = kernel.run("run").result
        assert "<p>Undecided" in shown or "<p>Better" in shown or "<p>Worse" in shown
        assert shown.count("<table>") == 2
        table = kernel.run("run.confirmation[['of', 'seed', 'value']]").result
        assert table.count("baseline") == 2


def test_an_interrupt_ends_the_sweep_in_order_and_resume_goes_on(tmp_path: Path) -> None:
    with started_kernel(tmp_path) as kernel:
        long = SWEEP.format(steps=400_000, finalists=0)
        cut = kernel.run(long, on_display=interrupt_when("2 running"))
        assert cut.error is None
        assert "2 paused" in cut.displays[-1]
        assert kernel.run("run.state").result == "'interrupted'"
        assert kernel.run("run.trials['state'].tolist()").result == "['PAUSED', 'PAUSED']"
        steps = "float(run.trials['num_env_steps_sampled_lifetime'].min())"
        before = kernel.run(steps).result
        again = "run = sweeper.resume(run.results.root); run.state"
        resumed = kernel.run(again, on_display=interrupt_when("2 running"))
        assert resumed.result == "'interrupted'"
        assert kernel.run(f"{steps} >= {before}").result == "True"


@pytest.mark.acceptance
def test_a_sweep_without_progress_shows_nothing(tmp_path: Path) -> None:
    with started_kernel(tmp_path) as kernel:
        code = SWEEP.format(steps=4000, finalists=0).replace("(spec)", "(spec, progress=False)")
        quiet = kernel.run(f"{code}\nrun.state")
        assert (quiet.displays, quiet.text, quiet.result) == ([], "", "'finished'")


@pytest.mark.acceptance
def test_a_second_interrupt_ends_the_cell_and_the_kernel_lives(tmp_path: Path) -> None:
    with started_kernel(tmp_path) as kernel:
        long = SWEEP.format(steps=40_000_000, finalists=0)
        cut = kernel.run(long, on_display=interrupt_when("2 starting", times=2))
        if cut.error is None:  # the first one had ended it before the second came
            pytest.skip("the sweep ended in order between the two interrupts")
        assert cut.error[0] == "KeyboardInterrupt"
        assert kernel.run("1 + 1").result == "2"
        assert kernel.run("sweeper.open_run('last').state").result == "'interrupted'"
        fine = kernel.run(SWEEP.format(steps=4000, finalists=0) + "\nrun.state")
        assert (fine.error, fine.result) == (None, "'finished'")
