"""What a plan may ask for: one small type an act. The backends do them, by a table of these types.

Each carries `reason`, a sentence for people: it becomes the event, the log line and, for the disruptive ones, the
phase. An action whose execution fails ends that cycle's list; the next cycle plans anew from what is then true.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from cachefleet_operator.api.objects import Key, Object, key_of


@dataclass(frozen=True, slots=True)
class Action:
    reason: str


@dataclass(frozen=True, slots=True)
class Apply(Action):
    """Server-side apply of a whole object, forced, as our field manager."""

    object: Object
    create: bool = False  # we know of none: one that exists all the same must be ours, or it is Refused

    @property
    def key(self) -> Key:
        return key_of(self.object)


@dataclass(frozen=True, slots=True)
class Delete(Action):
    """Delete an object of ours. `orphan` leaves what it owns in place (a StatefulSet's pods and claims)."""

    key: Key
    uid: str
    orphan: bool = False


@dataclass(frozen=True, slots=True)
class GenerateSecret(Action):
    """Make `object` (a Secret without data) with a random password under `field`, unless it holds one already."""

    object: Object
    field: str


@dataclass(frozen=True, slots=True)
class LabelPod(Action):
    pod: str
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class RestartPod(Action):
    """Delete a pod so that its StatefulSet makes it anew. Disruptive."""

    pod: str
    uid: str


@dataclass(frozen=True, slots=True)
class ConfigSet(Action):
    """CONFIG SET of several parameters in one command (the server takes all or none)."""

    pod: str
    parameters: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class SetPassword(Action):
    """Give the server the wanted password (read from `source` at execution, so that no plan, log or event holds it)."""

    pod: str
    source: tuple[str, str] | None  # (Secret, key); None = no password


@dataclass(frozen=True, slots=True)
class CopySecret(Action):
    """Make the Secret `object` hold, under `field`, what `source` holds: the password that servers have (`password`),
    or are about to be told (`next`).

    What it held before stays under `previous`: a container that restarts before its kubelet has the new file comes up
    with that one.
    """

    object: Object
    field: str
    source: tuple[str, str] | None


@dataclass(frozen=True, slots=True)
class ResizeClaim(Action):
    claim: str
    size: str  # quantity


@dataclass(frozen=True, slots=True)
class OwnClaim(Action):
    """Give the claim these owners, if it is still of that version: with them it goes."""

    claim: str
    version: str
    owners: tuple[Mapping[str, object], ...]


DISRUPTIVE = (RestartPod,)

EventType = Literal["Normal", "Warning"]


@dataclass(frozen=True, slots=True)
class Notice(Action):
    """An event without an act: something began to be wrong, or is well again. `reason` is the message."""

    type: EventType
    word: str  # CamelCase
