from __future__ import annotations

from pathlib import Path

import sweeper.trainables.torch_backend

FOLDER = Path(sweeper.trainables.torch_backend.__file__).parent


def test_algorithms_do_not_import_each_other_and_shared_files_import_none() -> None:
    algorithms = {path.parent.name for path in FOLDER.glob("*/trainer.py")}
    assert algorithms >= {"ppo", "dqn"}
    for file in FOLDER.rglob("*.py"):
        for other in algorithms - {file.parent.name}:
            assert f"torch_backend.{other}" not in file.read_text(encoding="utf-8"), file
