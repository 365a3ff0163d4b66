"""Clients of other languages do the scenario of scenario.md against our server and against Valkey: the same transcript.

The transcript is also that of the page, so a program that leaves out a step fails.
"""

from __future__ import annotations

import re
from pathlib import Path

import machine
import pytest

from fleettest.applications import KITS, PROGRAMS, SOURCES, Program, need, transcript
from fleettest.instance import Pool
from fleettest.tree import ROOT

RUNS = [(name, protocol) for name, program in PROGRAMS.items() for protocol in program.protocols]
PAGE = ROOT / "docs" / "clients.md"


def scenario(protocol: int) -> list[str]:
    """The lines of scenario.md's table of steps."""
    page = Path(__file__).with_name("scenario.md").read_text()
    rows = re.findall(r"^\| (\w+) \|[^|]*\| `(.*)` \|$", page.partition("## Steps")[2], re.MULTILINE)
    assert len(rows) == page.partition("## Steps")[2].count("\n| ") - 1, "a row that is not understood"
    return [f"{step}: {values}".replace("<protocol>", str(protocol)) for step, values in rows]


@pytest.mark.server
@pytest.mark.differential
@pytest.mark.parametrize(("name", "protocol"), RUNS, ids=[f"{name}-resp{protocol}" for name, protocol in RUNS])
def test_the_scenario(name: str, protocol: int, servers: Pool) -> None:
    theirs = transcript(PROGRAMS[name], servers.get("valkey"), str(protocol))
    ours = transcript(PROGRAMS[name], servers.get("cachefleet"), str(protocol))
    assert ours == theirs
    assert ours == scenario(protocol)


@pytest.mark.parametrize("kit", [name for name, kit in KITS.items() if kit.tools])
def test_a_missing_tool_is_an_error_that_names_its_package(
    kit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(machine.Missing, match="apt-get install -y ") as error:
        need(kit)
    named = str(error.value).partition("apt-get install -y ")[2].split()
    makefile = (ROOT / "Makefile").read_text()
    assert [package for package in named if package.removesuffix("-web") not in makefile] == []


@pytest.mark.parametrize(("name", "program"), PROGRAMS.items(), ids=list(PROGRAMS))
def test_the_page_names_every_client_and_its_version(name: str, program: Program) -> None:
    assert program.version in (ROOT / SOURCES / program.kit / program.pin).read_text()
    protocols = " and ".join(f"RESP{number}" for number in program.protocols)
    assert re.search(
        rf"^\| {re.escape(name)} \| {re.escape(program.version)} \| .* \| {protocols} \|$", PAGE.read_text(), re.M
    )


def test_the_page_names_the_frameworks_and_their_versions() -> None:
    pinned = (ROOT / SOURCES / "python" / "requirements.txt").read_text().split()
    pins = dict(line.split("==") for line in pinned)
    del pins["redis"]  # a client: above
    rows = [f"| {name} | {version} |" for name, version in pins.items()]
    assert [row for row in rows if row not in PAGE.read_text()] == []
