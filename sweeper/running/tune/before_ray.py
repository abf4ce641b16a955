"""What Ray reads when it is imported and when it starts; to be imported before it.

Variables that our own promises depend on are always set; the others can be changed by the user.
"""

from __future__ import annotations

import logging
import os
import warnings

os.environ.update(
    {
        # Tune's newer output engine prints to stdout even with verbose=0.
        "RAY_AIR_NEW_OUTPUT": "0",
        "RAY_CHDIR_TO_TRIAL_DIR": "0",
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
        "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
        "TUNE_DISABLE_SIGINT_HANDLER": "1",
        # Tune's snapshots serve its own restore, which we do not use.
        "TUNE_GLOBAL_CHECKPOINT_S": "inf",
    }
)
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
# What RLlib's env runners and learners print goes into files of Ray's session, which have no bound
# by default: now 8 MiB, and as much of what came before.
os.environ.setdefault("RAY_ROTATION_MAX_BYTES", str(8 * 2**20))
os.environ.setdefault("RAY_ROTATION_BACKUP_COUNT", "1")

# Both would tell the user of a notebook to install what nothing here needs.
logging.getLogger("ray.widgets.util").setLevel(logging.WARNING)
warnings.filterwarnings("ignore", message="IProgress not found")
