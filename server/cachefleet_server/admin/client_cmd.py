"""CLIENT and its subcommands. Those of client-side caching are in tracking.py."""

from __future__ import annotations

import time

from cachefleet_server.acl.commands import BAD_NAME, is_name
from cachefleet_server.admin import client_filter
from cachefleet_server.admin.arguments import INT64_MAX, SYNTAX, help_lines, integer, switch, text
from cachefleet_server.admin.tracking import redirection
from cachefleet_server.command_spec import row
from cachefleet_server.engine import Client, ClientFlag, Engine
from cachefleet_server.errors import CommandError
from cachefleet_server.replies import NO_REPLY, OK, Reply, Verbatim

HELP = (
    "CACHING (YES|NO)",
    "    Whether the next request's keys are tracked, in OPTIN or OPTOUT mode.",
    "CAPA <option> [options...]",
    "    Declare what this client can handle (REDIRECT).",
    "GETNAME",
    "    The name of this connection.",
    "GETREDIR",
    "    The client id that tracking messages are sent to.",
    "ID",
    "    The id of this connection.",
    "IMPORT-SOURCE (ON|OFF)",
    "    Mark this connection as the source of an import (needs import-mode).",
    "INFO",
    "    What CLIENT LIST says about this connection.",
    "KILL <ip:port>",
    "    Close the connection from this address.",
    "KILL <option> <value> [<option> <value> [...]]",
    "    Close connections. Options: those of LIST; SKIPME is yes by default.",
    "LIST [options ...]",
    "    One line a connection. Options: TYPE, USER, ADDR, LADDR, ID, SKIPME,",
    "    MAXAGE, IDLE, FLAGS, NAME, LIB-NAME, LIB-VER, DB, CAPA, IP; NOT- negates.",
    "NO-EVICT (ON|OFF)",
    "    Protect this connection from client eviction.",
    "NO-TOUCH (ON|OFF)",
    "    Commands of this connection do not refresh LRU and LFU.",
    "PAUSE <timeout> [WRITE|ALL]",
    "    Hold back writing commands, or all, for <timeout> milliseconds.",
    "REPLY (ON|OFF|SKIP)",
    "    Whether this connection gets replies.",
    "SETINFO <option> <value>",
    "    LIB-NAME or LIB-VER of the client library.",
    "SETNAME <name>",
    "    Name this connection.",
    "TRACKING (ON|OFF) [REDIRECT <id>] [BCAST] [PREFIX <prefix> [...]]",
    "         [OPTIN] [OPTOUT] [NOLOOP]",
    "    Whether this connection is told of changes of the keys that it reads.",
    "TRACKINGINFO",
    "    State of client-side caching for this connection.",
    "UNBLOCK <clientid> [TIMEOUT|ERROR]",
    "    End the wait of a client in a blocking command.",
    "UNPAUSE",
    "    End CLIENT PAUSE.",
)


def describe(c: Client) -> str:
    """One line of CLIENT LIST."""
    channels, patterns, shards = c.subscriptions
    return (
        f"id={c.id} addr={c.peer()} laddr={c.local()} fd={c.fd} name={text(c.name)} age={c.age_ms // 1000} "
        f"idle={c.idle_ms // 1000} flags={client_filter.flags_of(c)} capa={client_filter.capa_of(c)} "
        f"db={c.db} sub={channels} psub={patterns} ssub={shards} multi={c.multi_queued} watch={c.watched} "
        f"qbuf={c.query_buffer} qbuf-free=0 "
        f"argv-mem={c.argument_bytes} multi-mem={c.multi_memory} rbs=0 rbp=0 obl=0 oll=0 omem={c.output_bytes} "
        f"tot-mem={c.memory} events=r{'w' if c.flags & ClientFlag.WRITABLE_WAIT else ''} cmd={c.last_command} "
        f"user={c.user} redir={redirection(c)} resp={c.resp} lib-name={text(c.lib_name)} lib-ver={text(c.lib_ver)} "
        f"tot-net-in={c.net_in} tot-net-out={c.net_out} tot-cmds={c.commands}"
    )


class ClientCommands:
    """Rows of the CLIENT container. The texts of HELP are our own."""

    def __init__(self, engine: Engine, databases: int) -> None:
        self.engine = engine
        self.databases = databases

    def register(self) -> None:
        o1 = "connection {} O(1)"
        unsure = "; tips nondeterministic_output"
        everywhere = "; tips request_policy:all_nodes response_policy:all_succeeded"
        mode = "; history 6.2.0 `CLIENT PAUSE WRITE` mode added along with the `mode` option."
        base = "noscript loading stale"
        busy = base + " allow_busy"
        admin = base + " admin"
        rows = [
            ("client", -2, "container", "connection 2.4.0 Depends on subcommand.", "Commands about connections.", "",
             None),
            ("client|capa", -3, busy, o1.format("8.0.0"), "Declares what the client can handle.",
             "capability:string...", self.capa),
            ("client|getname", 2, busy, o1.format("2.6.9"), "Returns the connection's name.", "", self.getname),
            ("client|help", 2, "loading stale", o1.format("5.0.0"), "Describes the subcommands.", "", self.show_help),
            ("client|id", 2, busy, o1.format("5.0.0"), "Returns the connection's id.", "", self.get_id),
            ("client|import-source", 3, base, o1.format("8.1.0"), "Marks the client as an import's source.",
             "enabled(ON | OFF)", self.import_source),
            ("client|info", 2, base, o1.format("6.2.0") + unsure, "Describes this connection.", "", self.info),
            ("client|kill", -3, admin, "connection 2.4.0 O(N) where N is the number of client connections"
             + client_filter.KILL_HISTORY,
             "Closes connections.", client_filter.KILL_SYNTAX, self.kill),
            ("client|list", -2, admin, "connection 2.4.0 O(N) where N is the number of client connections" + unsure
             + client_filter.LIST_HISTORY,
             "Lists connections.", client_filter.LIST_SYNTAX, self.list_),
            ("client|no-evict", 3, admin + " allow_busy", o1.format("7.0.0"), "Exempts the client from eviction.",
             "enabled(ON | OFF)", self.no_evict),
            ("client|no-touch", 3, busy, o1.format("7.2.0"), "Leaves LRU and LFU of keys alone.",
             "enabled(ON | OFF)", self.no_touch),
            ("client|pause", -3, admin, o1.format("3.0.0") + mode, "Holds commands back for a while.",
             "timeout:integer [mode(WRITE | ALL)@6.2.0]", self.pause),
            ("client|reply", 3, busy + " no_multi", o1.format("3.2.0"), "Turns replies on and off.",
             "action(ON | OFF | SKIP)", self.reply),
            ("client|setinfo", 4, busy, o1.format("7.2.0") + everywhere, "Says which library the client is.",
             "attr(LIB-NAME libname:string | LIB-VER libver:string)", self.setinfo),
            ("client|setname", 3, busy, o1.format("2.6.9") + everywhere, "Names the connection.",
             "connection-name:string", self.setname),
            ("client|unblock", -3, admin, "connection 5.0.0 O(log N) where N is the number of client connections",
             "Ends a client's wait.", "client-id:integer [unblock-type(TIMEOUT | ERROR)]", self.unblock),
            ("client|unpause", 2, admin, "connection 6.2.0 O(N) Where N is the number of paused clients",
             "Ends CLIENT PAUSE.", "", self.unpause),
        ]  # fmt: skip
        for name, arity, flags, about, summary, syntax, function in rows:
            acl = "connection" if "|" in name else ""
            self.engine.register(row(name, arity, flags, acl, "", about, summary, syntax), function)

    def capa(self, client: Client, argv: list[bytes]) -> Reply:
        """Unknown capabilities are ignored: a newer client may know more."""
        if b"redirect" in [word.lower() for word in argv[2:]]:
            client.set_flag(ClientFlag.CAPA_REDIRECT, True)
        return OK

    def getname(self, client: Client, argv: list[bytes]) -> Reply:
        return client.name or None

    def show_help(self, client: Client, argv: list[bytes]) -> Reply:
        return help_lines("CLIENT", HELP)

    def get_id(self, client: Client, argv: list[bytes]) -> Reply:
        return client.id

    def import_source(self, client: Client, argv: list[bytes]) -> Reply:
        if not self.engine.get_param("import_mode"):
            raise CommandError("ERR Server is not in import mode")
        client.set_flag(ClientFlag.IMPORT_SOURCE, switch(argv[2]))
        return OK

    def info(self, client: Client, argv: list[bytes]) -> Reply:
        return Verbatim("txt", describe(client) + "\n")

    def kill(self, client: Client, argv: list[bytes]) -> Reply:
        if len(argv) == 3:
            for other in self.engine.clients():
                if other.peer() == text(argv[2]):
                    self._close(other, client)
                    return OK
            raise CommandError("ERR No such client")
        wanted = client_filter.parse(argv[2:], self.databases)
        if wanted.skip_me is None:
            wanted.skip_me = True
        victims = wanted.among(self.engine, client.id)
        for victim in victims:
            self._close(victim, client)
        return len(victims)

    @staticmethod
    def _close(victim: Client, me: Client) -> None:
        if victim.id == me.id:
            me.close_after_reply()
        else:
            victim.close()

    def list_(self, client: Client, argv: list[bytes]) -> Reply:
        wanted = client_filter.parse(argv[2:], self.databases)
        return Verbatim("txt", "".join(describe(c) + "\n" for c in wanted.among(self.engine, client.id)))

    def no_evict(self, client: Client, argv: list[bytes]) -> Reply:
        client.set_flag(ClientFlag.NO_EVICT, switch(argv[2]))
        return OK

    def no_touch(self, client: Client, argv: list[bytes]) -> Reply:
        client.set_flag(ClientFlag.NO_TOUCH, switch(argv[2]))
        return OK

    def pause(self, client: Client, argv: list[bytes]) -> Reply:
        everything = True
        if len(argv) == 4:
            mode = argv[3].lower()
            if mode not in (b"write", b"all"):
                raise CommandError("ERR CLIENT PAUSE mode must be WRITE or ALL")
            everything = mode == b"all"
        # As in Valkey, further arguments are ignored, and the mode with them.
        timeout = integer(argv[2], "ERR timeout is not an integer or out of range")
        if timeout < 0:
            raise CommandError("ERR timeout is negative")
        if timeout > INT64_MAX - int(time.time() * 1000):
            raise CommandError("ERR timeout is out of range")
        self.engine.pause("client", timeout, everything=everything)
        return OK

    def reply(self, client: Client, argv: list[bytes]) -> Reply:
        mode = argv[2].lower()
        if mode == b"on":
            client.set_flag(ClientFlag.REPLY_OFF | ClientFlag.REPLY_SKIP, False)
            return OK
        if mode == b"off":
            client.set_flag(ClientFlag.REPLY_OFF, True)
        elif mode == b"skip":
            if not client.flags & ClientFlag.REPLY_OFF:
                client.set_flag(ClientFlag.REPLY_SKIP_NEXT, True)
        else:
            raise CommandError(SYNTAX)
        return NO_REPLY

    def setinfo(self, client: Client, argv: list[bytes]) -> Reply:
        option = argv[2].lower()
        if option not in (b"lib-name", b"lib-ver"):
            shown = text(argv[2].partition(b"\0")[0])  # Valkey prints it as a C string
            raise CommandError(f"ERR Unrecognized option '{shown}'")
        message = f"ERR {text(argv[2])} cannot contain spaces, newlines or special characters."
        value = argv[3]
        if not is_name(value):
            raise CommandError(message)
        if option == b"lib-name":
            client.lib_name = value
        else:
            client.lib_ver = value
        return OK

    def setname(self, client: Client, argv: list[bytes]) -> Reply:
        if not is_name(argv[2]):
            raise CommandError(BAD_NAME)
        client.name = argv[2]
        return OK

    def unblock(self, client: Client, argv: list[bytes]) -> Reply:
        error = False
        if len(argv) == 4:
            if argv[3].lower() not in (b"timeout", b"error"):
                raise CommandError("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR")
            error = argv[3].lower() == b"error"
        target = integer(argv[2])
        return int(target > 0 and self.engine.unblock(target, error))

    def unpause(self, client: Client, argv: list[bytes]) -> Reply:
        self.engine.unpause("client")
        return OK
