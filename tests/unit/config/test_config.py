"""Loading, changing with rollback, secrets and reloading."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from cachefleet_server.config.config import Config, SetError, UnknownParameter
from cachefleet_server.config.engine_fields import POLICY_BITS
from cachefleet_server.config.params import PARAMS
from cachefleet_server.config.parser import Line, option_lines, text_lines
from cachefleet_server.engine import POLICIES
from cachefleet_server.errors import ConfigError

pytestmark = pytest.mark.unit


def lines(text: str, *options: str) -> list[Line]:
    return [*text_lines(text, "test.conf"), *option_lines(options)]


def loaded(text: str, *options: str, environment: Mapping[str, str] | None = None) -> Config:
    config = Config()
    config.load(lines(text, *options), environment or {})
    return config


class Fields:
    def __init__(self) -> None:
        self.values: dict[str, int] = {}

    def set_param(self, name: str, value: int) -> None:
        self.values[name] = value


def test_names_are_unique() -> None:
    names = [name for row in PARAMS for name in row.names]
    assert len(names) == len(set(names))


def test_defaults_survive_their_own_text() -> None:
    """What CONFIG GET shows of a default can be set again."""
    config = Config()
    pairs = [(row.name, config.shown(row.name)) for row in PARAMS if not row.immutable]
    config.set(pairs, protected=True)
    for row in PARAMS:
        assert config.value(row.name) == config.default(row.name), row.name


def test_options_win_over_the_file() -> None:
    config = loaded("port 1\nhz 20\n", "--port", "2")
    assert (config.number("port"), config.number("hz")) == (2, 20)


def test_save_lines_add_up_and_empty_clears() -> None:
    assert loaded("").shown("save") == "3600 1 300 100 60 10000"
    assert loaded("save 60 1\nsave 30 2\n").shown("save") == "60 1 30 2"
    assert loaded("save 60 1\n", "--save", "30", "2").shown("save") == "60 1 30 2"
    assert loaded('save 60 1\nsave ""\n').shown("save") == ""
    assert loaded("", "--save", "60 1 30 2").shown("save") == "60 1 30 2"
    assert loaded('save ""\nsave 5 5\n').shown("save") == "5 5"


def test_aliases_mean_the_same() -> None:
    assert loaded("slave-priority 7\n").number("replica-priority") == 7


@pytest.mark.parametrize(
    ("text", "number", "complaint"),
    [
        ("\nnope 1", 2, "Bad directive or wrong number of arguments"),
        ("port", 1, "wrong number of arguments"),
        ("port 1 2", 1, "wrong number of arguments"),
        ("# x\nport abc", 2, "argument couldn't be parsed into an integer"),
        ("cluster-enabled yes", 1, "cluster mode is not supported by this version of the server"),
        ("tls-port 6380", 1, "TLS is not supported by this version of the server"),
        ("loadmodule x.so", 1, "Modules are not supported by this server"),
        ("requirepass-file /no/such", 1, "Can't read the secret file '/no/such': No such file or directory"),
    ],
)
def test_a_wrong_line_is_named(text: str, number: int, complaint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(text)
    message = str(caught.value)
    assert message.startswith("\n*** FATAL CONFIG FILE ERROR (Version ")
    assert message.endswith(f"test.conf, at line {number}\n>>> '{text.splitlines()[number - 1]}'\n{complaint}")


def test_a_wrong_line_does_not_tell_a_secret() -> None:
    with pytest.raises(ConfigError) as caught:
        loaded("requirepass hunter2 hunter3\n")
    assert "hunter" not in str(caught.value)
    assert ">>> 'requirepass ...'\nwrong number of arguments" in str(caught.value)


def test_defaults_of_missing_features_are_accepted() -> None:
    loaded('cluster-enabled no\ntls-port 0\naclfile ""\nlist-max-ziplist-entries 5\n')


def test_the_engine_follows() -> None:
    config, fields = loaded("maxmemory 1mb\n"), Fields()
    config.attach(fields)
    assert fields.values["maxmemory"] == 1 << 20
    assert fields.values["maxmemory_policy"] == POLICIES["noeviction"]
    config.set([("maxmemory-policy", "allkeys-lfu"), ("maxmemory", "0"), ("activerehashing", "no")])
    assert (fields.values["maxmemory_policy"], fields.values["maxmemory"]) == (POLICIES["allkeys-lfu"], 0)
    assert fields.values["activerehashing"] == 0


def test_a_refused_pair_changes_nothing() -> None:
    config, fields = Config(), Fields()
    config.attach(fields)
    before = dict(fields.values)
    with pytest.raises(SetError) as caught:
        config.set([("hz", "20"), ("Timeout", "x")])
    assert caught.value.name == "timeout"
    assert (config.number("hz"), fields.values) == (10, before)


@pytest.mark.parametrize("error", [ConfigError("no"), OSError(28, "no"), OSError("no")])
def test_a_subscriber_that_refuses_undoes_the_others(error: Exception) -> None:
    config = Config()
    seen: list[tuple[str, int]] = []
    config.subscribe("hz", lambda value: seen.append(("hz", value)))

    def refuse(value: object) -> None:
        raise error

    def refuse_the_way_back(value: int) -> None:
        if value == 10:
            raise error

    config.subscribe("hz", refuse_the_way_back)
    config.subscribe("slave-priority", refuse)
    with pytest.raises(SetError) as caught:
        config.set([("hz", "20"), ("slave-priority", "5")])
    assert (caught.value.name, str(caught.value)) == ("slave-priority", "no")
    assert seen == [("hz", 20), ("hz", 10)]
    assert (config.number("hz"), config.number("replica-priority")) == (10, 100)


@pytest.mark.parametrize(
    ("pairs", "name", "complaint"),
    [
        ([("databases", "4"), ("nope", "1")], "databases", "can't set immutable config"),
        ([("DIR", "/tmp")], "DIR", "can't set protected config"),
        ([("hz", "1"), ("HZ", "2")], "HZ", "duplicate parameter"),
        ([("aclfile", "x")], "aclfile", "can't set immutable config"),
    ],
)
def test_what_cannot_be_set(pairs: list[tuple[str, str]], name: str, complaint: str) -> None:
    with pytest.raises(SetError) as caught:
        Config().set(pairs)
    assert (caught.value.name, str(caught.value)) == (name, complaint)


def test_unknown_parameters_are_told_apart() -> None:
    with pytest.raises(UnknownParameter):
        Config().set([("hz", "1"), ("nope", "1")])


def test_secrets_from_files_and_environment(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("from file\n")
    assert loaded(f"requirepass-file {file}\n").text("requirepass") == "from file"
    environment = {"CACHEFLEET_REQUIREPASS": "from environment", "CACHEFLEET_PORT": "tcp://10.0.0.1:6379"}
    config = loaded("requirepass in-config\n", environment=environment)
    assert (config.text("requirepass"), config.number("port")) == ("from environment", 6379)
    assert config.is_external("requirepass")
    config = loaded("", "--requirepass", "option", environment=environment)
    assert (config.text("requirepass"), config.is_external("requirepass")) == ("option", False)
    config = loaded("", environment={"CACHEFLEET_REQUIREPASS_FILE": str(file)})
    assert config.text("requirepass") == "from file"
    config.set([("requirepass", "new")])
    assert not config.is_external("requirepass")


SECRETS = sorted(row.name for row in PARAMS if row.secret)


@pytest.mark.parametrize("name", SECRETS)
@pytest.mark.parametrize("content", ["", "\n", "\r\n"])
def test_an_empty_secret_is_refused(tmp_path: Path, name: str, content: str) -> None:
    """It would open the server, or leave a key without its pass phrase, without a word."""
    file = tmp_path / "secret"
    file.write_text(content)
    variable = "CACHEFLEET_" + name.upper().replace("-", "_")
    sources: list[tuple[str, tuple[str, ...], dict[str, str]]] = [
        (f"{name}-file {file}\n", (), {}),
        ("", (f"--{name}-file", str(file)), {}),
        ("", (), {variable + "_FILE": str(file)}),
        ("", (), {variable: ""}),
    ]
    for text, options, environment in sources:
        for before in ("", f"{name} given\n"):
            with pytest.raises(ConfigError, match="The secret is empty"):
                loaded(before + text, *options, environment=environment)
        assert loaded(f'{name} ""\n' + text, *options, environment=environment).text(name) == ""
        assert loaded(f'{name} ""\n').text(name) == ""


def test_a_secret_that_ends_before_it_begins_is_empty(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_bytes(b"\0secret")
    with pytest.raises(ConfigError, match="The secret is empty"):
        loaded(f"tls-key-file-pass-file {file}\n")


def test_a_reload_with_an_empty_secret_keeps_the_old_one(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("one\n")
    config = loaded(f"requirepass-file {file}\nhz 20\n")
    file.write_text("")
    with pytest.raises(ConfigError, match="The secret is empty"):
        config.reload(lines(f"requirepass-file {file}\nhz 30\n"), {})
    assert (config.text("requirepass"), config.number("hz")) == ("one", 20)


def test_only_secrets_have_a_file() -> None:
    with pytest.raises(ConfigError, match="Bad directive"):
        loaded("hz-file x\n")


def test_reload_takes_over_what_the_sources_changed() -> None:
    config = loaded("hz 20\nport 1\ntimeout 5\n")
    config.set([("timeout", "9"), ("maxmemory", "1mb")])
    assert config.reload(lines("hz 30\nport 1\ntimeout 5\ndatabases 4\n"), {}) == (["hz"], ["databases"])
    assert (config.number("hz"), config.number("timeout"), config.number("maxmemory")) == (30, 9, 1 << 20)
    assert config.reload(lines("hz 30\nport 1\ntimeout 6\ndatabases 4\n"), {}) == (["timeout"], ["databases"])
    assert config.number("timeout") == 6


def test_a_reload_that_fails_changes_nothing() -> None:
    config = loaded("hz 20\n")
    with pytest.raises(ConfigError):
        config.reload(lines("hz 30\nnope 1\n"), {})
    assert config.number("hz") == 20


def test_parameters_need_no_engine() -> None:
    """The operator's image checks a configuration with them, and has no engine."""
    program = "import sys; sys.modules['cachefleet_server.engine'] = None; import cachefleet_server.config.config"
    subprocess.run([sys.executable, "-c", program], check=True)
    assert POLICY_BITS == POLICIES
