"""Doubly linked lists against Python's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachefleet_server.ds._testing_link import ELEMENTS, Links

pytestmark = pytest.mark.unit


@given(st.lists(st.tuples(st.booleans(), st.integers(0, ELEMENTS - 1)), max_size=40))
def test_against_a_model(steps: list[tuple[bool, int]]) -> None:
    links, model = Links(), list[int]()
    for front, number in steps:
        if number in model:
            links.remove(number)
            model.remove(number)
        elif front:
            links.prepend(number)
            model.insert(0, number)
        else:
            links.append(number)
            model.append(number)
        assert list(links) == model and links.are_right


@pytest.mark.parametrize("number", range(3))
def test_the_check_notices(number: int) -> None:
    links = Links()
    for each in range(3):
        links.append(each)
    assert links.are_right
    links.tear(number)
    assert not links.are_right
