"""COMMAND: the command table, described. Everything is made from the rows when it is asked for."""

from __future__ import annotations

from cachefleet_server import command_keys, command_syntax
from cachefleet_server.admin.arguments import SYNTAX, help_lines, text
from cachefleet_server.command_spec import CATEGORIES, CommandSpec, categories, row
from cachefleet_server.engine import Client, Engine, glob_matches
from cachefleet_server.errors import CommandError
from cachefleet_server.replies import NULL_ARRAY, OrderedSet, Reply, Simple

FLAG_ORDER = (
    "write", "readonly", "denyoom", "module", "admin", "pubsub", "noscript", "blocking", "loading", "stale",
    "skip_monitor", "skip_commandlog", "asking", "fast", "no_auth", "no_async_loading", "no_multi",
    "movablekeys", "allow_busy", "no_mandatory_keys",
)  # fmt: skip
HELP = (
    "(no subcommand)",
    "    Describe all commands.",
    "COUNT",
    "    How many commands there are.",
    "LIST [FILTERBY (MODULE <name>|ACLCAT <category>|PATTERN <pattern>)]",
    "    Names of commands.",
    "INFO [<command-name> ...]",
    "    Flags, keys and categories of commands (default: all).",
    "DOCS [<command-name> ...]",
    "    Summary, complexity and arguments of commands (default: all).",
    "GETKEYS <full-command>",
    "    The keys in a command.",
    "GETKEYSANDFLAGS <full-command>",
    "    The keys in a command and how they are accessed.",
)


class CommandCommands:
    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def register(self) -> None:
        on = "server {} O(N) where N is the number of commands to look up"
        all_on = "server {} O(N) where N is the total number of commands"
        base = "loading stale"
        anything = "; history 7.0.0 Allowed to be called with no argument to get info on all commands."
        order = "; tips nondeterministic_output_order"
        rows = [
            ("command", -1, base + " container", all_on.format("2.8.13") + order, "Describes all commands.", "",
             self.all),
            ("command|count", 2, base, "server 2.8.13 O(1)", "Returns how many commands there are.", "", self.count),
            ("command|docs", -2, base, on.format("7.0.0") + order, "Documents commands.", "[command-name:string]...",
             self.docs),
            ("command|getkeys", -3, base, "server 2.8.13 O(N) where N is the number of arguments to the command",
             "Finds the keys in a command.", "command:string [arg:string]...", self.getkeys),
            ("command|getkeysandflags", -3, base,
             "server 7.0.0 O(N) where N is the number of arguments to the command",
             "Finds the keys in a command and how they are used.", "command:string [arg:string]...",
             self.getkeysandflags),
            ("command|help", 2, base, "server 5.0.0 O(1)", "Describes the subcommands.", "", self.show_help),
            ("command|info", -2, base, on.format("2.8.13") + order + anything, "Describes commands.",
             "[command-name:string]...", self.info),
            ("command|list", -2, base, all_on.format("7.0.0") + order, "Lists the names of commands.",
             "[FILTERBY filterby(MODULE module-name:string | ACLCAT category:string | PATTERN pattern:pattern)]",
             self.names),
        ]  # fmt: skip
        for name, arity, flags, about, summary, syntax, function in rows:
            self.engine.register(row(name, arity, flags, "connection", "", about, summary, syntax), function)

    def _table(self) -> dict[str, CommandSpec]:
        return {spec.name: spec for spec in self.engine.specs()}

    @staticmethod
    def _children(table: dict[str, CommandSpec], name: str) -> list[CommandSpec]:
        return [spec for spec in table.values() if spec.name.startswith(name + "|")]

    def all(self, client: Client, argv: list[bytes]) -> Reply:
        table = self._table()
        return [self._describe(table, spec) for spec in table.values() if "|" not in spec.name]

    def count(self, client: Client, argv: list[bytes]) -> Reply:
        return sum("|" not in name for name in self._table())

    def info(self, client: Client, argv: list[bytes]) -> Reply:
        if len(argv) == 2:
            return self.all(client, argv)
        table = self._table()
        found = [table.get(text(word).lower()) for word in argv[2:]]
        return [NULL_ARRAY if spec is None else self._describe(table, spec) for spec in found]

    def _describe(self, table: dict[str, CommandSpec], spec: CommandSpec) -> Reply:
        words = categories(spec)
        return [
            spec.name,
            spec.arity,
            OrderedSet([Simple(flag) for flag in FLAG_ORDER if flag in spec.flags]),
            *command_keys.first_last_step(spec),
            OrderedSet([Simple("@" + word) for word in CATEGORIES if word in words]),
            OrderedSet(spec.tips),
            OrderedSet([_spec_reply(key) for key in command_keys.parse(spec.keys)]),
            [self._describe(table, child) for child in self._children(table, spec.name)],
        ]

    def docs(self, client: Client, argv: list[bytes]) -> Reply:
        table = self._table()
        names = [text(word).lower() for word in argv[2:]] or [name for name in table if "|" not in name]
        return {name: self._document(table, table[name]) for name in names if name in table}

    def _document(self, table: dict[str, CommandSpec], spec: CommandSpec) -> dict[str, Reply]:
        shown: dict[str, Reply] = {
            "summary": spec.summary,
            "since": spec.since,
            "group": spec.group,
            "complexity": spec.complexity,
        }
        flags = [*spec.doc_flags, *(["deprecated"] if spec.deprecated else [])]
        if flags:
            shown["doc_flags"] = OrderedSet([Simple(flag) for flag in flags])
        if spec.deprecated is not None:
            shown["deprecated_since"], shown["replaced_by"] = spec.deprecated
        if spec.history:
            shown["history"] = [[since, change] for since, change in spec.history]
        if spec.syntax:
            shown["arguments"] = [
                _argument_reply(node)
                for node in command_syntax.arguments(spec.syntax, len(command_keys.parse(spec.keys)))
            ]
        children = self._children(table, spec.name)
        if children:
            shown["subcommands"] = {child.name: self._document(table, child) for child in children}
        return shown

    def names(self, client: Client, argv: list[bytes]) -> Reply:
        table = self._table()
        chosen = [spec for spec in table.values() if "|" not in spec.name]
        if len(argv) == 2:
            return [spec.name for spec in chosen]
        if len(argv) != 5 or argv[2].lower() != b"filterby":
            raise CommandError(SYNTAX)
        kind, value = argv[3].lower(), text(argv[4])
        if kind == b"module":
            return []
        if kind == b"aclcat":
            return [spec.name for spec in table.values() if value.lower() in categories(spec)]
        if kind == b"pattern":
            return [spec.name for spec in table.values() if glob_matches(argv[4], spec.name.encode(), True)]
        raise CommandError(SYNTAX)

    def _keys(self, argv: list[bytes]) -> list[tuple[bytes, tuple[str, ...]]]:
        return [(argv[2 + at], flags) for at, flags in self.engine.command_keys(argv[2:])]

    def getkeys(self, client: Client, argv: list[bytes]) -> Reply:
        return [key for key, _ in self._keys(argv)]

    def getkeysandflags(self, client: Client, argv: list[bytes]) -> Reply:
        return [[key, OrderedSet([Simple(flag) for flag in flags])] for key, flags in self._keys(argv)]

    def show_help(self, client: Client, argv: list[bytes]) -> Reply:
        return help_lines("COMMAND", HELP)


def _spec_reply(key: command_keys.KeySpec) -> Reply:
    described = key.describe()
    return {**described, "flags": OrderedSet([Simple(flag) for flag in key.flags])}


def _argument_reply(node: dict[str, Reply]) -> Reply:
    """Flags are simple strings, arguments nest."""
    shown = dict(node)
    if "flags" in node:
        shown["flags"] = OrderedSet([Simple(flag) for flag in node["flags"]])
    if "arguments" in node:
        shown["arguments"] = [_argument_reply(child) for child in node["arguments"]]
    return shown
