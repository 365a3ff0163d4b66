"""A newer operator over a real server of this version: a parameter more, another default."""

from __future__ import annotations

import os
import signal
import sys

import pytest

from cachefleet_operator.cli.failure import Exit
from fleettest import newer
from fleettest.instance import ROOT
from fleettest.local import READY_S, Local, manifest
from fleettest.wait import assert_eventually

pytestmark = pytest.mark.server

CONFIG = {"databases": "16", "tcp-backlog": "100", "client-output-buffer-limit": "normal 1000000 0 0", "hz": "20"}
OF_A_START = ("port", "dir", "metrics-port")


def upgrade(local: Local) -> None:
    local.command = [sys.executable, "-m", "fleettest.newer", "local"]
    local.environment["PYTHONPATH"] = os.pathsep.join(str(ROOT / folder) for folder in ("operator", "tests/support"))


def shown(local: Local) -> dict[str, str]:
    with local.client() as client:
        return {name: value for name, value in client.config_get("*").items() if name not in OF_A_START}


def config_applied(local: Local) -> tuple[str, str]:
    found = local.cache()["status"]["conditions"]
    return next((c["reason"], c.get("message", "")) for c in found if c["type"] == "ConfigApplied")


@pytest.mark.slow("a server is stopped, killed, and started twice")
def test_a_newer_operator_gives_an_older_server_what_it_knows(local: Local) -> None:
    local.write(manifest(config=CONFIG))
    local.up()
    before = shown(local)
    assert local.stop() == 0

    upgrade(local)
    local.up()  # the server starts anew
    assert shown(local) == before
    assert_eventually(lambda: config_applied(local) == ("Applied", ""), local.said, deadline_s=READY_S)
    pid = local.pid()
    local.write(manifest(config={**CONFIG, "hz": "30", "new-live": "5", "new-at-start": "4"}))
    assert_eventually(lambda: shown(local)["hz"] == "30", local.said, deadline_s=READY_S)
    assert_eventually(lambda: config_applied(local)[0] == "Unsupported", local.said, deadline_s=READY_S)
    assert all(parameter.name in config_applied(local)[1] for parameter in newer.ADDED)
    assert local.pid() == pid
    told = local.run("status")
    assert told.returncode == Exit.MANIFEST
    assert "new-live: the server in orders-0" in told.stdout + told.stderr

    os.kill(pid, signal.SIGKILL)  # the file that it reads now has nothing that it does not know
    assert_eventually(lambda: local.pid() != pid, local.said, deadline_s=READY_S)
    assert shown(local) == {**before, "hz": "30"}
