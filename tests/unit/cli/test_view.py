"""What a person sees of a report, and that no server's word can do anything to the terminal."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from cachefleet_operator.cli import view
from cachefleet_operator.cli.fleet import Event


def cache(
    *, ready: bool = True, auth: bool = True, phase: str = "Running", message: str = "", **more: Any
) -> dict[str, Any]:
    condition = {"type": "Ready", "status": "True" if ready else "False"}
    return {
        "namespace": "default", "name": "orders", "generation": 2, "auth": auth, "folder": "data/default/orders",
        "ports": {"orders-0": {"redis": 7000, "metrics": 7001}}, **more,
        "status": {
            "phase": phase, "message": message, "ready": "1/1", "observedGeneration": 2, "conditions": [condition],
            "primary": "orders-0", "memory": "1Mi/170Mi", "pods": [{"name": "orders-0", "role": "primary"}],
        },
    }  # fmt: skip


def event(message: str, type: str = "Normal") -> Event:
    return Event("2026-01-31T12:00:00Z", "default", "orders", type, "Word", message)


def drawn(screen_or_table: Any) -> str:
    out = io.StringIO()
    Console(file=out, width=150).print(screen_or_table)
    return out.getvalue()


def test_ready_means_ready_with_the_newest_spec() -> None:
    assert view.is_ready(cache())
    assert not view.is_ready(cache(ready=False))
    assert not view.is_ready(cache(generation=3))
    assert not view.is_ready({**cache(), "status": {}})


def test_the_command_is_named_so_that_a_shell_finds_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "cachefleet"
    program.touch(mode=0o755)
    monkeypatch.setattr("sys.argv", [str(program)])
    monkeypatch.setenv("PATH", "/nowhere")
    assert view.command() == str(program)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert view.command() == "cachefleet"


def test_how_to_connect_names_a_file_and_no_password() -> None:
    assert view.how_to_connect(cache(), " --data data") == [
        ("connect", "cachefleet local connect orders --data data"),
        ("or", "REDISCLI_AUTH=$(cat data/default/orders/orders-0/auth/password) redis-cli -p 7000"),
        ("metrics", "http://127.0.0.1:7001/metrics"),
        ("data", "data/default/orders"),
    ]
    assert view.how_to_connect(cache(auth=False), "")[1] == ("or", "redis-cli -p 7000")
    assert view.how_to_connect(cache(ports={}), "") == []


def test_of_several_pods_each_says_where_it_listens() -> None:
    ports = {f"orders-{n}": {"redis": 7000 + n, "metrics": 7100 + n} for n in range(2)}
    several = cache(ports=ports)
    several["status"]["pods"].append({"name": "orders-1", "role": ""})
    words = "orders-0 7000 (metrics 7100), orders-1 7001 (metrics 7101)"
    assert ("pods", words) in view.how_to_connect(several, "")
    assert lines_of(150, several)[1].endswith("orders-0 primary :7000, orders-1 - :7001")


def test_a_replica_says_how_far_behind_it_is() -> None:
    several = cache(lags={"orders-1": 0, "orders-2": 7})
    several["status"]["pods"] += [
        {"name": "orders-1", "role": "replica", "link": "up"}, {"name": "orders-2", "role": "replica", "link": "up"},
        {"name": "orders-3", "role": "replica", "link": "down"}, {"name": "orders-4"},
    ]  # fmt: skip
    assert lines_of(200, several)[1].endswith(
        "orders-0 primary, orders-1 replica (lag 0 s), orders-2 replica (lag 7 s), orders-3 replica (link down), "
        "orders-4 -"
    )


def test_lines_say_how_to_connect_once_and_again_elsewhere() -> None:
    out = io.StringIO()
    lines = view.Lines("", out)
    lines.show({"caches": [cache(ready=False)]}, 0.1)
    assert out.getvalue() == ""
    lines.show({"caches": [cache()]}, 0.2)
    lines.show({"caches": [cache()]}, 0.3)
    assert out.getvalue().count("orders is Ready after 0.2 s") == out.getvalue().count("Ready") == 1
    lines.show({"caches": [cache(ports={"orders-0": {"redis": 8000, "metrics": 8001}})]}, 0.4)
    assert "redis-cli -p 8000" in out.getvalue()


def test_warnings_are_marked() -> None:
    out = io.StringIO()
    view.Lines("", out).heard(event("is odd", "Warning"))
    view.Lines("", out).heard(event("is well"))
    assert out.getvalue() == "12:00:00 ! orders: is odd\n12:00:00   orders: is well\n"


def test_a_terminal_obeys_nobody_but_us() -> None:
    evil = "\x1b[2Jgone \x07[red]\u202e"
    out = io.StringIO()
    view.Lines("", out).heard(event(evil))
    table = view.table([cache(phase=evil)], 150)
    shown = [out.getvalue(), drawn(table), drawn(view.event_line("", "a", "Warning", evil))]
    for text in shown:
        assert "?[2Jgone ?[red]?" in text
        assert "\x1b" not in text


WHY = "spec.config.maxmemry: unknown (did you mean maxmemory?)"
SENTENCE = f"Refused: {WHY}"


def lines_of(width: int, *caches: Any) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=width).print(view.table(caches, width))
    return [line.rstrip() for line in out.getvalue().splitlines()]


def test_where_there_is_room_a_cache_is_one_line() -> None:
    assert lines_of(150, cache(phase="Refused", message=WHY), cache())[1:] == [
        f"orders  {SENTENCE}  1/1    127.0.0.1:7000  7001     1Mi/170Mi  orders-0 primary",
        f"orders  Running{' ' * (len(SENTENCE) - 7)}  1/1    127.0.0.1:7000  7001     1Mi/170Mi  orders-0 primary",
    ]


def test_on_a_narrow_terminal_what_has_no_room_is_below_the_row() -> None:
    assert lines_of(80, cache(phase="Refused", message=WHY), cache()) == [
        "CACHE   PHASE    READY  ENDPOINT        METRICS  MEMORY     PODS",
        "orders  Refused  1/1    127.0.0.1:7000  7001     1Mi/170Mi  orders-0 primary",
        f"  {SENTENCE}",
        "orders  Running  1/1    127.0.0.1:7000  7001     1Mi/170Mi  orders-0 primary",
    ]
    assert lines_of(40, cache()) == [
        "CACHE   PHASE    READY  ENDPOINT",
        "orders  Running  1/1    127.0.0.1:7000",
        "  pods: orders-0 primary",
        "  memory: 1Mi/170Mi",
        "  metrics: 7001",
    ]


@pytest.mark.parametrize("width", range(30, 150, 7))
def test_nothing_is_cut_at_any_width(width: int) -> None:
    text = " ".join(" ".join(lines_of(width, cache(phase="Refused", message=WHY))).split())
    for words in (*SENTENCE.split(), "127.0.0.1:7000", "7001", "1Mi/170Mi", "primary"):
        assert words in text


def test_in_a_pipe_lines_are_whole(capsys: pytest.CaptureFixture[str]) -> None:
    console = view.console()
    console.print(view.table([cache(phase="Refused", message=WHY)], console.width))
    console.print(view.event_line("2026-01-31T12:00:00Z", "orders", "Normal", "word " * 100 + "end"))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert SENTENCE in lines[1] and lines[1].endswith("orders-0 primary")
    assert lines[2].endswith("word end")


def test_the_screen_draws_the_table_and_the_last_events() -> None:
    out = io.StringIO()
    screen = view.Screen("", Console(file=out, width=150, force_terminal=True))
    for number in range(view.EVENTS_SHOWN + 1):
        screen.heard(event(f"event {number}."))
    screen.show({"caches": [cache()]}, 0.5)
    text = out.getvalue()
    for words in ("ENDPOINT", "127.0.0.1:7000", "1Mi/170Mi", "orders-0 primary", "was Ready after 0.5 s", "event 1."):
        assert words in text
    assert "event 0." not in text
    out.truncate(0)
    screen.say("Stopped.")
    screen.close()
    assert "Stopped." in out.getvalue()
    assert "ENDPOINT" not in out.getvalue().split("Stopped.")[-2][-200:]
