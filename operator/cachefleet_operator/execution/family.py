"""The family CACHEFLEET on the wire: what a managed server is told, and what its answers say.

A reply with fields is a flat list of names and values; names that nobody here knows are skipped, and what is missing or
is no number is an answer that is none. Every command names the disk that it means; an error says in its first word why
it was refused.

A server that has no word for the family, or is not managed, answers STATE with an error: it says nothing of itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from cachefleet_operator.api.v1alpha1 import Topology
from cachefleet_operator.execution.errors import ExecutionError
from cachefleet_operator.execution.ports import Command, Reply
from cachefleet_operator.execution.wire import error
from cachefleet_operator.planning.failover.facts import Confirmed, Point, Prepared, Promise, State, Target

FAMILY: Final = b"CACHEFLEET"
STATE: Final[Command] = (FAMILY, b"STATE")
OK, WAITING = b"OK", b"WAITING"
# First words of refusals after which asking the same again is in vain.
FOR_GOOD: Final = frozenset(("WRONGRUN", "WRONGPOSITION", "NOTREIGNING", "DATASET"))


# -- what is told


def record_command(record: Topology, target: Target, address: tuple[str, int], claim: str) -> Command:
    start = record.start
    words = [
        "RECORD", target.disk, "epoch", record.epoch, "tenure", record.tenure, "kind", record.kind,
        "primary", record.primary.disk, "run", record.primary.run,
        "set", ",".join(member.disk for member in record.members), "acks", record.acks,
        "from", f"{start.tenure}:{start.offset}" if start is not None else "0:0", "data-set", record.data_set or "",
        "durability", record.durability, "address", *address, *_claimed(claim),
    ]  # fmt: skip
    return _command(*words)


def fence_command(target: Target, epoch: int, claim: str) -> Command:
    return _command("FENCE", target.disk, epoch, *_claimed(claim))


def prepare_command(target: Target, prepared: Prepared) -> Command:
    return _command("PREPARE", target.disk, prepared.epoch, ",".join(sorted(prepared.members)), prepared.acks)


def pause_command(target: Target, epoch: int, for_ms: int) -> Command:
    return _command("PAUSE", target.disk, epoch, for_ms)


def resume_command(target: Target, epoch: int) -> Command:
    return _command("RESUME", target.disk, epoch)


def _command(*words: str | int) -> Command:
    return (FAMILY, *(str(word).encode() for word in words))


def _claimed(claim: str) -> tuple[str, ...]:
    return ("claim", claim) if claim else ()


# -- what is answered


def refusal(reply: Reply) -> str:
    """The first word of an error, else ""."""
    return error(reply).split(" ", 1)[0]


def state(reply: Reply) -> State | None:
    """None: it has no word for that, or is not managed. Raises ExecutionError for an answer that is none."""
    return None if error(reply) else read_state(_fields(reply))


def promise(reply: Reply, epoch: int) -> Promise:
    found = _fields(reply)
    return Promise(
        epoch=epoch, disk=_word(found, "disk"), run=_word(found, "run"), at=_point(found),
        marked=_number(found, "marked"), reign=_number(found, "reign"), silence_s=_age(found, "confirmed-age-ms"),
        data_set=found.get("data-set", ""), keys=_number(found, "keys"),
    )  # fmt: skip


def read_state(found: Mapping[str, str]) -> State:
    return State(
        disk=_word(found, "disk"), run=_word(found, "run"), data_set=found.get("data-set", ""),
        keys=_number(found, "keys"), promise=_number(found, "promise"), epoch=_number(found, "epoch"),
        reign=_number(found, "reign"), solo_epoch=_number(found, "solo-epoch"),
        prepared=_prepared(found.get("prepared", "")), at=_point(found), marked=_number(found, "marked"),
        follows=found.get("primary", ""), link=found.get("link", "none"), beat_s=_age(found, "beat-age-ms"),
        loading=found.get("loading", "0") == "1", lease=found.get("lease", "none"),
        confirmed=_confirmations(found.get("confirmations", ""), _number(found, "reign")),
    )  # fmt: skip


def _fields(reply: Reply) -> Mapping[str, str]:
    if refused := error(reply):
        raise ExecutionError(refused)
    if not isinstance(reply, list):
        raise ExecutionError("its answer to CACHEFLEET is not one")
    words = [word.decode(errors="replace") if isinstance(word, bytes) else str(word) for word in reply]
    return dict(zip(words[::2], words[1::2], strict=False))


def _word(found: Mapping[str, str], name: str) -> str:
    if not found.get(name):
        raise ExecutionError(f"its answer to CACHEFLEET has no {name}")
    return found[name]


def _number(found: Mapping[str, str], name: str) -> int:
    return _integer(found.get(name, "0"), name)


def _integer(text: str, name: str) -> int:
    if not (text.isascii() and text.isdecimal()) or len(text) > 18:
        raise ExecutionError(f"its answer to CACHEFLEET has no number in {name}")
    return int(text)


def _age(found: Mapping[str, str], name: str) -> float | None:
    text = found.get(name, "")
    return _integer(text, name) / 1000 if text else None


def _point(found: Mapping[str, str]) -> Point:
    return Point(_number(found, "tenure"), _number(found, "offset"))


def _prepared(text: str) -> Prepared | None:
    if not text:
        return None
    epoch, _, rest = text.partition(" ")
    acks, _, disks = rest.partition(" ")
    return Prepared(_integer(epoch, "prepared"), frozenset(disks.split(",")), _integer(acks, "prepared"))


def _confirmations(text: str, reign: int) -> Mapping[str, Confirmed]:
    found = {}
    for one in text.split(",") if text and reign else ():
        disk, _, said = one.partition("=")
        words = said.split(":")
        if len(words) != 3:
            raise ExecutionError("its answer to CACHEFLEET has a confirmation that is none")
        if words[2].startswith("-"):
            continue  # It has confirmed no beat of this reign yet.
        tenure, offset, age_ms = (_integer(word, "confirmations") for word in words)
        found[disk] = Confirmed(Point(tenure, offset), age_ms / 1000)
    return found
