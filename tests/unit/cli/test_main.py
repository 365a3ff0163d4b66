"""The command line: which words are ours, and which are a client's."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cachefleet_operator.cli import main
from cachefleet_operator.cli.state import Folder


def cache(name: str = "orders") -> dict[str, Any]:
    return {
        "namespace": "default", "name": name, "generation": 1, "auth": False, "folder": "/data/default/orders",
        "ports": {f"{name}-0": {"redis": 7000, "metrics": 7001}}, "status": {},
    }  # fmt: skip


@pytest.fixture
def caches(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What runs in any folder; a test may change it."""
    found = [cache()]
    monkeypatch.setattr(Folder, "state", lambda self: {"caches": found, "events": []})
    return found


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Arguments of the clients that were started, but for host and port."""
    seen: list[list[str]] = []

    def execve(path: str, arguments: list[str], environment: dict[str, str]) -> None:
        assert arguments[:5] == [path, "-h", "127.0.0.1", "-p", "7000"]
        seen.append(arguments[5:])

    monkeypatch.setattr("os.execve", execve)
    monkeypatch.setattr("shutil.which", lambda name: f"/bin/{name}")
    return seen


@pytest.mark.parametrize(
    ("words", "given"),
    [
        ("", []),
        ("orders", []),
        ("-- GET a", ["GET", "a"]),
        ("--data data -- GET a", ["GET", "a"]),
        ("orders --data data -- SET -- --help", ["SET", "--", "--help"]),
        ("default/orders --raw -- GET a", ["--raw", "GET", "a"]),
        ("orders GET a", ["GET", "a"]),
    ],
)
def test_what_follows_the_dashes_is_the_clients(
    words: str, given: list[str], caches: list[dict[str, Any]], started: list[list[str]]
) -> None:
    CliRunner().invoke(main.app, ["local", "connect", *words.split()])
    assert started == [given]


def test_the_name_is_needed_where_there_are_two(caches: list[dict[str, Any]], started: list[list[str]]) -> None:
    caches.append(cache("sessions"))
    answer = CliRunner().invoke(main.app, ["local", "connect", "--data", str(Path("data")), "--", "GET", "a"])
    assert (answer.exit_code, started) == (2, [])
    assert "say which Cache; known: default/orders, default/sessions" in answer.stderr


@pytest.fixture
def logged(tmp_path: Path) -> Path:
    """A folder with two Caches, one of them of several pods."""
    for name, pods in (("orders", 11), ("sessions", 1)):
        objects = tmp_path / "default" / name / "objects"
        objects.mkdir(parents=True)
        (objects / f"Cache.{name}.json").touch()
        for ordinal in range(pods):
            log = tmp_path / "default" / name / f"{name}-{ordinal}" / "server.log"
            log.parent.mkdir()
            log.write_text(f"first of {ordinal}\nlast of {ordinal}\n")
    return tmp_path


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("orders", [f"orders-{n} | {which} of {n}" for n in range(11) for which in ("first", "last")]),
        ("orders --pod orders-10", ["first of 10", "last of 10"]),
        ("--pod orders-1", ["first of 1", "last of 1"]),
        ("sessions", ["first of 0", "last of 0"]),
        ("--pod sessions-0", ["first of 0", "last of 0"]),
    ],
)
def test_logs_of_one_pod_or_of_all(words: str, shown: list[str], logged: Path) -> None:
    done = CliRunner().invoke(main.app, ["local", "logs", "--data", str(logged), *words.split()])
    assert (done.exit_code, done.stdout.splitlines()) == (0, shown), done.stderr


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("", 2, "say which Cache; known: default/orders, default/sessions"),
        ("--pod nosuch-0", 2, "say which Cache; known: default/orders, default/sessions"),
        ("sessions --pod orders-1", 7, "Cache default/sessions has no log of a pod orders-1; pods: sessions-0"),
    ],
)
def test_a_log_that_is_not_there(words: str, code: int, said: str, logged: Path) -> None:
    done = CliRunner().invoke(main.app, ["local", "logs", "--data", str(logged), *words.split()])
    assert (done.exit_code, done.stderr.strip()) == (code, said)


def test_who_follows_sees_pods_that_come_later(logged: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = logged / "default" / "sessions"

    def pause(_: float) -> None:
        if not (home / "sessions-1").exists():
            (home / "sessions-1").mkdir()
            (home / "sessions-1" / "server.log").write_text("hello\n")
        elif "more" not in (log := home / "sessions-0" / "server.log").read_text():
            log.write_text(log.read_text() + "more\n")
        else:
            raise KeyboardInterrupt

    monkeypatch.setattr("time.sleep", pause)
    done = CliRunner().invoke(main.app, ["local", "logs", "--data", str(logged), "sessions", "-f"])
    assert done.stdout.splitlines() == ["first of 0", "last of 0", "sessions-1 | hello", "sessions-0 | more"]


@pytest.mark.parametrize("group", ["rdb", "aof", "export", "import"])
def test_tools_for_files_are_another_program(group: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It gets every word as it is, options and -- included."""
    seen: list[list[str]] = []
    monkeypatch.setattr("os.execv", lambda path, words: seen.append(words))
    for words in (["info", "--help"], ["json", "--", "-x"], [], ["--version"]):
        CliRunner().invoke(main.app, [group, *words])
        assert seen[-1][1:] == ["-P", "-m", "cachefleet_server.tools", group, *words]
    assert group in CliRunner().invoke(main.app, ["--help"]).stdout


def test_a_password_that_no_client_can_be_given(
    caches: list[dict[str, Any]], started: list[list[str]], tmp_path: Path
) -> None:
    caches[0] |= {"auth": True, "folder": str(tmp_path)}
    word = tmp_path / "orders-0" / "auth" / "password"
    word.parent.mkdir(parents=True)
    word.write_bytes(b"a\0b\n")
    done = CliRunner().invoke(main.app, ["local", "connect"])
    assert (done.exit_code, started) == (1, [])
    assert done.stderr == f"the password in {word} has a NUL, which redis-cli cannot be given\n"


@pytest.mark.parametrize(
    ("pod", "code", "said", "kills"),
    [
        ("orders-0", 2, "say which pod: default/orders-0, shop/orders-0", []),
        ("shop/orders-0", 0, "", [(1002, signal.SIGKILL)]),
        ("orders-1", 0, "", [(1001, signal.SIGKILL)]),
        ("shop/orders-1", 7, "no server of a pod shop/orders-1 runs; pods: orders-0, orders-1, orders-0", []),
    ],
)
def test_the_pod_that_is_killed(
    pod: str, code: int, said: str, kills: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    there = [("default", 1001, ("orders-0", "orders-1")), ("shop", 1002, ("orders-0",))]
    found = [{"namespace": ns, "name": "orders", "ports": dict.fromkeys(pods)} for ns, _, pods in there]
    killed: list[Any] = []
    monkeypatch.setattr(main.Folder, "state", lambda self: {"caches": found})
    monkeypatch.setattr(main.Folder, "server", lambda self, ns, name, pod: {ns: pid for ns, pid, _ in there}[ns])
    monkeypatch.setattr(main.os, "kill", lambda *what: killed.append(what))
    done = CliRunner().invoke(main.app, ["local", "kill", pod])
    assert (done.exit_code, done.stderr.strip(), killed) == (code, said, kills)
