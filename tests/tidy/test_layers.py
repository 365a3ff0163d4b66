"""Imports point down only: the table of ARCHITECTURE.md for .py, .pyi, .pyx and .pxd.

import-linter (contracts in pyproject.toml) sees Python's imports; cimports are seen only here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SERVER = ROOT / "server" / "cachefleet_server"

# No dependencies but each other; any layer may import them.
PLAIN = ("errors", "files", "replies", "command_spec", "command_keys", "command_syntax", "log", "version")

# Each layer and all that it may use, itself and PLAIN aside.
BELOW: dict[str, tuple[str, ...]] = {
    "ds": (),
    "resp": ("ds",),
    "core": ("ds", "resp"),
    "keyspace": ("ds", "resp", "core"),
    "commands": ("ds", "resp", "core", "keyspace"),
    "reactor": ("ds", "resp", "core", "keyspace"),
    "client_view": ("ds", "resp", "core", "keyspace", "reactor"),  # the engine's view of one, for Python
    "rows": ("core", "keyspace", "client_view"),  # how the engine calls rows and hooks in Python
    "fields": ("core",),  # names of the engine's parameters and counters, for Python
    "facts": ("ds", "resp", "core", "keyspace", "reactor", "fields"),  # what Python reads off an engine
    "engine": ("ds", "resp", "core", "keyspace", "commands", "reactor", "client_view", "rows", "fields", "facts"),
    "_testing": ("resp", "core", "keyspace", "engine"),  # what tests do to an engine; not in a wheel
    "_testing_transport": ("core", "resp", "engine"),  # an awkward transport, likewise
    # From here up, Python goes through the engine; only .pyx of their own may reach below it.
    "config": ("engine",),
    "acl": ("engine", "config"),
    "persistence": ("engine", "config"),
    "metrics": ("engine", "config"),
    "replication": ("engine", "config"),
    "managed": ("engine", "config", "replication"),
    "admin": ("engine", "config", "acl", "persistence", "replication", "metrics"),
    "tools": ("engine", "config", "persistence"),  # a program of its own
    "listeners": ("engine", "config"),
    "process": (),
    "title": (),
    "crash": (),
    "prestop": (),  # a program of its own, that must start at once
    "server": (
        "listeners", "process", "title", "crash", "engine", "config", "acl", "persistence", "replication", "metrics",
        "managed", "admin",
    ),
    "__main__": ("engine", "config", "process", "title", "server"),
    **dict.fromkeys(PLAIN, ()),
}
CYTHON_ABOVE_ENGINE = ("ds", "resp", "core", "keyspace")  # what .pyx of config ... admin may cimport besides
# Compiled modules of a layer that another one's Python uses by their stubs: there is no Python in front of them.
READS = {"persistence": "tools"}
# (file, layer) -> why it may be imported all the same.
EXCEPTIONS: dict[tuple[str, str], str] = {}

IMPORT = re.compile(r"^\s*(?:from\s+([\w.]+)\s+c?import\s+\(?([\w, ]*)|c?import\s+([\w.]+))", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Import:
    file: Path
    layer: str
    target: str

    def __str__(self) -> str:
        return f"{self.file.relative_to(ROOT)}: {self.layer} must not import {self.target}"


def layer_of(path: Path) -> str:
    parts = path.relative_to(SERVER).with_suffix("").parts
    return parts[0]


def absolute(module: str, path: Path) -> str:
    """A relative module name made absolute."""
    if not module.startswith("."):
        return module
    dots = len(module) - len(module.lstrip("."))
    package = ["cachefleet_server", *path.relative_to(SERVER).parts[:-1]]
    base = package[: len(package) - (dots - 1)]
    return ".".join([*base, *filter(None, [module.lstrip(".")])])


def imports_of(path: Path) -> Iterator[str]:
    """Layers of our own package that a file imports."""
    for source, names, plain in IMPORT.findall(path.read_text()):
        module = absolute(source or plain, path)
        if module == "cachefleet_server":
            yield from (name.split()[0] for name in names.split(",") if name.split())
        elif module.startswith("cachefleet_server."):
            yield module.split(".")[1]


def allowed(layer: str, path: Path) -> set[str]:
    result = {layer, *PLAIN, *BELOW[layer]}
    above = list(BELOW).index(layer) > list(BELOW).index("engine")
    if above and path.suffix in (".pyx", ".pxd"):
        result.update(CYTHON_ABOVE_ENGINE)
    return result


def sources() -> list[Path]:
    found = [p for s in ("py", "pyi", "pyx", "pxd") for p in SERVER.rglob(f"*.{s}")]
    return sorted(p for p in found if p != SERVER / "__init__.py")


def violations(paths: list[Path]) -> list[Import]:
    found = []
    for path in paths:
        layer = layer_of(path)
        excused = {t for (file, t) in EXCEPTIONS if file == path.relative_to(SERVER).as_posix()}
        found += [Import(path, layer, t) for t in imports_of(path) if t not in allowed(layer, path) | excused]
    return found


def test_every_file_belongs_to_a_layer() -> None:
    strangers = [str(p.relative_to(ROOT)) for p in sources() if layer_of(p) not in BELOW]
    assert not strangers, f"name their layer in ARCHITECTURE.md and here: {strangers}"


def test_imports_point_down() -> None:
    assert not [str(v) for v in violations(sources())]


def test_exceptions_are_needed() -> None:
    for file, target in EXCEPTIONS:
        assert target in imports_of(SERVER / file), f"no exception needed any more: {file}, {target}"


def test_python_reaches_compiled_code_through_the_facade() -> None:
    """A .py imports `engine`, or compiled modules of its own package that have a stub."""
    wrong = []
    for path in SERVER.rglob("*.py"):
        for source, names, plain in IMPORT.findall(path.read_text()):
            module = absolute(source or plain, path)
            tops = [module, *(f"{module}.{name.split()[0]}" for name in names.split(",") if name.split())]
            for name in tops:
                file = ROOT / "server" / Path(*name.split("."))
                if not file.with_suffix(".pyx").exists() or name == "cachefleet_server.engine":
                    continue
                own = layer_of(path) in (layer_of(file), READS.get(layer_of(file)))
                if not own or not file.with_suffix(".pyi").exists():
                    wrong.append(f"{path.relative_to(ROOT)} imports {name}")
    assert not wrong


def test_server_and_operator_do_not_know_each_other() -> None:
    for folder, other in (
        ("server", "cachefleet_operator"), ("operator", "cachefleet_server"),
        ("server/cachefleet_parameters", "cachefleet_server"),
    ):  # fmt: skip
        for path in (ROOT / folder).rglob("*.py*"):
            if path.suffix in (".py", ".pyi", ".pyx", ".pxd"):
                hits = [g for g in IMPORT.findall(path.read_text()) if (g[0] or g[2]).startswith(other)]
                assert not hits, f"{path.relative_to(ROOT)} imports {other}"


@pytest.mark.parametrize(
    ("name", "line", "wrong"),
    [
        ("ds/x.pyx", "from cachefleet_server.reactor.loop cimport tick", True),
        ("ds/x.pyx", "    cimport cachefleet_server.core.entry", True),
        ("resp/x.pxd", "from cachefleet_server.ds.buf cimport buf_t", False),
        ("persistence/x.pyx", "from cachefleet_server.keyspace.db cimport lookup", False),
        ("persistence/x.pyx", "from cachefleet_server.reactor.loop cimport tick", True),
        ("persistence/x.py", "from cachefleet_server.keyspace import db", True),
        ("admin/x.py", "from cachefleet_server import engine, reactor", True),
        ("admin/x.py", "from ..config.params import PARAMS", False),
        ("config/x.py", "from ..admin.info import render", True),
        ("log.py", "from cachefleet_server.errors import CachefleetError", False),
        ("log.py", "from cachefleet_server.engine import Engine", True),
    ],
)
def test_the_test_itself(
    name: str, line: str, wrong: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(globals(), "SERVER", tmp_path / "cachefleet_server")
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    path = tmp_path / "cachefleet_server" / name
    path.parent.mkdir(parents=True)
    path.write_text(line + "\n")
    assert bool(violations([path])) is wrong


def test_the_tables_of_a_database_are_seen_in_keyspace_alone() -> None:
    """Others ask keyspace/db: db_len, db_scan, db_prefetch, db_tables ..."""
    tables = re.compile(r"\b(?:db|dbs\[\w+\]|d)\.(?:keys|expires)\b")
    found = [
        f"{path.relative_to(SERVER)}: {line.strip()}"
        for suffix in ("pyx", "pxd")
        for path in sorted(SERVER.rglob(f"*.{suffix}"))
        if path.parent.name not in ("keyspace", "ds")
        for line in path.read_text().splitlines()
        if tables.search(line)
    ]
    assert found == []


def test_how_a_change_travels_is_read_on_one_screen() -> None:
    """Each file that it passes is named once, and is there."""
    text = (ROOT / "ARCHITECTURE.md").read_text()
    section = text.partition("### How a change travels\n")[2].partition("\n### ")[0]
    named = re.findall(r"`([\w/]+\.py)`", section)
    assert len(named) > 20
    assert sorted(set(named)) == sorted(named), "a file is passed once"
    operator = ROOT / "operator" / "cachefleet_operator"
    assert [name for name in named if not (operator / name).exists() and not (ROOT / name).exists()] == []
    assert section.count("\n") <= 40
