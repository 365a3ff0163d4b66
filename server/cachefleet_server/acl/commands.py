"""AUTH, HELLO, and the part of ACL that makes sense with the default user alone."""

from __future__ import annotations

import secrets

from cachefleet_parameters.kinds import parse_integer
from cachefleet_server.acl.users import DEFAULT_USER, Users
from cachefleet_server.command_spec import CATEGORIES, categories, row
from cachefleet_server.config.config import Config
from cachefleet_server.engine import Client, ClientFlag, Engine
from cachefleet_server.errors import CommandError
from cachefleet_server.replies import OK, OrderedSet, Reply, Simple
from cachefleet_server.version import COMPATIBLE_NAME, COMPATIBLE_VERSION, REDIS_VERSION

_WRONGPASS = "WRONGPASS invalid username-password pair or user is disabled."
_NO_PASSWORD = (
    "ERR AUTH <password> called without any password configured for the default user. "
    "Are you sure your configuration is correct?"
)
_HELLO_NOAUTH = (
    "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> "
    "option can be used to authenticate the client and select the RESP protocol version at the same time"
)
BAD_NAME = "ERR Client names cannot contain spaces, newlines or special characters."
_NO_FILE = (
    "ERR This instance is not configured to use an ACL file. You may want to specify users via the ACL SETUSER command "
    "and then issue a CONFIG REWRITE (assuming you have a configuration file set) in order to store users in the "
    "configuration."
)
_GENPASS_BITS = (
    "ERR ACL GENPASS argument must be the number of bits for the output password, a positive number up to 4096"
)
_HELP = """\
ACL <subcommand> [<arg> [value] [opt] ...]. Subcommands are:
CAT [<category>]
    List all commands that belong to <category>, or all command categories
    when no category is specified.
GETUSER <username>
    Get the user's details.
GENPASS [<bits>]
    Generate a secure 256-bit user password. The optional `bits` argument can
    be used to specify a different size.
LIST
    Show users details in config file format.
LOAD
    Reload users from the ACL file.
SAVE
    Save the current config to the ACL file.
USERS
    List all the registered usernames.
WHOAMI
    Return the current connection username.
HELP
    Print this help."""


def is_name(value: bytes) -> bool:
    """Printable and without blanks, so that CLIENT LIST stays one field a word. A name ends at a NUL."""
    return all(0x21 <= byte <= 0x7E for byte in value.partition(b"\0")[0])


class AccessCommands:
    """Rows of AUTH, HELLO and ACL."""

    def __init__(self, engine: Engine, config: Config, users: Users) -> None:
        self._engine = engine
        self._config = config
        self._users = users

    def register(self) -> None:
        add = self._engine.register
        free = "allow_busy fast loading no_auth noscript stale"
        add(row("auth", -2, free, "connection", "",
                "connection 1.0.0 O(N) where N is the number of passwords defined for the user"
                "; history 6.0.0 Added ACL style (username and password).",
                "Authenticates the connection.", "[username:string@6.0.0] password:string"), self._auth)
        add(row("hello", -1, free, "connection", "",
                "connection 6.0.0 O(1); history 8.1.0 A new `availability_zone` field is added to the response if the "
                "`availability-zone` config is set."
                "; history 6.2.0 `protover` made optional; when called without arguments the command "
                "reports the current connection's context.",
                "Handshakes with the server.",
                "[arguments{protover:integer [AUTH auth{username:string password:string}] "
                "[SETNAME clientname:string]}]"), self._hello)
        self._register_acl()

    def _register_acl(self) -> None:
        add = self._engine.register
        hidden, admin = "loading noscript stale", "admin loading noscript stale"
        add(row("acl", -2, "container", "", "", "server 6.0.0 Depends on subcommand.",
                "A container for Access List Control commands.", ""))
        add(row("acl|cat", -2, hidden, "", "",
                "server 6.0.0 O(1) since the categories and commands are a fixed set.",
                "Lists the ACL categories, or the commands inside a category.", "[category:string]"), self._cat)
        add(row("acl|genpass", -2, hidden, "", "", "server 6.0.0 O(1)",
                "Generates a pseudorandom, secure password that can be used to identify ACL users.",
                "[bits:integer]"), _genpass)
        add(row("acl|getuser", 3, admin, "", "",
                "server 6.0.0 O(N). Where N is the number of password, command and pattern rules that the user has."
                "; history 6.2.0 Added Pub/Sub channel patterns."
                "; history 7.0.0 Added selectors and changed the format of key and channel patterns from a list to "
                "their rule representation.; history 9.1.0 Added database permission rules.",
                "Lists the ACL rules of a user.", "username:string"), self._getuser)
        add(row("acl|help", 2, "loading stale", "", "", "server 6.0.0 O(1)",
                "Returns helpful text about the different subcommands.", ""), _help)
        add(row("acl|list", 2, admin, "", "", "server 6.0.0 O(N). Where N is the number of configured users.",
                "Dumps the effective rules in ACL file format.", ""), self._list)
        add(row("acl|load", 2, admin, "", "", "server 6.0.0 O(N). Where N is the number of configured users.",
                "Reloads the rules from the configured ACL file.", ""), _no_file)
        add(row("acl|save", 2, admin, "", "",
                "server 6.0.0 O(N). Where N is the number of configured users."
                "; tips request_policy:all_nodes response_policy:all_succeeded",
                "Saves the effective ACL rules in the configured ACL file.", ""), _no_file)
        add(row("acl|users", 2, admin, "", "", "server 6.0.0 O(N). Where N is the number of configured users.",
                "Lists all ACL users.", ""), _users)
        add(row("acl|whoami", 2, hidden, "", "", "server 6.0.0 O(1)",
                "Returns the authenticated username of the current connection.", ""), _whoami)

    # -- AUTH and HELLO

    def _auth(self, client: Client, argv: list[bytes]) -> Reply:
        if len(argv) > 3:
            raise CommandError("ERR syntax error")
        if len(argv) == 2:
            if self._users.open:
                raise CommandError(_NO_PASSWORD)
            self._log_in(client, DEFAULT_USER, argv[1])
        else:
            self._log_in(client, argv[1].decode("utf-8", "surrogateescape"), argv[2])
        return OK

    def _log_in(self, client: Client, user: str, password: bytes) -> None:
        if not self._users.check(user, password):
            self._engine.count("acl_denied_auth")
            raise CommandError(_WRONGPASS)
        client.set_flag(ClientFlag.AUTHENTICATED, True)

    def _hello(self, client: Client, argv: list[bytes]) -> Reply:
        version = client.resp
        name: bytes | None = None
        login: tuple[str, bytes] | None = None
        if len(argv) > 1:
            number = parse_integer(argv[1].decode("latin-1"))
            if number is None:
                raise CommandError("ERR Protocol version is not an integer or out of range")
            if number not in (2, 3):
                raise CommandError("NOPROTO unsupported protocol version")
            version = number
        rest = argv[2:]
        while rest:
            option = rest[0].upper()
            if option == b"AUTH" and len(rest) >= 3:
                login = rest[1].decode("utf-8", "surrogateescape"), rest[2]
                rest = rest[3:]
            elif option == b"SETNAME" and len(rest) >= 2:
                name = rest[1]
                if not is_name(name):
                    raise CommandError(BAD_NAME)
                rest = rest[2:]
            else:
                shown = rest[0].decode("utf-8", "surrogateescape")
                raise CommandError(f"ERR Syntax error in HELLO option '{shown}'")
        if login is not None:
            self._log_in(client, *login)
        if not client.authenticated:
            raise CommandError(_HELLO_NOAUTH)
        if name is not None:
            client.name = name
        client.resp = version
        return self._greeting(client)

    def _greeting(self, client: Client) -> Reply:
        as_redis = self._config.flag("extended-redis-compatibility")
        zone = self._config.text("availability-zone")
        return {
            "server": "redis" if as_redis else COMPATIBLE_NAME,
            "version": REDIS_VERSION if as_redis else COMPATIBLE_VERSION,
            "proto": client.resp,
            "id": client.id,
            "mode": "standalone",
            "role": "replica" if self._engine.following else "master",
            **({"availability_zone": zone} if zone else {}),
            "modules": [],
        }

    # -- ACL

    def _cat(self, client: Client, argv: list[bytes]) -> Reply:
        if len(argv) > 3:
            raise CommandError("ERR unknown subcommand or wrong number of arguments for 'CAT'. Try ACL HELP.")
        if len(argv) == 2:
            return list(CATEGORIES)
        given = argv[2].decode("utf-8", "surrogateescape")
        if given.lower() not in CATEGORIES:
            raise CommandError(f"ERR Unknown category '{given}'")
        return [spec.name for spec in self._engine.specs() if given.lower() in categories(spec)]

    def _getuser(self, client: Client, argv: list[bytes]) -> Reply:
        if argv[2] != DEFAULT_USER.encode():
            return None
        digest = self._users.password_digest()
        return {
            "flags": OrderedSet(["on"] if digest else ["on", "nopass"]),
            "passwords": [digest] if digest else [],
            "commands": "+@all",
            "keys": "~*",
            "channels": "&*",
            "databases": "alldbs",
            "selectors": [],
        }

    def _list(self, client: Client, argv: list[bytes]) -> Reply:
        digest = self._users.password_digest()
        return [f"user {DEFAULT_USER} on {'#' + digest if digest else 'nopass'} ~* &* +@all"]


def _help(client: Client, argv: list[bytes]) -> Reply:
    return [Simple(line) for line in _HELP.splitlines()]


def _users(client: Client, argv: list[bytes]) -> Reply:
    return [DEFAULT_USER]


def _whoami(client: Client, argv: list[bytes]) -> Reply:
    return client.user


def _no_file(client: Client, argv: list[bytes]) -> Reply:
    raise CommandError(_NO_FILE)


def _genpass(client: Client, argv: list[bytes]) -> Reply:
    if len(argv) > 3:
        raise CommandError("ERR unknown subcommand or wrong number of arguments for 'GENPASS'. Try ACL HELP.")
    bits: int | None = 256
    if len(argv) == 3:
        bits = parse_integer(argv[2].decode("latin-1"))
        if bits is None:
            raise CommandError("ERR value is not an integer or out of range")
        if not 0 < bits <= 4096:
            raise CommandError(_GENPASS_BITS)
    assert bits is not None
    digits = (bits + 3) // 4
    return secrets.token_hex((digits + 1) // 2)[:digits]
