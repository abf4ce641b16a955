"""A real sweep, MLflow's server on its record as `sweeper ui` starts it, and its pages."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from browser import visit
from command_line import started, sweeper_here
from PIL import Image

from sweeper.api import open_run
from sweeper.opened_run import Run

SCREEN = {"width": 1440, "height": 900}
SCORE = "metrics.`Decision/score`"
# One trial's worker fails; the marker keeps all others from it.
ENVIRONMENT = """
import os, pathlib, gymnasium, ray
from gymnasium.envs.classic_control.cartpole import CartPoleEnv
MARKER = pathlib.Path(__file__).with_name("has_failed")
class ShakyCartPole(CartPoleEnv):
    steps = 0
    def step(self, action):
        self.steps += 1
        if self.steps == 100 and ray.is_initialized():
            if ray.get_runtime_context().get_actor_id() is not None:
                try:
                    os.close(os.open(MARKER, os.O_CREAT | os.O_EXCL))
                except FileExistsError:
                    pass
                else:
                    raise OSError("the simulator is gone")
        return super().step(action)
gymnasium.register("ShakyCartPole-v0", ShakyCartPole, max_episode_steps=200)
"""
SPEC = """
# Twelve configurations, of which one fails.
name: pages
environment: {id: ShakyCartPole-v0, module: shaky_cartpole}
algorithm: PPO
seeds: 2
param_space:
  lr: {loguniform: [3.0e-4, 3.0e-3]}
  entropy_coeff: {uniform: [0.0, 0.02]}
  train_batch_size_per_learner: 512
  minibatch_size: 128
  num_epochs: 4
  num_envs_per_env_runner: 8
  model_config: {fcnet_hiddens: [32, 32]}
search: {algorithm: random, num_samples: 12, seed: 0}
stop: {num_env_steps_sampled_lifetime: 4000}
evaluation: {episodes: 5, every_env_steps: 1000}
selection: {finalists: 2, confirm_seeds: 3, confirm_episodes: 10}
resources: {retries: 0}
tracking: {register_as: cartpole agent}
"""
_PATIENCE_MS = 60_000  # a machine may be busy
# On a first visit a panel for MLflow's assistant takes a third of the page.
_NO_ASSISTANT = """
localStorage.setItem("mlflow.assistant.fab.autoOpenedOnFirstLoad_v1", "true");
localStorage.setItem("mlflow.assistant.panelOpen_v1", "false");
"""


@dataclass(frozen=True)
class Pages:
    """A sweep's pages in MLflow.

    Attributes:
        folder: the working directory of the sweep.
        run: the sweep, read from its folder.
        trials_url: the first address that `sweeper ui` prints.
        sweep_url: the second one.
    """

    folder: Path
    run: Run
    trials_url: str
    sweep_url: str

    @property
    def experiment_url(self) -> str:
        """The experiment's page, without a view."""
        return f"{self.trials_url.partition('?')[0]}?workflowType=machine_learning"

    @property
    def version_url(self) -> str:
        """The page of the registered model's first version."""
        return f"{self.trials_url.partition('#')[0]}#/models/cartpole%20agent/versions/1"


def run_sweep(folder: Path) -> Run:
    """Run the sweep; needs a running Ray."""
    (folder / "shaky_cartpole.py").write_text(ENVIRONMENT)
    (folder / "spec.yaml").write_text(SPEC)
    done = sweeper_here("run", "spec.yaml", cwd=folder)
    assert done.returncode == 0, done.stderr
    return open_run(done.stdout.strip())


@contextmanager
def serve(folder: Path, run: Run) -> Iterator[Pages]:
    """Start `sweeper ui`, and read the addresses that it prints."""
    with started("ui", "--port", "0", cwd=folder) as process:
        assert process.stderr is not None
        said = [process.stderr.readline() for _ in range(2)]
        found = [re.search(r"http://\S+", line) for line in said]
        assert all(found), said
        trials_url, sweep_url = (one[0] for one in found if one)
        yield Pages(folder, run, trials_url, sweep_url)


@contextmanager
def opened(browser: Any, url: str) -> Iterator[Any]:
    """A page of MLflow in a profile of its own, without the assistant."""
    from playwright.sync_api import expect

    expect.set_options(timeout=_PATIENCE_MS)
    with browser.new_context(viewport=SCREEN) as profile:
        profile.add_init_script(_NO_ASSISTANT)
        with visit(profile, url) as seen:
            yield seen.page


def rows_of(page: Any, expected: int) -> list[str]:
    """The names in the table of runs, from the top, once it has so many rows."""
    from playwright.sync_api import expect

    names = page.locator(".ag-row:not(.ag-full-width-row) [col-id='attributes.`Run Name`']")
    expect(names).to_have_count(expected)
    name = "attributes.`Run Name`"
    return [_cell(page, row, name).locator("a").inner_text().strip() for row in range(expected)]


def column_of(page: Any, column: str, rows: int) -> list[float | None]:
    """The numbers of a column, from the top; None for a dash."""
    texts = [_cell(page, row, column).inner_text().strip() for row in range(rows)]
    # MLflow shows as many digits as it has room for.
    return [None if text == "-" else float(text.rstrip("…")) for text in texts]


def _cell(page: Any, row: int, column: str) -> Any:
    return page.locator(f'.ag-row[row-index="{row}"] [col-id="{column}"]')


def count_colours(element: Any) -> int:
    """How many pixels of an element, as it is on the screen, have a colour of their own."""
    with Image.open(io.BytesIO(element.screenshot())) as picture:
        saturation = picture.convert("HSV").getchannel("S")
        return sum(saturation.histogram()[100:])
