"""Ray's end does not end the process, even if its references become garbage meanwhile."""

from __future__ import annotations

import subprocess
import sys

# Ray exits the process if a reference is freed while its core worker shuts down. Tune leaves some
# in cycles, which the collector frees in whichever thread makes objects: here at every moment.
SCRIPT = """
import gc, threading, time
import ray
from ray._private import worker
from sweeper.running.tune.session import ray_session

class Node:
    pass

def litter():
    ending.wait()
    while held and not over.is_set():
        node = Node()
        node.itself, node.ref = node, held.pop()
        for _ in range(20):
            node = Node()
            node.itself = node
        time.sleep(0.0002)

def note_end():
    reset()
    ending.set()

ending, over = threading.Event(), threading.Event()
reset, worker._internal_kv_reset = worker._internal_kv_reset, note_end
threading.Thread(target=litter, daemon=True).start()
gc.set_threshold(100, 10, 10)
with ray_session(None, lambda: None):
    held = [ray.put(number) for number in range(5000)]
over.set()
assert ending.is_set() and gc.isenabled()
print("survived")
"""


def test_garbage_that_refers_to_ray_is_not_freed_while_ray_shuts_down() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=250
    )
    assert (done.returncode, done.stdout) == (0, "survived\n"), done.stderr
