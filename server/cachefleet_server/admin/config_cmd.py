"""CONFIG GET, SET, REWRITE, RESETSTAT and HELP."""

from __future__ import annotations

from cachefleet_server.admin.arguments import is_local
from cachefleet_server.command_spec import row
from cachefleet_server.config.config import Config, SetError, StateError, UnknownParameter
from cachefleet_server.config.params import LOADING
from cachefleet_server.config.rewrite import rewrite
from cachefleet_server.engine import Client, Engine, glob_matches
from cachefleet_server.errors import CommandError, ConfigError
from cachefleet_server.log import Log
from cachefleet_server.replies import OK, Reply, Simple

_HELP = """\
CONFIG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:
GET <pattern>
    Return parameters matching the glob-like <pattern> and their values.
SET <directive> <value>
    Set the configuration <directive> to <value>.
RESETSTAT
    Reset statistics reported by the INFO command.
REWRITE
    Rewrite the configuration file.
HELP
    Print this help."""


class ConfigCommands:
    """Rows of CONFIG."""

    def __init__(self, engine: Engine, config: Config, log: Log) -> None:
        self._engine = engine
        self._config = config
        self._log = log

    def register(self) -> None:
        add = self._engine.register
        admin = "admin loading noscript stale"
        add(row("config", -2, "container", "", "", "server 2.0.0 Depends on subcommand.",
                "A container for server configuration commands.", ""))
        add(row("config|get", -3, admin, "", "",
                "server 2.0.0 O(N) when N is the number of configuration parameters provided"
                "; history 7.0.0 Added the ability to pass multiple pattern parameters in one call",
                "Returns the effective values of configuration parameters.", "parameter:string..."), self._get)
        add(row("config|help", 2, "loading stale", "", "", "server 5.0.0 O(1)",
                "Returns helpful text about the different subcommands.", ""), _help)
        add(row("config|resetstat", 2, admin, "", "",
                "server 2.0.0 O(1); tips request_policy:all_nodes response_policy:all_succeeded",
                "Resets the server's statistics.", ""), self._resetstat)
        add(row("config|rewrite", 2, admin, "", "",
                "server 2.8.0 O(1); tips request_policy:all_nodes response_policy:all_succeeded",
                "Persists the effective configuration to file.", ""), self._rewrite)
        add(row("config|set", -4, admin, "", "",
                "server 2.0.0 O(N) when N is the number of configuration parameters provided"
                "; tips request_policy:all_nodes response_policy:all_succeeded"
                "; history 7.0.0 Added the ability to set multiple parameters in one call.",
                "Sets configuration parameters in-flight.", "data{parameter:string value:string}..."), self._set)

    def _get(self, client: Client, argv: list[bytes]) -> Reply:
        found: dict[str, str] = {}
        seen: set[str] = set()
        for raw in argv[2:]:
            text = _decode(raw)
            row_ = self._config.find(text)
            if row_ is not None:
                matches = [(text, row_)]
            else:
                names = self._config.names() if any(mark in text for mark in "*?[") else ()
                matches = [(name, p) for name, p in names if not p.hidden and glob_matches(raw, name.encode(), True)]
            for name, param in matches:
                if name.lower() not in seen:
                    seen.add(name.lower())
                    found[name] = self._config.shown(param.name)
        return {_encode(name): _encode(value) for name, value in found.items()}

    def _set(self, client: Client, argv: list[bytes]) -> Reply:
        words = [_decode(word) for word in argv[2:]]
        if len(words) % 2:
            raise CommandError("ERR syntax error")
        try:
            self._config.set(list(zip(words[::2], words[1::2], strict=True)), protected=self._may_set_protected(client))
        except UnknownParameter as error:
            raise CommandError(f"ERR Unknown option or number of arguments for CONFIG SET - '{error.name}'") from None
        except StateError as error:
            if error.state == LOADING:
                raise CommandError("LOADING Valkey is loading the dataset in memory") from None
            raise _refused(error) from None
        except SetError as error:
            raise _refused(error) from None
        for text in self._config.unused(words[::2]):
            self._log.warning(text)
        return OK

    def _may_set_protected(self, client: Client) -> bool:
        """`enable-protected-configs`: yes, no, or local: for connections from this machine."""
        policy = self._config.text("enable-protected-configs")
        return policy == "yes" or (policy == "local" and is_local(client))

    def _rewrite(self, client: Client, argv: list[bytes]) -> Reply:
        if not self._config.file:
            raise CommandError("ERR The server is running without a config file")
        try:
            rewrite(self._config, self._config.file)
        except (OSError, ConfigError) as error:
            self._log.warning(f"CONFIG REWRITE failed: {error}")
            reason = error.strerror if isinstance(error, OSError) else str(error).rpartition("\n")[2]
            raise CommandError(f"ERR Rewriting config file: {reason}") from None
        self._log.notice("CONFIG REWRITE executed with success.")
        return OK

    def _resetstat(self, client: Client, argv: list[bytes]) -> Reply:
        self._engine.reset_stats()
        return OK


def _refused(error: SetError) -> CommandError:
    return CommandError(f"ERR CONFIG SET failed (possibly related to argument '{error.name}') - {error}")


def _help(client: Client, argv: list[bytes]) -> Reply:
    return [Simple(line) for line in _HELP.splitlines()]


def _decode(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
