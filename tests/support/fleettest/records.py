"""Every record of a Cache while a block lasts, as Kubernetes tells those who watch: none is too short to be seen.

    with Records(kube, namespace, "orders") as records:
        records.reach(7)                    up to this epoch all were seen
    records.after(3)                        those that came after epoch 3

So it is known how a primary was replaced: it handed over (`handover`), or was found lost (`elected`).
"""

from __future__ import annotations

import json
import subprocess
import threading
from typing import Any, Final

from fleettest.kube import Kube
from fleettest.wait import assert_eventually

Object = dict[str, Any]

PATH: Final = 'jsonpath={.status.topology}{"\\n"}'


class Records:
    def __init__(self, kube: Kube, namespace: str, name: str) -> None:
        self._command = kube.command("get", "cache", name, "-n", namespace, "--watch", "-o", PATH)
        self._environment = kube.environment()
        self._thread = threading.Thread(target=self._run)
        self._seen: dict[int, Object] = {}  # by epoch; one is told again with each change of the Cache

    def __enter__(self) -> Records:
        self._process = subprocess.Popen(
            self._command, env=self._environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._thread.join()

    def _run(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                if line.startswith("{"):
                    record = json.loads(line)
                    self._seen.setdefault(record["epoch"], record)

    def reach(self, epoch: int) -> None:
        """Waits until it is told."""
        assert_eventually(
            lambda: max(self._seen, default=0) >= epoch, lambda: f"{epoch} is told after {sorted(self._seen)}"
        )

    def after(self, epoch: int) -> list[Object]:
        return [self._seen[one] for one in sorted(self._seen) if one > epoch]
