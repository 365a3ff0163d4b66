"""Entries of a listpack, and one block of a list against a Python list."""

from __future__ import annotations

import random

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from cachefleet_server.ds._testing_sequence import Block, Heap, entry, listpack_check
from fleettest.examples import examples

pytestmark = pytest.mark.unit

HEADER_BYTES = 48  # of a block, with the allocator's


def text(n: int) -> bytes:
    return b"x" * n


# element -> code and content (for a text only what is in front of it), back-length
ENTRIES = [
    (b"0", b"\x00", b"\x01"),
    (b"127", b"\x7f", b"\x01"),
    (b"128", b"\xc0\x80", b"\x02"),
    (b"4095", b"\xcf\xff", b"\x02"),
    (b"-1", b"\xdf\xff", b"\x02"),
    (b"-4096", b"\xd0\x00", b"\x02"),
    (b"4096", b"\xf1\x00\x10", b"\x03"),
    (b"-4097", b"\xf1\xff\xef", b"\x03"),
    (b"32767", b"\xf1\xff\x7f", b"\x03"),
    (b"-32768", b"\xf1\x00\x80", b"\x03"),
    (b"32768", b"\xf2\x00\x80\x00", b"\x04"),
    (b"-8388608", b"\xf2\x00\x00\x80", b"\x04"),
    (b"8388607", b"\xf2\xff\xff\x7f", b"\x04"),
    (b"8388608", b"\xf3\x00\x00\x80\x00", b"\x05"),
    (b"-2147483648", b"\xf3\x00\x00\x00\x80", b"\x05"),
    (b"2147483648", b"\xf4\x00\x00\x00\x80\x00\x00\x00\x00", b"\x09"),
    (b"9223372036854775807", b"\xf4" + b"\xff" * 7 + b"\x7f", b"\x09"),
    (b"-9223372036854775808", b"\xf4" + b"\x00" * 7 + b"\x80", b"\x09"),
    (b"", b"\x80", b"\x01"),
    (b"9223372036854775808", b"\x93", b"\x14"),
    (b"007", b"\x83", b"\x04"),
    (b"-0", b"\x82", b"\x03"),
    (b"\x00\xff\xf4", b"\x83", b"\x04"),
    (text(63), b"\xbf", b"\x40"),
    (text(64), b"\xe0\x40", b"\x42"),
    (text(125), b"\xe0\x7d", b"\x7f"),
    (text(126), b"\xe0\x7e", b"\x01\x80"),
    (text(4095), b"\xef\xff", b"\x20\x81"),
    (text(4096), b"\xf0\x00\x10\x00\x00", b"\x20\x85"),
    (text(16377), b"\xf0\xf9\x3f\x00\x00", b"\x7f\xfe"),
    (text(16378), b"\xf0\xfa\x3f\x00\x00", b"\x7f\xff"),  # Redis 7.0 takes three bytes, which Valkey 9.1 refuses
    (text(16379), b"\xf0\xfb\x3f\x00\x00", b"\x01\x80\x80"),
    (text(70000), b"\xf0\x70\x11\x01\x00", b"\x04\xa2\xf5"),
]


@pytest.mark.parametrize(("element", "head", "back"), ENTRIES)
def test_codes(element: bytes, head: bytes, back: bytes) -> None:
    content = b"" if head[0] < 0x80 or 0xC0 <= head[0] < 0xE0 or head[0] > 0xF0 else element
    assert entry(element) == (head + content + back, element, element)


def test_codes_of_any_element(rng: random.Random) -> None:
    for bits in range(64):
        for _ in range(40):
            number = b"%d" % ((rng.getrandbits(bits) if bits else 0) * rng.choice((-1, 1)))
            assert entry(number)[1:] == (number, number)
    for _ in range(300):
        element = rng.randbytes(rng.choice((0, 1, 5, 63, 64, 127, 128, 4095, 4096, rng.randrange(40_000))))
        assert entry(element)[1:] == (element, element)


def test_elements_are_found_among_others_of_their_size_and_not(rng: random.Random) -> None:
    """Runs of one size, in which a walk takes several steps at once, and what looks like them and is none."""
    heap = Heap()
    for _ in range(100):
        elements: list[bytes] = []
        for _ in range(rng.randrange(1, 12)):
            size = rng.choice((0, 1, 2, 3, 10, 63, 64, 70, 124, 125, 126, 127, 200))
            filler = rng.choice((b"x", bytes([0x80 | size & 63]), b"\xe0", bytes([size + 1 & 127]), b"\x01"))
            run = [filler * size, b"%d" % rng.randrange(10**size) if 0 < size < 18 else b"7"]
            elements += [rng.choice(run) if rng.random() < 0.1 else run[0] for _ in range(rng.randrange(1, 25))]
        block = Block(heap, 1 << 20)
        for i, element in enumerate(elements):
            assert block.insert(i, element)
        assert block.elements() == elements
        block.check()


def test_large_elements_are_told_apart_by_their_sizes_which_stand_behind_their_first_byte() -> None:
    """That byte is one for all of them, and may stand anywhere in them."""
    block = Block(Heap(), 1 << 20)
    elements = [b"\xf0" * (5000 - 70 * i) for i in range(12)]
    for i, element in enumerate(elements):
        assert block.insert(i, element)
    for i in range(0, 24, 2):
        assert block.insert(i, b"%d" % i)
        elements.insert(i, b"%d" % i)
    assert block.elements() == elements
    block.check()
    block.cut(7, 15)
    assert block.elements() == elements[:7] + elements[15:]
    block.check()


def listpack(*entries: bytes, count: int | None = None) -> bytes:
    body = b"".join(entries)
    n = len(entries) if count is None else count
    return (len(body) + 7).to_bytes(4, "little") + n.to_bytes(2, "little") + body + b"\xff"


VALID = listpack(entry(b"a")[0], entry(b"-70000")[0], entry(text(5000))[0], entry(b"")[0])


def test_untrusted_listpacks() -> None:
    assert listpack_check(VALID) == (4, False)
    assert listpack_check(listpack()) == (0, False)
    assert listpack_check(listpack(entry(b"a")[0], count=65535)) == (1, False)
    assert listpack_check(listpack(entry(b"a")[0], count=2)) is None
    assert listpack_check(b"") is None
    redis = b"\xf0\xfa\x3f\x00\x00" + text(16378) + b"\x00\xff\xff"
    for odd in (b"\x8212\x03", b"\xe0\x03abc\x05", b"\xf1\x05\x00\x03", b"\xf0\x01\x00\x00\x00a\x06", redis):
        assert listpack_check(listpack(odd)) == (1, True)
    for broken in (
        b"\xf5\x01",
        b"\xff\x01",
        b"\x82ab\x04",
        b"\xe0\x7e" + text(126) + b"\x00\x81",
        b"\x05",
        b"\xf4\x01",
    ):
        assert listpack_check(listpack(broken)) is None


def test_every_single_byte_of_a_listpack(rng: random.Random) -> None:
    """Whatever stands there, the answer is one of the two, and nothing outside is read (with the sanitizer)."""
    for at in range(len(VALID)):
        assert listpack_check(VALID[:at]) is None
        for value in (0, 0x7F, 0x80, 0xE0, 0xF0, 0xF1, 0xF4, 0xFE, 0xFF, rng.randrange(256)):
            changed = VALID[:at] + bytes([value]) + VALID[at + 1 :]
            listpack_check(changed)
            listpack_check(listpack(changed[6:-1], count=65535))


class BlockMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.heap = Heap()
        self.before = self.heap.used

    @initialize(limit=st.sampled_from([60, 500, 4089, 65529]))
    def start(self, limit: int) -> None:
        self.limit = limit
        self.block = Block(self.heap, limit)
        self.model: list[bytes] = []

    def size(self) -> int:
        return sum(len(entry(element)[0]) for element in self.model)

    @rule(where=st.sampled_from([0.0, 1.0, 0.5, 0.2]), n=st.integers(1, 30), number=st.integers(0, 10**6))
    def insert(self, where: float, n: int, number: int) -> None:
        for k in range(n):
            element = b"%d" % (number * k) if number % 3 else b"e" * (number % 200) + b"%d" % k
            at = int(where * len(self.model))
            fits = self.size() + len(entry(element)[0]) <= self.limit
            assert self.block.insert(at, element) == fits
            if fits:
                self.model.insert(at, element)

    @rule(a=st.floats(0, 1), b=st.floats(0, 1))
    def cut(self, a: float, b: float) -> None:
        i, j = sorted((int(a * len(self.model)), int(b * len(self.model))))
        if i < j:
            self.block.cut(i, j)
            del self.model[i:j]

    @rule(turns=st.integers(1, 100), front=st.booleans())
    def rotate(self, turns: int, front: bool) -> None:
        """A queue in one block: room comes on the side where none is needed."""
        for _ in range(turns if self.model else 0):
            at = 0 if front else len(self.model) - 1
            element = self.model.pop(at)
            self.block.cut(at, at + 1)
            assert self.block.insert(len(self.model) - at, element)
            self.model.insert(len(self.model) - at, element)

    @invariant()
    def holds(self) -> None:
        if hasattr(self, "block"):
            self.block.check()
            assert self.block.elements() == self.model
            assert self.block.bytes == self.size()
            assert self.block.capacity <= max(self.limit, 64)

    def teardown(self) -> None:
        del self.block
        assert self.heap.used == self.before


TestBlock = BlockMachine.TestCase
TestBlock.settings = examples(30, stateful_step_count=30)


def test_what_is_removed_is_given_back() -> None:
    block = Block(Heap(), 8185)
    while block.insert(0, b"0123456789"):
        pass
    full = block.capacity
    assert full <= 8185
    while len(block.elements()) > 5:
        block.cut(0, 1)
    block.check()
    assert block.capacity <= 256
