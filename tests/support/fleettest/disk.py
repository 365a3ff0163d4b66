"""A data folder whose calls are counted, slowed down or made to fail, and the servers on it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from fleettest.aoffile import AofFolder
from fleettest.faults import Faults
from fleettest.instance import Instance, Option
from fleettest.wait import assert_eventually

REWRITE_S = 30.0
# Of servers with an AOF that is rewritten only when they are told to.
AOF_OPTIONS: dict[str, Option] = {
    "appendonly": "yes", "appendfsync": "always", "auto-aof-rewrite-percentage": "0", "hz": "100",
}  # fmt: skip


class Disk:
    """`options` are those of each of its servers."""

    def __init__(self, tmp_path: Path, options: Mapping[str, Option] | None = None) -> None:
        self.folder = tmp_path / "data"
        self.faults = Faults(self.folder, tmp_path)
        self.files = AofFolder(self.folder)
        self.log = tmp_path / "server.log"
        self._options = dict(options or {})

    def server(self, **options: Option) -> Instance:
        """One that is not started yet. All of them write to one log."""
        named = {name.replace("_", "-"): value for name, value in options.items()}
        instance = Instance(directory=self.folder, options={**self._options, **named}, env=self.faults.env)
        instance.log = self.log
        return instance

    def hold_snapshots(self) -> None:
        """Until `faults.clear()` they are not on disk. Manifests are, which the server's own thread writes."""
        self.faults.forget()
        self.faults.set("hold fsync 1- @temp-[!a]*")


def wait_rewritten(server: Instance, *, well: bool = True) -> None:
    """Waits until no rewrite of the AOF runs or is to come; the last one went well, unless nobody knows."""

    def done() -> bool:
        info = server.info("persistence")
        return info["aof_rewrite_in_progress"] == info["aof_rewrite_scheduled"] == "0"

    assert_eventually(done, "the rewrite ends", deadline_s=REWRITE_S)
    assert not well or server.info("persistence")["aof_last_bgrewrite_status"] == "ok"
