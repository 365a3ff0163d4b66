"""What the kernel says about a server process."""

from __future__ import annotations

import os
import resource

from fleettest.instance import Instance


def status_bytes(server: Instance, field: str) -> int:
    """A size of /proc/<pid>/status: VmRSS, VmHWM (the peak of VmRSS) ..."""
    with open(f"/proc/{server.pid}/status") as status:
        line = next(line for line in status if line.startswith(field + ":"))
    return int(line.split()[1]) * 1024


def rss_bytes(server: Instance) -> int:
    return status_bytes(server, "VmRSS")


def open_files(server: Instance) -> int:
    return len(os.listdir(f"/proc/{server.pid}/fd"))


def thread_count(server: Instance) -> int:
    return len(os.listdir(f"/proc/{server.pid}/task"))


def cpu_seconds(server: Instance) -> float:
    """User and system time so far."""
    return _cpu_seconds(f"/proc/{server.pid}/stat")


def main_thread_cpu_seconds(server: Instance) -> float:
    """That of the thread which serves clients: what it worked, however long the machine made it wait for a core."""
    return _cpu_seconds(f"/proc/{server.pid}/task/{server.pid}/stat")


def _cpu_seconds(path: str) -> float:
    with open(path) as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def allow_open_files(wanted: int) -> bool:
    """Raises this process' limit, which servers started from now on inherit. False when the system refuses."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= wanted:
        return True
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(hard, wanted)))
    except (ValueError, PermissionError):
        return False
    return True
