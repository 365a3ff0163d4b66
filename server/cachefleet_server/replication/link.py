"""A replica's connection to its primary: what is said until the stream begins, and when to try again.

    actions = link.handle(event, now)           now: seconds of a monotonic clock

It knows no sockets, no engine and no clock: events say what happened, actions what is to be done. Who carries them out
is replica.py.

    WAITING -> CONNECTING -> GREETING -> (AUTHENTICATING) -> DESCRIBING -> ASKING --+CONTINUE---------------> STREAMING
       ^         Connect      PING        AUTH                REPLCONF ...  PSYNC |                               ^
       |                                                                          +FULLRESYNC                     |
       |                                                                          v                               |
       |                                                            ANNOUNCED -> RECEIVING -> LOADING --Loaded----'
       |                                                             "$..."       Store        Load
       '------ Broken, a refusal, nonsense, silence for repl-timeout; from STREAMING: Lost

- *Who asks.* PSYNC names the history and offset that the data have, if they have one. After a stream that could not be
  executed, and after a snapshot that could not be loaded, the data are asked for as a whole.
- *A snapshot* comes with its length, or ends with a mark of 40 bytes. The mark is searched for, also across pieces, so
  what follows it may come in the same read. It goes to a file first: what has been loaded before counts until then.
- *Signs of life.* A primary that prepares a snapshot sends newlines, and so do we while we load one.
- *A handover* (failover.py): who is followed is one of our replicas, and PSYNC asks it to be the primary in the same
  breath. It answers as to any PSYNC, or declines. Should that answer be lost, it is asked again: that it is a primary
  by then says that it had taken the offer.
- *Again.* A stream that was cut is asked for at once, though at most once in RESUME_S; what fails before that waits 1,
  2, 4 ... RETRY_S_MAX seconds, and what cost a snapshot up to REPEAT_S_MAX: the next one would cost as much.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from typing import Final

RESUME_S: Final = 1.0  # between two streams
RETRY_S_MAX: Final = 8.0
REPEAT_S_MAX: Final = 64.0
NEWLINE_S: Final = 1.0
LINE_MAX: Final = 1024  # bytes
MARK_BYTES: Final = 40

_FULL: Final = re.compile(rb"\+FULLRESYNC ([0-9a-zA-Z]{40}) (\d{1,19})")
_CONTINUE: Final = re.compile(rb"\+CONTINUE(?: ([0-9a-zA-Z]{40}))?")
_LENGTH: Final = re.compile(rb"\$(\d{1,18})")
_PASSING: Final = (b"-LOADING", b"-BUSY", b"-MASTERDOWN", b"-NOMASTERLINK")
_IS_PRIMARY: Final = b"-err psync failover can't be sent to a master"
_MARK: Final = re.compile(rb"\$EOF:(.{40})")


class State(enum.Enum):
    IDLE = enum.auto()
    WAITING = enum.auto()
    CONNECTING = enum.auto()
    GREETING = enum.auto()
    AUTHENTICATING = enum.auto()
    DESCRIBING = enum.auto()
    INTRODUCING = enum.auto()
    ASKING = enum.auto()
    ANNOUNCED = enum.auto()
    RECEIVING = enum.auto()
    LOADING = enum.auto()
    STREAMING = enum.auto()


_HANDSHAKE: Final = (State.GREETING, State.AUTHENTICATING, State.DESCRIBING, State.INTRODUCING, State.ASKING)
_SYNC: Final = (State.ANNOUNCED, State.RECEIVING, State.LOADING)
_WORDS: Final = {
    State.IDLE: "none", State.WAITING: "connect", State.CONNECTING: "connecting", State.STREAMING: "connected",
    **dict.fromkeys(_HANDSHAKE, "handshake"), **dict.fromkeys(_SYNC, "sync"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Settings:
    """What we say of ourselves, when it is said."""

    port: int
    address: str  # "": as the primary sees it
    version: str
    user: str
    password: str
    history: str  # "": none
    offset: int  # of the next byte in it
    introduction: tuple[str, ...] = ()  # of a managed server: the primary's answer decides whether we go on


# ---- events ----


@dataclass(frozen=True, slots=True)
class Follow:
    host: str
    port: int
    hand_over: bool = False  # it is a replica of ours, and is to be a primary


@dataclass(frozen=True, slots=True)
class Stop:
    pass


@dataclass(frozen=True, slots=True)
class Connected:
    settings: Settings


@dataclass(frozen=True, slots=True)
class Received:
    data: bytes


@dataclass(frozen=True, slots=True)
class Broken:
    """The connection could not be made, or ended before the stream began."""

    why: str


@dataclass(frozen=True, slots=True)
class Accepted:
    """The primary is one that may be followed."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """The data are those of the snapshot. `why`: they are not."""

    why: str = ""


@dataclass(frozen=True, slots=True)
class Lost:
    """The stream has ended. `failed`: it could not be executed."""

    why: str
    failed: bool


@dataclass(frozen=True, slots=True)
class Passed:
    """Time has. `silent_s`: how long a stream has brought nothing."""

    timeout_s: float
    silent_s: float


Event = Follow | Stop | Connected | Received | Broken | Accepted | Loaded | Lost | Passed


# ---- actions ----


@dataclass(frozen=True, slots=True)
class Connect:
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Send:
    data: bytes


@dataclass(frozen=True, slots=True)
class Judge:
    """What the primary answers to our introduction; then Accepted, or Broken."""

    line: str


@dataclass(frozen=True, slots=True)
class Open:
    """A file for a snapshot of so many bytes; -1: nobody knows."""

    total: int


@dataclass(frozen=True, slots=True)
class Store:
    data: bytes


@dataclass(frozen=True, slots=True)
class Load:
    """The snapshot is whole: the data of this history at this offset."""

    history: str
    offset: int


@dataclass(frozen=True, slots=True)
class Stream:
    """It begins, with bytes that have come already, under this id."""

    early: bytes
    history: str


@dataclass(frozen=True, slots=True)
class Taken:
    """The replica that we hand over to is a primary."""


@dataclass(frozen=True, slots=True)
class Declined:
    """It will not be one. We do not follow it."""

    why: str


@dataclass(frozen=True, slots=True)
class Disconnect:
    """Whatever there is of a connection, a snapshot or a stream goes."""

    why: str


@dataclass(frozen=True, slots=True)
class Note:
    """For the log."""

    text: str


Action = Connect | Send | Judge | Open | Store | Load | Stream | Taken | Declined | Disconnect | Note


class _Refusal(Exception):
    """What the primary said makes no sense, or is a no. `passing`: one that goes by itself."""

    def __init__(self, text: str, *, passing: bool = False) -> None:
        super().__init__(text)
        self.passing = passing


def command(*words: str) -> bytes:
    """A request in RESP."""
    encoded = [word.encode("utf-8", "surrogateescape") for word in words]
    return b"*%d\r\n" % len(encoded) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in encoded)


class Link:
    def __init__(self) -> None:
        self.state = State.IDLE
        self.host = ""
        self.port = 0
        self.total = -1  # bytes of the snapshot
        self.got = 0
        self._settings = Settings(0, "", "", "", "", "", 0)
        self._buffer = b""
        self._mark = b""
        self._history, self._offset = "", 0  # of the snapshot
        self._asked: list[str] = []  # what is yet to be answered
        self._whole = False  # ask for all data
        self._hands_over = False
        self._offers = 0  # that were sent
        self._heard = 0.0  # when the primary said something
        self._spoke = 0.0
        self._due = 0.0  # the next attempt
        self._began = 0.0  # of the stream
        self._retries = 0
        self._repeats = 0
        self.failures = 0  # refusals, snapshots that were for nothing, streams that could not be executed
        self.retry_s_max = RETRY_S_MAX

    @property
    def word(self) -> str:
        """ROLE's word for the state."""
        return _WORDS[self.state]

    @property
    def syncs(self) -> bool:
        return self.state in _SYNC

    def silent_s(self, now: float) -> float:
        return now - self._heard

    def handle(self, event: Event, now: float) -> list[Action]:
        match event:
            case Follow():
                return self._follow(event, now)
            case Stop():
                self.state = State.IDLE
                return [Disconnect("it is followed no longer")]
            case Connected(settings):
                return self._connected(settings, now)
            case Received(data):
                return self._received(data, now)
            case Broken(why):
                return self._fail(why, now)
            case Accepted():
                return self._ask() if self.state is State.INTRODUCING else []
            case Loaded(why):
                return self._loaded(why, now)
            case Lost(why, failed):
                return self._lost(why, failed, now)
            case Passed():
                return self._passed(event, now)

    # -- beginning and ending

    @property
    def hands_over(self) -> bool:
        return self._hands_over

    def _follow(self, event: Follow, now: float) -> list[Action]:
        self.host, self.port = event.host, event.port
        self._hands_over, self._offers = event.hand_over, 0
        self._retries = self._repeats = 0
        self._whole = False
        self._due = now
        self.state = State.WAITING
        return [Disconnect("another primary is followed"), *self._try(now)]

    def _try(self, now: float) -> list[Action]:
        if now < self._due:
            return []
        self.state = State.CONNECTING
        self._heard = now
        return [Connect(self.host, self.port)]

    def _wait(self, now: float, pause_s: float) -> None:
        self.state = State.WAITING
        self._due = now + pause_s
        self._buffer = b""

    def _fail(self, why: str, now: float, *, refused: bool = False) -> list[Action]:
        if self.state in (State.IDLE, State.WAITING):
            return []
        self.failures += refused or self.syncs
        self._wait(now, min(2.0**self._retries, self.retry_s_max))
        self._retries += 1
        return [Disconnect(why)]

    def _fail_dearly(self, why: str, now: float) -> list[Action]:
        """A snapshot was for nothing, or will be."""
        self._whole = True
        self.failures += 1
        self._wait(now, min(2.0**self._repeats, REPEAT_S_MAX))
        self._repeats += 1
        return [Disconnect(why)]

    def _lost(self, why: str, failed: bool, now: float) -> list[Action]:
        if self.state is not State.STREAMING:
            return []
        if failed:
            return self._fail_dearly(why, now)
        self._wait(now, max(self._began + RESUME_S - now, 0.0))
        return [Disconnect(why), *self._try(now)]

    def _passed(self, event: Passed, now: float) -> list[Action]:
        if self.state is State.WAITING:
            return self._try(now)
        if self.state is State.LOADING and now - self._spoke >= NEWLINE_S:
            self._spoke = now
            return [Send(b"\n")]
        if self.state is State.STREAMING:
            if now - self._began > REPEAT_S_MAX:
                self._repeats = 0
            if event.silent_s > event.timeout_s:
                return self._lost(f"it has sent nothing for {int(event.silent_s)} seconds (repl-timeout)", False, now)
        elif self.state not in (State.IDLE, State.LOADING) and now - self._heard > event.timeout_s:
            return self._fail(f"it has said nothing for {int(now - self._heard)} seconds (repl-timeout)", now)
        return []

    # -- the handshake

    def _connected(self, settings: Settings, now: float) -> list[Action]:
        self._settings = settings
        self._heard = now
        self.state = State.GREETING
        return [Send(command("PING"))]

    def _received(self, data: bytes, now: float) -> list[Action]:
        self._heard = now
        actions: list[Action] = []
        self._buffer += data
        try:
            while self.state is not State.RECEIVING and (line := self._line()) is not None:
                actions += self._answered(line)
                if self.state is State.STREAMING:
                    break
            if self.state is State.RECEIVING:
                actions += self._snapshot()
        except _Refusal as refusal:
            actions += self._fail(str(refusal), now, refused=not refusal.passing)
        if self.state is State.STREAMING:
            self._streams(now)
        return actions

    def _line(self) -> bytes | None:
        """The next line that is not empty."""
        while True:
            line, found, rest = self._buffer.partition(b"\n")
            if not found:
                if len(line) > LINE_MAX:
                    raise _Refusal("it sends a line without an end")
                return None
            self._buffer = rest
            if line.rstrip(b"\r"):
                return line.rstrip(b"\r")

    def _answered(self, line: bytes) -> list[Action]:
        match self.state:
            case State.GREETING:
                if not line.startswith((b"+", b"-NOAUTH", b"-NOPERM", b"-ERR operation not permitted")):
                    raise _Refusal(f"it answers PING by {_shown(line)}", passing=line.startswith(_PASSING))
                return self._authenticate()
            case State.AUTHENTICATING:
                if not line.startswith(b"+"):
                    raise _Refusal(f"it refuses our credentials (primaryuser, primaryauth): {_shown(line)}")
                return self._describe()
            case State.DESCRIBING:
                return self._described(line)
            case State.INTRODUCING:
                if not line.startswith(b"+"):
                    raise _Refusal(f"it may not be followed: {_shown(line)}")
                return [Judge(line[1:].decode("utf-8", "backslashreplace"))]
            case State.ASKING:
                return self._told(line)
            case State.ANNOUNCED:
                return self._announced(line)
        raise _Refusal(f"it says {_shown(line)} without being asked")

    def _authenticate(self) -> list[Action]:
        settings = self._settings
        if not settings.password:
            return self._describe()
        self.state = State.AUTHENTICATING
        return [Send(command("AUTH", *([settings.user] if settings.user else []), settings.password))]

    def _describe(self) -> list[Action]:
        settings = self._settings
        said = [("listening-port", str(settings.port))]
        if settings.address:
            said.append(("ip-address", settings.address))
        self._asked = [*(option for option, _ in said), "capa", "version"]
        self.state = State.DESCRIBING
        capa = command("REPLCONF", "capa", "eof", "capa", "psync2", "capa", "cachefleet")
        words = [command("REPLCONF", *pair) for pair in said]
        return [Send(b"".join([*words, capa, command("REPLCONF", "version", settings.version)]))]

    def _described(self, line: bytes) -> list[Action]:
        """An older primary may not know an option: it will not use it."""
        actions: list[Action] = []
        option = self._asked.pop(0)
        if line.startswith(b"-NOAUTH"):
            raise _Refusal(f"it wants credentials (primaryuser, primaryauth): {_shown(line)}")
        if not line.startswith(b"+"):
            actions.append(Note(f"The primary does not take REPLCONF {option}: {_shown(line)}"))
        if self._asked or not self._settings.introduction:
            return actions if self._asked else actions + self._ask()
        self.state = State.INTRODUCING
        return [*actions, Send(command("REPLCONF", "cachefleet", *self._settings.introduction))]

    def _ask(self) -> list[Action]:
        self.state = State.ASKING
        history, offset = self._settings.history, self._settings.offset
        if self._hands_over:
            self._offers += 1
            return [
                Note(f"Asking for a handover (request {history}:{offset + 1})"),
                Send(command("PSYNC", history, str(offset + 1), "FAILOVER")),
            ]
        if self._whole or not history:
            return [Note("Asking for a full resynchronization"), Send(command("PSYNC", "?", "-1"))]
        return [
            Note(f"Trying a partial resynchronization (request {history}:{offset + 1})"),
            Send(command("PSYNC", history, str(offset + 1))),
        ]

    def _offer_answered(self, line: bytes) -> list[Action]:
        self._hands_over = False
        if _FULL.fullmatch(line) or _CONTINUE.fullmatch(line):
            return [Taken(), *self._told(line)]
        if self._offers > 1 and line.lower().startswith(_IS_PRIMARY):
            return [Note("It is a primary already: it had taken the offer"), Taken(), *self._ask()]
        return [Declined(_shown(line))]

    def _told(self, line: bytes) -> list[Action]:
        if self._hands_over:
            return self._offer_answered(line)
        if full := _FULL.fullmatch(line):
            self._history, self._offset = full[1].decode(), int(full[2])
            self.state = State.ANNOUNCED
            return [Note(f"Full resync from primary: {self._history}:{self._offset}")]
        going_on = _CONTINUE.fullmatch(line)
        if going_on is None:
            raise _Refusal(f"it answers PSYNC by {_shown(line)}", passing=line.startswith(_PASSING))
        if self._whole or not self._settings.history:
            raise _Refusal("it goes on where nothing has begun")
        self.state = State.STREAMING
        early, self._buffer = self._buffer, b""
        return [Stream(early, going_on[1].decode() if going_on[1] else self._settings.history)]

    # -- the snapshot

    def _announced(self, line: bytes) -> list[Action]:
        if line.startswith(b"-"):
            raise _Refusal(f"it has no snapshot for us: {_shown(line)}")
        length, mark = _LENGTH.fullmatch(line), _MARK.fullmatch(line)
        if length is None and mark is None:
            raise _Refusal(f"a snapshot cannot begin with {_shown(line)}")
        self.total = int(length[1]) if length else -1
        self._mark = mark[1] if mark else b""
        self.got = 0
        self.state = State.RECEIVING
        return [Open(self.total)]

    def _snapshot(self) -> list[Action]:
        data, self._buffer = self._buffer, b""
        if not self._mark:
            end = min(len(data), self.total - self.got)
            whole, rest = self.got + end == self.total, end
        else:
            end = data.find(self._mark)
            whole, rest = end >= 0, end + MARK_BYTES
            if not whole:  # its beginning may be there already
                end = rest = max(len(data) - MARK_BYTES + 1, 0)
        self.got += end
        self._buffer = data[rest:]
        actions: list[Action] = [Store(data[:end])] if end else []
        if whole:
            self.state = State.LOADING
            self._spoke = 0.0
            actions.append(Load(self._history, self._offset))
        return actions

    def _loaded(self, why: str, now: float) -> list[Action]:
        if self.state is not State.LOADING:
            return []
        if why:
            return self._fail_dearly(why, now)
        self._whole = False
        self.state = State.STREAMING
        self._streams(now)
        early, self._buffer = self._buffer, b""
        return [Stream(early, self._history)]

    def _streams(self, now: float) -> None:
        self._retries = 0
        self._began = now


def _shown(line: bytes) -> str:
    return line[:200].decode("utf-8", "backslashreplace")
