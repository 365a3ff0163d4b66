"""Clients that join and leave channels, close, and publish, against sets in Python; the engine checks itself each step.

Names are few, so that arrays of both ends are long and short, and the last end has to take others' places.
"""

from __future__ import annotations

from fnmatch import fnmatchcase

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from cachefleet_server.engine import Engine
from fleettest.client import encode
from fleettest.examples import examples
from fleettest.listeners import replies
from fleettest.peers import Peer

pytestmark = pytest.mark.unit

CLIENTS = 5
KINDS = ("", "p", "s")
NAMES = st.sampled_from(["a", "b", "ab", "abc", "abcdefghijk", "abcdefghijz", "x" * 300, "x" * 300 + "y"])
PATTERNS = st.sampled_from(
    ["*", "a*", "ab?", "abcdefghi*k", "abcdefghij[kz]", "x*y", "x" * 299 + "*", "x" * 260 + "?*"]
)
CLIENT = st.integers(0, CLIENTS - 1)


class Channels(RuleBasedStateMachine):
    @initialize()
    def start(self) -> None:
        self.engine = Engine()
        self.peers = [Peer(self.engine, 2 + i % 2) for i in range(CLIENTS)]
        self.joined: list[set[tuple[str, str]]] = [set() for _ in range(CLIENTS)]
        self.publisher = Peer(self.engine)

    def listeners(self, kind: str, name: str) -> list[int]:
        return [i for i, joined in enumerate(self.joined) if (kind, name) in joined]

    def counted(self, client: int, kind: str) -> int:
        return sum((k == "s") == (kind == "s") for k, _ in self.joined[client])

    @rule(client=CLIENT, kind=st.sampled_from(KINDS), data=st.data())
    def join(self, client: int, kind: str, data: st.DataObject) -> None:
        names = data.draw(st.lists(PATTERNS if kind == "p" else NAMES, min_size=1, max_size=6))
        expected = []
        for name in names:
            self.joined[client].add((kind, name))
            expected.append([f"{kind}subscribe".encode(), name.encode(), self.counted(client, kind)])
        assert replies(self.peers[client].send(f"{kind}SUBSCRIBE {' '.join(names)}")) == expected

    @rule(client=CLIENT, kind=st.sampled_from(KINDS), data=st.data())
    def leave(self, client: int, kind: str, data: st.DataObject) -> None:
        names = data.draw(st.lists(PATTERNS if kind == "p" else NAMES, min_size=1, max_size=6))
        expected = []
        for name in names:
            self.joined[client].discard((kind, name))
            expected.append([f"{kind}unsubscribe".encode(), name.encode(), self.counted(client, kind)])
        assert replies(self.peers[client].send(f"{kind}UNSUBSCRIBE {' '.join(names)}")) == expected

    @rule(client=CLIENT, kind=st.sampled_from(KINDS))
    def leave_all(self, client: int, kind: str) -> None:
        left = {name.encode() for k, name in self.joined[client] if k == kind}
        self.joined[client] = {(k, name) for k, name in self.joined[client] if k != kind}
        got = replies(self.peers[client].send(f"{kind}UNSUBSCRIBE"))
        assert {row[1] for row in got} == (left or {None})
        assert got[-1][2] == self.counted(client, kind)

    @rule(client=CLIENT, how=st.sampled_from(["RESET", "QUIT", ""]))
    def go(self, client: int, how: str) -> None:
        self.joined[client] = set()
        if how == "RESET":
            assert self.peers[client].send(how) == b"+RESET\r\n"
            return
        if how:
            self.peers[client].send(how)
        self.peers[client].socket.close()
        self.publisher.read()
        self.peers[client] = Peer(self.engine, 2 + client % 2)

    @rule(name=NAMES, shard=st.booleans(), size=st.sampled_from([0, 10, 5000, 100_000]))
    def publish(self, name: str, shard: bool, size: int) -> None:
        text = b"m" * size
        self.publisher.socket.sendall(encode("SPUBLISH" if shard else "PUBLISH", name, text))
        got = self.publisher.read()
        while not got:
            got = self.publisher.read()
        heard = 0
        for client, joined in enumerate(self.joined):
            expected = [[b"smessage" if shard else b"message", name.encode(), text]] * ((shard * "s", name) in joined)
            expected += sorted(
                [b"pmessage", pattern.encode(), name.encode(), text] for kind, pattern in joined
                if kind == "p" and not shard and fnmatchcase(name, pattern)
            )  # fmt: skip
            heard += len(expected)
            assert sorted(replies(self.whole(client, expected))) == expected
        assert got == b":%d\r\n" % heard

    def whole(self, client: int, expected: list[list[bytes]]) -> bytes:
        """A socket pair takes a little at a time."""
        size = sum(len(encode(*row)) for row in expected)
        raw = self.peers[client].read()
        while len(raw) < size:
            raw += self.peers[client].read()
        return raw

    @invariant()
    def counts(self) -> None:
        assert self.engine.check() == []
        stats = self.engine.stats()
        for kind, field in zip(KINDS, ("pubsub_channels", "pubsub_patterns", "pubsubshard_channels"), strict=True):
            assert stats[field] == len({name for joined in self.joined for k, name in joined if k == kind})
        assert stats["clients_pubsub"] == sum(bool(joined) for joined in self.joined)

    def teardown(self) -> None:
        if hasattr(self, "engine"):
            for peer in [*self.peers, self.publisher]:
                peer.socket.close()
            self.engine.close()


TestChannels = Channels.TestCase
TestChannels.settings = examples(30, stateful_step_count=30)
