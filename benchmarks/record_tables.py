"""Record the tables that `search_quality.py` searches, by sweeps of the project itself.

For every spec in ``benchmarks/recorded/`` the script runs ``sweeper run``, or ``sweeper resume`` if
it was interrupted before, and writes the run's results as two small Parquet files beside the spec.

    python benchmarks/record_tables.py                # all: about two hours of two cores
    python benchmarks/record_tables.py ppo_acrobot --storage /data/runs
    python benchmarks/record_tables.py ppo_acrobot --as-is    # what a run has so far; runs nothing
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from result_table import RECORDED, load_table, write_table

from sweeper import open_run

NAMES = tuple(sorted(path.stem for path in RECORDED.glob("*.yaml")))


def find_run(name: str, storage: Path) -> Path | None:
    """The newest run of a spec in a folder of runs; None without one."""
    found = sorted(storage.glob(f"{name}-*/journal.jsonl"))
    return found[-1].parent if found else None


def record(name: str, storage: Path) -> Path:
    """Run the sweep of a table, or what is left of it, and return the run folder."""
    earlier = find_run(name, storage)
    if earlier is None:
        command = ["run", str(RECORDED / f"{name}.yaml"), f"storage={storage}"]
    else:
        command = ["resume", str(earlier)]
    done = subprocess.run(
        [sys.executable, "-m", "sweeper", *command], stdout=subprocess.PIPE, text=True, check=True
    )
    return Path(done.stdout.strip())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="TABLE", help=f"of {', '.join(NAMES)}; or all")
    parser.add_argument("--storage", type=Path, default=Path("runs"), help="the folder of the runs")
    parser.add_argument("--as-is", action="store_true", help="convert a run as it stands")
    arguments = parser.parse_args()
    if unknown := sorted(set(arguments.names) - set(NAMES)):
        parser.error(f"no table {', '.join(unknown)}; there are {', '.join(NAMES)}")
    for name in arguments.names or NAMES:
        storage = arguments.storage.resolve()
        run = find_run(name, storage) if arguments.as_is else record(name, storage)
        if run is None:
            parser.error(f"no run of {name} in {storage}")
        paths = write_table(open_run(run), name)
        table = load_table(name)
        sizes = " and ".join(f"{path.name} ({path.stat().st_size / 1024:.0f} KB)" for path in paths)
        print(f"{name}: {len(table.curves)} configurations in {sizes}", flush=True)


if __name__ == "__main__":
    main()
