"""LOLWUT: a picture of our own. A fleet at anchor, a different one each time, and the version."""

from __future__ import annotations

import random
from collections.abc import Callable

from cachefleet_server.admin.arguments import integer
from cachefleet_server.command_spec import row
from cachefleet_server.engine import Client, Engine
from cachefleet_server.replies import Reply, Verbatim
from cachefleet_server.version import __version__

WIDTH_MAX = 160
SHIPS_MAX = 40
SHIP = (r"    |    ", r"   )_)   ", r"  )___)) ", r" )____)_)", r"\_______/")


def picture(width: int, ships: int, rng: random.Random) -> str:
    """`ships` ships on a sea `width` columns wide; nearer ones hide those behind."""
    rows = len(SHIP) + 3
    canvas = [[" "] * width for _ in range(rows)]
    for y in range(2):
        for x in range(width):
            if rng.random() < 0.02:
                canvas[y][x] = rng.choice(".+*")
    for _ in range(ships):
        left = rng.randrange(-2, max(1, width - len(SHIP[0]) + 2))
        top = rng.randrange(0, 3)
        for dy, line in enumerate(SHIP):
            for dx, mark in enumerate(line):
                if mark != " " and 0 <= left + dx < width:
                    canvas[top + dy][left + dx] = mark
    waves = "".join(rng.choice("~~~^~-") for _ in range(width))
    return "\n".join(["".join(line).rstrip() for line in canvas] + [waves])


class Lolwut:
    def __init__(self, engine: Engine, new_rng: Callable[[], random.Random] = random.Random) -> None:
        self.engine = engine
        self.new_rng = new_rng

    def register(self) -> None:
        self.engine.register(
            row("lolwut", -1, "readonly fast", "", "", "server 5.0.0 O(1)", "Shows a picture and the version.",
                "[VERSION version:integer]"),
            self.lolwut,
        )  # fmt: skip

    def lolwut(self, client: Client, argv: list[bytes]) -> Reply:
        """LOLWUT [VERSION n] [columns] [ships]"""
        words = argv[1:]
        if len(words) >= 2 and words[0].lower() == b"version":
            integer(words[1])
            words = words[2:]
        numbers = [integer(word) for word in words]
        width = min(max(numbers[0], 20), WIDTH_MAX) if numbers else 64
        ships = min(max(numbers[1], 1), SHIPS_MAX) if len(numbers) > 1 else 4
        art = picture(width, ships, self.new_rng())
        return Verbatim("txt", f"{art}\n\nA fleet at anchor. Cachefleet ver. {__version__}\n")
