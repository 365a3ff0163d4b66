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
