"""Fixtures of the whole suite. Servers are shared by option set and emptied before each test that uses them.

    server      our server with default options        client / client3   a RESP2 / RESP3 connection to it
    servers     the pool: `servers.get("cachefleet", maxmemory="10mb")`
    valkey      the real Valkey 9.1, emptied           redis70            Debian's Redis 7.0, emptied
    pair        our server and Valkey in lock step, once per protocol version
    rng         random.Random from `--seed` and the test's name; the seed is printed in the header
    seed        the number itself
    kube        a real Kubernetes API server            namespace          one of the test's own in it (fleettest.kube)

A server of a test's own is `Instance(...)` from `fleettest.instance`, with `tmp_path` as its folder. What a
skipped test means, under CI too, is in `fleettest.skips`; what tests cost, in `fleettest.costing`; how they run side by
side, in `fleettest.spread`.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator

import pytest
from hypothesis import Phase, settings

from fleettest.client import Connection
from fleettest.examples import DEFAULT, FACTOR
from fleettest.instance import HASH_SEED, Instance, Pool
from fleettest.reference import Pair

pytest_plugins = ["fleettest.costing", "fleettest.kube", "fleettest.skips", "fleettest.spread"]

os.environ.pop("PYTHONUNBUFFERED", None)  # no user's shell has it, and it hides what waits in buffers

POOL: pytest.StashKey[Pool] = pytest.StashKey()

settings.register_profile("fleet", deadline=None, print_blob=True, max_examples=DEFAULT * FACTOR)
settings.register_profile("mutants", settings.get_profile("fleet"), phases=[Phase.explicit, Phase.generate])
settings.load_profile("fleet")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seed", type=int, default=None, help="seed of all random tests (default: a new one)")
    parser.addoption("--update-goldens", action="store_true", help="write goldens anew; then read the diff")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    if config.option.seed is None:
        config.option.seed = random.SystemRandom().randrange(1 << 32)
    if config.getoption("hypothesis_seed", None) is None:
        config.option.hypothesis_seed = str(config.option.seed)
    os.environ[HASH_SEED] = str(config.option.seed)


def pytest_report_header(config: pytest.Config) -> str:
    return f"seed: {config.option.seed} (repeat with --seed {config.option.seed})"


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    if report.failed:
        report.sections.append(("seed", f"--seed {item.config.option.seed}"))
        pool = item.config.stash.get(POOL, None)
        report.sections += [("a server has ended", text) for text in pool.ended()] if pool else []


@pytest.fixture
def update_goldens(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.option.update_goldens)


@pytest.fixture(scope="session")
def seed(request: pytest.FixtureRequest) -> int:
    return int(request.config.option.seed)


@pytest.fixture
def rng(request: pytest.FixtureRequest, seed: int) -> random.Random:
    return random.Random(f"{seed}:{request.node.nodeid}")


@pytest.fixture(autouse=True)
def seeded(request: pytest.FixtureRequest, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Engines of a test draw their hash functions and random members from its seed, too."""
    monkeypatch.setattr(os, "urandom", random.Random(f"{seed}:{request.node.nodeid}:urandom").randbytes)


@pytest.fixture(scope="session")
def servers(pytestconfig: pytest.Config) -> Iterator[Pool]:
    pool = pytestconfig.stash[POOL] = Pool()
    yield pool
    pool.close()


@pytest.fixture(autouse=True)
def nothing_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """A test that leaves a shared server with another parameter fails, and not one that runs after it."""
    yield
    pool = request.config.stash.get(POOL, None)
    if pool is not None:
        changed = pool.changed()
        assert not changed, "left on a shared server (use Instance.configured): " + "; ".join(changed)


@pytest.fixture
def server(servers: Pool) -> Instance:
    return servers.get("cachefleet")


@pytest.fixture
def valkey(servers: Pool) -> Instance:
    return servers.get("valkey")


@pytest.fixture
def redis70(servers: Pool) -> Instance:
    return servers.get("redis")


@pytest.fixture
def client(server: Instance) -> Iterator[Connection]:
    with server.connect() as connection:
        yield connection


@pytest.fixture
def client3(server: Instance) -> Iterator[Connection]:
    with server.connect(resp=3) as connection:
        yield connection


@pytest.fixture(params=[2, 3], ids=["resp2", "resp3"])
def pair(request: pytest.FixtureRequest, server: Instance, valkey: Instance) -> Iterator[Pair]:
    with Pair(server, valkey, resp=request.param) as both:
        yield both
