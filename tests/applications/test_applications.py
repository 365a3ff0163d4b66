"""Small applications in Python, run against our server and against Valkey: the same transcript, in RESP2 and RESP3."""

from __future__ import annotations

import pytest

from fleettest.applications import PROGRAMS, transcript
from fleettest.instance import Pool

APPLICATIONS = ["django_app", "flask_app", "leaderboard", "limiter", "jobs", "jobs_async"]


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
