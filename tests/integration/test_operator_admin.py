"""The operator's admin client with the real servers: ours, and what others call themselves."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cachefleet_operator.api.objects import Object
from cachefleet_operator.execution import admin
from cachefleet_operator.execution.errors import Refused
from cachefleet_operator.execution.ports import Endpoint
from cachefleet_operator.execution.prober import Prober, Target
from cachefleet_operator.execution.wire import Wire
from cachefleet_operator.planning.snapshot import Server
from fleettest.instance import Instance, Kind, Pool, free_port

pytestmark = pytest.mark.server


class Direct(Wire):
    """A wire to whom an endpoint names."""

    def address(self, pod: Object) -> tuple[str, int] | None:
        return None


def at(instance: Instance, *passwords: bytes) -> Endpoint:
    return Endpoint("127.0.0.1", instance.port, passwords or (b"",))


def look(instance: Instance, *passwords: bytes) -> Server:
    return asyncio.run(admin.inspect(Direct(10), "orders-0", at(instance, *passwords)))


def test_our_server(servers: Pool) -> None:
    found = look(servers.get("cachefleet"))
    assert (found.error, found.role, found.loading, found.failing) == ("", "master", False, "")
    assert found.version.count(".") == 2
    assert len(found.run_id) == 40
    assert found.used_memory > 0
    assert found.parameters["appendonly"] == "no"
    assert len(found.parameters) > 150
    assert not {"requirepass", "primaryauth", "masterauth"} & set(found.parameters)


@pytest.mark.parametrize("kind", ["valkey", "redis"])
def test_servers_of_others(servers: Pool, kind: str) -> None:
    found = look(servers.get(kind))
    assert (found.error, found.role) == ("", "master")
    assert found.version


def test_rotation_of_the_password(tmp_path: Path) -> None:
    with Instance(directory=tmp_path) as instance:
        run = look(instance).run_id
        asyncio.run(admin.set_password(Direct(), "orders-0", at(instance, b"first", b""), run, b"first"))
        assert look(instance, b"").error.startswith("NOAUTH")
        assert look(instance, b"wrong").error.startswith("WRONGPASS")
        assert look(instance, b"second", b"first").password_is_current is False
        asyncio.run(admin.set_password(Direct(), "orders-0", at(instance, b"second", b"first"), run, b"second \xff"))
        found = look(instance, b"second \xff", b"first")
        assert (found.error, found.password_is_current) == ("", True)
        asyncio.run(admin.set_password(Direct(), "orders-0", at(instance, b"second \xff"), run, b""))
        assert look(instance, b"", b"second \xff").password_is_current is True
        # It lost its password: it takes commands from everybody, and refuses AUTH.
        found = look(instance, b"second", b"first")
        assert (found.error, found.password_is_current) == ("", False)


def test_config_set_names_what_was_refused(tmp_path: Path) -> None:
    with Instance(directory=tmp_path) as instance:
        run = look(instance).run_id
        asyncio.run(admin.config_set(Direct(), "orders-0", at(instance), run, {"maxclients": "99", "hz": "20"}))
        parameters = look(instance).parameters
        assert (parameters["maxclients"], parameters["hz"]) == ("99", "20")
        for name, value in (("maxmemory-policy", "sometimes"), ("daemonize", "yes"), ("nonsense", "1")):
            with pytest.raises(Refused) as refused:
                asyncio.run(admin.config_set(Direct(), "orders-0", at(instance), run, {name: value, "hz": "30"}))
            assert (refused.value.subject, refused.value.wish) == (name, value)
        assert look(instance).parameters["hz"] == "20"


@pytest.mark.parametrize("kind", ["cachefleet", "valkey"])
def test_a_probed_server_that_ends_and_comes_again(tmp_path: Path, kind: Kind) -> None:
    """One that closes idle connections, too: that is no failure."""

    async def main() -> None:
        prober, key = Prober(Direct(), alone_s=2.0), ("shop", "orders")
        prober.watch(key, {"orders-0": Target("uid", at(instance))}, alone=True)

        async def until(condition: Callable[[Server], bool]) -> Server:
            async with asyncio.timeout(30):
                while not ((known := prober.servers()) and condition(known[0])):
                    await asyncio.sleep(0.01)
            return known[0]

        first = await until(lambda server: bool(server.run_id))
        assert first.role == "master"
        last = await until(lambda server: server.seen_at > first.seen_at + 2)
        assert (last.run_id, last.failures, last.error) == (first.run_id, 0, "")
        instance.kill()
        gone = await until(lambda server: server.refuses)
        assert gone.seen_at < time.time()
        instance.start()  # which holds up the loop, as a busy machine would
        again = await until(lambda server: not server.error)
        assert again.run_id != first.run_id
        await prober.stop()

    with Instance(kind, directory=tmp_path, options={"timeout": 1}, port=free_port()) as instance:
        asyncio.run(main())
