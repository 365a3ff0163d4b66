"""Rounds of random commands of one type beside the real Valkey, at limits of its encodings.

Each reply is compared, each name that OBJECT ENCODING gives on the way, and what the keys hold in the end.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from fleettest.grammar import Command, Draw, words
from fleettest.instance import Option, Pool
from fleettest.reference import Pair

ROUNDS = 12
COMMANDS = 150  # a round

Row = Callable[[Draw], Command]
Kind = tuple[float, Sequence[Row]]  # a share of the commands, and of which they are


def moves(key: Callable[[Draw], bytes]) -> list[Row]:
    """What happens to keys of any type."""
    return [
        words(b"COPY", key, key, b"REPLACE"),
        words(b"RENAME", key, key),
        words(b"DEL", key),
        words(b"EXPIRE", key, b"10000"),
        words(b"PERSIST", key),
    ]


def _round(draw: Draw, kinds: Sequence[Kind], named: Sequence[bytes]) -> list[Command]:
    shares, rows = [share for share, _ in kinds], [rows for _, rows in kinds]
    commands: list[Command] = []
    for _ in range(COMMANDS):
        commands.append(draw.rng.choice(draw.rng.choices(rows, shares)[0])(draw))
        commands += [(b"OBJECT", b"ENCODING", key) for key in named if draw.chance(0.3)]
    return commands


def compare(
    pool: Pool,
    rng: random.Random,
    resp: int,
    kinds: Sequence[Kind],
    keys: Sequence[bytes],
    *,
    options: dict[str, Option],
    named: Sequence[bytes] = (),  # keys whose encoding is asked for: where values of the type are
    also: Sequence[bytes] = (),  # keys that the kinds draw by themselves
    more: Callable[[Pair, bytes], object] = lambda pair, key: None,  # what else is asked of a key in the end
) -> None:
    with Pair(pool.get("cachefleet", **options), pool.get("valkey", **options), resp=resp) as pair:
        for _ in range(ROUNDS):
            pair.flush()
            pair.pipeline(_round(Draw(rng, 0, keys=keys), kinds, named))
            for key in (*keys, *also):
                pair.run("DEBUG", "DIGEST-VALUE", key)
                more(pair, key)
