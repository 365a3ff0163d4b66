"""The data folder as several processes see it: who runs `up` in it, and what that one last said.

    <data>/.cachefleet/lock          held by the `up` that runs (an flock: never stale); its pid is inside
    <data>/.cachefleet/state.json    what it last said of its Caches; written by rename, true while the lock is held
    <data>/.cachefleet/failover      whom somebody wants to be a primary; the `up` that runs takes it and removes it
    <data>/.cachefleet/operator.log  what the reconciler did and why, rotated
    <data>/.cachefleet/up.log        of a detached `up`: why it ended

Nothing here holds a password.
"""

from __future__ import annotations

import errno
import json
import os
import shlex
import shutil
import signal
import time
from pathlib import Path
from typing import Any

from cachefleet_operator.api.v1alpha1 import CacheKey
from cachefleet_operator.cli.failure import Exit, Failure
from cachefleet_operator.execution.local.kubelet import LOCK
from cachefleet_operator.execution.local.paths import Outside, below, private_folder, replace_file
from cachefleet_operator.execution.local.process import Busy, Lock
from cachefleet_operator.execution.local.store import caches_in

DATA = Path("cachefleet-data")  # where no --data names another
OWN = ".cachefleet"
POLL_S = 0.05
LOCK_S = 0.5  # `status` looks at a lock by taking it for a moment


class Folder:
    """A data folder."""

    def __init__(self, path: Path) -> None:
        self.path, self._own = path, path / OWN
        self._lock, self._state = self._own / "lock", self._own / "state.json"
        self._failover = self._own / "failover"
        self.operator_log, self.up_log = self._own / "operator.log", self._own / "up.log"

    def lock(self) -> Lock:
        """Makes the folder and takes it. Raises Failure when another `up` has it, or it cannot be written."""
        end = time.monotonic() + LOCK_S
        while True:
            try:
                private_folder(self._own)
                return Lock(self._lock)
            except Busy as busy:
                if time.monotonic() > end:
                    who = f"`cachefleet local up` (pid {busy.pid})"
                    words = f"{who} runs in {self.path} already; see `cachefleet local status{option(self.path)}`"
                    raise Failure(Exit.BUSY, words) from None
                time.sleep(POLL_S)
            except OSError as error:
                raise unwritable(self.path, error) from None

    def running(self) -> int:
        """Pid of the `up` that runs here; 0 = none does."""
        if not self._lock.exists():
            return 0
        try:
            Lock(self._lock, sign=False).release()
        except Busy as busy:
            return busy.pid
        except OSError as error:
            raise unwritable(self.path, error) from None
        return 0

    def write_state(self, report: dict[str, Any]) -> None:
        """Raises OSError."""
        replace_file(self._state, json.dumps({"pid": os.getpid(), **report}).encode())

    def state(self) -> dict[str, Any]:
        """What `up` last said. Raises Failure when nothing runs here."""
        pid = self.running()
        if pid:
            found = self._read_state()
            return found if found.get("pid") == pid else {"pid": pid, "caches": [], "events": []}
        start = f"cachefleet local up -f cache.yaml{option(self.path)}"
        hint = f"start it with `{start}`, or name another folder with --data"
        raise Failure(Exit.NOT_RUNNING, f"nothing runs in {self.path}: {hint}")

    def _read_state(self) -> dict[str, Any]:
        try:
            found = json.loads(self._state.read_bytes())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def ask_for(self, namespace: str, cache: str, successor: str) -> None:
        """Of the `up` that runs: that another pod become the primary."""
        try:
            replace_file(self._failover, json.dumps([namespace, cache, successor]).encode())
        except OSError as error:
            raise unwritable(self.path, error) from None

    def asked(self) -> tuple[str, str, str] | None:
        """What somebody asked for, once."""
        try:
            content = self._failover.read_bytes()
            self._failover.unlink()
            found = json.loads(content)
        except (OSError, ValueError):
            return None
        is_request = isinstance(found, list) and len(found) == 3 and all(isinstance(word, str) for word in found)
        return (found[0], found[1], found[2]) if is_request else None

    def server(self, namespace: str, cache: str, pod: str) -> int:
        """Pid of the pod's server; 0 = none runs."""
        try:
            Lock(below(self.path, namespace, cache, pod, LOCK), sign=False).release()
        except Busy as busy:
            return busy.pid
        except (OSError, Outside):
            return 0
        return 0

    def stop(self) -> bool:
        """Has the `up` that runs here stop, and waits until it has. False when none did."""
        pid = self.running()
        if not pid:
            return False
        try:
            os.kill(pid, signal.SIGTERM)
        except ProcessLookupError:
            pass  # it has just ended by itself
        except PermissionError:
            raise Failure(Exit.FAILED, f"process {pid} runs {self.path} and belongs to another user") from None
        while self.running() == pid:
            time.sleep(POLL_S)
        return True

    def caches(self) -> list[CacheKey]:
        """Of what is or was here."""
        return list(caches_in(self.path))

    def logs(self, namespace: str, cache: str) -> dict[str, Path]:
        """Of each pod that has one, by ordinal."""
        found = {path.parent.name: path for path in (self.path / namespace / cache).glob("*/server.log")}
        return {pod: found[pod] for pod in sorted(found, key=lambda pod: (len(pod), pod))}

    def delete_data(self) -> list[str]:
        """Removes what `up` made, and the folder if nothing else is in it. The names of the Caches that were."""
        lock = self.lock()
        keys = self.caches()
        try:
            for namespace, name in keys:
                shutil.rmtree(below(self.path, namespace, name))
                _remove_if_empty(self.path / namespace)
            shutil.rmtree(self._own)
            _remove_if_empty(self.path)
        except Outside as error:
            raise Failure(Exit.STORAGE, str(error)) from None
        except OSError as error:
            raise unwritable(self.path, error) from None
        finally:
            lock.release()
        return [str(key) for key in keys]


def option(data: Path) -> str:
    """What has to be added to the commands that we name, wherever somebody types them."""
    known = Path(os.environ.get("CACHEFLEET_DATA") or DATA)
    return "" if data == known else f" --data {shlex.quote(str(data.absolute()))}"


def unwritable(path: Path, error: OSError) -> Failure:
    hint = ": free some space, or choose another folder with --data" if error.errno == errno.ENOSPC else ""
    return Failure(Exit.STORAGE, f"cannot use {error.filename or path}: {error.strerror}{hint}")


def _remove_if_empty(path: Path) -> None:
    if not any(path.iterdir()):
        path.rmdir()
