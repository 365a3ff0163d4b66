"""Random commands to our server and to the real Valkey 9.1: every reply, and at the end every key."""

import importlib.util
import random
import sys
from pathlib import Path
from types import ModuleType

import pytest

from fleettest import figures
from fleettest.grammar import Draw, episode
from fleettest.instance import Pool
from fleettest.reference import Mismatch

COMMANDS_EACH = 100_000  # per protocol version


def load(name: str) -> ModuleType:
    """The modules beside this file; test folders are no packages."""
    folder = Path(__file__).resolve().parent
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    return importlib.import_module(name)


@pytest.mark.slow("a hundred thousand commands to two servers")
@pytest.mark.timeout(900)
@pytest.mark.parametrize("resp", [2, 3])
def test_random_commands(fresh: Pool, seed: int, resp: int, capsys: pytest.CaptureFixture[str]) -> None:
    lockstep = load("lockstep").Lockstep(fresh.get("cachefleet"), fresh.get("valkey"), seed=seed, resp=resp)
    lockstep.run(COMMANDS_EACH)
    with capsys.disabled():
        print(f"\ndifferential: {lockstep.commands} commands in RESP{resp}, seed {seed}: every reply explained")
    figures.count(lockstep.commands)
    assert lockstep.commands >= COMMANDS_EACH


def test_it_finds_and_shrinks_a_difference(fresh: Pool) -> None:
    """Redis 7.0 knows fewer commands than Valkey 9.1: the tool must say so in a few lines."""
    lockstep = load("lockstep").Lockstep(fresh.get("redis"), fresh.get("valkey"), seed=1, resp=2)
    with pytest.raises(Mismatch, match="shortest sequence found") as caught:
        lockstep.run(50_000)
    assert len(str(caught.value).splitlines()) < 20


def test_a_seed_reproduces() -> None:
    draws = (Draw(random.Random(5), 1_700_000_000, payloads=[b"p"]) for _ in range(2))
    one, two = (episode(draw, 500) for draw in draws)
    assert one == two
    assert len({command[0].upper() for _, command in one}) > 40
