"""Starting from an AOF folder: whole, torn, damaged, incomplete, of other origin, and interrupted at each step."""

from __future__ import annotations

import errno
import os
import random
import shutil
import time
from pathlib import Path

import pytest

from cachefleet_server.errors import CachefleetError, DataError, StartupError
from fleettest.aoffile import AofFolder, Store, as_aof, commands, make_folder, plain
from fleettest.client import Error

pytestmark = pytest.mark.unit

WHOLE = as_aof("SELECT 0", "SET a 1", "SET b 2")
LAST = as_aof("SET last gone")
TRANSACTION = as_aof("MULTI", "SET a 9", "SET c 9", "EXEC")


def refusal(folder: Path, **options: str) -> str:
    with pytest.raises(CachefleetError) as caught:
        Store(folder, **options).close()
    return str(caught.value)


@pytest.mark.parametrize("policy", ["always", "everysec", "no"])
def test_there_and_back(tmp_path: Path, policy: str) -> None:
    with Store(tmp_path, appendfsync=policy) as store:
        store.run("SET", "k", b"\0\r\n\xff" * 100)
        store.run("APPEND", "k", "x")
        store.run("INCRBY", "n", 5, db=3)
    for _ in range(2):  # also what is written after a load counts
        with Store(tmp_path, appendfsync=policy) as store:
            assert store.keys() == {b"k": b"\0\r\n\xff" * 100 + b"x"}
            assert int(store.run("INCRBY", "n", 0, db=3)) == 5
    assert len(AofFolder(tmp_path).names("i")) == 1, "a start goes on in the same file"


@pytest.mark.parametrize("last", [LAST, TRANSACTION], ids=["command", "transaction"])
def test_torn_at_each_byte(tmp_path: Path, last: bytes) -> None:
    """What is missing its end goes as a whole, and what is written next follows what was whole."""
    for cut in range(1, len(last)):
        folder = tmp_path / str(cut)
        folder.mkdir()
        files = make_folder(folder, WHOLE + last[:cut])
        with Store(folder) as store:
            assert store.keys() == {b"a": b"1", b"b": b"2"}, f"cut after {cut} bytes"
            assert f"{cut} bytes were cut off, it is now {len(WHOLE)} bytes long" in store.log_text()
            assert store.run("SET", "new", "v")
        assert plain(files.incremental.read_bytes()) == WHOLE + as_aof("SELECT 0", "SET new v")
        shutil.rmtree(folder)


def test_torn_after_an_annotation(tmp_path: Path) -> None:
    files = make_folder(tmp_path, WHOLE + b"#TS:1700000000\r\n*1\r\n")
    with Store(tmp_path) as store:
        assert store.keys() == {b"a": b"1", b"b": b"2"}
    assert commands(files.incremental.read_bytes()) == commands(WHOLE)


@pytest.mark.parametrize("last", [LAST, TRANSACTION, b"#TS:1700000000\r\n"], ids=["command", "transaction", "note"])
def test_zeros_after_each_byte(tmp_path: Path, last: bytes) -> None:
    """After a power failure a file may have its length, but not the content of its last blocks."""
    for cut in range(len(last)):
        folder = tmp_path / str(cut)
        folder.mkdir()
        files = make_folder(folder, WHOLE + last[:cut] + bytes(5000))
        with Store(folder) as store:
            assert store.keys() == {b"a": b"1", b"b": b"2"}, f"zeros after {cut} bytes"
            assert f"ended in zeros: {cut + 5000} bytes were cut off" in store.log_text()
        assert plain(files.incremental.read_bytes()) == WHOLE
        shutil.rmtree(folder)


def test_zeros_before_other_bytes_are_damage(tmp_path: Path) -> None:
    files = make_folder(tmp_path, WHOLE + bytes(5000) + b"*")
    assert "Bad file format" in refusal(tmp_path)
    assert files.incremental.read_bytes() == WHOLE + bytes(5000) + b"*"


@pytest.mark.parametrize("tail", [LAST[:-1], bytes(10)], ids=["command", "zeros"])
def test_torn_and_not_to_be_cut(tmp_path: Path, tail: bytes) -> None:
    files = make_folder(tmp_path, WHOLE + tail)
    text = refusal(tmp_path, aof_load_truncated="no")
    assert str(files.incremental) in text
    assert f"cut it at byte {len(WHOLE)} or set aof-load-truncated to yes" in text
    assert files.incremental.read_bytes() == WHOLE + tail, "nothing was touched"


def two_files(folder: Path, first: bytes, second: bytes) -> AofFolder:
    files = make_folder(folder, first)
    (files.path / "appendonly.aof.2.incr.aof").write_bytes(second)
    with files.manifest.open("a") as manifest:
        manifest.write("file appendonly.aof.2.incr.aof seq 2 type i\n")
    return files


@pytest.mark.parametrize("tail", [LAST[:-1], TRANSACTION[:-1]])
def test_torn_but_not_the_last_file(tmp_path: Path, tail: bytes) -> None:
    files = two_files(tmp_path, WHOLE + tail, as_aof("SELECT 0", "SET z 1"))
    before = {p.name: p.read_bytes() for p in files.path.iterdir()}
    text = refusal(tmp_path)
    assert f"appendonly.aof.1.incr.aof ends in the middle of a command at byte {len(WHOLE)}" in text
    assert "not the last one: restore it" in text
    assert {p.name: p.read_bytes() for p in files.path.iterdir()} == before


def test_a_torn_base_before_empty_files(tmp_path: Path) -> None:
    """It was whole before it was in the manifest: this is damage, whatever follows."""
    files = make_folder(tmp_path, b"", base=WHOLE + LAST[:-1])
    assert "ends in the middle of a command" in refusal(tmp_path)
    assert files.base.read_bytes() == WHOLE + LAST[:-1]


def test_torn_before_an_empty_file(tmp_path: Path) -> None:
    """A rewrite had just begun."""
    files = two_files(tmp_path, WHOLE + LAST[:5], b"")
    with Store(tmp_path) as store:
        assert store.keys() == {b"a": b"1", b"b": b"2"}
        store.run("SET", "z", "1")
    assert files.incremental.name == "appendonly.aof.2.incr.aof"
    with Store(tmp_path) as store:
        assert store.keys() == {b"a": b"1", b"b": b"2", b"z": b"1"}


DAMAGES = [
    (b"*3\r\n$3\r\nSET", b"*3\r\n$3\r\nSE", "wrong length"),
    (b"*3\r\n$3\r\nSET\r\n$1\r\na", b"+OK\r\n", "a reply"),
    (b"*3\r\n$3\r\nSET\r\n$1\r\na", b"\0\0\0\0\0\0\0", "zeros"),
    (b"*3\r\n$3\r\nSET\r\n$1\r\na", b"*9\r\n$3\r\nSET\r\n$1\r\na", "wrong count"),
    (b"*3\r\n$3\r\nSET\r\n$1\r\na", b"*0\r\n", "no words"),
    (b"*3\r\n$3\r\nSET\r\n$1\r\na", b"*-1\r\n", "negative count"),
    (b"*3\r\n$3\r\nSET\r\n$1\r\na", b"*3\r\n$99999999999999999999\r\nSET\r\n$1\r\na", "huge length"),
    (b"*3\r\n$3\r\nSET\r\n$1\r\na", b"*3\n$3\nSET\n$1\na", "bare newlines"),
    (b"*3\r\n$3\r\nSET\r\n$1\r\na", b"SET a 1\r\n", "inline"),
]


@pytest.mark.parametrize(("good", "bad", "name"), DAMAGES, ids=[name for _, _, name in DAMAGES])
def test_damage_in_the_middle(tmp_path: Path, good: bytes, bad: bytes, name: str) -> None:
    first = as_aof("SELECT 0", "SET x 1")
    data = first + WHOLE.replace(good, bad, 1)
    files = make_folder(tmp_path, data)
    text = refusal(tmp_path)
    assert text.startswith(f"Bad file format reading the append only file {files.incremental} at byte ")
    offset = int(text.split(" at byte ")[1].split(".")[0])
    start = len(first) + WHOLE.index(good)
    assert start <= offset <= start + len(bad) + 40
    whole = len(first + as_aof("SELECT 0"))
    assert f"cut it at byte {whole}, the end of the last whole command" in text
    assert files.incremental.read_bytes() == data
    with files.incremental.open("r+b") as file:  # the advice is good
        file.truncate(whole)
    with Store(tmp_path) as store:
        assert store.keys() == {b"x": b"1"}


def test_flipped_bytes_never_crash(tmp_path: Path, rng: random.Random) -> None:
    """Any byte may be wrong: the start is refused in words, or what loads is what the bytes say."""
    rows = [f"SET key:{i} {'v' * rng.randrange(30)}" for i in range(20)]
    data = as_aof("SELECT 0", *rows, "MULTI", "INCR n", "DEL key:1", "EXEC", "SET end end")
    for n in range(150):
        at = rng.randrange(len(data))
        broken = data[:at] + bytes([rng.randrange(256)]) + data[at + 1 :]
        folder = tmp_path / str(n)
        folder.mkdir()
        make_folder(folder, broken)
        text = ""
        try:
            Store(folder).close()
        except DataError as error:
            text = str(error)
        assert not text or "appendonly.aof.1.incr.aof" in text
        shutil.rmtree(folder)


def test_an_unknown_command(tmp_path: Path) -> None:
    make_folder(tmp_path, as_aof("SELECT 0", "NOSUCH k v", "SET a 1"))
    text = refusal(tmp_path)
    assert "Unknown command 'NOSUCH' reading the append only file" in text
    assert f"before byte {len(as_aof('SELECT 0', 'NOSUCH k v'))}" in text


FAILURES = [  # commands, of which the last one fails; who is named, and what for
    (["SELECT 12"], "select", "ERR DB index is out of range"),
    (["SET k"], "set", "ERR wrong number of arguments for 'set' command"),
    (["SET k v", "INCR k"], "incr", "ERR value is not an integer or out of range"),
    (["SET k v NX XX"], "set", "ERR syntax error"),
    (["EXEC"], "exec", "ERR EXEC without MULTI"),
    (["MULTI", "SET k v", "SET k"], "set", "ERR wrong number of arguments for 'set' command"),
    (["MULTI", "SET k v", "MULTI"], "multi", "ERR Command 'multi' not allowed inside a transaction"),
    (["RENAME nothing k"], "rename", "ERR no such key"),
    (["OBJECT NOSUCH k"], "?", "ERR unknown subcommand 'NOSUCH'. Try OBJECT HELP."),
]


@pytest.mark.parametrize(("rows", "name", "text"), FAILURES, ids=[" ".join(rows[-1:]) for rows, _, _ in FAILURES])
def test_a_command_that_fails(tmp_path: Path, rows: list[str], name: str, text: str) -> None:
    """It was written because it had changed something: the data would not be what it was."""
    data = WHOLE + as_aof(*rows, "SET later 1")
    files = make_folder(tmp_path, data)
    refused = refusal(tmp_path, databases="4")
    at = len(WHOLE + as_aof(*rows[:-1]))
    assert f"Command '{name}' at byte {at} of the append only file {files.incremental} fails: {text}" in refused
    whole = len(WHOLE) if rows[0] == "MULTI" else at
    assert f"cut it at byte {whole}," in refused
    assert files.incremental.read_bytes() == data
    with files.incremental.open("r+b") as file:  # the advice is good
        file.truncate(whole)
    with Store(tmp_path) as store:
        assert store.keys().items() >= {b"a": b"1", b"b": b"2"}.items()


@pytest.mark.parametrize("last", ["INCR text", "SELECT 12"])
def test_a_command_that_fails_inside_a_transaction(tmp_path: Path, last: str) -> None:
    rows = ["SET text v", "MULTI", "SET k v", last, "SET l v", "EXEC"]
    files = make_folder(tmp_path, WHOLE + as_aof(*rows))
    refused = refusal(tmp_path, databases="4")
    at = len(WHOLE + as_aof("SET text v"))
    name = last.split(" ")[0].lower()
    assert f"Command '{name}' in the transaction at byte {at} of the append only file {files.incremental}" in refused
    assert f"cut it at byte {at}," in refused


def test_a_base_with_a_command_that_fails(tmp_path: Path) -> None:
    files = make_folder(tmp_path, WHOLE, base=as_aof("SELECT 0", "SET k"))
    assert f"of the append only file {files.base} fails: ERR wrong number of arguments" in refusal(tmp_path)


@pytest.mark.parametrize("behind", [b"", as_aof("EXEC"), as_aof("SET a 9")], ids=["nothing", "EXEC", "SET"])
def test_an_unknown_command_inside_a_transaction(tmp_path: Path, behind: bytes) -> None:
    """Also as the last one of a transaction that is torn: what nobody here could run is not cut off in silence."""
    data = WHOLE + as_aof("MULTI", "SET a 1", "NOSUCH k")
    files = make_folder(tmp_path, data + behind)
    assert f"'NOSUCH' reading the append only file {files.incremental} before byte {len(data)}:" in refusal(tmp_path)
    assert files.incremental.read_bytes() == data + behind


@pytest.mark.parametrize("victim", ["b", "i"])
def test_a_missing_file(tmp_path: Path, victim: str) -> None:
    with Store(tmp_path) as store:
        store.run("SET", "k", "v")
    files = AofFolder(tmp_path)
    gone = files.path / files.names(victim)[0]
    gone.unlink()
    assert f"The append only file {gone} is missing; restore it" in refusal(tmp_path)


def test_a_damaged_base(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        store.run("SET", "k", "v")
    base = AofFolder(tmp_path).base
    base.write_bytes(base.read_bytes()[:-3])
    assert str(base) in refusal(tmp_path)


def test_a_folder_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "appendonlydir").write_text("a file")
    text = refusal(tmp_path)
    assert text.startswith(f"Can't use the append only file: {tmp_path}/appendonlydir: ")
    assert "must be readable and writable" in text
    assert "Errno" not in text


def test_missing_permissions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = make_folder(tmp_path, WHOLE)
    real = os.open

    def refuse(path: str, flags: int, mode: int = 0o777) -> int:
        if str(path) == str(files.incremental):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path, flags, mode)

    monkeypatch.setattr(os, "open", refuse)
    assert f"{files.incremental}: Permission denied" in refusal(tmp_path)


# ---- other origins


@pytest.mark.parametrize("step", ["nothing", "manifest"])
def test_an_old_single_file(tmp_path: Path, step: str) -> None:
    """Also when it was interrupted between the manifest and the move of the file."""
    (tmp_path / "appendonly.aof").write_bytes(WHOLE + LAST[:-1])
    files = AofFolder(tmp_path)
    if step == "manifest":
        files.path.mkdir()
        files.manifest.write_text("file appendonly.aof seq 1 type b\n")
    with Store(tmp_path) as store:
        assert store.keys() == {b"a": b"1", b"b": b"2"}
        store.run("SET", "c", "3")
    assert not (tmp_path / "appendonly.aof").exists()
    assert files.names() == ["appendonly.aof", "appendonly.aof.1.incr.aof"]
    with Store(tmp_path) as store:
        assert store.keys() == {b"a": b"1", b"b": b"2", b"c": b"3"}


def test_an_old_file_beside_a_manifest_is_left_alone(tmp_path: Path) -> None:
    make_folder(tmp_path, WHOLE)
    (tmp_path / "appendonly.aof").write_bytes(as_aof("SELECT 0", "SET old 1"))
    with Store(tmp_path) as store:
        assert store.keys() == {b"a": b"1", b"b": b"2"}
    assert (tmp_path / "appendonly.aof").exists()


def test_an_rdb_file_becomes_the_base(tmp_path: Path) -> None:
    with Store(tmp_path, appendonly="no") as store:
        store.run("SET", "k", "v")
        store.rdb.save()
    with Store(tmp_path) as store:
        assert store.keys() == {b"k": b"v"}
        store.run("SET", "k", "w")
    with Store(tmp_path) as store:
        assert store.keys() == {b"k": b"w"}, "the AOF counts, not the RDB file"


def test_a_base_of_commands_and_a_preamble(tmp_path: Path) -> None:
    with Store(tmp_path / "one") as store:
        store.run("SET", "k", "v")
        store.rdb.save()
    rdb = (tmp_path / "one" / "dump.rdb").read_bytes()
    (tmp_path / "two").mkdir()
    make_folder(tmp_path / "two", as_aof("SELECT 0", "SET z 1"), base=rdb + as_aof("SELECT 0", "SET y 1"))
    with Store(tmp_path / "two") as store:
        assert store.keys() == {b"k": b"v", b"y": b"1", b"z": b"1"}


def test_files_without_a_manifest_are_kept(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        store.run("SET", "k", "v")
    files = AofFolder(tmp_path)
    files.manifest.unlink()
    before = {p: p.read_bytes() for p in files.path.iterdir()}
    with Store(tmp_path) as store:
        assert store.keys() == {}
        assert "holds 2 append only files but no manifest" in store.log_text()
        store.run("SET", "new", "1")
    assert {p: p.read_bytes() for p in before} == before
    assert files.names() == ["appendonly.aof.2.base.rdb", "appendonly.aof.2.incr.aof"]


def test_leftovers_of_a_crash_are_removed(tmp_path: Path) -> None:
    files = make_folder(tmp_path, WHOLE)
    left = [files.path / name for name in ("temp-rewriteaof-bg-12.aof", "temp-appendonly.aof.manifest")]
    history = files.path / "appendonly.aof.0.base.rdb"
    other = files.path / "temp-of-somebody"
    for path in (*left, history, other):
        path.write_text("x")
    with files.manifest.open("a") as manifest:
        manifest.write(f"file {history.name} seq 0 type h\n")
    with Store(tmp_path) as store:
        assert store.keys() == {b"a": b"1", b"b": b"2"}
    assert not any(path.exists() for path in (*left, history))
    assert other.exists()
    assert files.names("h") == []


def test_a_left_new_file_is_written_over(tmp_path: Path) -> None:
    """A rewrite was interrupted after it made its file and before the manifest named it."""
    base = as_aof("SELECT 0", "SET base 1")
    files = make_folder(tmp_path, b"", base=base)
    files.manifest.write_text("file appendonly.aof.1.base.aof seq 1 type b\n")
    files.path.joinpath("appendonly.aof.1.incr.aof").write_bytes(as_aof("SELECT 0", "SET stale 1"))
    with Store(tmp_path) as store:
        store.run("SET", "k", "v")
    with Store(tmp_path) as store:
        assert store.keys() == {b"base": b"1", b"k": b"v"}


# ---- expiry


def test_expiry_is_what_the_file_says(tmp_path: Path) -> None:
    """Keys whose time is over stay while loading, as later commands count on them, and are gone afterwards."""
    past, future = int(time.time() * 1000) - 1000, int(time.time() * 1000) + 100_000
    make_folder(
        tmp_path,
        as_aof(
            "SELECT 0",
            f"SET expired v PXAT {past}",
            f"SET renamed v PXAT {past}",
            "RENAME renamed other",
            f"SET saved 1 PXAT {past}",
            "PERSIST saved",
            "INCR saved",
            "SET at v",
            f"PEXPIREAT at {past}",
            "APPEND at w",
            "PERSIST at",
            f"SET kept v PXAT {future}",
        ),
    )
    with Store(tmp_path) as store:
        assert store.keys() == {b"saved": b"2", b"at": b"vw", b"kept": b"v"}
        assert store.run("PEXPIRETIME", "kept") == future
        assert store.run("EXISTS", "expired", "other", "renamed") == 0
    with Store(tmp_path) as store:
        assert store.keys() == {b"saved": b"2", b"at": b"vw", b"kept": b"v"}


def test_expired_keys_of_the_base_count_until_the_file_was_read(tmp_path: Path) -> None:
    with Store(tmp_path / "one", appendonly="no") as store:
        store.run("SET", "k", "5", "PX", 30)
        store.rdb.save()
        until = store.run("PEXPIRETIME", "k")
    rdb = (tmp_path / "one" / "dump.rdb").read_bytes()
    while time.time() * 1000 <= until:  # a few milliseconds
        time.sleep(0.005)
    (tmp_path / "two").mkdir()
    make_folder(tmp_path / "two", as_aof("SELECT 0", "PERSIST k", "INCR k"), base=rdb)
    with Store(tmp_path / "two") as store:
        assert store.keys() == {b"k": b"6"}


@pytest.mark.parametrize("row", [
    "RESTORE k 9223372036854775807 {dump}", "RESTORE k 1 {dump}", "RESTORE k 1 {dump} ABSTTL", "PSETEX k 1 v",
    "SET k v PXAT 1", "EXPIRE other -9999999999", "PEXPIREAT other -1", "GETEX other EXAT 1",
])  # fmt: skip
def test_what_import_mode_takes_is_loaded_again(tmp_path: Path, row: str) -> None:
    """Times that have passed are stored there, and a sum that leaves the range is none."""
    with Store(tmp_path) as store:
        store.engine.set_param("import_mode", 1)
        store.run("SET", "other", "o")
        dump = store.run("DUMP", "other")
        store.run(*(dump if word == "{dump}" else word for word in row.split()))
        before = store.engine.digest()
    with Store(tmp_path) as store:
        assert store.engine.digest() == before


def test_what_redis_6_took_is_loaded(tmp_path: Path) -> None:
    """It had no negative of the least number, and added the number as it stands."""
    make_folder(tmp_path, as_aof("SELECT 0", "SET k 5", "DECRBY k -9223372036854775808"))
    with Store(tmp_path) as store:
        assert store.keys() == {b"k": b"-9223372036854775803"}
        assert store.run("DECRBY", "k", "-9223372036854775808") == Error("ERR decrement would overflow")


def test_what_redis_7_0_took_is_loaded(tmp_path: Path) -> None:
    """It did not look whether XSETID goes below what was deleted."""
    deleted = ("XADD k 1-1 f v", "XADD k 5-1 f v", "XDEL k 5-1", "XSETID k 2-1", "XADD k 3-1 f v")
    make_folder(tmp_path, as_aof("SELECT 0", *deleted, "XSETID k 3-1 ENTRIESADDED 3 MAXDELETEDID 5-1"))
    with Store(tmp_path) as store:
        assert [id for id, _ in store.run("XRANGE", "k", "-", "+")] == [b"1-1", b"3-1"]
        assert store.run("XSETID", "k", "4-1") == Error(
            "ERR The ID specified in XSETID is smaller than current max_deleted_entry_id"
        )
        assert store.run("XSETID", "k", "4-1", "ENTRIESADDED", "3", "MAXDELETEDID", "5-1") == Error(
            "ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id"
        )


def test_nothing_is_left_of_a_store(tmp_path: Path) -> None:
    """A start that is refused closes what it opened."""
    make_folder(tmp_path, WHOLE + b"garbage\r\n")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with pytest.raises((DataError, StartupError)):
            Store(tmp_path)
    assert len(os.listdir("/proc/self/fd")) <= before + 3, "logs only"
