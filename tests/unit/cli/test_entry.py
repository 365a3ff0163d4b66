"""The console script where packages are missing, descriptors are closed, and somebody is impatient."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fleettest.instance import ROOT

COMMAND = [sys.executable, "-m", "cachefleet_operator.cli"]
ENDS_S = 60.0
SLOW = "import os, time\nos.write(1, b'importing')\ntime.sleep(600)\n"


@pytest.mark.parametrize("missing", ["typer", "hiredis"])
def test_a_package_that_is_missing_is_named_with_the_line_that_installs_it(missing: str) -> None:
    code = f"import sys; sys.modules[{missing!r}] = None; from cachefleet_operator.cli.__main__ import main; main()"
    done = subprocess.run([sys.executable, "-c", code, "--help"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (5, "")
    assert done.stderr == f"cachefleet: {missing} is not installed: pip install 'cachefleet[local]'\n"


def test_without_any_package() -> None:
    """As `pip install cachefleet` leaves it."""
    done = subprocess.run(
        [sys.executable, "-S", *COMMAND[1:], "local", "up"], env={**os.environ, "PYTHONPATH": str(ROOT / "operator")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 5
    assert done.stderr.startswith("cachefleet: ") and done.stderr.count("\n") == 1, done.stderr


def test_a_part_of_ours_that_is_missing_is_a_bug_and_shown() -> None:
    code = "import sys; sys.modules['cachefleet_operator.cli.main'] = None; " \
           "from cachefleet_operator.cli.__main__ import main; main()"  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "Traceback" in done.stderr


@pytest.mark.parametrize(
    ("close", "words", "code"),
    [
        ((1,), ("local", "status"), 7), ((2,), ("local", "down"), 7), ((0,), ("local", "up", "-f", "-"), 3),
        ((0, 1, 2), ("local", "status"), 7), ((0, 1, 2), ("--version",), 0),
    ],
)  # fmt: skip
def test_closed_descriptors(tmp_path: Path, close: tuple[int, ...], words: tuple[str, ...], code: int) -> None:
    closed = "".join(f" {fd}>&-" for fd in close)
    done = subprocess.run(
        ["sh", "-c", f'exec "$@"{closed}', "sh", *COMMAND, *words], cwd=tmp_path, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=ENDS_S, check=False,
    )  # fmt: skip
    assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stderr
    assert 2 in close or bool(done.stderr) == bool(code)


@pytest.mark.parametrize("words", [("--version",), ("local", "--help")])
def test_output_that_cannot_be_written_is_said(words: tuple[str, ...]) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run([*COMMAND, *words], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
        assert (done.returncode, done.stderr) == (1, "cachefleet: No space left on device\n")
        done = subprocess.run([*COMMAND, *words], stdout=full, stderr=full, check=False)
        assert done.returncode == 1


def test_an_interrupt_while_python_imports_is_quiet(tmp_path: Path) -> None:
    (tmp_path / "typer.py").write_text(SLOW)
    process = subprocess.Popen(
        [*COMMAND, "local", "up"], env={**os.environ, "PYTHONPATH": str(tmp_path)}, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.read(9) == b"importing"
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=ENDS_S) == (b"", b"")
    assert process.returncode == -signal.SIGINT


def test_who_ignores_interrupts_goes_on_so(tmp_path: Path) -> None:
    (tmp_path / "typer.py").write_text("import os\nos.kill(os.getpid(), 2)\nos.write(1, b'alive')\n")
    done = subprocess.run(
        ["sh", "-c", 'trap "" INT; exec "$@"', "sh", *COMMAND], env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout == "alive"


def test_what_the_terminal_cannot_show_is_written_in_another_way(tmp_path: Path) -> None:
    home = tmp_path / "data" / "default" / "orders"
    for path, content in (("objects/Cache.orders.json", "{}"), ("orders-0/server.log", "caf\u00e9 \u2192 bar\n")):
        (home / path).parent.mkdir(parents=True)
        (home / path).write_text(content)
    done = subprocess.run(
        [*COMMAND, "local", "logs", "--data", str(tmp_path / "data")],
        env={**os.environ, "PYTHONIOENCODING": "latin-1"}, capture_output=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, b"caf\xe9 \\u2192 bar\n", b"")
