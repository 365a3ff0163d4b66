"""What a plan may ask for: one small type an act. The interpreter does them (execution/interpreter.py).

    reason     a sentence for people: the event, the log line and, for the disruptive ones, the phase
    word       the word of its event
    subject    what it changes, as Kind/name; a process is Server/<pod>
    needs      subjects: if an earlier action on one of them failed, this one is left out of that cycle, too; RECORD if
               it acts by the plan's record, which must have been stored

Facts that it was decided by are preconditions, where acting on others would do harm: the uid of a pod or object, the
version of a claim, the run id of a server. If they do not hold any more nothing is done, and the next cycle plans anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from cachefleet_operator.api.objects import Key, Object, key_of
from cachefleet_operator.api.v1alpha1 import Topology
from cachefleet_operator.planning.failover.facts import Prepared, Target

CREATED = "Created"
RECORD = "status.topology"


@dataclass(frozen=True, slots=True)
class Action:
    reason: str
    needs: frozenset[str] = field(default=frozenset(), kw_only=True)
    WORD: ClassVar[str] = ""

    @property
    def word(self) -> str:
        return self.WORD

    @property
    def subject(self) -> str:
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class _OnPod(Action):
    pod: str

    @property
    def key(self) -> Key:
        return Key("Pod", self.pod)

    @property
    def subject(self) -> str:
        return str(self.key)


@dataclass(frozen=True, slots=True)
class _OnServer(Action):
    pod: str
    run_id: str

    @property
    def subject(self) -> str:
        return str(Key("Server", self.pod))


@dataclass(frozen=True, slots=True)
class _OnClaim(Action):
    claim: str

    @property
    def subject(self) -> str:
        return str(Key("PersistentVolumeClaim", self.claim))


@dataclass(frozen=True, slots=True)
class Apply(Action):
    """Server-side apply of a whole object, forced, as our field manager."""

    object: Object
    create: bool = False  # we know of none: one that exists all the same must be ours, or it is Refused

    @property
    def word(self) -> str:
        return CREATED if self.create else "Applied"

    @property
    def key(self) -> Key:
        return key_of(self.object)

    @property
    def subject(self) -> str:
        return str(self.key)


@dataclass(frozen=True, slots=True)
class Delete(Action):
    """Delete an object of ours. `orphan` leaves what it owns in place (a StatefulSet's pods and claims)."""

    key: Key
    uid: str
    orphan: bool = False
    WORD = "Deleted"

    @property
    def subject(self) -> str:
        return str(self.key)


@dataclass(frozen=True, slots=True)
class GenerateSecret(Action):
    """Make `object` (a Secret without data) with a random password under `field`, unless it holds one already."""

    object: Object
    field: str
    WORD = "PasswordGenerated"

    @property
    def subject(self) -> str:
        return str(key_of(self.object))


@dataclass(frozen=True, slots=True)
class LabelPod(_OnPod):
    uid: str
    labels: Mapping[str, str | None]  # None: it is taken away
    WORD = "PodLabelled"


@dataclass(frozen=True, slots=True)
class LabelObject(Action):
    """Labels of an object that is not ours to write as a whole, or holds what we must not write again."""

    key: Key
    uid: str
    labels: Mapping[str, str]
    WORD = "Labelled"

    @property
    def subject(self) -> str:
        return str(self.key)


@dataclass(frozen=True, slots=True)
class RestartPod(_OnPod):
    """Delete a pod so that its StatefulSet makes it anew. Disruptive."""

    uid: str
    WORD = "PodRestarted"


@dataclass(frozen=True, slots=True)
class ConfigSet(_OnServer):
    """CONFIG SET of several parameters in one command (the server takes all or none)."""

    parameters: Mapping[str, str]
    WORD = "ConfigSet"


@dataclass(frozen=True, slots=True)
class SetPassword(_OnServer):
    """Give the server the wanted password (read from `source` at execution, so that no plan, log or event holds it)."""

    source: tuple[str, str] | None  # (Secret, key); None = no password
    WORD = "PasswordSet"


@dataclass(frozen=True, slots=True)
class _OnDisk(_OnServer):
    """Said to a managed server, which must have this disk. What it answers is evidence (execution/witness.py)."""

    disk: str

    @property
    def target(self) -> Target:
        return Target(self.pod, self.disk, self.run_id)


@dataclass(frozen=True, slots=True)
class TellRecord(_OnDisk):
    record: Topology
    claim: str  # uid of its volume's claim, which it cannot know
    WORD = "RecordTold"


@dataclass(frozen=True, slots=True)
class FenceServer(_OnDisk):
    epoch: int
    claim: str
    WORD = "ServerFenced"


@dataclass(frozen=True, slots=True)
class PrepareServer(_OnDisk):
    """Asked again until it says OK."""

    prepared: Prepared
    WORD = "SetPrepared"


@dataclass(frozen=True, slots=True)
class PauseServer(_OnDisk):
    """Done when the heir has all, or when the pause is over."""

    epoch: int
    for_ms: int
    heir: str
    WORD = "WritesPaused"


@dataclass(frozen=True, slots=True)
class ResumeServer(_OnDisk):
    epoch: int
    WORD = "WritesResumed"


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
    WORD = "PasswordStored"

    @property
    def subject(self) -> str:
        return str(key_of(self.object))


@dataclass(frozen=True, slots=True)
class WriteBinding(Action):
    """Make the Secret `object` say how to connect: where, and with the password that `source` holds then."""

    object: Object
    host: str
    port: int
    source: tuple[str, str]
    WORD = "BindingWritten"

    @property
    def subject(self) -> str:
        return str(key_of(self.object))


@dataclass(frozen=True, slots=True)
class ResizeClaim(_OnClaim):
    """Without a precondition: another claim of that name should have this size, too."""

    size: str  # quantity
    WORD = "VolumeResized"


@dataclass(frozen=True, slots=True)
class OwnClaim(_OnClaim):
    """Give the claim these owners, if it is still of that version: with them it goes."""

    version: str
    owners: tuple[Mapping[str, object], ...]
    WORD = "VolumeOwned"


ToManaged = TellRecord | FenceServer | PrepareServer | PauseServer | ResumeServer
DISRUPTIVE = (RestartPod,)

EventType = Literal["Normal", "Warning"]
