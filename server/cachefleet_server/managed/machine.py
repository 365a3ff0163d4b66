"""A managed server's decisions: when it may accept writes, whom it follows, what it confirms.

    actions = machine.handle(event, now)        now: seconds of a clock that goes on while the machine sleeps

It knows no sockets, no engine, no disk and no clock: events say what happened, actions what is to be done, in their
order. Who carries them out is service.py; a simulator may do it as well. The rules, by the names that the code uses:

    S1  fenced start: no writes and no confirmations before a record, or S8
    S2  what is older than the promise is refused; a newer one is stored first, and then acted by
    S3  a record makes this server the primary only if it names this disk, this run and this very position; one that
        lets the primary go on, only if this run holds that tenure now
    S4  with acks > 0 writes are accepted only while so many members have confirmed a beat that was *sent* less than
        LEASE_S ago: counted from its arrival, a confirmation that comes late would renew a lease that is over
    S5  durability replicated: a reply to a write waits until so many members have confirmed it, counted by disks. It
        needs no lease then: every later primary has the write
    S6  PREPARE: a second quorum counts, too, until the next record; one an epoch, and stored
    S7  a replica confirms only to a primary whose epoch is not below the promise, takes no data from others, and takes
        on a tenure when its mark was applied
    S8  a primary that needs nobody may go on after a restart, as nobody replaces it without its promise
    S9  a new disk id where it cannot be proved that all is there that was ever confirmed

    fenced --RECORD of another--> replica --FENCE--> fenced --RECORD of this disk, run, position--> primary
       '--S8--> primary --FENCE, RECORD of another, a restart--> fenced

A server that is fenced follows nobody and accepts no writes, so its position stands still. A store that fails is told
by `StoreFailed`, and nothing behind it is done: the server is fenced, and what it says next is stored before.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final

from cachefleet_server.managed.actions import (
    Accept,
    Action,
    Beat,
    Confirm,
    ConfirmTicks,
    Copied,
    CutClients,
    Done,
    Drop,
    Facts,
    Follow,
    Greet,
    Hold,
    Lead,
    Lease,
    LetGo,
    Refuse,
    Stand,
    Store,
)
from cachefleet_server.managed.events import (
    Acked,
    Confirmed,
    Event,
    Fence,
    Greeted,
    Heard,
    Hello,
    Joined,
    Kept,
    Passed,
    Pause,
    Prepare,
    Resume,
    Said,
    Started,
    StoreFailed,
    Told,
    Unlinked,
)
from cachefleet_server.managed.state import (
    CONTINUED,
    REPLICATED,
    STARTS_MAX,
    Greeting,
    Position,
    Prepared,
    Quorum,
    Record,
    Start,
    Stored,
    tenure_at,
)

BEAT_S: Final = 0.2
LEASE_S: Final = 2.5
AUDIENCE_S: Final = 10.0  # a primary that needs nobody beats so long for who was heard
PAUSE_MS_MAX: Final = 10_000
STILL_S: Final = 1.0  # of a pause, less than a lease
OFFSET_MAX: Final = (1 << 64) - 1
EPOCHS_AHEAD: Final = 2**32  # a record is one more than the last: what is far above has seen none

FENCED: Final = "fenced"
PRIMARY: Final = "primary"
REPLICA: Final = "replica"


@dataclass(slots=True)
class _Heard:
    """What a disk has confirmed."""

    offset: int
    sent_at: float  # when the last of the beats was sent that it has applied


@dataclass(slots=True)
class _Reign:
    """Of this run, as the primary."""

    tenure: int
    quorum: Quorum
    durability: str
    prepared: Prepared | None = None
    prepared_end: int = 0
    beats: list[tuple[int, float]] = field(default_factory=list)  # end, sent at; rising
    heard: dict[str, _Heard] = field(default_factory=dict)
    audience_until: float = -math.inf
    still_until: float = -math.inf  # no beats, so that replicas can be seen to have all there is

    def quorums(self) -> list[Quorum]:
        return [self.quorum, self.prepared.quorum] if self.prepared else [self.quorum]


class Machine:
    """`stored`: what is on the disk, None: nothing that could be read. `draw` makes a new disk id."""

    def __init__(self, stored: Stored | None, *, run: str, draw: Callable[[], str]) -> None:
        self.run = run
        self.stored = stored or Stored(draw())
        self.epoch = 0  # of the record that we act by; 0: none
        self.reign: _Reign | None = None
        self.primary = ""  # disk of whom we follow
        self.address = ("", 0)
        self.link_epoch: int | None = None  # the primary's, as it says; None: we have not been greeted
        self._draw = draw
        self._read = stored is not None
        self._unsaved = False  # what we know may not be on the disk
        self._sought = True  # clients may have come since, who look for a primary; for the pod was one
        self._greeting: Greeting | None = None
        self._until = -math.inf  # of the lease, as said last
        self._copied: float | None = None  # likewise, of Copied; NaN: what was said may not have been done
        self._promptly = False  # our primary wants each tick confirmed
        self._confirms = ConfirmTicks(promptly=False, from_file=False)  # as said last
        self._last_beat = -math.inf
        self._confirmed_at: float | None = None
        self._held_until: tuple[int, int] = (0, 0)  # promise, and the tenure that was held until then

    @property
    def role(self) -> str:
        return PRIMARY if self.reign else REPLICA if self.primary else FENCED

    def position(self, end: int) -> Position:
        return Position(tenure_at(self.stored.starts, end), end)

    def may_write(self, now: float) -> bool:
        """S4"""
        return self.reign is not None and now < self._lease_until()

    def safe(self, end: int) -> int:
        """S5: up to where all of the quorums have what is written."""
        if self.reign is None:
            return 0
        return min((self._confirmed_by(quorum, end) for quorum in self.reign.quorums()), default=end)

    def copied(self) -> int | None:
        """S5: up to where replies may leave; None: they wait for nobody."""
        reign = self.reign
        if reign is None or reign.durability != REPLICATED or not any(quorum.acks for quorum in reign.quorums()):
            return None
        return self.safe(OFFSET_MAX)

    def handle(self, event: Event, now: float) -> list[Action]:
        actions = self._handle(event, now)
        until, copied = self._lease_until(), self.copied()
        if until != self._until:
            self._until = until
            actions.append(Lease(until))
        if copied != self._copied:
            self._copied = copied
            actions.append(Copied(copied))
        if self._promptly or self._confirms.promptly:
            confirms = ConfirmTicks(self._promptly and self.link_epoch is not None, from_file=self.stored.kept)
            if confirms != self._confirms:
                self._confirms = confirms
                actions.append(confirms)
        return actions

    def _handle(self, event: Event, now: float) -> list[Action]:
        match event:
            case Passed():
                return self._passed(now)
            case Confirmed(disk, offset):
                return self._confirmed(disk, offset, now)
            case Said(end):
                return self._said(end, now)
            case Heard():
                return self._heard_beat(event, now)
            case Acked(at):
                self._confirmed_at = max(at, self._confirmed_at or at)
                return []
            case Started():
                return self._started(event, now)
            case Kept(kept, synced):
                return self._store(kept=self.stored.kept and kept, synced=self.stored.synced and synced)
            case Told() | Fence() | Prepare() | Pause() | Resume():
                return self._commanded(event, now)
            case Hello(epoch, disk):
                return self._hello(epoch, disk, now)
            case Greeted(greeting):
                return self._greeted(greeting)
            case Joined(end):
                return self._joined(end)
            case Unlinked():
                self._unlink()
                return []
            case StoreFailed():
                return self._store_failed()

    # -- what is kept

    def _store(self, end: int | None = None, **changes: object) -> list[Action]:
        """Nothing, if nothing changes but how far we are."""
        changed = replace(self.stored, **changes)  # type: ignore[arg-type]
        if changed == self.stored and not self._unsaved:
            return []
        self._unsaved = False
        self.stored = changed if end is None else replace(changed, offset=end)
        return [Store(self.stored)]

    def _store_failed(self) -> list[Action]:
        """Whatever was to be done behind it was not, a Lease neither."""
        self._unsaved, self._until, self._copied = True, math.nan, math.nan
        self._leave()
        return [Stand(), CutClients()]

    def _started(self, event: Started, now: float) -> list[Action]:
        """S9, then S1 and S8."""
        old = self.stored
        proved = self._read and not event.torn and old.kept and event.end >= old.offset
        proved = proved and (old.synced or old.boot == event.boot)
        known = tuple(start for start in old.starts if start.offset < event.end)
        data_set = old.data_set if known else ""  # without any tenure's mark there are no data of it
        here = replace(old, boot=event.boot, data_set=data_set, starts=known, offset=event.end)
        self.stored = replace(here, kept=event.kept, synced=event.synced)
        if proved:
            self._confirmed_at = now
        else:
            self._change_disk()
        actions: list[Action] = [Store(self.stored)]
        kept = self.stored
        if kept.promise and kept.solo_epoch == kept.promise and not kept.prepared:  # S8
            alone = Quorum(frozenset((kept.disk,)), 0)
            tenure = old.starts[-1].tenure if old.starts else kept.promise
            # The record is not told again, and the set that is prepared next counts as soon as it is.
            return actions + self._begin(tenure, alone, REPLICATED, kept.promise, event.end)
        return actions

    def _change_disk(self, **changes: object) -> None:
        """What others did with this one's word has nothing to do with the new one. The promise stands: it is never
        wrong to keep one."""
        fresh = replace(self.stored, disk=self._draw(), solo_epoch=0, prepared=None)
        self.stored = replace(fresh, **changes)  # type: ignore[arg-type]
        self._confirmed_at = None

    # -- commands

    def _commanded(self, event: Told | Fence | Prepare | Pause | Resume, now: float) -> list[Action]:
        if refusal := self._not_meant(event):
            return refusal
        epoch = event.record.epoch if isinstance(event, Told) else event.epoch
        if epoch < self.stored.promise:  # S2
            return [Refuse("STALE", f"epoch {epoch} is older than the promise {self.stored.promise}")]
        if self._is_far(epoch):
            return [Refuse("ERR", f"epoch {epoch} is too far above the promise {self.stored.promise}")]
        match event:
            case Told():
                return self._told(event, now)
            case Fence():
                return self._fence(event, now)
        if self.reign is None or epoch != self.epoch:
            return [Refuse("NOTREIGNING", f"this server is not the primary of epoch {epoch}")]
        match event:
            case Prepare():
                return self._prepare(event)
            case Pause():
                ms = min(event.ms, PAUSE_MS_MAX)
                self.reign.still_until = now + min(ms / 1000, STILL_S)
                return [Hold(ms), self._beat(), Done()]  # the stream's last word: who confirms it is level
            case Resume():
                self.reign.still_until = -math.inf
                return [LetGo(), Done()]

    def _is_far(self, epoch: int) -> bool:
        """S2: a promise of the last epoch that there can be would be one that nothing could ever follow, not even a
        person's word. Who has promised nothing knows of no record, and takes the one that it is told."""
        return 0 < self.stored.promise < epoch - EPOCHS_AHEAD

    def _not_meant(self, event: Told | Fence | Prepare | Pause | Resume) -> list[Action]:
        """S9: a disk with another claim is a copy of the one that had this id."""
        wrong: Action = Refuse("WRONGDISK", "the disk of this server is another one")
        if event.disk != self.stored.disk:
            return [wrong]
        claim = event.claim if isinstance(event, Told | Fence) else ""
        if claim and self.stored.claim and claim != self.stored.claim:
            self._change_disk(claim=claim)
            return [Store(self.stored), *self._stand(), wrong]
        return []

    def _fence(self, event: Fence, now: float) -> list[Action]:
        if event.epoch == self.epoch:
            return [Refuse("STALE", f"epoch {event.epoch} has a record already")]
        if event.epoch > self.stored.promise or self.reign:
            self._held_until = event.epoch, self.reign.tenure if self.reign else 0
        claim = event.claim or self.stored.claim
        actions = self._store(event.end, promise=event.epoch, claim=claim) + self._stand()  # S2
        promise, tenure = self._held_until
        actions.append(
            Facts(
                disk=self.stored.disk,
                run=self.run,
                position=self.position(event.end),
                reign=tenure if promise == event.epoch else 0,
                confirmed_age=None if self._confirmed_at is None else max(now - self._confirmed_at, 0.0),
                data_set=self.stored.data_set,
            )
        )
        return actions

    def _told(self, event: Told, now: float) -> list[Action]:
        record, kept = event.record, self.stored
        if record.kind != CONTINUED and record.tenure != record.epoch:
            return [Refuse("ERR", "the tenure of a new primary is the record's epoch")]
        ours = record.primary == kept.disk
        if kept.data_set not in ("", record.data_set):
            return [Refuse("DATASET", "this server has other data")]
        claim = event.claim or kept.claim
        if not ours:
            return self._serve_under(record, claim, event.end)
        if self.reign and self.epoch == record.epoch:  # told again
            return [*self._store(claim=claim), Done()]
        if record.kind == CONTINUED:
            return self._go_on(record, claim, event.end)
        return self._take_over(record, claim, event.end)

    def _serve_under(self, record: Record, claim: str, end: int) -> list[Action]:
        """S7: a link whose primary has not got the record yet is no link."""
        if self.reign and self.epoch == record.epoch:
            return [Refuse("STALE", f"epoch {record.epoch} has another record already")]
        actions = self._store(end, promise=record.epoch, claim=claim)  # S2
        changed = (self.primary, self.address) != (record.primary, record.address)
        late = self.link_epoch is not None and self.link_epoch < record.epoch
        if changed or late:
            actions += self._stand()
            if self._sought and CutClients() not in actions:  # S2: who came while it was fenced would stay, too
                actions.append(CutClients())
            self._sought = False
            actions.append(Follow(*record.address))
        self.epoch, self.primary, self.address = record.epoch, record.primary, record.address
        return [*actions, Done()]

    def _take_over(self, record: Record, claim: str, end: int) -> list[Action]:
        """S3. The promise is one even if the record is not for this run."""
        refusal: Action | None = None
        if record.run != self.run:
            refusal = Refuse("WRONGRUN", f"this is run {self.run}")
        elif record.start != self.position(end):
            refusal = Refuse("WRONGPOSITION", "this server is at {}:{}".format(*self.position(end)))
        if refusal:
            return [*self._store(end, promise=record.epoch, claim=claim), *self._stand(), refusal]
        starts = (*(start for start in self.stored.starts if start.offset < end), Start(record.tenure, end))
        actions = self._store(
            end,
            promise=record.epoch,
            claim=claim,
            data_set=record.data_set,
            starts=starts[-STARTS_MAX:],
            solo_epoch=0 if record.quorum.acks else record.epoch,
            prepared=None,
        )
        began = self._begin(record.tenure, record.quorum, record.durability, record.epoch, end)
        return [*actions, *began, Done()]

    def _go_on(self, record: Record, claim: str, end: int) -> list[Action]:
        """S3: by who holds this tenure now, in this run."""
        reign = self.reign
        if reign is None or reign.tenure != record.tenure or record.run != self.run:
            refusal = Refuse("NOTREIGNING", f"this run does not hold tenure {record.tenure}")
            return [*self._store(end, promise=record.epoch, claim=claim), *self._stand(), refusal]
        actions = self._store(
            end,
            promise=record.epoch,
            claim=claim,
            solo_epoch=0 if record.quorum.acks else record.epoch,
            prepared=None,
        )
        self.epoch = record.epoch
        reign.quorum, reign.durability, reign.prepared = record.quorum, record.durability, None
        return [*actions, self._beat(), Done()]  # replicas hear of the epoch at once

    def _begin(self, tenure: int, quorum: Quorum, durability: str, epoch: int, end: int) -> list[Action]:
        self._leave()
        self.epoch = epoch
        self.reign, self._sought = _Reign(tenure, quorum, durability), True
        if self.stored.starts and self.stored.starts[-1].tenure == tenure:
            return [Lead(tenure), self._beat()]
        starts = (*self.stored.starts, Start(tenure, end))  # its mark was not written before the restart
        return [*self._store(end, starts=starts[-STARTS_MAX:]), Lead(tenure), self._beat()]

    def _beat(self) -> Beat:
        assert self.reign is not None
        return Beat(self.epoch, promptly=self.reign.durability == REPLICATED)

    def _leave(self) -> None:
        self.reign = None
        self.epoch = 0
        self.primary, self.address = "", ("", 0)
        self._unlink()

    def _unlink(self) -> None:
        self.link_epoch = self._greeting = None
        self._promptly = False

    def _stand(self) -> list[Action]:
        """Nobody's primary, nobody's replica."""
        reigned, followed = self.reign is not None, bool(self.primary)
        self._leave()
        if reigned:
            return [Stand(), CutClients()]  # S2: pooled clients would stay
        return [Stand()] if followed else []

    # -- a primary

    def _prepare(self, event: Prepare) -> list[Action]:
        """S6. All that was ever acknowledged lies in front of the end at which the second quorum began to count."""
        reign, wanted = self.reign, Prepared(event.epoch, event.quorum)
        assert reign is not None
        members, acks = event.quorum.members, event.quorum.acks
        if self.stored.disk not in members or not 0 <= acks < len(members):
            return [Refuse("ERR", "the members must be more than the acks, and this server one of them")]
        if reign.prepared not in (None, wanted):
            return [Refuse("BUSY", "another set is prepared at this epoch")]
        actions: list[Action] = []
        if reign.prepared is None:
            actions = self._store(event.end, prepared=wanted)
            reign.prepared, reign.prepared_end = wanted, event.end
        done = self._confirmed_by(event.quorum, reign.prepared_end) >= reign.prepared_end
        return [*actions, Done("OK" if done else "WAITING")]

    def _confirmed_by(self, quorum: Quorum, end: int) -> int:
        """S5: by disks, and members only."""
        assert self.reign is not None
        if not quorum.acks:
            return end
        others = quorum.members - {self.stored.disk}
        offsets = sorted((heard.offset for disk, heard in self.reign.heard.items() if disk in others), reverse=True)
        return min(offsets[quorum.acks - 1], end) if len(offsets) >= quorum.acks else 0

    def _lease_until(self) -> float:
        """S4"""
        if self.reign is None:
            return -math.inf
        until = math.inf
        for quorum in self.reign.quorums():
            if quorum.acks:
                others = quorum.members - {self.stored.disk}
                sent = sorted((h.sent_at for disk, h in self.reign.heard.items() if disk in others), reverse=True)
                until = min(until, sent[quorum.acks - 1] + LEASE_S if len(sent) >= quorum.acks else -math.inf)
        return until

    def _hello(self, epoch: int, disk: str, now: float) -> list[Action]:
        """A promise that is newer than our epoch may be that of a FENCE which came to nothing: it is no reason to cease
        reigning, but we are nobody whom that server may follow."""
        reign = self.reign
        if reign is None:
            return [Refuse("NOTREIGNING", "this server is not the primary")]
        if epoch > self.epoch:
            return [Refuse("STALE", f"epoch {self.epoch} is older than the promise {epoch}")]
        if disk == self.stored.disk:
            return [Refuse("WRONGDISK", "that is the disk of this server")]
        reign.audience_until = now + AUDIENCE_S
        return [Greet(Greeting(self.epoch, self.stored.disk, self.stored.data_set, self.stored.starts))]

    def _confirmed(self, disk: str, offset: int, now: float) -> list[Action]:
        reign = self.reign
        if reign is None:
            return []
        reign.audience_until = now + AUDIENCE_S
        heard = reign.heard.setdefault(disk, _Heard(0, -math.inf))
        heard.offset = max(heard.offset, offset)
        for end, sent_at in reversed(reign.beats):
            if end <= offset:
                heard.sent_at = max(heard.sent_at, sent_at)
                break
        return []

    def _said(self, end: int, now: float) -> list[Action]:
        if self.reign is not None:
            self.reign.beats = [beat for beat in self.reign.beats if now - beat[1] < LEASE_S]
            self.reign.beats.append((end, now))
        return []

    def _passed(self, now: float) -> list[Action]:
        reign = self.reign
        if reign is None or now - self._last_beat < BEAT_S or now < reign.still_until:
            return []
        if now >= reign.audience_until and not any(quorum.acks for quorum in reign.quorums()):
            return []  # nobody listens, and nobody needs to
        self._last_beat = now
        return [self._beat()]

    # -- a replica

    def _greeted(self, greeting: Greeting) -> list[Action]:
        kept = self.stored
        if greeting.disk != self.primary:
            return [Drop("its disk is not that of the primary")]
        if greeting.epoch < kept.promise:  # S7
            return [Drop(f"its epoch {greeting.epoch} is older than our promise {kept.promise}")]
        if self._is_far(greeting.epoch):
            return [Drop(f"its epoch {greeting.epoch} is too far above our promise {kept.promise}")]
        if kept.data_set and kept.data_set != greeting.data_set:
            return [Drop("it has other data")]
        self._greeting, self.link_epoch = greeting, greeting.epoch
        return [*self._store(promise=greeting.epoch), Accept()]  # S2: a peer's newer epoch counts

    def _joined(self, end: int) -> list[Action]:
        """S7: its tenures are ours as far as we have them."""
        greeting = self._greeting
        if greeting is None:
            return [Drop("it has not said who it is")]
        return [*self._store(end, data_set=greeting.data_set, starts=greeting.starts), Confirm()]

    def _heard_beat(self, beat: Heard, now: float) -> list[Action]:
        if self.link_epoch is None:
            return []
        if beat.epoch < self.stored.promise:  # S7
            self._unlink()
            return [Drop(f"its epoch {beat.epoch} is older than our promise {self.stored.promise}")]
        if self._is_far(beat.epoch):
            self._unlink()
            return [Drop(f"its epoch {beat.epoch} is too far above our promise {self.stored.promise}")]
        self.link_epoch, self._promptly = beat.epoch, beat.promptly
        self._confirmed_at = now
        return [*self._store(beat.end, promise=beat.epoch), Confirm()]

    # -- what it says of itself

    def state(self, now: float, end: int) -> dict[str, str | int]:
        """The fields of STATE that are known here."""
        kept, reign, position = self.stored, self.reign, self.position(end)
        prepared = kept.prepared
        age = self._confirmed_at
        until = self._lease_until()
        needs = reign is not None and any(quorum.acks for quorum in reign.quorums())
        return {
            "disk": kept.disk,
            "run": self.run,
            "boot": kept.boot,
            "claim": kept.claim,
            "data-set": kept.data_set,
            "promise": kept.promise,
            "epoch": self.epoch,
            "role": self.role,
            "reign": reign.tenure if reign else 0,
            "solo-epoch": kept.solo_epoch,
            "prepared": f"{prepared.epoch} {prepared.quorum.acks} {','.join(sorted(prepared.quorum.members))}"
            if prepared
            else "",
            "tenure": position.tenure,
            "offset": position.offset,
            "marked": position.tenure,
            "confirmed-age-ms": "" if age is None else int(max(now - age, 0.0) * 1000),
            "primary": self.primary,
            "lease": "none" if not needs else "held" if now < until else "lost",
            "confirmations": ",".join(self._confirmation(disk, now) for disk in sorted(reign.heard)) if reign else "",
        }

    def _confirmation(self, disk: str, now: float) -> str:
        assert self.reign is not None
        heard = self.reign.heard[disk]
        age = int((now - heard.sent_at) * 1000) if heard.sent_at > -math.inf else -1
        return f"{disk}={tenure_at(self.stored.starts, heard.offset)}:{heard.offset}:{age}"
