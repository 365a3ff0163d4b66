"""The values of all parameters, and who is told when one changes.

Life of a value: defaults (`Config()`), then the lines of file, environment and command line (`load`, before anything
runs), then `attach(engine)` and `subscribe` by the subsystems, then CONFIG SET (`set`) and SIGHUP (`reload`).

A change is all or nothing: every pair is parsed first, then values are stored and the subscribers of the changed
parameters called; if one refuses (ConfigError, OSError), the old values are stored again and the subscribers that had
run are called with these. A subscriber therefore either takes the value at once or raises without having done anything.
Before that, `states` is asked what the server is doing: some parameters cannot change meanwhile (params.py).

Secrets (`secret` rows) may also come from a file, by the directive `<name>-file path`, or from the environment as
CACHEFLEET_<NAME>. A file or variable that is empty is refused: it is somebody's mistake, and an empty password lets
everybody in. Where none is meant, the file says so before it: `requirepass ""`. Other parameters are not read from
the environment: Kubernetes sets CACHEFLEET_PORT and the like by itself in pods beside a Service of that name.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, Protocol

from cachefleet_parameters.kinds import ParameterError
from cachefleet_parameters.text import quote_if_needed
from cachefleet_server.config.engine_fields import fields
from cachefleet_server.config.params import IGNORED, PARAMS, STATES, Param
from cachefleet_server.config.parser import Line
from cachefleet_server.errors import ConfigError
from cachefleet_server.files import read_source

Apply = Callable[[Any], None]

LAST: Final = ("dir", "appendonly")  # applied behind the others: an AOF that went off and comes back begins anew


class Fields(Protocol):
    """What takes engine fields: the Engine."""

    def set_param(self, name: str, value: int) -> None: ...


class SetError(ConfigError):
    """CONFIG SET was refused; `name` is the argument that it may be due to."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(text)
        self.name = name


class StateError(SetError):
    """A parameter cannot change in the state that the server is in."""

    def __init__(self, name: str, state: str) -> None:
        super().__init__(name, STATES[state])
        self.state = state


class UnknownParameter(SetError):
    """CONFIG SET named no parameter."""

    def __init__(self, name: str) -> None:
        super().__init__(name, "unknown parameter")


class Config:
    """One server's parameters."""

    def __init__(self) -> None:
        self.ignored: list[str] = []  # parameters of other servers that the sources set
        self.file = ""  # absolute path of the configuration file; "" without one
        self._start = _present_folder()  # relative paths in the sources begin here; the server itself goes to `dir`
        self._rows: dict[str, Param] = {name: row for row in PARAMS for name in row.names}
        self._values: dict[str, Any] = {row.name: row.kind.read(row.kind.split(row.default)) for row in PARAMS}
        self._values["dir"] = self._start
        self._defaults = dict(self._values)
        self._loaded = dict(self._values)  # what the sources said last, for reload
        self._external: set[str] = set()  # secrets that are kept elsewhere
        self._subscribers: dict[str, list[Apply]] = {}
        self.states: Callable[[], Collection[str]] = tuple  # of params.STATES, what the server is doing now

    # -- reading

    def value(self, name: str) -> Any:
        """The value in its kind's own form (tuples for `save`, `bind`, ...)."""
        return self._values[name]

    def flag(self, name: str) -> bool:
        value = self._values[name]
        assert isinstance(value, bool)
        return value

    def number(self, name: str) -> int:
        value = self._values[name]
        assert isinstance(value, int)
        return value

    def text(self, name: str) -> str:
        value = self._values[name]
        assert isinstance(value, str)
        return value

    def default(self, name: str) -> Any:
        return self._defaults[name]

    def shown(self, name: str) -> str:
        """As CONFIG GET shows it."""
        return self._rows[name].kind.show(self._values[name])

    def is_external(self, name: str) -> bool:
        """A secret whose value came from its own file or the environment and was not set since."""
        return name in self._external

    def find(self, name: str) -> Param | None:
        """The row of a name or alias, in any case."""
        return self._rows.get(name.lower())

    def names(self) -> Iterator[tuple[str, Param]]:
        """All names and aliases with their rows."""
        return iter(self._rows.items())

    @property
    def folder(self) -> str:
        """Where relative paths in the sources begin."""
        return self._start

    def unused(self, names: Iterable[str]) -> list[str]:
        """A line for each of these parameters that somebody has set and of which nothing comes."""
        rows = {row.name: row for row in (self._rows[name.lower()] for name in names)}
        told = [row for row in rows.values() if row.unused and self._values[row.name] != self._defaults[row.name]]
        shown = ["..." if row.secret else quote_if_needed(self.shown(row.name)) for row in told]
        return [f"{row.name} {value} has no effect: {row.unused}" for row, value in zip(told, shown, strict=True)]

    # -- before the start

    def load(self, lines: Iterable[Line], environment: Mapping[str, str]) -> None:
        """Takes what the sources say over the defaults. `lines`: those of the file, then of the command line."""
        given = list(lines)
        self._loaded, self._external = self._read(given, environment)
        self._values = dict(self._loaded)
        self.ignored = sorted({line.words[0].lower() for line in given} & IGNORED)

    def read(self, lines: Iterable[Line]) -> dict[str, Any]:
        """What these lines alone would give, by the names of rows."""
        return self._read(lines, {})[0]

    def _read(self, lines: Iterable[Line], environment: Mapping[str, str]) -> tuple[dict[str, Any], set[str]]:
        """The values that the sources give, and the names of secrets kept elsewhere."""
        values = dict(self._defaults)
        seen: set[str] = set()
        external: set[str] = set()
        given = list(lines)
        # The environment comes between file and command line.
        split = next((i for i, line in enumerate(given) if line.origin == "command line"), len(given))
        for line in (*given[:split], *self._environment_lines(environment), *given[split:]):
            try:
                name, kept_elsewhere = self._take(line, values, seen)
            except ConfigError as error:
                raise self._without_secret(line).error(str(error)) from None
            (external.add if kept_elsewhere else external.discard)(name)
        return values, external

    def _without_secret(self, line: Line) -> Line:
        row = self._rows.get(line.words[0].lower())
        return replace(line, text=f"{line.words[0]} ...") if row is not None and row.secret else line

    def _environment_lines(self, environment: Mapping[str, str]) -> Iterator[Line]:
        for row in PARAMS:
            if row.secret:
                for name in (row.name, row.name + "-file"):
                    variable = "CACHEFLEET_" + name.upper().replace("-", "_")
                    if variable in environment:
                        yield Line("environment", 1, variable, (name, environment[variable]))

    def _take(self, line: Line, values: dict[str, Any], seen: set[str]) -> tuple[str, bool]:
        """Takes one line over into `values`; the name of its row, and whether it is a secret kept elsewhere."""
        elsewhere = line.origin == "environment"
        name, words = line.words[0].lower(), line.words[1:]
        row = self._rows.get(name)
        if row is None:
            secret = self._rows.get(name.removesuffix("-file")) if name.endswith("-file") else None
            if secret is not None and secret.secret and len(words) == 1:
                row, words, elsewhere = secret, (_read_secret(os.path.join(self._start, words[0])),), True
            elif name in IGNORED:
                return name, False
            else:
                raise ConfigError(REFUSED.get(name, "Bad directive or wrong number of arguments"))
        if not words or (len(words) != 1 and not row.kind.many):
            raise ConfigError("wrong number of arguments")
        given = row.kind.split(words[0]) if len(words) == 1 else words
        if row.name == "dir":
            given = [os.path.join(self._start, given[0])]
        old = values[row.name]
        value = self._parse(row, given, old)
        if elsewhere and not value and (old or row.name not in seen):
            raise ConfigError(f"The secret is empty. If there is to be none, say so before it: {row.name} \"\"")
        values[row.name] = row.kind.join(old, value) if row.kind.accumulates and row.name in seen else value
        seen.add(row.name)
        return row.name, elsewhere

    def _parse(self, row: Param, words: Sequence[str], old: Any) -> Any:
        try:
            value = row.kind.read(words, old)
        except ParameterError as error:
            raise ConfigError(str(error)) from None
        if row.needs and value != self._defaults[row.name]:
            raise ConfigError(f"{row.needs} is not supported by this version of the server")
        return value

    # -- changing

    def attach(self, engine: Fields) -> None:
        """Sets the engine's fields and keeps them set."""
        for row in PARAMS:
            if row.engine:
                self._follow(row, engine)

    def _follow(self, row: Param, engine: Fields) -> None:
        def apply(value: Any) -> None:
            for name, number in fields(row.kind, row.engine, value):
                engine.set_param(name, number)

        apply(self._values[row.name])
        self.subscribe(row.name, apply)

    def subscribe(self, name: str, apply: Apply) -> None:
        """Has `apply` called with every new value of a parameter, but not with the present one."""
        self._subscribers.setdefault(self._rows[name].name, []).append(apply)

    def set(self, pairs: Sequence[tuple[str, str]], *, protected: bool = False) -> None:
        """CONFIG SET. Raises SetError and changes nothing when one pair cannot be accepted.

        `protected` permits parameters that are protected.
        """
        given: set[str] = set()
        states = self.states()
        for name, _ in pairs:
            row = self._rows.get(name.lower())
            if row is None:
                raise UnknownParameter(name)
            if row.immutable:
                raise SetError(name, "can't set immutable config")
            if row.protected and not protected:
                raise SetError(name, "can't set protected config")
            if state := row.refused_while(states):
                raise StateError(name, state)
            if name.lower() in given:
                raise SetError(name, "duplicate parameter")
            given.add(name.lower())
        changes: dict[str, Any] = {}
        names: dict[str, str] = {}  # row name -> the name or alias that was given
        for name, text in pairs:
            row = self._rows[name.lower()]
            try:
                changes[row.name] = self._parse(row, row.kind.split(text), self._values[row.name])
            except ConfigError as error:
                raise SetError(name.lower(), str(error)) from None
            names[row.name] = name.lower()
        self._change(changes, names)

    def _change(self, changes: Mapping[str, Any], names: Mapping[str, str]) -> None:
        old, external = {name: self._values[name] for name in changes}, set(self._external)
        self._values.update(changes)
        self._external -= {name for name in changes if changes[name] != old[name]}
        done: list[tuple[Apply, str]] = []
        for name in sorted(changes, key=lambda name: LAST.index(name) if name in LAST else -1):
            value = changes[name]
            if value == old[name]:
                continue
            for apply in self._subscribers.get(name, ()):
                try:
                    apply(value)
                except (ConfigError, OSError) as error:
                    self._values.update(old)
                    self._external = external
                    for again, other in reversed(done):
                        with contextlib.suppress(ConfigError, OSError):  # the others go back all the same
                            again(old[other])
                    reason = error.strerror if isinstance(error, OSError) else None
                    raise SetError(names[name], reason or str(error)) from None
                done.append((apply, name))

    def record(self, name: str, value: Any) -> None:
        """What a command has changed that is not CONFIG SET; nobody is told."""
        self._values[name] = value

    def reload(self, lines: Iterable[Line], environment: Mapping[str, str]) -> tuple[list[str], list[str]]:
        """Reads the sources again and takes over what they say differently than before.

        Returns the names of changed parameters, and of those that need a restart. What CONFIG SET changed stays,
        unless the sources changed it too. Raises ConfigError and changes nothing when the sources cannot be read.
        """
        new, external = self._read(lines, environment)
        differing = [name for name in new if new[name] != self._loaded[name]]
        fixed = [name for name in differing if self._rows[name].immutable]
        changes = {name: new[name] for name in differing if name not in fixed}
        states = self.states()
        for name in changes:
            if state := self._rows[name].refused_while(states):
                raise ConfigError(f"{name} cannot change now: {STATES[state]}. Send SIGHUP again later")
        self._change(changes, {name: name for name in changes})
        self._loaded.update(changes)
        self._external |= external & set(changes)
        return list(changes), fixed


def _present_folder() -> str:
    try:
        return os.getcwd()
    except OSError as error:
        raise ConfigError(f"The folder that this was started in cannot be used: {error.strerror}") from None


def _read_secret(path: str) -> str:
    """A secret's file without the newline that editors put at its end."""
    try:
        return read_source(path.partition("\0")[0]).removesuffix("\n").removesuffix("\r")
    except OSError as error:
        raise ConfigError(f"Can't read the secret file '{path}': {error.strerror}") from None


REFUSED = {
    "user": "ACL users are not supported by this version of the server",
    "loadmodule": "Modules are not supported by this server",
    "rename-command": "rename-command is not supported by this version of the server",
    "sentinel": "Sentinel is not part of this server",
}
