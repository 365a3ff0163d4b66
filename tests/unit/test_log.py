"""The forms of a log line, levels and rotation."""

from __future__ import annotations

import json
import os
import re
import resource
import select
import socket
import subprocess
import sys
import time
import tty
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cachefleet_server import log as log_module
from cachefleet_server.log import Log
from fleettest.wait import assert_eventually

pytestmark = pytest.mark.unit

NOW = 1795350662.604


@pytest.fixture
def zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "EST+5")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("zone")
@pytest.mark.parametrize(
    ("form", "stamps", "line"),
    [
        ("legacy", "legacy", '7:M 22 Nov 2026 07:31:02.604 * say "hi"'),
        ("legacy", "iso8601", '7:M 2026-11-22T07:31:02.604-05:00 * say "hi"'),
        ("legacy", "milliseconds", '7:M 1795350662604 * say "hi"'),
        (
            "logfmt",
            "legacy",
            'pid=7 role=primary timestamp="22 Nov 2026 07:31:02.604" level=notice message="say \\"hi\\""',
        ),
        (
            "json",
            "milliseconds",
            '{"pid":7,"role":"primary","timestamp":"1795350662604","level":"notice","message":"say \\"hi\\""}',
        ),
    ],
)
def test_forms(form: str, stamps: str, line: str) -> None:
    log = Log()
    log.format, log.timestamp_format = form, stamps
    assert log.line(log_module.NOTICE, 'say "hi"', NOW, 7) == line


def test_marks_and_roles() -> None:
    log = Log()
    marks = [log.line(level, "x", NOW, 1).split(" ")[-2] for level in range(4)]
    assert marks == [".", "-", "*", "#"]
    log.role = "S"
    assert log.line(1, "x", NOW, 1).startswith("1:S ")
    log.format = "json"
    assert json.loads(log.line(1, "x", NOW, 1))["role"] == "replica"


def test_a_line_stays_one_line() -> None:
    log = Log()
    log.format = "logfmt"
    assert "\n" not in log.line(2, "a\nb", NOW, 1)
    log.format = "json"
    assert "\n" not in log.line(2, "a\nb", NOW, 1)


def test_levels(tmp_path: Path) -> None:
    file = tmp_path / "log"
    log = Log(level=log_module.WARNING)
    log.open(str(file))
    for say in (log.debug, log.verbose, log.notice, log.warning):
        say("message")
    log.level = log_module.NOTHING
    log.warning("hidden")
    log.close()
    assert [line.split(" ")[-2] for line in file.read_text().splitlines()] == ["#"]


def test_rotation_is_noticed_and_the_descriptor_stays(tmp_path: Path) -> None:
    file = tmp_path / "log"
    log = Log()
    log.open(str(file))
    descriptor = log.fd
    log.notice("first")
    file.rename(tmp_path / "log.1")
    log.notice("second")
    assert log.fd == descriptor
    log.close()
    assert "first" in (tmp_path / "log.1").read_text()
    assert "second" in file.read_text()
    assert "second" not in (tmp_path / "log.1").read_text()


def test_an_unusable_file_is_reported_and_the_old_one_kept(tmp_path: Path) -> None:
    log = Log()
    log.open(str(tmp_path / "log"))
    with pytest.raises(FileNotFoundError):
        log.open(str(tmp_path / "no" / "log"))
    assert log.path == str(tmp_path / "log")
    log.close()


def test_bytes_that_are_not_text_are_written_as_they_are(tmp_path: Path) -> None:
    log = Log()
    log.open(str(tmp_path / "log"))
    log.notice(os.fsdecode(b"\xff"))
    log.close()
    assert (tmp_path / "log").read_bytes().endswith(b" * \xff\n")


def test_user_data_is_hidden_unless_asked_for() -> None:
    log = Log()
    assert log.user_data(b"secret") == "*redacted*"
    log.hide_user_data = False
    assert log.user_data(b"k\xff") == "k\\xff"


# -- readers that stop, and full disks

LINES = 2500
FLOOD = f"""
import sys
from cachefleet_server.log import Log
log = Log()
log.open(sys.argv[1])
for _ in range({LINES}):
    log.notice("x" * 300)
print("all said", file=sys.stderr, flush=True)
for _ in sys.stdin:
    log.notice("x" * 300)
"""


def a_pipe(folder: Path) -> tuple[int, int, str]:
    return (*os.pipe(), "")


def a_fifo(folder: Path) -> tuple[int, int, str]:
    os.mkfifo(folder / "log")
    reader = os.open(folder / "log", os.O_RDONLY | os.O_NONBLOCK)
    return reader, os.open(os.devnull, os.O_WRONLY), str(folder / "log")


def a_socket(folder: Path) -> tuple[int, int, str]:
    ours, theirs = socket.socketpair()
    return ours.detach(), theirs.detach(), ""


def a_terminal(folder: Path) -> tuple[int, int, str]:
    ours, theirs = os.openpty()
    tty.setraw(theirs)
    return ours, theirs, ""


@pytest.mark.parametrize("kind", [a_pipe, a_fifo, a_socket, a_terminal])
def test_a_reader_that_stops_holds_nobody_up(tmp_path: Path, kind: Callable[[Path], tuple[int, int, str]]) -> None:
    reader, output, path = kind(tmp_path)
    process = subprocess.Popen(
        [sys.executable, "-c", FLOOD, path], stdin=subprocess.PIPE, stdout=output, stderr=subprocess.PIPE
    )
    os.close(output)
    assert process.stdin is not None and process.stderr is not None
    text, said = b"", LINES

    def accounted_for() -> bool:
        """Each line is there, or among those that are said to be lost; one more line tells how many these are."""
        nonlocal text, said
        assert process.stdin is not None
        process.stdin.write(b"\n")
        process.stdin.flush()
        said += 1
        while select.select([reader], [], [], 0.02)[0]:
            text += os.read(reader, 65536)
        lines = text.splitlines()
        lost = [int(found[1]) for line in lines if (found := re.search(rb"# (\d+) lines could not be written", line))]
        return bool(lost) and sum(line.endswith(b" * " + b"x" * 300) for line in lines) + sum(lost) == said

    try:
        assert select.select([process.stderr], [], [], 30)[0], "the server stands still"
        assert process.stderr.readline() == b"all said\n"
        assert_eventually(accounted_for)
    finally:
        process.kill()
        process.communicate()
        os.close(reader)


def test_a_syslogd_that_stops_holds_nobody_up(tmp_path: Path) -> None:
    log, path, sent = Log(level=log_module.WARNING), str(tmp_path / "log"), 2000
    log.open(os.devnull)
    log.to_syslog("cache", "local3", path)

    def read(daemon: socket.socket) -> Iterator[str]:
        while select.select([daemon], [], [], 0)[0]:
            text = daemon.recv(500).decode()
            found = re.fullmatch(r"<156>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d cache\[\d+\]: (.*)", text)
            assert found, text
            yield found[1]

    log.warning("nobody is there")
    for first in ("1 lines could not be written", "line 0"):  # a syslogd, and one that takes its place
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as daemon:
            daemon.bind(path)
            for i in range(sent):
                log.warning(f"line {i}")
            said = list(read(daemon))
            assert said[0].startswith(first)
            taken = [text for text in said if text.startswith("line")]
            assert taken == [f"line {i}" for i in range(len(taken))] and len(taken) < sent
            log.warning("it reads again")
            note, last = read(daemon)
            assert note.startswith(f"{sent - len(taken)} lines could not be written") and last == "it reads again"
        os.unlink(path)
    log.close()


def test_a_full_disk_costs_lines_and_leaves_no_half_ones(tmp_path: Path) -> None:
    file, before = tmp_path / "log", resource.getrlimit(resource.RLIMIT_FSIZE)
    log = Log()
    log.open(str(file))
    log.notice("first")
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (file.stat().st_size + 10, before[1]))  # SIGXFSZ is ignored
        log.notice("half of it")
        log.notice("nothing of it")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    log.notice("last")
    log.notice("and more")
    log.close()
    words = [line.split(" ", 6)[-1] for line in file.read_text().splitlines()]
    assert words[0] == "first" and words[-2:] == ["last", "and more"] and len(words) == 5
    assert words[2].startswith("2 lines could not be written")
