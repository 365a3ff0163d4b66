"""What we ask of a server, what we read of its answers, and the few things we tell it; over Servers (ports.py).

A server may have the wished password or one it had before (planning/auth.py); an endpoint holds all of them. No error
text holds a password.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace

from cachefleet_operator.api.parameters import PARAMETERS
from cachefleet_operator.execution import family
from cachefleet_operator.execution.errors import ExecutionError, Refused
from cachefleet_operator.execution.ports import Endpoint, Line, Reply, Servers
from cachefleet_operator.execution.wire import Locked, NotListening, error, fields
from cachefleet_operator.planning.snapshot import Server

VERSION_CHARACTERS_MAX = 64  # it is kept in the status, and with what the server knows

_INSPECTION = ((b"INFO",), (b"CONFIG", b"GET", b"*"), (b"PING",))
_GLANCE = ((b"INFO", b"replication"), (b"PING",))
_SECRET = frozenset(name for p in PARAMETERS if p.secret for name in (p.name, p.alias))


async def inspect(servers: Servers, pod: str, endpoint: Endpoint) -> Server:
    """What the server in `pod` says of itself. Never raises: who does not answer has the reason in `error`."""
    try:
        used, replies = await servers.ask(endpoint, _INSPECTION)
        found = _server(pod, replies, password_is_current=used == endpoint.passwords[0])
        if not _is_managed(found):
            return found
        _, (state,) = await servers.ask(endpoint, (family.STATE,))
        return replace(found, managed=family.state(state))
    except ExecutionError as problem:
        return silent(pod, problem)


async def call(servers: Servers, pod: str, endpoint: Endpoint) -> tuple[Line, Server]:
    """The same on a connection that stays. Raises ExecutionError."""
    line, used, replies = await servers.call(endpoint, _INSPECTION)
    try:
        found = _server(pod, replies, password_is_current=used == endpoint.passwords[0])
        if _is_managed(found):
            (state,) = await line.ask((family.STATE,))
            found = replace(found, managed=family.state(state))
        return line, found
    except ExecutionError:
        line.close()
        raise


async def glance(line: Line, known: Server) -> Server:
    """What has become of a server since it was inspected on this line: what may not wait for the next time. Raises
    ExecutionError where that does not say all: inspect it anew."""
    info_reply, ping, *state = await line.ask((*_GLANCE, family.STATE) if _is_managed(known) else _GLANCE)
    role = dict(fields(info_reply)).get("role", "")
    refusal = error(ping)
    if not role or (refusal and not _is_failing(refusal)):
        raise ExecutionError(refusal or error(info_reply) or "its answer to INFO is not one")
    return replace(known, role=role, failing=refusal, managed=family.state(state[0]) if state else None)


def _is_managed(server: Server) -> bool:
    """Whether it is told its role, and says of itself what that takes."""
    return server.parameters.get("managed") == "yes"


def silent(pod: str, problem: ExecutionError) -> Server:
    return Server(
        pod, str(problem), locked=isinstance(problem, Locked), refuses=isinstance(problem, NotListening)
    )  # fmt: skip


async def config_set(
    servers: Servers, pod: str, endpoint: Endpoint, run_id: str, parameters: Mapping[str, str]
) -> None:
    """CONFIG SET of all or none. Raises Refused for the parameter that the server names, else ExecutionError."""
    words = [word.encode(errors="replace") for pair in sorted(parameters.items()) for word in pair]
    (reply,) = await servers.tell(endpoint, run_id, [(b"CONFIG", b"SET", *words)])
    text = error(reply)
    if not text:
        return
    if not text.startswith("ERR "):
        raise ExecutionError(f"{pod}: {text}")  # LOADING, BUSY, NOPERM: not a word about the value.
    subject = _named(text, parameters)
    if not subject:
        # It does not say which one it means: one at a time, until it refuses one by itself.
        for name, value in sorted(parameters.items()):
            await config_set(servers, pod, endpoint, run_id, {name: value})
        raise ExecutionError(f"{pod}: {text}")
    raise Refused(text.removeprefix("ERR "), target=pod, subject=subject, wish=parameters[subject])


async def set_password(servers: Servers, pod: str, endpoint: Endpoint, run_id: str, new: bytes) -> None:
    """Gives the default user the password `new`; the empty one takes it away. Connections of clients stay."""
    (reply,) = await servers.tell(endpoint, run_id, [(b"CONFIG", b"SET", b"requirepass", new)])
    if text := error(reply):
        # The server quotes what it refuses: never show more than the kind of error.
        raise ExecutionError(f"{pod} refused the new password ({text.split(' ', 1)[0]})")


def _server(pod: str, replies: Sequence[Reply], *, password_is_current: bool) -> Server:
    info_reply, config_reply, ping = replies
    for reply in (info_reply, config_reply):
        if text := error(reply):
            raise ExecutionError(text)
    if not isinstance(info_reply, bytes) or not isinstance(config_reply, list):
        raise ExecutionError("its answer to INFO or CONFIG GET is not one")
    info = dict(fields(info_reply))
    refusal = error(ping)
    return Server(
        pod,
        run_id=info.get("run_id", ""),
        role=info.get("role", ""),
        version=_version(info),
        loading=info.get("loading") == "1",
        load_percent=min(100.0, _number(info.get("loading_loaded_perc", "0"))),
        used_memory=int(_number(info.get("used_memory", "0"))),
        maxmemory=int(_number(info.get("maxmemory", "0"))),
        last_save=int(_number(info.get("rdb_last_save_time", "0"))),
        failing=refusal if _is_failing(refusal) else "",
        parameters=_pairs(config_reply),
        password_is_current=password_is_current,
    )


def _version(info: Mapping[str, str]) -> str:
    version = info.get("cachefleet_version") or info.get("valkey_version") or info.get("redis_version", "")
    return version[:VERSION_CHARACTERS_MAX]


def _is_failing(refusal: str) -> bool:
    """PING is refused with MISCONF while writes are: the server's own words."""
    return refusal.startswith("MISCONF")


def _pairs(reply: list[Reply]) -> dict[str, str]:
    words = [w.decode(errors="replace") if isinstance(w, bytes) else str(w) for w in reply]
    # Interned: the same words in every server, and they are kept.
    pairs = zip(map(sys.intern, words[::2]), map(sys.intern, words[1::2]), strict=False)
    return {name: value for name, value in pairs if name not in _SECRET}


def _number(text: str) -> float:
    """0 for what is none, or is none that a counter can have."""
    try:
        value = float(text)
    except ValueError:
        return 0.0
    return value if 0 <= value < 1e18 else 0.0


def _named(text: str, parameters: Mapping[str, str]) -> str:
    """The parameter that an error of CONFIG SET speaks of; there is no other if only one was sent."""
    quoted = [name for name in parameters if f"'{name}'" in text]
    if quoted:
        return quoted[0]
    return next(iter(parameters)) if len(parameters) == 1 else ""
