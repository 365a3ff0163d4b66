"""Small server commands: INFO's row, MODULE LIST, LASTSAVE's neighbours that need no subsystem."""

from __future__ import annotations

from cachefleet_server.admin.arguments import help_lines
from cachefleet_server.admin.info import Info
from cachefleet_server.command_spec import row
from cachefleet_server.engine import Client, Engine
from cachefleet_server.replies import Reply


class ServerCommands:
    def __init__(self, engine: Engine, info: Info) -> None:
        self.engine = engine
        self.info = info

    def register(self) -> None:
        rows = [
            ("info", -1, "loading stale", "dangerous", "server 1.0.0 O(1)"
             "; tips nondeterministic_output request_policy:all_shards response_policy:special"
             "; history 7.0.0 Added support for taking multiple section arguments.",
             "Returns what the server knows of itself.", "[section:string]...", self.info.command),
            ("module", -2, "container", "", "server 4.0.0 Depends on subcommand.", "Commands about modules.", "",
             None),
            ("module|list", 2, "admin noscript", "", "server 4.0.0 O(N) where N is the number of loaded modules."
             "; tips nondeterministic_output_order",
             "Lists modules; there are none.", "", self.module_list),
            ("module|help", 2, "loading stale", "", "server 5.0.0 O(1)", "Describes the subcommands.", "", self.help),
        ]  # fmt: skip
        for name, arity, flags, acl, about, summary, syntax, function in rows:
            self.engine.register(row(name, arity, flags, acl, "", about, summary, syntax), function)

    def module_list(self, client: Client, argv: list[bytes]) -> Reply:
        return []

    def help(self, client: Client, argv: list[bytes]) -> Reply:
        return help_lines("MODULE", ("LIST", "    Modules that are loaded: this server takes none."))
