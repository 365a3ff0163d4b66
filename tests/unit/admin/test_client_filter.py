"""Which clients a filter finds, and how many it looks at."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from cachefleet_server.admin.client_filter import LOOKUPS_MAX, parse

pytestmark = pytest.mark.unit


class Clients:
    """As an engine shows them; counts the views that it makes."""

    def __init__(self, count: int) -> None:
        self.all = {id: SimpleNamespace(id=id, db=id % 2, flags=0) for id in range(1, count + 1)}
        self.views = 0

    def clients(self) -> list[SimpleNamespace]:
        self.views += len(self.all)
        return list(self.all.values())

    def client(self, id: int) -> SimpleNamespace | None:
        self.views += id in self.all
        return self.all.get(id)


@pytest.mark.parametrize(
    ("words", "found", "views"),
    [
        ("ID 7", [7], 1), ("ID 9 3 3 1000", [3, 9], 2), ("ID 3 4 DB 0", [4], 2), ("ID 1 SKIPME yes", [], 1),
        ("ID 1000", [], 0), ("ID 3 ID 4", [4], 1), ("ID 3 NOT-ID 3 4", [], 1), ("NOT-ID 1 2", list(range(3, 101)), 100),
        ("DB 1", list(range(1, 101, 2)), 100),
        ("ID " + " ".join(map(str, range(2, LOOKUPS_MAX + 3))), list(range(2, LOOKUPS_MAX + 3)), 100),
    ],
)  # fmt: skip
def test_ids_are_looked_up(words: str, found: list[int], views: int) -> None:
    clients = Clients(100)
    wanted = parse(words.encode().split(), databases=16)
    assert [c.id for c in wanted.among(cast(Any, clients), me=1)] == found
    assert clients.views == views
