"""Which disk a managed server has, with real processes: a folder that cannot be shown to hold all that was confirmed
is another disk, which counts for nothing and is followed by nobody."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from fleettest.instance import Instance
from fleettest.managedfleet import Begin, Fleet, ask, fields, refused, state, writes
from fleettest.replicas import assert_same_data
from fleettest.wait import assert_eventually

pytestmark = pytest.mark.server

def tear(server: Instance) -> None:
    """The last bytes of its file, as a machine that lost its power leaves it."""
    folder = server.directory / "appendonlydir"
    (last,) = folder.glob("*.incr.aof")
    with last.open("r+b") as file:
        file.truncate(last.stat().st_size - 3)


def empty(server: Instance) -> None:
    for path in server.directory.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def test_a_torn_tail_is_another_disk(fleet: Begin) -> None:
    """What it has is usable, and what it confirms renews no lease of who needs the other one."""
    two = fleet(2).begin()
    primary, replica = two.servers
    for key in "ab":
        primary.call("SET", key, "1")
        assert_same_data(primary, replica)
    disk = two.disk(replica)
    replica.kill()
    tear(replica)
    replica.start()
    said = state(replica)
    assert said["disk"] != disk
    assert (said["role"], said["confirmed-age-ms"]) == ("fenced", ""), "this disk never confirmed anything"
    assert replica.call("GET", "a") == b"1"
    assert "this is a new disk" in replica.log_text()
    assert two.tell(replica, disk).startswith("WRONGDISK ")
    assert two.tell(replica) == "OK"
    assert_eventually(lambda: state(replica)["link"] == "up")
    assert_eventually(lambda: refused(primary), "the member that it needs is gone")
    two.decide("continued", primary, state(primary), members=[two.disk(primary), two.disk(replica)])
    two.tell_all()
    assert_eventually(lambda: writes(primary))
    assert_same_data(primary, replica)


def test_a_restored_volume_is_another_disk(fleet: Begin, tmp_path: Path) -> None:
    """A copy of the folder has the id of the one that it was made of; its claim says that it is a copy."""
    one = fleet(1).begin(acks=0)
    (server,) = one.servers
    server.call("SET", "a", "1")
    disk = one.disk(server)
    assert fields(ask(server, "FENCE", disk, 2, "claim", "first"))["disk"] == disk
    server.stop()
    shutil.copytree(server.directory, tmp_path / "restored")
    with Instance(directory=tmp_path / "restored", options=server.options) as restored:
        assert state(restored)["disk"] == disk, "nobody has said yet that it is a copy"
        assert ask(restored, "FENCE", disk, 3, "claim", "second").startswith("WRONGDISK ")
        said = state(restored)
        assert said["disk"] != disk
        assert (said["claim"], said["promise"], said["role"]) == ("second", "2", "fenced")
        assert restored.call("GET", "a") == b"1"
        assert fields(ask(restored, "FENCE", said["disk"], 3, "claim", "second"))["keys"] == "2"


def test_a_primary_that_comes_back_empty_is_not_followed(fleet: Begin) -> None:
    """At its old address, as soon as its replicas look for it again: none of them loses what it has."""
    three = fleet(3).begin()
    primary, *replicas = three.servers
    primary.call("SET", "a", "1")
    for replica in replicas:
        assert_same_data(primary, replica)
    disk, epoch = three.disk(primary), three.epoch
    primary.kill()
    empty(primary)
    primary.start()
    said = state(primary)
    assert (said["role"], said["keys"], said["data-set"]) == ("fenced", "0", "")
    assert said["disk"] != disk
    assert three.tell(primary, disk).startswith("WRONGDISK "), "the record is not of this one"
    for replica in replicas:
        assert_eventually(lambda replica=replica: "NOTREIGNING" in replica.log_text(), replica.log_tail)
        assert state(replica)["link"] == "down"
        assert replica.call("GET", "a") == b"1"
    answers = {server: three.fence(server) for server in replicas}
    best = max(replicas, key=lambda s: (int(answers[s]["tenure"]), int(answers[s]["offset"])))
    three.decide("elected", best, answers[best], members=[three.disk(server) for server in three.servers])
    three.tell_all()
    assert_eventually(lambda: writes(best))
    assert three.epoch == epoch + 1
    for server in (server for server in three.servers if server is not best):
        assert_same_data(best, server)
    assert primary.call("GET", "a") == b"1"


def test_who_has_other_data_keeps_them_until_its_folder_is_emptied(fleet: Begin) -> None:
    """A record of another data set is no person's word that these may go; an empty folder is."""
    servers = fleet(2).servers
    mine, other = (Fleet([server]) for server in servers)
    other.data_set = "e" * 40
    for one, value in ((mine, "mine"), (other, "other")):
        one.begin(acks=0)
        one.servers[0].call("SET", "a", value)
    primary, loser = servers
    other.fence(loser)
    mine.decide("continued", primary, state(primary), acks=0)
    assert mine.tell(primary) == "OK"
    assert mine.tell(loser).startswith("DATASET ")
    loser.restart()
    assert mine.tell(loser).startswith("DATASET ")
    assert (loser.call("GET", "a"), state(loser)["role"]) == (b"other", "fenced")
    loser.kill()
    empty(loser)
    loser.start()
    assert mine.tell(loser) == "OK"
    assert_same_data(primary, loser)
    assert loser.call("GET", "a") == b"mine"
