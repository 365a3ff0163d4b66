"""A Cache of three pods on this machine: whatever happens to the one that takes writes, another one does, and what was
acknowledged is there."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from pathlib import Path

import pytest
import redis

from fleettest.local import READY_S, Local, manifest
from fleettest.wait import assert_eventually

pytestmark = pytest.mark.server


def client(local: Local, port: int) -> redis.Redis:
    password = Path(local.home, local.cache()["passwordFile"]).read_text()
    return redis.Redis(
        port=port, password=password, socket_timeout=1, socket_connect_timeout=1, retry=None, decode_responses=True
    )  # fmt: skip


class Writer:
    """Adds numbers to a list at whoever takes them, and knows which were acknowledged. A password that is refused is
    looked up again."""

    def __init__(self, local: Local) -> None:
        self._local = local
        self._clients = [client(local, ports["redis"]) for ports in local.cache()["ports"].values()]
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._write)
        self.acknowledged: list[int] = []

    def __enter__(self) -> Writer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        for one in self._clients:
            one.close()

    def _write(self) -> None:
        number = 0
        while not self._over.is_set():
            number += 1
            try:
                self._clients[0].rpush("numbers", number)
            except redis.RedisError as error:
                found = self._clients.pop(0)
                if isinstance(error, redis.AuthenticationError):
                    port = found.connection_pool.connection_kwargs["port"]
                    found.close()
                    found = client(self._local, port)
                self._clients.append(found)
                time.sleep(0.01)  # pace: nobody may take writes for a while
            else:
                self.acknowledged.append(number)

    def goes_on(self) -> None:
        before = len(self.acknowledged)
        assert_eventually(lambda: len(self.acknowledged) > before + 100, deadline_s=READY_S)


def kept(local: Local) -> set[int]:
    with local.client() as c:
        return set(map(int, c.lrange("numbers", 0, -1)))


def roles(local: Local) -> dict[str, str]:
    return {pod["name"]: pod["role"] for pod in local.cache()["status"].get("pods", ())}


def is_whole(local: Local) -> bool:
    """All three are what they should be, and members of the set."""
    status = local.cache()["status"]
    found = sorted(roles(local).values()) == ["primary", "replica", "replica"]
    return found and len(status["topology"]["set"]) == 3 and status["topology"]["acks"] == 1


def whole(local: Local) -> Local:
    assert_eventually(lambda: is_whole(local), lambda: f"{local.cache()} {local.said()}", deadline_s=READY_S)
    return local


def primary(local: Local) -> str:
    return next(pod for pod, role in roles(local).items() if role == "primary")


def leads_to(local: Local, field: str) -> str:
    """The pod that an endpoint of the status is of."""
    cache = local.cache()
    where = cache["status"].get(field, "")
    return next((pod for pod, ports in cache["ports"].items() if where.endswith(f":{ports['redis']}")), "")


def process(local: Local, pod: str) -> int:
    with client(local, local.cache()["ports"][pod]["redis"]) as c:
        return int(c.info("server")["process_id"])


@pytest.mark.slow("a primary that hangs is given up after some seconds")
def test_one_that_dies_and_one_that_hangs(local: Local) -> None:
    """Also where nothing stale may be read: who has no link or no lease says so to PING, too, and is followed again."""
    local.write(manifest(instances=3, config={"replica-serve-stale-data": "no"}))
    local.up().ready()
    first = primary(whole(local))
    with Writer(local) as writer:
        writer.goes_on()
        os.kill(process(local, first), signal.SIGKILL)
        writer.goes_on()
        hung = primary(whole(local))
        pid = process(local, hung)
        os.kill(pid, signal.SIGSTOP)
        try:
            assert_eventually(lambda: "primary" in roles(local).values() and primary(local) != hung, deadline_s=READY_S)
            writer.goes_on()
        finally:
            os.kill(pid, signal.SIGCONT)
        whole(local)
        writer.goes_on()
    assert not set(writer.acknowledged) - kept(local)
    assert primary(local) != hung


@pytest.mark.slow("three handovers, and all in sync after each")
def test_a_person_has_another_pod_take_over(local: Local) -> None:
    local.write(manifest(instances=3))
    local.up().ready()
    before = primary(whole(local))
    with Writer(local) as writer:
        writer.goes_on()
        replicas = sorted(pod for pod, role in roles(local).items() if role == "replica")
        told = local.run("failover", "--to", replicas[0])
        said = f"{replicas[0]} is the primary; {before} follows it.\n"
        assert (told.returncode, told.stdout) == (0, said), told.stderr
        assert_eventually(lambda: leads_to(local, "endpoint") == replicas[0], "writes go to the new one")
        assert_eventually(lambda: leads_to(local, "readEndpoint") not in ("", replicas[0]), "and reads to another one")
        again = local.run("failover", "--to", replicas[0])
        assert (again.returncode, again.stdout) == (0, f"{replicas[0]} is the primary.\n")
        writer.goes_on()
        whole(local)
        assert local.run("failover", "orders").returncode == 0, "whoever has most"
        writer.goes_on()
        killed = local.run("kill", primary(whole(local)))
        assert (killed.returncode, killed.stdout[:14]) == (0, f"Killed {primary(local)}"[:14]), killed.stderr
        writer.goes_on()
        whole(local)
    assert not set(writer.acknowledged) - kept(local)
    kinds = [event["message"] for event in local.status()["events"] if event["word"] == "PrimaryChanged"]
    assert any("handed over to" in words for words in kinds), kinds


def test_what_cannot_be_handed_over_or_killed(local: Local) -> None:
    local.write(manifest())
    local.up().ready()
    for words, code, said in (
        ("failover", 1, "orders has no replica in sync that could take over"),
        ("failover nosuch", 7, "no Cache nosuch in"),
        ("kill orders-7", 7, "no server of a pod orders-7 runs; pods: orders-0"),
        ("kill ../orders-0", 7, "no server of a pod ../orders-0 runs"),
    ):
        told = local.run(*words.split())
        assert (told.returncode, said in told.stderr) == (code, True), told.stderr


@pytest.mark.slow("servers begin and end")
def test_it_grows_and_shrinks(local: Local) -> None:
    """Also when the one that takes writes is one that goes: it hands over before."""
    local.write(manifest())
    local.up().ready()
    with local.client() as c:
        c.set("before", "1")
    local.write(manifest(instances=3))
    assert_eventually(lambda: is_whole(local), local.said, deadline_s=READY_S)
    pid = process(local, "orders-0")
    os.kill(pid, signal.SIGSTOP)
    try:
        assert_eventually(lambda: roles(local).get("orders-0") != "primary", deadline_s=READY_S)
    finally:
        os.kill(pid, signal.SIGCONT)
    whole(local)
    with Writer(local) as writer:
        writer.goes_on()
        local.write(manifest(instances=1))
        assert_eventually(lambda: roles(local) == {"orders-0": "primary"}, local.said, deadline_s=READY_S)
        writer.goes_on()
    assert not set(writer.acknowledged) - kept(local)
    with local.client() as c:
        assert c.get("before") == "1"


@pytest.mark.slow("each server is started anew")
def test_a_change_that_restarts_all(local: Local) -> None:
    """One after the other, under writes; then nothing is decided any more."""
    local.write(manifest(instances=3))
    local.up().ready()
    with Writer(local) as writer:
        writer.goes_on()
        first = whole(local) and {pod: process(local, pod) for pod in local.cache()["ports"]}
        local.write(manifest(instances=3, memory={"limit": "300Mi"}))
        assert_eventually(
            lambda: is_whole(local) and not any(process(local, pod) == pid for pod, pid in first.items()),
            local.said, deadline_s=2 * READY_S,
        )
        writer.goes_on()
        whole(local)
        epoch = local.cache()["status"]["topology"]["epoch"]
        for _ in range(3):
            writer.goes_on()
        assert local.cache()["status"]["topology"]["epoch"] == epoch
    assert not set(writer.acknowledged) - kept(local)


@pytest.mark.slow("servers begin and end")
def test_copies(local: Local) -> None:
    """Durability replicated, later than the first record: a new one says so, and what was replied is at whoever is
    elected."""
    local.write(manifest(instances=3))
    local.up().ready()
    with Writer(local) as writer:
        writer.goes_on()
        whole(local)
        local.write(manifest(instances=3, durability={"mode": "replicated", "whenMissing": "continue"}))
        assert_eventually(
            lambda: local.cache()["status"]["topology"]["durability"] == "replicated", local.said, deadline_s=READY_S
        )
        first = primary(whole(local))
        writer.goes_on()
        others = sorted(set(roles(local)) - {first})
        assert_eventually(lambda: sorted(local.cache()["lags"]) == others, local.said, deadline_s=READY_S)
        table = local.run("status").stdout
        assert all(f"{pod} replica :" in table for pod in others) and "(lag " in table, table
        os.kill(process(local, first), signal.SIGKILL)
        writer.goes_on()
        whole(local)
        assert local.cache()["status"]["topology"]["durability"] == "replicated"
    assert not set(writer.acknowledged) - kept(local)


def taken_by(local: Local, password: str) -> list[str]:
    """The pods whose server takes this password, and has all that it should: a replica follows with it."""
    found = []
    for pod, ports in local.cache()["ports"].items():
        try:
            with redis.Redis(port=ports["redis"], password=password, decode_responses=True, retry=None) as c:
                said = c.info("replication")
        except redis.RedisError:
            continue
        if said["role"] == "master" or said["master_link_status"] == "up":
            found.append(pod)
    return sorted(found)


@pytest.mark.slow("servers begin and end")
def test_a_new_password_under_writes_and_a_failover_just_then(local: Local) -> None:
    """The primary dies as soon as it has it: the others, and who comes back, follow with the new one as well."""

    def secret(word: str) -> str:
        body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "mine"}, "stringData": {"word": word}}
        return json.dumps(body)

    cache = manifest(instances=3, auth={"mode": "secret", "secretRef": {"name": "mine", "key": "word"}})
    local.write(cache, secret("the first"))
    local.up().ready()
    first = primary(whole(local))
    pid, pods = process(local, first), sorted(roles(local))
    # All that begin empty are members at once: who follows may need a moment longer.
    assert_eventually(lambda: taken_by(local, "the first") == pods, local.said, deadline_s=READY_S)
    with Writer(local) as writer:
        writer.goes_on()
        local.write(cache, secret("the second"))
        assert_eventually(lambda: first in taken_by(local, "the second"), local.said, deadline_s=READY_S)
        os.kill(pid, signal.SIGKILL)
        writer.goes_on()
        whole(local)
        assert_eventually(lambda: taken_by(local, "the second") == pods, local.said, deadline_s=READY_S)
        writer.goes_on()
    assert not set(writer.acknowledged) - kept(local)
    for ports in local.cache()["ports"].values():
        with pytest.raises(redis.AuthenticationError):
            redis.Redis(port=ports["redis"], password="the first").ping()
    assert "the second" not in local.said() + json.dumps(local.status())
