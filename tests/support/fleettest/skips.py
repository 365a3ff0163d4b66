"""What a skipped test means, as a plugin of pytest.

A test that lacks a tool is skipped, so that a first look at the tree needs few packages; under CI (the variable is
set) it fails: nothing is left out there for want of a package. What no package mends is a fact about the machine (its
kernel, its addresses, who runs the tests). There a test says

    machine_lacks("no IPv6")

and is left out everywhere, and the closing report says aloud what did not run.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Final, NoReturn

import pytest

MACHINE: Final = "this machine: "


def machine_lacks(what: str) -> NoReturn:
    pytest.skip(MACHINE + what)


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    """The words of a skip; pytest keeps (file, line, "Skipped: words")."""
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return text.removeprefix("Skipped: ")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport() -> Iterator[None]:
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    if not report.skipped or hasattr(report, "wasxfail") or _reason(report).startswith(MACHINE):
        return
    if os.environ.get("CI"):
        report.outcome = "failed"
        report.longrepr = f"skipped under CI: {report.longrepr}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    left_out = [r for r in terminalreporter.stats.get("skipped", []) if _reason(r).startswith(MACHINE)]
    if left_out:
        terminalreporter.section(f"NOT RUN on this machine: {len(left_out)}", red=True, bold=True)
        for report in left_out:
            terminalreporter.line(f"NOT RUN {report.nodeid}: {_reason(report).removeprefix(MACHINE)}", red=True)
