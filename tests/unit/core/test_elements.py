"""Which arguments name elements of a value, from a row's syntax text: what prefetching hashes ahead."""

from __future__ import annotations

import pytest

from cachefleet_server.command_syntax import element_range

pytestmark = pytest.mark.unit

NONE = (0, 0, 0)


@pytest.mark.parametrize(
    ("syntax", "found"),
    [
        ("key:key field:string", (2, -1, 1)),
        ("key:key field:string...", (2, -1, 1)),
        ("key:key field:string increment:integer", (2, -2, 1)),
        ("key:key data{field:string value:string}...", (2, -2, 2)),
        ("key:key [condition(NX | XX)] [CH] [INCR] data{score:double member:string}...", (3, -1, 2)),
        ("key:key [condition(NX | XX)] data{longitude:double latitude:double member:string}...", (4, -1, 3)),
        ("key:key increment:integer member:string", (3, -1, 1)),
        ("key:key member:string [WITHSCORE]", (2, 2, 1)),
        ("source:key destination:key member:string", (3, -1, 1)),
        ("key:key member:string... [X]", NONE),
        ("key:key where(BEFORE | AFTER) pivot:string element:string", NONE),
        ("key:key where(BEFORE | AFTER) member:string", (3, -1, 1)),
        ("key:key [FIELDS fields{numfields:integer field:string...}]", NONE),
        ("key:key seconds:integer FIELDS fields{numfields:integer field:string...}", NONE),
        ("key:key member1:string member2:string", NONE),
        ("key:key start:integer stop:integer", NONE),
        ("", NONE),
    ],
)
def test_element_range(syntax: str, found: tuple[int, int, int]) -> None:
    assert element_range(syntax) == found
