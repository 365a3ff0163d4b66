"""Links of numbered elements for tests."""

from collections.abc import Iterator
from typing import final

from typing_extensions import disjoint_base

ELEMENTS: int

@final
@disjoint_base
class Links:
    """A list (ds/link.pxd) and some elements, from 0 on, which the test puts on it: each once."""

    are_right: bool
    def append(self, number: int) -> None: ...
    def prepend(self, number: int) -> None: ...
    def remove(self, number: int) -> None: ...
    def __iter__(self) -> Iterator[int]: ...
    def tear(self, number: int) -> None: ...
