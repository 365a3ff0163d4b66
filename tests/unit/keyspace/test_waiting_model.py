"""Clients that wait, push, pop, expire, are killed, swapped and paused, against a model of a hundred lines.

The model has a queue for each key and serves it after each command; all members are the same word, so what matters
is who gets a reply, and which. The engine checks itself after each step: no record without interest, and nobody waits
whose key is ready. Times are multiples of 100 s, so that the real time that passes meanwhile means nothing.
"""

from __future__ import annotations

import copy
import itertools
from dataclasses import dataclass

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from cachefleet_server._testing import advance, now_ms
from cachefleet_server.engine import Engine
from cachefleet_server.persistence._testing import plug_bag
from fleettest.examples import examples
from fleettest.peers import Peer

pytestmark = pytest.mark.unit

DATABASES = 2
CLIENTS = 5
NIL, NO_BAG = b"*-1\r\n", b"-NOGROUP no such bag\r\n"
WRONG = b"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"
MEMBER = b"$1\r\nm\r\n"

Key = tuple[int, str]
CLIENT = st.integers(0, CLIENTS - 1)
DB = st.integers(0, DATABASES - 1)
NAME = st.sampled_from("abc")
UNIT_MS = 100_000
TIMEOUT = st.sampled_from([0, 0, UNIT_MS, 2 * UNIT_MS])


@dataclass(eq=False)
class Wait:
    client: int
    kind: str  # pop, move, count
    keys: list[Key]
    until: int  # 0: for ever
    target: Key = (0, "")
    copies: int = 0
    held: bool = False


class WaitingMachine(RuleBasedStateMachine):
    @initialize()
    def start(self) -> None:
        self.engine = Engine(databases=DATABASES)
        self.engine.set_param("active_expire_enabled", 0)
        plug_bag(self.engine)
        self.peers = [Peer(self.engine) for _ in range(CLIENTS)]
        self.writer = Peer(self.engine)
        self.engine.tick()
        self.bags: dict[Key, int] = {}  # copies; -1: a string
        self.expiry: dict[Key, int] = {}
        self.queues: dict[Key, list[Wait]] = {}
        self.waits: dict[int, Wait] = {}
        self.ready: list[Key] = []
        self.replies: dict[int, bytes] = dict.fromkeys(range(CLIENTS), b"")
        self.paused = False

    def teardown(self) -> None:
        if hasattr(self, "engine"):
            for peer in [*self.peers, self.writer]:
                peer.socket.close()
            self.engine.close()

    # -- the model

    def changed(self, key: Key) -> None:
        if self.queues.get(key) and key not in self.ready:
            self.ready.append(key)

    def copies(self, key: Key) -> int:
        """0: not there. A look at an expired key deletes it."""
        if key in self.expiry and self.expiry[key] < now_ms(self.engine):
            self.drop(key)
        return self.bags.get(key, 0)

    def forget_expired(self) -> None:
        """So that no look at a key while the orders are tried changes anything."""
        self.write("SELECT 0", "EXISTS a b c", "SELECT 1", "EXISTS a b c")
        for db, name in itertools.product(range(DATABASES), "abc"):
            self.copies((db, name))
            self.serve()

    def drop(self, key: Key) -> None:
        self.expiry.pop(key, None)
        if self.bags.pop(key, 0):
            self.changed(key)

    def add(self, key: Key, n: int) -> None:
        self.bags[key] = self.copies(key) + n
        self.changed(key)

    def take(self, key: Key) -> None:
        if self.bags[key] == 1:
            self.drop(key)
        else:
            self.bags[key] -= 1
            self.changed(key)

    def run(self, wait: Wait) -> bytes | None:
        """Its reply; None: it waits."""
        for key in wait.keys:
            there = self.copies(key)
            if there == -1:
                return WRONG
            if wait.kind == "count":
                return NO_BAG if not there else b":%d\r\n" % there if there >= wait.copies else None
            if not there:
                continue
            if wait.kind == "move":
                if self.copies(wait.target) == -1:
                    return WRONG
                self.take(key)
                self.add(wait.target, 1)
                return MEMBER
            self.take(key)
            return b"*2\r\n$1\r\n%s\r\n" % key[1].encode() + MEMBER
        return None

    def leave(self, wait: Wait, reply: bytes = b"") -> None:
        for key in wait.keys:
            if wait in self.queues[key]:
                self.queues[key].remove(wait)
        del self.waits[wait.client]
        self.replies[wait.client] += reply

    def wait(self, wait: Wait) -> None:
        reply = self.run(wait)
        if reply is not None:
            self.replies[wait.client] += reply
            return
        self.waits[wait.client] = wait
        for key in dict.fromkeys(wait.keys):
            self.queues.setdefault(key, []).append(wait)

    def serve(self) -> None:
        while self.ready:
            key = self.ready.pop(0)
            for wait in list(self.queues[key]):
                there = self.bags.get(key, 0)
                if key in self.expiry and self.expiry[key] < now_ms(self.engine):
                    there = 0
                if there < 1 and wait.kind != "count":
                    continue
                if self.paused and wait.kind != "count":
                    wait.held = True
                    continue
                wait.held = False
                reply = self.run(wait)
                if reply is not None:
                    self.leave(wait, reply)

    # -- what happens

    def write(self, *rows: str) -> None:
        assert b"-" not in self.writer.send(*rows)
        self.serve()

    @rule(client=CLIENT, db=DB, names=st.lists(NAME, min_size=1, max_size=3), timeout=TIMEOUT)
    def pop(self, client: int, db: int, names: list[str], timeout: int) -> None:
        self.send(client, db, f"BBAGPOP {' '.join(names)} {timeout}", timeout, "pop", names)

    @rule(client=CLIENT, db=DB, name=NAME, to=NAME, timeout=TIMEOUT)
    def move(self, client: int, db: int, name: str, to: str, timeout: int) -> None:
        self.send(client, db, f"BBAGMOVE {name} {to} {timeout}", timeout, "move", [name], to=to)

    @rule(client=CLIENT, db=DB, name=NAME, copies=st.integers(1, 4), timeout=TIMEOUT)
    def count(self, client: int, db: int, name: str, copies: int, timeout: int) -> None:
        self.send(client, db, f"BBAGCOUNT {name} {copies} {timeout}", timeout, "count", [name], copies=copies)

    def send(
        self,
        client: int,
        db: int,
        row: str,
        timeout: int,
        kind: str,
        names: list[str],
        *,
        to: str = "",
        copies: int = 0,
    ) -> None:
        if client in self.waits or (self.paused and kind != "count"):
            return
        self.replies[client] += self.peers[client].send(f"SELECT {db}", row)[5:]
        seen, self.replies[client] = self.replies[client], b""
        keys = [(db, name) for name in names]
        until = now_ms(self.engine) + timeout if timeout else 0
        self.wait(Wait(client, kind, keys, until, (db, to), copies))
        assert seen == self.replies[client]
        self.replies[client] = b""
        self.serve()

    @rule(db=DB, name=NAME, n=st.integers(1, 3))
    def push(self, db: int, name: str, n: int) -> None:
        if self.paused or self.copies((db, name)) == -1:
            self.serve()
            return
        self.add((db, name), n)
        self.write(f"SELECT {db}", f"BAGADD {name}" + " m" * n)

    @rule(db=DB, name=NAME)
    def push_and_delete_in_one_transaction(self, db: int, name: str) -> None:
        if self.paused or self.copies((db, name)) == -1:
            self.serve()
            return
        self.add((db, name), 1)
        self.drop((db, name))
        self.write("MULTI", f"SELECT {db}", f"BAGADD {name} m", f"DEL {name}", "EXEC")

    @rule(db=DB, name=NAME)
    def set_string(self, db: int, name: str) -> None:
        if not self.paused:
            self.copies((db, name))
            self.expiry.pop((db, name), None)
            self.bags[db, name] = -1
            self.changed((db, name))
            self.write(f"SELECT {db}", f"SET {name} s")

    @rule(db=DB, name=NAME)
    def delete(self, db: int, name: str) -> None:
        if not self.paused:
            self.copies((db, name))
            self.drop((db, name))
            self.write(f"SELECT {db}", f"DEL {name}")

    @rule(db=DB, name=NAME, units=st.integers(0, 3))
    def expire(self, db: int, name: str, units: int) -> None:
        if not self.paused:
            at = now_ms(self.engine) + units * UNIT_MS + UNIT_MS // 2
            if self.copies((db, name)):
                self.expiry[db, name] = at
                self.changed((db, name))
            self.write(f"SELECT {db}", f"PEXPIREAT {name} {at}")

    @rule()
    def swap(self) -> None:
        if not self.paused:
            self.forget_expired()
            before = dict(self.bags)
            self.bags = {(1 - db, name): n for (db, name), n in self.bags.items()}
            self.expiry = {(1 - db, name): at for (db, name), at in self.expiry.items()}
            self.write("SWAPDB 0 1")
            self.expect_any_order(before)

    @rule()
    def flush(self) -> None:
        if not self.paused:
            self.forget_expired()
            before, self.bags, self.expiry = dict(self.bags), {}, {}
            self.write("FLUSHALL")
            self.expect_any_order(before)

    def expect_any_order(self, before: dict[Key, int]) -> None:
        """Keys of a whole database are ready in the order of a table, so with chains only who was served counts: the
        model follows what the engine did, key by key, and what cannot be followed is an error."""
        changed = [key for key, queue in self.queues.items() if queue and (key in before or key in self.bags)]
        moves = any(wait.kind == "move" for wait in self.waits.values())
        for key in sorted(changed):
            self.changed(key)
        if moves or sum(len(set(wait.keys)) > 1 for wait in self.waits.values()):
            self.follow()
        else:
            self.serve()

    def follow(self) -> None:
        """Tries the orders in which keys can have been ready until one gives what clients received."""

        got = [peer.read() for peer in self.peers]
        state = self.bags, self.expiry, self.queues, self.waits, self.ready, self.replies
        for order in itertools.permutations(self.ready):
            model = copy.deepcopy(state)
            self.bags, self.expiry, self.queues, self.waits, _, self.replies = model
            self.ready = list(order)
            self.serve()
            if [self.replies[i] for i in range(CLIENTS)] == got and self.holds_what_the_model_holds():
                self.replies = dict.fromkeys(range(CLIENTS), b"")
                return
        raise AssertionError(f"no order of {state[4]} gives {got}")

    def holds_what_the_model_holds(self) -> bool:
        now = now_ms(self.engine)
        keys = [(db, name) for db in range(DATABASES) for name in "abc"]
        model = {key: 0 if self.expiry.get(key, now) < now else self.bags.get(key, 0) for key in keys}
        return model == {key: self.there(*key) for key in keys}

    def there(self, db: int, name: str) -> int:
        if self.engine.execute_own(b"TYPE", name.encode(), db=db) == "string":
            return -1
        dump = self.engine.execute_own(b"DUMP", name.encode(), db=db)  # type, members, length, "m", copies
        return dump[4] if dump is not None else 0

    @rule(client=CLIENT, error=st.booleans())
    def unblock(self, client: int, error: bool) -> None:
        assert self.engine.unblock(self.peers[client].id, error) == (client in self.waits)
        if client in self.waits:
            text = b"-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n"
            self.leave(self.waits[client], text if error else NIL)

    @rule(client=CLIENT)
    def disconnect(self, client: int) -> None:
        self.peers[client].socket.close()
        self.engine.tick()
        if client in self.waits:
            self.leave(self.waits[client])
        self.peers[client] = Peer(self.engine)

    @rule(client=CLIENT, db=DB, name=NAME)
    def kill_and_push_in_one_tick(self, client: int, db: int, name: str) -> None:
        victim = self.engine.client(self.peers[client].id)
        if self.paused or self.copies((db, name)) == -1 or victim is None:
            self.serve()
            return
        victim.close()
        if client in self.waits:
            self.leave(self.waits[client])
        self.add((db, name), 1)
        self.write(f"SELECT {db}", f"BAGADD {name} m")
        self.peers[client].socket.close()
        self.peers[client] = Peer(self.engine)

    @rule(units=st.integers(1, 2))
    def time_passes(self, units: int) -> None:
        advance(self.engine, units * UNIT_MS)
        self.engine.tick()
        now = now_ms(self.engine)
        for wait in list(self.waits.values()):
            if wait.until and wait.until <= now and not (self.paused and wait.held):
                self.leave(wait, NIL)

    @rule(db=DB, name=NAME)
    def pause_and_push_in_one_transaction(self, db: int, name: str) -> None:
        if not self.paused and self.copies((db, name)) != -1:
            self.paused = True
            self.engine.pause("client", 10**9, everything=False)
            self.engine.execute_own(b"BAGADD", name.encode(), b"m", db=db)
            self.add((db, name), 1)
        self.serve()

    @rule()
    def resume(self) -> None:
        if not self.paused:
            return
        self.paused = False
        self.engine.unpause("client")
        for key in self.queues:
            self.changed(key)
        if len(self.ready) > 1:
            self.engine.tick()
            self.follow()
        self.serve()

    @invariant()
    def all_received_what_they_had_to(self) -> None:
        if not hasattr(self, "engine"):
            return
        got = [peer.read() for peer in self.peers]
        assert got == [self.replies[i] for i in range(CLIENTS)]
        self.replies = dict.fromkeys(range(CLIENTS), b"")
        assert self.engine.check() == []
        stats = self.engine.stats()
        assert stats["blocked_clients"] == len(self.waits)
        queues = [queue for queue in self.queues.values() if queue]
        on_nokey = [queue for queue in queues if any(wait.kind == "count" for wait in queue)]
        assert (stats["blocking_keys"], stats["blocking_keys_on_nokey"]) == (len(queues), len(on_nokey))


TestWaiting = WaitingMachine.TestCase
TestWaiting.settings = examples(30, stateful_step_count=40)
