"""The command line of the operator: what it answers without a cluster, and without its packages."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version

import pytest

from cachefleet_operator.settings import VARIABLES

WITHOUT = """
import sys
sys.modules["kubernetes"] = None  # as if it were not installed
from cachefleet_operator.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


def without_packages(*arguments: str) -> subprocess.CompletedProcess[str]:
    """A process of its own: nothing that it does can reach a cluster."""
    return subprocess.run([sys.executable, "-c", WITHOUT, *arguments], capture_output=True, text=True, check=False)


def test_help_lists_the_environment() -> None:
    answer = without_packages("--help")
    assert (answer.returncode, answer.stderr) == (0, "")
    for variable in VARIABLES.values():
        assert f"  {variable.name} " in answer.stdout and variable.meaning in answer.stdout
    assert all(len(line) <= 80 for line in answer.stdout.splitlines())


def test_version() -> None:
    answer = without_packages("--version")
    assert (answer.returncode, answer.stdout) == (0, f"cachefleet-operator {version('cachefleet')}\n")


@pytest.mark.parametrize("argument", ["run", "--verbose", "--vers"])
def test_anything_else_is_refused(argument: str) -> None:
    answer = without_packages(argument)
    assert answer.returncode == 2
    assert f"unrecognized arguments: {argument}" in answer.stderr


def test_missing_packages_are_named_with_their_extra() -> None:
    answer = without_packages()
    assert (answer.returncode, answer.stdout) == (2, "")
    assert answer.stderr == "cachefleet-operator: kubernetes is not installed: pip install 'cachefleet[operator]'\n"
