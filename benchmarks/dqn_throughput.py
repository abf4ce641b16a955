"""How fast the torch backend's DQN trains, beside RLlib and Stable-Baselines3.

Every contestant trains the same shape with the same hyperparameters and the same number of
gradient steps, in a process of its own on the same single core, one after the other; the mean
return of the last episodes stands beside the speed, so that nothing is fast and wrong. Ours
trains K replicas at once and is credited with the env steps of all of them; the others train
one seed on the core, which is what K seeds one after the other come to. Speeds are by the
process's own CPU time: all are single-threaded, and a busy machine does not count against
whoever is measured then.

    python benchmarks/dqn_throughput.py --short

Stable-Baselines3 is left out where it is not installed: ``pip install -e '.[benchmark]'``.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
LAST_EPISODES = 20

RLLIB_DEFAULTS: dict[str, Any] = {}  # batch 32, one update a step, prioritised, double, dueling
UNIFORM = {"type": "EpisodeReplayBuffer", "capacity": 50_000}
# RL Zoo's, in RLlib's names; Stable-Baselines3's network has ReLU, and neither double Q nor
# dueling. 128 updates of 64 every 256 steps replay 32 steps for each taken.
ZOO: dict[str, Any] = {
    "lr": 2.3e-3,
    "gamma": 0.99,
    "train_batch_size_per_learner": 64,
    "rollout_fragment_length": 256,
    "training_intensity": 32.0,
    "num_steps_sampled_before_learning_starts": 1000,
    "target_network_update_freq": 10,
    "epsilon": [[0, 1.0], [8000, 0.04]],
    "grad_clip": 10.0,
    "double_q": False,
    "dueling": False,
    "replay_buffer_config": {"type": "EpisodeReplayBuffer", "capacity": 100_000},
}


@dataclass(frozen=True)
class Shape:
    """What is trained on CartPole-v1; hyperparameters have RLlib's names.

    Attributes:
        env_steps: of one seed, in the long form and in the short one.
        updates_per_step: to count gradient steps.
        replicas: how many ours trains at once, one measurement each.
        against: the other contestants.
    """

    title: str
    env_steps: tuple[int, int]
    hyperparameters: dict[str, Any]
    model_config: dict[str, Any]
    updates_per_step: float
    replicas: tuple[int, ...] = (5,)
    against: tuple[str, ...] = ("RLlib",)


SHAPES = {
    "default": Shape(
        "RLlib's defaults, [256, 256]",
        (20_000, 4_000),
        RLLIB_DEFAULTS,
        {"fcnet_hiddens": [256, 256]},
        1.0,
        replicas=(1, 5),
    ),
    "small": Shape(
        "RLlib's defaults, [64, 64]",
        (20_000, 4_000),
        RLLIB_DEFAULTS,
        {"fcnet_hiddens": [64, 64]},
        1.0,
        replicas=(1, 5),
    ),
    "uniform": Shape(
        "RLlib's defaults but uniform replay, [64, 64]",
        (20_000, 4_000),
        {"replay_buffer_config": UNIFORM},
        {"fcnet_hiddens": [64, 64]},
        1.0,
        against=(),
    ),
    "uniform-256": Shape(
        "RLlib's defaults but uniform replay, [256, 256]",
        (20_000, 4_000),
        {"replay_buffer_config": UNIFORM},
        {"fcnet_hiddens": [256, 256]},
        1.0,
        against=(),
    ),
    "zoo": Shape(
        "RL Zoo, [256, 256]",
        (50_000, 12_032),
        ZOO,
        {"fcnet_hiddens": [256, 256], "fcnet_activation": "relu"},
        0.5,
        replicas=(1, 5),
        against=("Stable-Baselines3",),
    ),
}


@dataclass(frozen=True)
class Measurement:
    """One run: speed of all seeds together, the last episodes' mean returns, peak memory."""

    env_steps_per_s: float
    episode_returns: list[float]
    gradient_steps: int
    memory_mb: float


@dataclass
class Row:
    """One contestant at one shape."""

    shape: str
    contestant: str
    runs: list[Measurement] = field(default_factory=list)

    @property
    def median(self) -> float:
        """Of the runs' speeds."""
        return statistics.median(run.env_steps_per_s for run in self.runs)


def count_updates(shape: Shape, env_steps: int) -> int:
    """Gradient steps of one seed: none before the 1000th env step."""
    return int((env_steps - 1000) * shape.updates_per_step)


def build_ours(shape: Shape, replicas: int, seed: int) -> Any:
    """A trainer of ``replicas`` seeds."""
    from sweeper.environments import EnvironmentSettings
    from sweeper.trainables.dqn import TorchDQNTrainer
    from sweeper.trainables.replicas import TrialSettings

    settings = TrialSettings(
        algorithm="DQN",
        backend="torch",
        environment=EnvironmentSettings("CartPole-v1"),
        constants={},
        seeds=tuple(range(seed * replicas, (seed + 1) * replicas)),
    )
    return TorchDQNTrainer(settings, {**shape.hyperparameters, "model_config": shape.model_config})


def measure_ours(shape: Shape, env_steps: int, replicas: int, seed: int) -> dict[str, Any]:
    """Train ``replicas`` seeds with the torch backend."""
    trainer = build_ours(shape, replicas, seed)
    returns: list[list[float]] = [[] for _ in range(replicas)]
    taken = 0
    started = time.process_time()
    while taken < env_steps:
        progress = trainer.train()
        taken = progress[0].env_steps
        for mine, replica in zip(returns, progress, strict=True):
            mine += replica.episode_returns
    elapsed = time.process_time() - started
    return {
        "env_steps_per_s": taken * replicas / elapsed,
        "episode_returns": [statistics.mean(mine[-LAST_EPISODES:]) for mine in returns],
        "gradient_steps": count_updates(shape, taken),
    }


def measure_rllib(shape: Shape, env_steps: int, seed: int) -> dict[str, Any]:
    """Train one seed with an RLlib Algorithm in this process."""
    import ray
    from ray.rllib.algorithms.dqn import DQNConfig

    ray.init(
        address="local",
        num_cpus=1,
        include_dashboard=False,
        log_to_driver=False,
        object_store_memory=200 * 2**20,
        logging_level="ERROR",
    )
    algorithm = (
        DQNConfig()
        .environment("CartPole-v1")
        .env_runners(num_env_runners=0)
        .training(**shape.hyperparameters)
        .rl_module(model_config=dict(shape.model_config))
        .debugging(seed=10_000 * (seed + 1))
        .build_algo()
    )
    algorithm.local_replay_buffer.rng.bit_generator.state = type(
        algorithm.local_replay_buffer.rng.bit_generator
    )(seed).state
    taken, returns = 0, float("nan")
    started = time.process_time()
    while taken < env_steps:
        runners = algorithm.train()["env_runners"]
        taken = int(runners["num_env_steps_sampled_lifetime"])
        returns = runners.get("episode_return_mean", returns)
    elapsed = time.process_time() - started
    return {
        "env_steps_per_s": taken / elapsed,
        "episode_returns": [float(returns)],
        "gradient_steps": count_updates(shape, taken),
    }


def measure_stable_baselines3(shape: Shape, env_steps: int, seed: int) -> dict[str, Any]:
    """Train one seed with Stable-Baselines3; only the zoo's shape."""
    from stable_baselines3 import DQN
    from stable_baselines3.common.env_util import make_vec_env

    given = shape.hyperparameters
    model = DQN(
        "MlpPolicy",
        make_vec_env("CartPole-v1", n_envs=1, seed=10_000 * (seed + 1)),
        learning_rate=given["lr"],
        batch_size=given["train_batch_size_per_learner"],
        buffer_size=given["replay_buffer_config"]["capacity"],
        learning_starts=given["num_steps_sampled_before_learning_starts"],
        gamma=given["gamma"],
        target_update_interval=given["target_network_update_freq"],
        train_freq=given["rollout_fragment_length"],
        gradient_steps=128,
        exploration_fraction=given["epsilon"][1][0] / env_steps,
        exploration_final_eps=given["epsilon"][1][1],
        policy_kwargs={"net_arch": shape.model_config["fcnet_hiddens"]},
        seed=seed,
        device="cpu",
    )
    started = time.process_time()
    model.learn(env_steps)
    elapsed = time.process_time() - started
    last = [episode["r"] for episode in list(model.ep_info_buffer)[-LAST_EPISODES:]]
    return {
        "env_steps_per_s": model.num_timesteps / elapsed,
        "episode_returns": [statistics.mean(last) if last else float("nan")],
        "gradient_steps": int(model._n_updates),
    }


def measure_arithmetic(shape: Shape, replicas: int) -> dict[str, Any]:
    """The share of one core's peak that an update reaches, and its parts."""
    import numpy as np

    square = np.random.default_rng(0).normal(size=(1024, 1024)).astype(np.float32)
    peak = 2 * 1024**3 / _shortest(lambda: square @ square, 20)

    trainer = build_ours(shape, replicas, 0)
    trainer.train()  # fills the replay memory
    dqn, buffer, learner = trainer._dqn, trainer._buffer, trainer._learner
    sample = buffer.sample(dqn.batch)
    errors = learner.update(sample, 1000)
    parts = {
        "draw": _shortest(lambda: buffer.sample(dqn.batch), 200),
        "learn": _shortest(lambda: learner.update(sample, 1000), 200),
        "priorities": _shortest(lambda: buffer.update_priorities(sample.places, errors), 200),
    }
    seconds = sum(parts.values())
    first, second = shape.model_config["fcnet_hiddens"]
    layers = 4 * first + first * second + second * (2 + dqn.dueling)
    # Forward: the online network at the start, the target's at the end, with double Q the
    # online one's there too. Backward twice a forward, but for the first layer's input.
    multiplications = (2 + dqn.double_q) * layers + 2 * layers - 4 * first
    operations = 2 * dqn.batch * replicas * multiplications
    return {
        "update_ms": 1000 * seconds,
        "parts_ms": {name: 1000 * part for name, part in parts.items()},
        "gflops": operations / seconds / 1e9,
        "peak_gflops": peak / 1e9,
        "share": operations / seconds / peak,
    }


def _shortest(call: Callable[[], Any], times: int) -> float:
    def once() -> float:
        started = time.perf_counter()
        call()
        return time.perf_counter() - started

    once()
    return min(once() for _ in range(times))


def run_worker(arguments: argparse.Namespace) -> None:
    """One measurement, in this process; prints it as JSON."""
    os.sched_setaffinity(0, {arguments.core})
    contestant, _, replicas = arguments.worker.partition(":")
    import torch

    torch.set_num_threads(1)
    shape = SHAPES[arguments.shape]
    if contestant == "arithmetic":
        print(json.dumps(measure_arithmetic(shape, int(replicas))))
        return
    env_steps = shape.env_steps[arguments.short]
    if contestant == "ours":
        result = measure_ours(shape, env_steps, int(replicas), arguments.seed)
    elif contestant == "RLlib":
        result = measure_rllib(shape, env_steps, arguments.seed)
    else:
        result = measure_stable_baselines3(shape, env_steps, arguments.seed)
    print(json.dumps({**result, "memory_mb": _peak_memory_mb()}))


def _peak_memory_mb() -> float:
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def start_worker(contestant: str, arguments: argparse.Namespace, shape: str, seed: int) -> Any:
    """The same in a process of its own, on one core with one thread."""
    command = [
        sys.executable,
        __file__,
        "--worker",
        contestant,
        "--shape",
        shape,
        "--seed",
        str(seed),
        "--core",
        str(arguments.core),
    ]
    finished = subprocess.run(
        [*command, *(["--short"] if arguments.short else [])],
        env={**os.environ, **ONE_THREAD, "RAY_USAGE_STATS_ENABLED": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    if finished.returncode:
        raise SystemExit(f"{contestant} failed at {shape}:\n{finished.stderr[-3000:]}")
    return json.loads(finished.stdout.splitlines()[-1])


def contestants(shape: Shape) -> Iterator[str]:
    """Who runs at a shape: the others, then ours with each number of replicas."""
    for name in shape.against:
        if name != "Stable-Baselines3" or importlib.util.find_spec("stable_baselines3"):
            yield name
        else:
            print("Stable-Baselines3 is not installed: left out", file=sys.stderr)
    for replicas in shape.replicas:
        yield f"ours:{replicas}"


def run_shape(key: str, arguments: argparse.Namespace) -> list[Row]:
    """All measurements of one shape; repeats are interleaved, so that drift hits everyone."""
    rows = [Row(key, name) for name in contestants(SHAPES[key])]
    for repeat in range(arguments.repeats):
        for row in rows:
            measured = start_worker(row.contestant, arguments, key, repeat)
            row.runs.append(Measurement(**measured))
            print(f"{key} {row.contestant}: {measured}", file=sys.stderr)
    return rows


def print_table(rows: list[Row]) -> None:
    """A Markdown table; each of ours against each of the others at its shape."""
    print("| shape | who | env steps/s: median (range) | returns | gradient steps | MB | ours is |")
    print("|---|---|---|---|---|---|---|")
    for row in rows:
        speeds = [run.env_steps_per_s for run in row.runs]
        returns = [value for run in row.runs for value in run.episode_returns]
        name, _, replicas = row.contestant.partition(":")
        ratios = [
            f"{row.median / other.median:.1f} x {other.contestant}"
            for other in rows
            if name == "ours" and other.shape == row.shape and ":" not in other.contestant
        ]
        cells = (
            SHAPES[row.shape].title,
            f"ours, {replicas} replica{'s' if replicas != '1' else ''}" if replicas else name,
            f"{row.median:,.0f} ({min(speeds):,.0f}-{max(speeds):,.0f})",
            f"{statistics.mean(returns):.0f} ({min(returns):.0f}-{max(returns):.0f})",
            f"{row.runs[0].gradient_steps:,}",
            f"{max(run.memory_mb for run in row.runs):.0f}",
            ", ".join(ratios),
        )
        print(f"| {' | '.join(cells)} |")


def print_replay(rows: list[Row]) -> None:
    """Prioritised against uniform replay, ours with five replicas."""
    speeds = {row.shape: row.median for row in rows if row.contestant == "ours:5"}
    for prioritised, uniform in (("default", "uniform-256"), ("small", "uniform")):
        if prioritised in speeds and uniform in speeds:
            print(
                f"\nPrioritised against uniform replay, {SHAPES[prioritised].title}, 5 replicas: "
                f"{speeds[prioritised] / speeds[uniform]:.2f} x"
            )


def print_arithmetic(arguments: argparse.Namespace) -> dict[str, Any]:
    """What bounds an update of the first shape and of the zoo's."""
    found = {}
    for shape in ("default", "zoo"):
        found[shape] = measured = start_worker("arithmetic:5", arguments, shape, 0)
        parts = ", ".join(f"{name} {ms:.2f}" for name, ms in measured["parts_ms"].items())
        print(
            f"\nArithmetic of an update, {SHAPES[shape].title}, 5 replicas: "
            f"{measured['update_ms']:.2f} ms ({parts}), {measured['gflops']:.0f} of "
            f"{measured['peak_gflops']:.0f} GFLOP/s "
            f"({100 * measured['share']:.0f} % of one core's matmul)"
        )
    return found


def print_conditions(arguments: argparse.Namespace) -> None:
    """Versions, processor, load, and how often each was run."""
    versions = []
    for name in ("ray", "torch", "numpy", "gymnasium", "stable-baselines3"):
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    print(
        f"\n{model}, core {arguments.core} of {os.cpu_count()}, one thread each; load "
        f"{os.getloadavg()[0]:.1f} at the end; {arguments.repeats} runs each; Python "
        f"{platform.python_version()}, {', '.join(versions)}"
        f"{'; short form' if arguments.short else ''}"
    )


def main() -> None:
    """Run the chosen shapes and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true", help="fewer env steps, one run each")
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--repeats", type=int, help="runs of each (3; 1 with --short)")
    parser.add_argument("--core", type=int, default=min(os.sched_getaffinity(0)))
    parser.add_argument("--json", type=Path, help="also write the measurements here")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--shape", help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        run_worker(arguments)
        return
    arguments.repeats = arguments.repeats or (1 if arguments.short else 3)
    rows = [row for key in arguments.shapes for row in run_shape(key, arguments)]
    print_table(rows)
    print_replay(rows)
    arithmetic = print_arithmetic(arguments)
    print_conditions(arguments)
    if arguments.json:
        runs = [{"row": vars(row) | {"runs": [vars(run) for run in row.runs]}} for row in rows]
        document = {"rows": runs, "arithmetic": arithmetic}
        arguments.json.write_text(json.dumps(document, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
