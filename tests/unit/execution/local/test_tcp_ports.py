"""Who listens where, and that it stays so."""

from __future__ import annotations

import errno
import socket
from itertools import pairwise
from pathlib import Path

import pytest

from cachefleet_operator.api import names
from cachefleet_operator.execution.errors import ExecutionError
from cachefleet_operator.execution.local import tcp_ports
from cachefleet_operator.execution.local.tcp_ports import HOST, PortBook, Ports, PortTaken, is_free
from fleettest.instance import free_port


def said(_: str) -> None:
    raise AssertionError("nothing has moved")


def book(tmp_path: Path, first: Ports) -> PortBook:
    return PortBook(tmp_path, first)


@pytest.fixture
def first() -> Ports:
    """Two ports that are free; those above them may be taken."""
    return Ports(free_port(), free_port())


def test_the_first_pod_gets_the_first_ports_and_the_next_one_others(tmp_path: Path, first: Ports) -> None:
    ports = book(tmp_path, first)
    a = ports.assign("default", "a", "a-0", said)
    b = ports.assign("default", "b", "b-0", said)
    assert a == first
    assert len({*a, *b}) == 4
    assert ports.of("default", "a", "a-0") == a
    assert ports.of("default", "c", "c-0") is None


@pytest.mark.parametrize("chosen", ["redis", "metrics"])
def test_the_two_ports_of_a_pod_differ(tmp_path: Path, first: Ports, chosen: str) -> None:
    """Whichever the user chose, the other one is not it, though it would be the first choice."""
    ports = book(tmp_path, first)
    wanted = first.metrics if chosen == "redis" else first.redis
    ports.pin("default", "a", "a-0", *((wanted, None) if chosen == "redis" else (None, wanted)))
    own = ports.of("default", "a", "a-0")
    assert own is not None and wanted in own and own.redis != own.metrics


def test_a_pod_keeps_its_ports_over_runs_and_others_do_not_get_them(tmp_path: Path, first: Ports) -> None:
    kept = book(tmp_path, first).assign("default", "a", "a-0", said)
    again = book(tmp_path, first)
    assert not {*again.assign("shop", "a", "a-0", said)} & {*kept}
    assert again.assign("default", "a", "a-0", said) == kept


def test_a_port_that_somebody_took_meanwhile_is_given_up_aloud(tmp_path: Path, first: Ports) -> None:
    kept = book(tmp_path, first).assign("default", "a", "a-0", said)
    heard: list[str] = []
    with socket.socket() as taken:
        taken.bind((HOST, kept.redis))
        taken.listen()
        assert not is_free(kept.redis)
        moved = book(tmp_path, first).assign("default", "a", "a-0", heard.append)
    assert moved.redis != kept.redis
    assert moved.metrics == kept.metrics
    assert heard == [
        f"another program has taken a port of a-0: it listens on {moved.redis} and {moved.metrics} now, "
        f"not on {kept.redis} and {kept.metrics}"
    ]


@pytest.mark.parametrize(
    "content",
    ["", "[]", '{"a-0": 5}', '{"a-0": [1, "x"]}', '{"a-0": [0, 9]}', '{"a-0": [9, 65536]}', '{"a-0": [-5, 9]}',
     '{"a-0": [1e999, 9]}', "[" * 5000],
)  # fmt: skip
def test_a_damaged_note_is_as_none(tmp_path: Path, first: Ports, content: str) -> None:
    (tmp_path / "default" / "a").mkdir(parents=True)
    (tmp_path / "default" / "a" / "ports.json").write_text(content)
    assert book(tmp_path, first).assign("default", "a", "a-0", said) == first


def test_the_user_may_choose(tmp_path: Path, first: Ports) -> None:
    ports = book(tmp_path, first)
    other = ports.assign("default", "b", "b-0", said)
    chosen = Ports(free_port(), free_port())
    ports.pin("default", "a", "a-0", chosen.redis, None)
    own = ports.of("default", "a", "a-0")
    assert own is not None
    assert own.redis == chosen.redis
    assert own.metrics not in other  # what was not chosen is free
    ports.pin("default", "a", "a-0", *chosen)
    ports.close()
    assert book(tmp_path, first).assign("default", "a", "a-0", said) == chosen
    with pytest.raises(PortTaken, match=f"port {other.redis} is kept for default/b"):
        ports.pin("default", "a", "a-0", other.redis, None)
    with socket.create_server((HOST, 0)) as listener:
        taken = listener.getsockname()[1]
        with pytest.raises(PortTaken, match=f"port {taken} is taken by another program"):
            ports.pin("default", "a", "a-0", None, taken)
    with socket.create_server((HOST, chosen.redis)):
        ports.pin("default", "a", "a-0", *chosen)  # its own from last time: an orphan may still be ending there
    ports.pin("default", "a", "a-0", None, None)
    assert ports.of("default", "a", "a-0") == chosen


def test_two_that_choose_at_once_get_different_ports(tmp_path: Path, first: Ports) -> None:
    """Of two folders, where nothing listens yet. Who has ended holds nothing."""
    mine, theirs = book(tmp_path / "mine", first), book(tmp_path / "theirs", first)
    (tmp_path / "mine").mkdir()
    pods = [names.pod("a", n) for n in range(3)]
    found = [ports.assign("default", "a", pod, said) for pod in pods for ports in (mine, theirs)]
    assert len({port for ports in found for port in ports}) == 12
    with pytest.raises(PortTaken, match=f"port {first.redis} is taken by another program"):
        theirs.pin("default", "b", "b-0", first.redis, None)
    mine.close()
    theirs.pin("default", "b", "b-0", first.redis, None)


def test_a_port_is_kept_while_its_server_is_started_again(tmp_path: Path, first: Ports) -> None:
    mine = book(tmp_path / "mine", first)
    kept = mine.assign("default", "a", "a-0", said)
    assert not {*book(tmp_path / "theirs", first).assign("default", "a", "a-0", said)} & {*kept}
    assert mine.assign("default", "a", "a-0", said) == kept


def test_a_port_that_another_up_has_is_given_up_aloud(tmp_path: Path, first: Ports) -> None:
    kept = book(tmp_path / "mine", first).assign("default", "a", "a-0", said)
    theirs, heard = book(tmp_path / "theirs", first), list[str]()
    assert theirs.assign("default", "a", "a-0", said) == kept, "which nobody holds any more"
    mine = book(tmp_path / "mine", first)
    moved = mine.assign("default", "a", "a-0", heard.append)
    assert not {*moved} & {*kept} and len(heard) == 1
    theirs.close()
    assert mine.assign("default", "b", "b-0", said) == kept, "what was given up is held no more"


def test_the_other_pods_follow_what_the_user_chose(tmp_path: Path, first: Ports) -> None:
    """Each the next that is to be had above it, and none of the first ports that nobody chose."""
    chosen, ports = Ports(free_port(), free_port()), book(tmp_path, first)
    ports.pin("default", "a", "a-0", *chosen)
    found = [ports.assign("default", "a", names.pod("a", n), said) for n in range(3)]
    assert found[0] == chosen
    for below, above in pairwise(found):
        assert below.redis < above.redis and below.metrics < above.metrics
    ports.close()
    again = book(tmp_path, first)
    assert [again.assign("default", "a", names.pod("a", n), said) for n in range(3)] == found


def test_no_port_at_all(tmp_path: Path) -> None:
    with pytest.raises(ExecutionError, match="no free port at or above 65536"):
        book(tmp_path, Ports(65536, 65536)).assign("default", "a", "a-0", said)


def test_no_port_is_for_both(tmp_path: Path, first: Ports) -> None:
    with pytest.raises(PortTaken, match=f"port {first.redis} cannot be both"):
        book(tmp_path, first).pin("default", "a", "a-0", first.redis, first.redis)


def test_what_could_not_be_written_is_written_with_the_next_start(
    tmp_path: Path, first: Ports, monkeypatch: pytest.MonkeyPatch
) -> None:
    ports = book(tmp_path, first)

    def full(path: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(tcp_ports, "replace_file", full)
        with pytest.raises(ExecutionError, match="No space left"):
            ports.assign("default", "orders", "orders-0", said)
    given = ports.assign("default", "orders", "orders-0", said)
    ports.close()
    assert PortBook(tmp_path, first).of("default", "orders", "orders-0") == given
