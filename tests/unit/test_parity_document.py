from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_table_of_keys_is_the_one_that_specs_are_checked_against() -> None:
    script = ROOT / "tools" / "write_parity_table.py"
    done = subprocess.run([sys.executable, str(script), "--check"])
    assert done.returncode == 0, "run python tools/write_parity_table.py"
