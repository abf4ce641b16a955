"""Time a sweep whose storage is a bucket beside the same sweep in a folder.

PPO on CartPole-v1, 8 configurations x 5 seeds x 100,000 env steps on all cores, with evaluation
and ten checkpoints a trial, by turns: into a folder, and into a bucket of an S3 server on loopback.
The server (moto, in a process of its own) takes its part of the same cores.

    python benchmarks/bucket.py              # three turns, ~10 minutes
    python benchmarks/bucket.py --short      # one turn of a quarter, ~2 minutes
"""

from __future__ import annotations

import argparse
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from conditions import Conditions
from measuring import run_sweep
from tables import print_head, print_row, verdict

SPEC = """
name: bucket
environment: CartPole-v1
algorithm: PPO
seeds: 5
param_space:
  lr: {loguniform: [1.0e-4, 1.0e-2]}
  num_epochs: 10
  num_envs_per_env_runner: 8
  train_batch_size_per_learner: 1024
  minibatch_size: 256
  model_config: {fcnet_hiddens: [64, 64]}
search: {algorithm: random, num_samples: 8, seed: 0}
stop: {num_env_steps_sampled_lifetime: 100000}
evaluation: {episodes: 10}
selection: {finalists: 0}
tracking: null
"""
MAX_RATIO = 1.05
_START_S = 60


def main() -> None:
    """Measure, print the turns and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--turns", type=int)
    arguments = parser.parse_args()
    conditions = Conditions(("ray", "pyarrow", "moto"))
    turns = arguments.turns or (1 if arguments.short else 3)
    shorter = ["stop.num_env_steps_sampled_lifetime=25000"] if arguments.short else []
    ratios = []
    print_head("turn", "folder s", "bucket s", "ratio")
    with tempfile.TemporaryDirectory() as name, opened_bucket() as bucket:
        folder = Path(name)
        os.environ["XDG_STATE_HOME"] = str(folder / "state")
        spec = folder / "spec.yaml"
        spec.write_text(SPEC)
        for turn in range(1, turns + 1):
            places = [str(folder / "runs"), f"{bucket}/turn-{turn}"]
            if turn % 2 == 0:
                places.reverse()
            seconds = {place: run_sweep(spec, f"storage={place}", *shorter)[1] for place in places}
            local, stored = sorted(seconds, key=lambda place: "://" in place)
            ratios.append(seconds[stored] / seconds[local])
            row = (
                f"{turn}",
                f"{seconds[local]:.1f}",
                f"{seconds[stored]:.1f}",
                f"{ratios[-1]:.3f}",
            )
            print_row(*row)
    ratio = statistics.median(ratios)
    print_head("what", "asked", "reached", "met")
    reached = f"{ratio:.3f} ({min(ratios):.3f} to {max(ratios):.3f})"
    print_row("bucket / folder", f"at most {MAX_RATIO}", reached, verdict(ratio <= MAX_RATIO))
    print(f"\n{conditions.describe()}")


@contextmanager
def opened_bucket() -> Iterator[str]:
    """The address of a bucket on loopback, which the environment's variables lead to."""
    import boto3

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    os.environ.update(
        AWS_ENDPOINT_URL=f"http://127.0.0.1:{port}",
        AWS_ACCESS_KEY_ID="benchmark",
        AWS_SECRET_ACCESS_KEY="benchmark",  # noqa: S106
        AWS_DEFAULT_REGION="us-east-1",
    )
    command = [sys.executable, "-P", "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        client = boto3.client("s3")
        deadline = time.monotonic() + _START_S
        while True:
            with suppress(Exception):
                client.create_bucket(Bucket="sweeps")
                break
            if server.poll() is not None or time.monotonic() > deadline:
                sys.exit("the S3 server does not answer")
            time.sleep(0.2)
        yield "s3://sweeps"
    finally:
        server.kill()
        server.wait()


if __name__ == "__main__":
    main()
