"""The API server's audit log: who asked for what. It is how tests count what an operator costs the API server.

One JSON event a line, at level Metadata, when a request is complete (a watch when it ends). Events are written before
the reply is, so a request that a client saw succeed is in the log.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

POLICY: Final = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived", "ResponseStarted"],
    "rules": [{"level": "Metadata"}],
}
WRITES: Final = frozenset({"create", "update", "patch", "delete", "deletecollection"})


@dataclasses.dataclass(frozen=True)
class Request:
    """`resource` is like `pods` or `pods/status`; `status` the reply's code."""

    user: str
    agent: str
    verb: str
    resource: str
    namespace: str
    name: str
    status: int

    @classmethod
    def from_event(cls, event: dict[str, Any]) -> Request:
        target = event.get("objectRef", {})
        resource = "/".join(part for part in (target.get("resource"), target.get("subresource")) if part)
        return cls(
            user=event["user"].get("username", ""),
            agent=event.get("userAgent", ""),
            verb=event["verb"],
            resource=resource or event["requestURI"],
            namespace=target.get("namespace", ""),
            name=target.get("name", ""),
            status=event.get("responseStatus", {}).get("code", 0),
        )


class Audit:
    """Reads `log` from a mark on: `mark = audit.mark()`, something happens, `audit.requests(mark, ...)`."""

    def __init__(self, log: Path) -> None:
        self.log = log

    def mark(self) -> int:
        return self.log.stat().st_size

    def requests(
        self, since: int = 0, *, user: str = "", agent: str = "", verbs: frozenset[str] | None = None
    ) -> list[Request]:
        """Requests since the mark. `user` and `agent` are parts of the names; `verbs` like `WRITES`; all by default."""
        return [
            request
            for request in self._read(since)
            if user in request.user and agent in request.agent and (verbs is None or request.verb in verbs)
        ]

    def _read(self, since: int) -> Iterator[Request]:
        with self.log.open("rb") as log:
            log.seek(since)
            for line in log:
                if not line.endswith(b"\n"):  # being written
                    return
                yield Request.from_event(json.loads(line))
