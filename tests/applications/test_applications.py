"""Small applications in Python and on Node, run against our server and against Valkey: the same transcript, in RESP2
and RESP3. Those of messages count what arrives: one that is lost, or comes twice, is another transcript, or none."""

from __future__ import annotations

import pytest

from fleettest.applications import PROGRAMS, transcript
from fleettest.instance import Pool

APPLICATIONS = ["django_app", "flask_app", "leaderboard", "limiter", "jobs", "jobs_async", "messages_async"]
CHAT = [
    "{kind}: in the room: [p0 p1 p2]",
    "{kind}: heard: [1 1 1] 0",
    "{kind}: servers: [server 0 server 2]",
    "{kind}: gone: [0 0 0]",
]


@pytest.mark.server
@pytest.mark.differential
@pytest.mark.parametrize("protocol", [2, 3], ids=["resp2", "resp3"])
@pytest.mark.parametrize("name", APPLICATIONS)
def test_an_application(name: str, protocol: int, servers: Pool) -> None:
    program = PROGRAMS["redis-py"]
    program = program._replace(run=(*program.run[:-1], f"{name}.py"))
    theirs = transcript(program, servers.get("valkey"), str(protocol))
    ours = transcript(program, servers.get("cachefleet"), str(protocol))
    assert ours == theirs
    assert ours[-1] == "end: "


@pytest.mark.server
@pytest.mark.differential
@pytest.mark.parametrize("protocol", [2, 3], ids=["resp2", "resp3"])
def test_socket_io(protocol: int, servers: Pool) -> None:
    """Its three adapters: on channels, on sharded channels, and (in RESP2) on a stream."""
    program = PROGRAMS["node-redis"]._replace(run=("node", "socket_io.mjs"))
    kinds = ["channels", "sharded", "streams"][: 5 - protocol]
    expected = [line.format(kind=kind) for kind in kinds for line in CHAT]
    for server in ("valkey", "cachefleet"):
        assert transcript(program, servers.get(server), str(protocol)) == [*expected, "end: "], server
