"""The memory that may be had is the machine's, or what a cgroup leaves of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweeper.machine import free_bytes, total_bytes, usable_cores

MEMINFO = "MemTotal:       16000 kB\nMemFree: 1000 kB\nMemAvailable:   9000 kB\n"
KB = 1024


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in {"proc/meminfo": MEMINFO, **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_without_limits_it_is_the_machines(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "proc/self/cgroup": "0::/user.slice\n",
            "sys/fs/cgroup/user.slice/memory.max": "max\n",
            "sys/fs/cgroup/user.slice/memory.current": "5000000\n",
        },
    )
    assert total_bytes(tmp_path) == 16000 * KB
    assert free_bytes(tmp_path) == 9000 * KB


def test_the_tightest_cgroup_above_a_process_bounds_it(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "proc/self/cgroup": "0::/job/task\n",
            "sys/fs/cgroup/job/memory.max": f"{4000 * KB}\n",
            "sys/fs/cgroup/job/memory.current": f"{3000 * KB}\n",
            "sys/fs/cgroup/job/memory.stat": f"anon 7\ninactive_file {500 * KB}\n",
            "sys/fs/cgroup/job/task/memory.max": "max\n",
        },
    )
    assert total_bytes(tmp_path) == 4000 * KB
    assert free_bytes(tmp_path) == 1500 * KB


def test_a_container_sees_its_own_limit_at_the_top(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "proc/self/cgroup": "0::/docker/abc\n",  # a path of the host's
            "sys/fs/cgroup/memory.max": f"{2000 * KB}\n",
        },
    )
    assert total_bytes(tmp_path) == 2000 * KB


def test_the_first_version_of_cgroups_bounds_it_too(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "proc/self/cgroup": "5:cpu:/a\n4:memory:/a\n0::/\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
            "sys/fs/cgroup/memory/a/memory.limit_in_bytes": f"{3000 * KB}\n",
            "sys/fs/cgroup/memory/a/memory.usage_in_bytes": f"{2500 * KB}\n",
            "sys/fs/cgroup/memory/a/memory.stat": f"total_inactive_file {100 * KB}\n",
        },
    )
    assert total_bytes(tmp_path) == 3000 * KB
    assert free_bytes(tmp_path) == 600 * KB


def test_where_linux_does_not_tell_nothing_is_claimed(tmp_path: Path) -> None:
    assert total_bytes(tmp_path) is None
    assert free_bytes(tmp_path) is None


@pytest.mark.skipif(not Path("/proc/meminfo").exists(), reason="this is no Linux")
def test_this_machine_has_some() -> None:
    total, free = total_bytes(), free_bytes()
    assert total is not None
    assert free is not None
    assert 0 < free <= total


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}, 8),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "200000 100000\n"}, 2),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "350000 100000\n"}, 3),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "50000 100000\n"}, 1),
        (
            {
                "proc/self/cgroup": "0::/job/task\n",
                "sys/fs/cgroup/job/cpu.max": "400000 100000\n",
                "sys/fs/cgroup/job/task/cpu.max": "600000 100000\n",
            },
            4,
        ),
        (
            {
                "proc/self/cgroup": "4:cpu,cpuacct:/docker/abc\n2:memory:/\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "300000\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
            },
            3,
        ),
        (
            {
                "proc/self/cgroup": "4:cpu:/\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            8,
        ),
        ({}, 8),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "nonsense\n"}, 8),
    ],
)
def test_cores_are_bounded_by_the_tightest_quota(
    files: dict[str, str], cores: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)))
    write(tmp_path, files)
    assert usable_cores(tmp_path) == cores


def test_cores_are_bounded_by_the_affinity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 3})
    files = {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "400000 100000\n"}
    write(tmp_path, files)
    assert usable_cores(tmp_path) == 2
