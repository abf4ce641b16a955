"""``python -m sweeper``."""

import os
import sys

# Python puts the working directory first, where a script called mlflow.py may lie.
if not sys.flags.safe_path and sys.path[0] == os.getcwd():  # noqa: PTH109
    sys.path.append(sys.path.pop(0))

from sweeper.cli import main

main()
