"""Words that trip libraries, as arguments of every command: an error is one of ours, never what a library raised."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fleettest.client import Connection, Error
from fleettest.instance import Instance

pytestmark = [pytest.mark.server]

HOSTILE = (
    b"", b"nan", b"-inf", b"1e999", b"0x10", b"1_0", b" 1", b"+1", b"9" * 5000, b"-" + b"9" * 5000, b"9" * 30,
    "\N{SUPERSCRIPT TWO}".encode(), "\N{ARABIC-INDIC DIGIT ONE}".encode(), b"\xff\xfe", b"\0", b"a\r\nb", b"%s{}{0.x}",
    b"[", b"(", b"\\", b"../../x", b"\xed\xa0\x80", b"x" * 70_000,
)  # fmt: skip
# They end the server or the connection, or hold everybody up.
LEFT_OUT = ("shutdown", "quit", "monitor", "debug", "client|pause", "client|reply", "client|kill", "config|rewrite")


@pytest.fixture
def own() -> Iterator[Instance]:
    """It has strange parameters in the end."""
    with Instance("cachefleet", options={"enable-debug-command": "yes"}) as server:
        yield server


def commands(connection: Connection) -> list[tuple[bytes, ...]]:
    """Names as words: (b"get",), (b"config", b"set")."""
    names = [spec[0].decode() for spec in connection.call("COMMAND")]
    for name in list(names):
        inner = [sub[0].decode() for sub in connection.call("COMMAND", "INFO", name)[0][9]]
        names += inner
    return [
        tuple(word.encode() for word in name.split("|"))
        for name in names
        if name not in LEFT_OUT and name.split("|")[0] not in LEFT_OUT
    ]


def test_no_library_speaks(own: Instance) -> None:
    with own.connect() as c:
        found = commands(c)
        assert len(found) > 100 and (b"config", b"set") in found
        wrong = {}
        for name in found:
            for count in (1, 2, 3):
                replies = c.pipeline([(*name, *[word] * count) for word in HOSTILE])
                for word, reply in zip(HOSTILE, replies, strict=True):
                    if isinstance(reply, Error) and "internal error" in str(reply):
                        wrong[name, word[:10], count] = str(reply)
            c.pipeline([("RESET",), ("DISCARD",)])
        for param in c.call("CONFIG", "GET", "*")[::2]:
            replies = c.pipeline([("CONFIG", "SET", param, word) for word in HOSTILE])
            for word, reply in zip(HOSTILE, replies, strict=True):
                if isinstance(reply, Error) and "internal error" in str(reply):
                    wrong[param, word[:10], 1] = str(reply)
    assert wrong == {}
    assert "Traceback" not in own.log_text()


def test_debug_sleep_wants_a_number(own: Instance) -> None:
    for seconds in ("nan", "NaN", "-nan", "x"):
        assert own.call("DEBUG", "SLEEP", seconds) == Error("ERR value is not a valid float")
