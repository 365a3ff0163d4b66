"""Changes out of files of the journal, against a model: every change once, whole transactions, exact positions."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from cachefleet_server.persistence.capture_files import Gone, JournalFiles, Position, Source
from fleettest.aoffile import as_aof

pytestmark = pytest.mark.unit

A, B, C = (letter * 40 for letter in (b"a", b"b", b"c"))

TIP = Position(b"", 0)  # only looked at where the last file is empty


def note(position: Position) -> bytes:
    return b"#JOURNAL:%b 0 %d\r\n" % position


class Journal:
    """A history and the files that hold it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.files: list[bytearray] = []
        self.position = Position(A, 0)
        self.db = -1
        self.positions = [self.position]  # at which one can begin
        self.changes: list[tuple[int, int, bytes]] = []  # offset behind its unit, database, key
        self.rotate()

    def rotate(self) -> None:
        """As `_use` of aof_log.pyx begins a file."""
        select = as_aof(f"SELECT {self.db}") if self.db >= 0 else b""
        self.files.append(bytearray(select + note(self.position)))

    def restart(self, id: bytes) -> None:
        """A start goes on in the same file, and says what every file begins with once more."""
        self.position = Position(id, self.position.offset)
        self.files[-1] += (as_aof(f"SELECT {self.db}") if self.db >= 0 else b"") + note(self.position)
        self.positions.append(self.position)

    def unit(self, *changes: tuple[int, str], value: str = "v") -> None:
        data = b""
        for db, key in changes:
            data += (as_aof(f"SELECT {db}") if db != self.db else b"") + as_aof(f"SET {key} {value}")
            self.db = db
        if len(changes) > 1:
            data = as_aof("MULTI") + data + as_aof("EXEC")
        self._append(data)
        self.changes += [(self.position.offset, db, key.encode()) for db, key in changes]

    def _append(self, data: bytes) -> None:
        self.files[-1] += data
        self.position = Position(self.position.id, self.position.offset + len(data))
        self.positions.append(self.position)

    def message(self, size: int) -> None:
        """One that is left out: where it would be, the file says where it goes on."""
        self.position = Position(self.position.id, self.position.offset + size)
        self.files[-1] += note(self.position)
        self.positions.append(self.position)

    def annotate(self, rng: random.Random) -> None:
        self.files[-1] += note(self.position) if rng.randrange(2) else b"#TS:1700000000\r\n"

    def sources(self, torn: bytes = b"") -> list[Source]:
        sources = []
        for i, data in enumerate(self.files):
            path = self.directory / f"{i}.incr.aof"
            path.write_bytes(data + (torn if i == len(self.files) - 1 else b""))
            sources.append(Source(str(path), path.stat().st_size))
        return sources


def read_all(
    files: JournalFiles, sources: list[Source], position: Position, count: int, size: int
) -> tuple[list[tuple[int, int, bytes]], Position]:
    result = []
    while True:
        found = files.read(sources, TIP, position, count, size)
        for offset, unit in found.units:
            result += [(offset, db, words[1]) for db, words in unit]
        if found.units:
            assert found.units[-1][0] <= found.position.offset  # messages may follow
            assert sum(len(unit) for _, unit in found.units[:-1]) < count
        assert found.more or not found.units or files.read(sources, TIP, found.position, 1, 1).units == []
        if not found.more:
            return result, found.position
        position = found.position


def make(directory: Path, rng: random.Random, units: int = 200) -> Journal:
    journal = Journal(directory)
    ids = iter([B, C])
    for i in range(units):
        keys = [(rng.randrange(3), f"k{i}-{j}") for j in range(rng.choice((1, 1, 1, 2, 5)))]
        journal.unit(*keys, value="v" * rng.choice((1, 30, 300)))
        if rng.randrange(8) == 0:
            journal.annotate(rng)
        if rng.randrange(8) == 0:
            journal.message(rng.choice((97, 5000)))
        if rng.randrange(20) == 0:
            journal.rotate()
        if i in (units // 3, units // 2):
            journal.restart(next(ids))
    return journal


@pytest.mark.parametrize("block", [64, 1 << 20])
def test_from_every_position_to_the_end(
    tmp_path: Path, rng: random.Random, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    """Units longer than a block, and notes that are cut by one, too."""
    monkeypatch.setattr("cachefleet_server.persistence.capture_files.BLOCK", block)
    journal = make(tmp_path, rng)
    torn = as_aof("SET torn value")[:-1]
    sources = journal.sources(torn)
    for position in [*rng.sample(journal.positions, 40), journal.positions[0], journal.position]:
        files = JournalFiles()
        count, size = rng.choice((1, 7, 1000)), rng.choice((1, 500, 1 << 20))
        changes, end = read_all(files, sources, position, count, size)
        assert changes == [change for change in journal.changes if change[0] > position.offset]
        assert end == journal.position
        with pytest.raises(Gone):
            files.read(sources, TIP, Position(position.id, position.offset + 1), 1, 1)


def test_only_places_are_positions(tmp_path: Path, rng: random.Random) -> None:
    journal = make(tmp_path, rng, 20)
    files, sources = JournalFiles(), journal.sources()
    valid = set(journal.positions)
    for id in (A, B, C):
        for offset in range(journal.position.offset + 50):
            if Position(id, offset) not in valid:
                with pytest.raises(Gone):
                    files.read(sources, TIP, Position(id, offset), 1, 1)


def test_what_is_appended_meanwhile(tmp_path: Path, rng: random.Random) -> None:
    """Two readers, one of whom comes seldom."""
    journal = Journal(tmp_path)
    files = JournalFiles()
    at = [journal.position, journal.position]
    seen: list[list[tuple[int, int, bytes]]] = [[], []]
    for i in range(300):
        journal.unit(*[(rng.randrange(3), f"k{i}-{j}") for j in range(rng.randrange(1, 4))])
        if rng.randrange(50) == 0:
            journal.rotate()
        for reader in range(2):
            if reader == 0 or rng.randrange(40) == 0 or i == 299:
                changes, at[reader] = read_all(files, journal.sources(), at[reader], 10, 1000)
                seen[reader] += changes
    assert seen == [journal.changes, journal.changes]


def test_a_break_is_not_read_over(tmp_path: Path) -> None:
    """The next file begins elsewhere, or under another id; or the end was lost and the file goes on."""
    for kind in range(3):
        journal = Journal(tmp_path)
        journal.unit((0, "before"))
        end = journal.position
        if kind == 0:
            journal.position = Position(A, end.offset + 1)
            journal.rotate()
        elif kind == 1:
            journal.position = Position(B, end.offset)
            journal.rotate()
        else:
            journal.files[-1] += note(Position(B, end.offset - 5))
            journal.position = Position(B, end.offset - 5)
        begin = journal.position
        journal.unit((0, "after"))
        files, sources = JournalFiles(), journal.sources()
        assert [d for _, d in files.read(sources, TIP, Position(A, 0), 9, 999).units] == [
            [(0, [b"SET", b"before", b"v"])]
        ]
        with pytest.raises(Gone):
            files.read(sources, TIP, end, 9, 999)
        assert read_all(files, sources, begin, 9, 999)[0] == journal.changes[-1:]


def test_a_start_after_a_lost_end(tmp_path: Path) -> None:
    """The lost command is as long as the SELECT that a start writes: no position of it leads on."""
    journal = Journal(tmp_path)
    journal.unit((0, "kept"))
    lost = Position(A, journal.position.offset + len(as_aof("SELECT 0")))
    kept = journal.position
    journal.restart(B)
    journal.unit((0, "after"))
    files, sources = JournalFiles(), journal.sources()
    with pytest.raises(Gone):
        files.read(sources, TIP, lost, 9, 999)
    assert read_all(files, sources, kept, 9, 999)[0] == journal.changes[-1:]


def test_a_file_that_is_gone(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.unit((0, "a"))
    middle = journal.position
    journal.rotate()
    journal.unit((0, "b"))
    sources = journal.sources()
    (tmp_path / "0.incr.aof").unlink()
    with pytest.raises(Gone):
        JournalFiles().read(sources, TIP, Position(A, 0), 9, 999)
    files = JournalFiles()
    assert read_all(files, sources, middle, 9, 999)[0] == journal.changes[-1:]
    assert files.oldest(sources) == middle


def test_the_oldest_is_one_that_leads_to_the_end(tmp_path: Path) -> None:
    """What a replica had written before it was sent all data does not."""
    before, after = tmp_path / "1.incr.aof", tmp_path / "2.incr.aof"
    change = as_aof("SELECT 0") + as_aof("SET k v")
    before.write_bytes(note(Position(A, 0)) + change)
    after.write_bytes(as_aof("SELECT 0") + note(Position(B, 0)) + change)
    sources = [Source(str(path), path.stat().st_size) for path in (before, after)]
    assert JournalFiles().oldest(sources) == Position(B, 0)
    after.write_bytes(as_aof("SELECT 0") + note(Position(A, len(change))) + note(Position(B, len(change))) + change)
    sources[1] = Source(str(after), after.stat().st_size)
    assert JournalFiles().oldest(sources) == Position(A, 0)


def test_a_long_file_is_searched_from_points(tmp_path: Path, rng: random.Random) -> None:
    journal = Journal(tmp_path)
    for i in range(3000):
        journal.unit((0, f"k{i}"), value="v" * 1000)
    files, sources = JournalFiles(), journal.sources()
    for position in rng.sample(journal.positions, 20):
        found = files.read(sources, TIP, position, 1, 1)
        expected = [change for change in journal.changes if change[0] > position.offset][:1]
        assert [(offset, 0, unit[0][1][1]) for offset, unit in found.units] == expected
    assert len(files._indexes[sources[0].path].points) in (3, 4)


def test_a_file_that_is_empty_yet(tmp_path: Path) -> None:
    """It goes on from where the journal is, whatever the one before it has told."""
    journal = Journal(tmp_path)
    journal.unit((0, "a"))
    end = journal.position
    journal.files.append(bytearray())
    files, sources = JournalFiles(), journal.sources()
    assert files.read(sources, end, end, 9, 999).units == []
    for tip in (Position(A, end.offset + 9), Position(B, end.offset)):
        with pytest.raises(Gone):
            files.read(sources, tip, end, 9, 999)
