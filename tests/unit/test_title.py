"""The title of a process and the secrets in its command line, in processes of the test's own."""

from __future__ import annotations

import subprocess
import sys

import pytest

from cachefleet_server.title import expand
from fleettest.instance import ROOT

pytestmark = pytest.mark.unit

IMPORT = f"import sys; sys.path.insert(0, {str(ROOT / 'server')!r}); from cachefleet_server import title; "
SHOW = "; import sys; sys.stdout.buffer.write(open('/proc/self/cmdline', 'rb').read())"
HIDE = "title.hide_secrets({'requirepass', 'masterauth'})"


def shown(statement: str, *arguments: str) -> list[str]:
    """The words that others see of a process with these arguments after the statement."""
    code = IMPORT + statement + SHOW
    result = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, timeout=60, check=True)
    words = result.stdout.decode().split("\0")
    return words[words.index(code) + 1 :] if code in words else words


@pytest.mark.parametrize(
    "arguments",
    [
        ("--requirepass", "hunter2", "--port", "1"),
        ("x.conf", "--REQUIREPASS", "hunter2"),
        ("--requirepass hunter2", "--port", "1"),
        ("--requirepass\thunter2",),
        ('--"requirepass" hunter2',),
        ("--requirepass", "--hunter2"),
        ("--requirepass", "hunter2", "hunter2"),
        ("--port", "1", "--masterauth", "hunter2", "--requirepass", "hunter2"),
    ],
)
def test_secrets_are_hidden(arguments: tuple[str, ...]) -> None:
    words = shown(HIDE, *arguments)
    assert "hunter" not in " ".join(words)
    assert "***" in " ".join(words)
    for word in arguments:
        assert "hunter2" in word or word in words


def test_everything_else_stays() -> None:
    arguments = ("--port", "1", "--logfile", "requirepass", "--requirepass-file", "x", "--requirepass", "")
    assert shown(HIDE, *arguments) == [*arguments, ""]


def test_a_title_takes_the_place_of_the_arguments() -> None:
    words = shown("title.set_title('short'); title.set_title('x\\0 y')", "--requirepass", "hunter2")
    assert (words[0], set(words[1:])) == ("x  y", {""})


def test_a_title_that_is_too_long_is_cut() -> None:
    words = shown("title.set_title('x' * 100_000)")
    assert set(words[0]) == {"x"}
    assert words[1:] == [""]


def test_the_environment_behind_it_stays() -> None:
    code = IMPORT + "title.set_title('x' * 100_000)" + SHOW.replace("cmdline", "environ")
    result = subprocess.run([sys.executable, "-c", code], env={"A": "b"}, capture_output=True, timeout=60, check=True)
    assert result.stdout == b"A=b\0"


@pytest.mark.parametrize(
    ("template", "text"),
    [("{title} {port}", "t 7"), (" {mode}x {mode} ", "x"), ("a{title}{title}", "att"), ("plain", "plain")],
)
def test_templates(template: str, text: str) -> None:
    assert expand(template, {"title": "t", "port": "7", "mode": ""}) == text
