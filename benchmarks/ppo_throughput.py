"""Training speed of the torch backend's PPO, compared with RLlib and Stable-Baselines3.

This file defines the targets; `ppo_contestants` has the shapes and contestants, `contest` runs
them.

    python benchmarks/ppo_throughput.py --short

Stable-Baselines3, box2d and envpool are skipped unless they are installed:
``pip install -e '.[bench,box2d,envpool]'``.
"""

from __future__ import annotations

from contest import Contest, Entry, Target, main
from ppo_contestants import SHAPES, measure_ours, measure_rllib, measure_stable_baselines3
from ppo_profile import measure_arithmetic, measure_phases


def _against_sb3(shape: str, replicas: int, minimum: float, aim: float) -> Target:
    return Target(Entry(shape, f"ours:{replicas}"), Entry(shape, "Stable-Baselines3"), minimum, aim)


CONTEST = Contest(
    script=__file__,
    description=__doc__.splitlines()[0],
    shapes=SHAPES,
    contestants={
        "ours": measure_ours,
        "RLlib": measure_rllib,
        "Stable-Baselines3": measure_stable_baselines3,
    },
    modules={"Stable-Baselines3": "stable_baselines3"},
    targets=(
        Target(Entry("cartpole", "ours:5"), Entry("cartpole", "RLlib"), minimum=15, aim=25),
        _against_sb3("cartpole", 5, minimum=6, aim=10),
        _against_sb3("cartpole", 1, minimum=3, aim=5),
        _against_sb3("acrobot", 5, minimum=4, aim=8),
        _against_sb3("pendulum", 5, minimum=4, aim=8),
        _against_sb3("lunarlander", 5, minimum=3, aim=6),
        Target(Entry("rllib-default", "ours:5"), Entry("rllib-default", "RLlib"), minimum=4, aim=6),
        _against_sb3("images", 1, minimum=1.2, aim=1.5),
        _against_sb3("images", 5, minimum=1.2, aim=1.5),
        _against_sb3("halfcheetah", 1, minimum=1.5, aim=2),
        _against_sb3("halfcheetah", 5, minimum=3, aim=4),
        _against_sb3("cartpole-256", 5, minimum=2, aim=4),
        _against_sb3("cartpole-512", 5, minimum=1.2, aim=2),
        # Here the simulator is the bottleneck, and ours may use another one.
        _against_sb3("acrobot-envpool", 5, minimum=4, aim=8),
        _against_sb3("lunarlander-envpool", 5, minimum=3, aim=6),
    ),
    max_memory_mb={Entry("cartpole", "ours:16"): 1024, Entry("images", "ours:5"): 2000},
    arithmetic=measure_arithmetic,
    shares={
        "cartpole": (0.3, 0.5),
        "images": (0.75, 0.9),
        "halfcheetah": (0.3, 0.5),
        "cartpole-256": (0.5, 0.7),
        "cartpole-512": (0.6, 0.8),
    },
    profiles={"phases": measure_phases},
)

if __name__ == "__main__":
    main(CONTEST)
