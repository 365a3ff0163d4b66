"""CONFIG REWRITE keeps what people wrote and says what holds."""

from __future__ import annotations

import os
import random
import stat
from pathlib import Path
from typing import Any

import pytest

from cachefleet_parameters import kinds
from cachefleet_server.config.config import Config
from cachefleet_server.config.params import PARAMS, Param
from cachefleet_server.config.parser import file_lines, text_lines
from cachefleet_server.config.rewrite import MARK, rewrite, rewritten
from cachefleet_server.errors import ConfigError

pytestmark = pytest.mark.unit

FILE = """\
# A comment
port 17911

# memory
maxmemory 100mb
save 60 1
save 30 2
client-output-buffer-limit normal 0 0 0
hash-max-ziplist-entries 300
requirepass "a b"
loglevel verbose
timeout 10
timeout 20
list-max-ziplist-entries 5
"""


def loaded(text: str, **environment: str) -> Config:
    config = Config()
    config.load(text_lines(text, "test.conf"), environment)
    return config


def test_lines_are_replaced_where_they_stand() -> None:
    config = loaded(FILE)
    config.set([
        ("maxmemory", "1048577"), ("save", ""), ("client-output-buffer-limit", "replica 10mb 1000 5"),
        ("appendfsync", "always"), ("primaryauth", 'x"y'), ("maxmemory-clients", "5%"), ("shutdown-on-sigterm", "now"),
    ])  # fmt: skip
    text = rewritten(config, FILE)
    assert text == f"""\
# A comment
port 17911

# memory
maxmemory 1048577
save ""
client-output-buffer-limit replica 10mb 1000 5
hash-max-listpack-entries 300
requirepass "a b"
loglevel verbose
timeout 20
list-max-ziplist-entries 5

{MARK}
shutdown-on-sigterm now
maxmemory-clients 5%
dir "{os.getcwd()}"
appendfsync always
primaryauth "x\\"y"
"""
    again = loaded(text)
    assert {r.name: again.value(r.name) for r in PARAMS} == {r.name: config.value(r.name) for r in PARAMS}
    assert rewritten(again, text) == text


def test_a_value_back_at_its_default_is_written_when_it_has_a_line() -> None:
    config = loaded("hz 20\n")
    config.set([("hz", "10")])
    assert rewritten(config, "hz 20\n").startswith("hz 10\n")


def test_secrets_kept_elsewhere_stay_there(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hunter2")
    text = f"requirepass-file {secret}\n"
    config = loaded(text)
    assert "hunter2" not in rewritten(config, text)
    assert rewritten(config, text).startswith(text)
    config = loaded("", CACHEFLEET_REQUIREPASS="hunter2")
    assert "hunter2" not in rewritten(config, "")
    config.set([("requirepass", "set")])
    assert 'requirepass "set"' in rewritten(config, "")


def test_the_file_is_replaced_with_its_mode(tmp_path: Path) -> None:
    real = tmp_path / "real.conf"
    real.write_text("port 1\n")
    real.chmod(0o640)
    link = tmp_path / "link.conf"
    link.symlink_to(real)
    config = Config()
    config.load(file_lines(str(link)), {})
    config.set([("hz", "20")])
    rewrite(config, str(link))
    assert link.is_symlink()
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert "hz 20\n" in real.read_text()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["link.conf", "real.conf"]


def test_a_failure_leaves_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "x.conf"
    file.write_text("port 1\n")

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match="No space"):
        rewrite(loaded("port 1\n"), str(file))
    assert file.read_text() == "port 1\n"
    assert [p.name for p in tmp_path.iterdir()] == ["x.conf"]


@pytest.mark.parametrize("char", [*"\v\f\x1c\x1d\x1e\x1f\x85\xa0\u2028\u2029\udc85"])
def test_only_newlines_end_a_line(char: str) -> None:
    """Python knows more line ends than the parser does."""
    text = f'# A comment{char}maxmemory 1mb\nrequirepass "a{char}b"\nport 17911\nlogfile ""\n'
    config = loaded(text)
    assert config.text("requirepass") == f"a{char}b"
    new = rewritten(config, text)
    assert new.startswith(f"# A comment{char}maxmemory 1mb\nrequirepass ")
    assert rewritten(loaded(new), new) == new
    assert loaded(new).text("requirepass") == f"a{char}b"
    assert loaded(new).number("maxmemory") == 0


def test_carriage_returns_stay_where_nothing_changes() -> None:
    text = "# A comment\r\nport 17911\r\n"
    assert rewritten(loaded(text), text).startswith("# A comment\r\nport 17911\n")


# Main file, included file, what is set at run time.
INCLUDES: list[tuple[str, str, dict[str, str]]] = [
    ("include inc\n", "save 60 1\n", {"save": "100 1 200 2"}),
    ("include inc\n", "save 60 1\n", {"save": ""}),
    ("include inc\n", "save 60 1\n", {"save": "60 1"}),
    ("include inc\n", "save 60 1\nsave 30 2\n", {}),
    ("save 60 1\ninclude inc\n", "save 30 2\n", {}),
    ("save 60 1\ninclude inc\n", "save 30 2\n", {"save": "5 5"}),
    ("save 60 1\ninclude inc\n", 'save ""\n', {"save": "60 1"}),
    ("include inc\nsave 60 1\n", "save 30 2\n", {"save": "3600 1 300 100 60 10000"}),
    ("hz 20\ninclude inc\n", "hz 30\n", {"hz": "40"}),
    ("hz 20\ninclude inc\n", "hz 30\n", {}),
    ("include inc\n", "hz 30\n", {"hz": "10"}),
    ("include inc\n", "slave-priority 30\n", {"replica-priority": "100"}),
    ("include inc\n", "client-output-buffer-limit replica 1mb 1mb 1\n",
     {"client-output-buffer-limit": "replica 256mb 64mb 60"}),
    ("include inc\n", "requirepass secret\n", {"requirepass": ""}),
    ("include inc\n", "latency-tracking-info-percentiles 1 2\n", {"latency-tracking-info-percentiles": ""}),
    ("include inc\n", "notify-keyspace-events KEA\n", {"notify-keyspace-events": ""}),
    ("bind 127.0.0.1\ninclude inc\n", "bind ::1\n", {"bind": ""}),
    ("include inc\n", "include inc2\n", {"maxmemory": "1mb"}),
]  # fmt: skip


@pytest.mark.parametrize(("main", "included", "changes"), INCLUDES)
def test_what_is_included_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, main: str, included: str, changes: dict[str, str]
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "x.conf"
    file.write_text(main)
    (tmp_path / "inc").write_text(included)
    (tmp_path / "inc2").write_text("maxmemory 2mb\nsave 7 7\n")
    config = Config()
    config.load(file_lines(str(file)), {})
    config.set(list(changes.items()))
    for _ in range(3):
        rewrite(config, str(file))
        text = file.read_text()
        again = Config()
        again.load(file_lines(str(file)), {})
        assert {r.name: again.value(r.name) for r in PARAMS} == {r.name: config.value(r.name) for r in PARAMS}
    assert rewritten(again, text, str(file)) == text
    assert (tmp_path / "inc").read_text() == included
    assert text.count("include inc\n") == 1


def test_a_secret_that_was_taken_away_stays_away(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hunter2")
    text = f"requirepass-file {secret}\n"
    config = loaded(text)
    config.set([("requirepass", "")])
    assert loaded(rewritten(config, text)).text("requirepass") == ""


def test_an_include_that_cannot_be_read_stops_it(tmp_path: Path) -> None:
    file = tmp_path / "x.conf"
    file.write_text("hz 20\n")
    config = loaded("hz 20\n")
    file.write_text("include /no/such\n")
    with pytest.raises(ConfigError, match="/no/such"):
        rewrite(config, str(file))
    assert file.read_text() == "include /no/such\n"


def another_value(row: Param, rng: random.Random) -> Any:
    """Any that the parameter may have, in its kind's own form."""
    kind = row.kind
    if isinstance(kind, kinds.Bool):
        return rng.random() < 0.5
    if isinstance(kind, kinds.Enum):
        return rng.choice(kind.words)
    if isinstance(kind, kinds.SavePoints):
        return tuple((rng.randint(1, 9), rng.randint(0, 9)) for _ in range(rng.randint(0, 3)))
    if isinstance(kind, kinds.OutputLimits):
        return tuple((rng.randint(0, 2) << 20, rng.randint(0, 9), rng.randint(0, 2)) for _ in range(3))
    if isinstance(kind, kinds.Words):
        return tuple(rng.choice(("a", "b", "*")) for _ in range(rng.randint(0, min(2, kind.limit))))
    if isinstance(kind, kinds.Integer | kinds.Memory):
        low = max(kind.low, kind.clamp_low, 0)
        return rng.randint(low, min(low + 3, kind.high))
    if type(kind) is kinds.Text and not kind.pattern:
        return rng.choice(("", "x", "a b", '"', "\n", "#"))
    return None


def test_any_file_with_any_include_says_what_holds(
    rng: random.Random, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some parameters have lines before the include, in it, behind it, and a new value at run time."""
    monkeypatch.chdir(tmp_path)
    rows = [row for row in PARAMS if not row.needs and another_value(row, rng) is not None]
    file = tmp_path / "x.conf"
    for _ in range(15):
        chosen = rng.sample(rows, 12)
        text = ["", "", ""]
        for part in range(3):
            for row in chosen:
                for _ in range(rng.choice((0, 0, 1, 2))):
                    name, value = rng.choice(row.names), another_value(row, rng)
                    text[part] += "".join(f"{name} {line}\n" for line in row.kind.lines(value, ((),) * 3))
        (tmp_path / "inc").write_text(text[1])
        file.write_text(text[0] + "include inc\n" + text[2])
        config = Config()
        config.load(file_lines(str(file)), {})
        new = {row.name: another_value(row, rng) for row in rng.sample(chosen, 6)}
        config._values.update(new)
        for _ in range(2):
            rewrite(config, str(file))
            again = Config()
            again.load(file_lines(str(file)), {})
            read = {row.name: again.value(row.name) for row in PARAMS}
            assert read == {row.name: config.value(row.name) for row in PARAMS}, (text, new, file.read_text())
