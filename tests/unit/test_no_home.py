"""A user without a home folder, as in a container with a bare number, gets sentences."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")

# What is imported comes first: another user may not be allowed to read it.
SCRIPT = """
import os, pwd
from sweeper.errors import UserError
from sweeper.seals import is_sealed, seal
from sweeper.trust import refuse_foreign
from sweeper.upkeep import doctor
os.chdir("/")
os.setgroups([])
os.setgid(54321)
os.setuid(54321)
for check in doctor._check_ray_folders():
    print(check.name, check.status, check.detail)
print(seal("x", {}), is_sealed("x", {}, "y"))
try:
    refuse_foreign(["import evil"], name="a-run", trust=False, say=print)
except UserError as error:
    print(error)
"""


def test_what_needs_a_home_folder_says_so() -> None:
    hidden = ("HOME", "XDG_STATE_HOME")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env={name: value for name, value in os.environ.items() if name not in hidden},
        capture_output=True,
        text=True,
    )
    assert done.stderr == ""
    remedy = "set HOME to a folder that can be written"
    assert f"Ray's token failed this user has no home folder; {remedy}\n" in done.stdout
    assert "\nNone False\n" in done.stdout
    assert (
        "this user has no key and no home folder for one (HOME or XDG_STATE_HOME names it), so"
        in (done.stdout)
    )
