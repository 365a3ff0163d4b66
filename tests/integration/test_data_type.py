"""A data type that only tests have, in a whole server: files, both bases of the AOF, DEBUG."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleettest import bagserver
from fleettest.instance import Instance
from fleettest.wait import assert_eventually

pytestmark = pytest.mark.server


@pytest.mark.parametrize("preamble", ["yes", "no"])
def test_survives_reloads_and_restarts(tmp_path: Path, preamble: str) -> None:
    options = {"enable-debug-command": "yes", "appendonly": "yes", "aof-use-rdb-preamble": preamble}
    server = Instance(options=options, directory=tmp_path)
    server.program = bagserver.PROGRAM
    with server:
        for i in range(20):
            server.call("BAGADD", "large", *(f"member:{k}" for k in range(500 * i, 500 * i + 500)))
        server.call("BAGADD", "small", "x", "x", "y")
        server.call("PEXPIREAT", "small", 99999999999999)
        server.call("SET", "text", "t")
        digest = server.call("DEBUG", "DIGEST")
        assert server.call("DEBUG", "RELOAD") == "OK"
        assert server.call("DEBUG", "DIGEST") == digest
        server.call("BGREWRITEAOF")
        server.call("BAGADD", "small", "z")
        digest = server.call("DEBUG", "DIGEST")
        assert_eventually(lambda: server.info("persistence")["aof_rewrite_in_progress"] == "0")
        assert server.call("DEBUG", "LOADAOF") == "OK"
        assert server.call("DEBUG", "DIGEST") == digest
        server.restart()
        assert server.call("DEBUG", "DIGEST") == digest
        assert server.call("DEBUG", "OBJECT", "large").split()[3] == "encoding:hashtable"
        assert server.call("MEMORY", "USAGE", "large") > 300_000


def test_waiters_over_a_reload_and_in_the_aof(tmp_path: Path) -> None:
    """Who waits does so over a DEBUG RELOAD; the AOF has what was taken, not who waited."""
    options = {"enable-debug-command": "yes", "appendonly": "yes", "appendfsync": "always"}
    server = Instance(options=options, directory=tmp_path)
    server.program = bagserver.PROGRAM
    with server, server.connect() as pops, server.connect() as moves, server.connect() as c:
        pops.send_command("BBAGPOP", "q", "0")
        assert_eventually(lambda: server.info("clients")["blocked_clients"] == "1")
        moves.send_command("BBAGMOVE", "q", "kept", "0")
        assert_eventually(lambda: server.info("clients")["blocked_clients"] == "2")
        assert server.info("clients")["total_blocking_keys"] == "1"
        assert c.call("DEBUG", "RELOAD") == "OK"
        assert c.call("BAGADD", "q", "a", "a", "a") == 3
        assert pops.read() == [b"q", b"a"]
        assert moves.read() == b"a"
        digest = server.call("DEBUG", "DIGEST")
        assert [server.call("DEBUG", "OBJECT", key).split()[3] for key in ("q", "kept")] == ["encoding:listpack"] * 2
        server.restart(kill=True)
        assert server.call("DEBUG", "DIGEST") == digest
