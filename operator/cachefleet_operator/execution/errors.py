"""Backend: where a Cache lives. Kubernetes (kube/backend.py), and processes here (local/backend.py).

The reconciler (reconciler.py) knows nothing else: observe -> plan -> apply -> write the status -> sleep. A backend
raises `ExecutionError` with the words of who refused; everything else is a bug.
"""

from __future__ import annotations

from typing import Protocol

from cachefleet_operator.api.v1alpha1 import Cache, CacheStatus
from cachefleet_operator.planning.actions import Action
from cachefleet_operator.planning.snapshot import Snapshot


class ExecutionError(Exception):
    """Somebody refused or did not answer. `str()` has the words; `conflict` = try again at once with fresh facts."""

    def __init__(self, words: str, *, conflict: bool = False) -> None:
        super().__init__(words)
        self.conflict = conflict


class Refused(ExecutionError):
    """A server or the API refused what was asked, for good: becomes a Refusal in the status, not a hot loop.

    `subject` is the parameter or field, `wish` the value as it may be shown.

    an object      (invalid, forbidden) target "Kind/name", subject "object", wish its applied hash; a Secret has none
    its name       (somebody else's object has it) target "Kind/name", subject "metadata.name", no wish
    ConfigSet      target the pod, subject the parameter, wish its value
    ResizeClaim    target "PersistentVolumeClaim/name", subject "storage.size", wish the size
    """

    def __init__(self, words: str, *, target: str, subject: str, wish: str) -> None:
        super().__init__(words)
        self.target, self.subject, self.wish = target, subject, wish


class Backend(Protocol):
    async def observe(self, cache: Cache) -> Snapshot:
        """Everything `plan` needs, read once."""

    async def execute(self, cache: Cache, action: Action) -> None:
        """Does one action. Raises Refused, ExecutionError."""

    async def write_status(self, cache: Cache, status: CacheStatus) -> None:
        """Stores the status of the Cache (the status subresource)."""

    async def event(self, cache: Cache, action: Action) -> None:
        """Tells people what was done and why. Never raises."""
