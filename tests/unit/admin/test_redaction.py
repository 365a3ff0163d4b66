"""Secrets never reach MONITOR and the command logs."""

from __future__ import annotations

import pytest

from cachefleet_server.admin.redaction import redact

pytestmark = pytest.mark.unit

SECRET = {"requirepass", "masterauth"}


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("AUTH pw", "AUTH *"),
        ("auth user pw", "auth * *"),
        ("AUTH a b c", "AUTH * * *"),
        ("AUTH", "AUTH"),
        ("HELLO 3 AUTH user pw SETNAME x", "HELLO 3 AUTH * * SETNAME x"),
        ("hello 3 setname auth auth user pw", "hello 3 setname auth auth * *"),
        ("HELLO 3 AUTH user", "HELLO 3 AUTH *"),
        ("HELLO 3", "HELLO 3"),
        ("HELLO", "HELLO"),
        ("CONFIG SET requirepass pw", "CONFIG SET requirepass *"),
        ("config set MasterAuth pw maxmemory 1 REQUIREPASS pw", "config set MasterAuth * maxmemory 1 REQUIREPASS *"),
        ("CONFIG SET maxmemory requirepass", "CONFIG SET maxmemory requirepass"),
        ("CONFIG SET requirepass", "CONFIG SET requirepass"),
        ("CONFIG GET requirepass", "CONFIG GET requirepass"),
        ("CONFIG", "CONFIG"),
        ("SET requirepass pw", "SET requirepass pw"),
    ],
)
def test_redact(line: str, shown: str) -> None:
    argv = [word.encode() for word in line.split()]
    assert [b"*" if word == b"(redacted)" else word for word in redact(argv, SECRET)] == shown.encode().split()


def test_any_bytes() -> None:
    argv = [b"CONFIG", b"SET", b"\xff\x00", b"x"]
    assert redact(argv, SECRET) is argv
