"""CLIENT TRACKING, CACHING, GETREDIR and TRACKINGINFO: the rules of client-side caching, and what is said of it.

What is remembered and told is the engine's (keyspace/tracking.pxd).
"""

from __future__ import annotations

from cachefleet_server.admin.arguments import SYNTAX, integer, text
from cachefleet_server.command_spec import row
from cachefleet_server.engine import Client, Engine, Track
from cachefleet_server.errors import CommandError
from cachefleet_server.replies import OK, OrderedSet, Reply

_MODES = {b"bcast": Track.BCAST, b"optin": Track.OPTIN, b"optout": Track.OPTOUT, b"noloop": Track.NOLOOP}
_SHOWN = (
    (Track.ON, "on"), (Track.BCAST, "bcast"), (Track.OPTIN, "optin"), (Track.OPTIN | Track.CACHING, "caching-yes"),
    (Track.OPTOUT, "optout"), (Track.OPTOUT | Track.CACHING, "caching-no"), (Track.NOLOOP, "noloop"),
    (Track.BROKEN, "broken_redirect"),
)  # fmt: skip
_AFRESH = "before disabling tracking for this client, and then re-enabling it with a different mode."
_UNIQUE = "Prefixes for a single client must not overlap."


class Options:
    """The words behind ON or OFF."""

    def __init__(self, engine: Engine, words: list[bytes]) -> None:
        self.modes = 0
        self.target: Client | None = None
        self.prefixes: list[bytes] = []
        rest = iter(words)
        for word in rest:
            name = word.lower()
            value = next(rest, None) if name in (b"redirect", b"prefix") else None
            if name in _MODES:
                self.modes |= _MODES[name]
            elif value is None:
                raise CommandError(SYNTAX)
            elif name == b"prefix":
                self.prefixes.append(value)
            else:
                self._redirect(engine, value)

    def _redirect(self, engine: Engine, value: bytes) -> None:
        if self.target is not None:
            raise CommandError("ERR A client can only redirect to a single other client")
        number = integer(value)
        self.target = engine.client(number) if number > 0 else None
        if self.target is None:
            raise CommandError("ERR The client ID you want redirect to does not exist")

    def check(self, modes: int, prefixes: list[bytes]) -> None:
        """Among each other, and with what the client has; `modes` 0: it does not track."""
        if self.prefixes and not self.modes & Track.BCAST:
            raise CommandError("ERR PREFIX option requires BCAST mode to be enabled")
        if modes and (modes ^ self.modes) & Track.BCAST:
            raise CommandError(f"ERR You can't switch BCAST mode on/off {_AFRESH}")
        if self.modes & Track.BCAST and self.modes & (Track.OPTIN | Track.OPTOUT):
            raise CommandError("ERR OPTIN and OPTOUT are not compatible with BCAST")
        if self.modes & Track.OPTIN and self.modes & Track.OPTOUT:
            raise CommandError("ERR You can't specify both OPTIN mode and OPTOUT mode")
        if (self.modes & Track.OPTIN and modes & Track.OPTOUT) or (self.modes & Track.OPTOUT and modes & Track.OPTIN):
            raise CommandError(f"ERR You can't switch OPTIN/OPTOUT mode {_AFRESH}")
        for at, prefix in enumerate(self.prefixes):
            _apart(prefix, sorted(prefixes), "an existing")  # whatever the order in which the client got them
            _apart(prefix, self.prefixes[at + 1 :], "another provided")


def _apart(prefix: bytes, others: list[bytes], which: str) -> None:
    for other in others:
        if prefix.startswith(other) or other.startswith(prefix):
            raise CommandError(f"ERR Prefix '{text(prefix)}' overlaps with {which} prefix '{text(other)}'. {_UNIQUE}")


class TrackingCommands:
    """Rows of the CLIENT container, which is registered before."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def register(self) -> None:
        base = "noscript loading stale"
        busy = base + " allow_busy"
        rows = [
            ("client|caching", 3, busy, "connection 6.0.0 O(1)", "Says whether the next request's keys are tracked.",
             "mode(YES | NO)", self.caching),
            ("client|getredir", 2, busy, "connection 6.0.0 O(1)", "Returns where tracking messages go.", "",
             self.getredir),
            ("client|tracking", -3, base, "connection 6.0.0 O(1). Some options may introduce additional complexity.",
             "Turns client-side caching on and off.",
             "status(ON | OFF) [REDIRECT client-id:integer] [PREFIX prefix:string]... [BCAST] [OPTIN] [OPTOUT] "
             "[NOLOOP]",
             self.tracking),
            ("client|trackinginfo", 2, base, "connection 6.2.0 O(1)", "Describes client-side caching.", "",
             self.trackinginfo),
        ]  # fmt: skip
        for name, arity, flags, about, summary, syntax, function in rows:
            self.engine.register(row(name, arity, flags, "connection", "", about, summary, syntax), function)

    def tracking(self, client: Client, argv: list[bytes]) -> Reply:
        options = Options(self.engine, argv[3:])
        state = argv[2].lower()
        if state == b"off":
            client.track_no_more()
        elif state == b"on":
            modes, _, prefixes = client.tracking or (0, 0, [])
            options.check(modes, prefixes)
            new = options.prefixes or ([b""] if options.modes & Track.BCAST else [])
            client.track(options.modes, options.target, new)
        else:
            raise CommandError(SYNTAX)
        return OK

    def caching(self, client: Client, argv: list[bytes]) -> Reply:
        if not client.tracking:
            raise CommandError(
                "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode "
                "enabled"
            )
        modes, answer = client.tracking[0], argv[2].lower()
        if answer not in (b"yes", b"no"):
            raise CommandError(SYNTAX)
        if answer == b"yes" and not modes & Track.OPTIN:
            raise CommandError("ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.")
        if answer == b"no" and not modes & Track.OPTOUT:
            raise CommandError("ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.")
        client.set_caching()
        return OK

    def getredir(self, client: Client, argv: list[bytes]) -> Reply:
        return redirection(client)

    def trackinginfo(self, client: Client, argv: list[bytes]) -> Reply:
        modes, _, prefixes = client.tracking or (0, 0, [])
        flags = [word for bits, word in _SHOWN if modes & bits == bits] if modes else ["off"]
        return {"flags": OrderedSet(flags), "redirect": redirection(client), "prefixes": sorted(prefixes)}


def redirection(client: Client) -> int:
    """The id of who is told; 0: the client itself, -1: nobody, it does not track."""
    return client.tracking[1] if client.tracking else -1
