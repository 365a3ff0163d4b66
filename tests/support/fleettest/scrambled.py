"""The other side of the tests' transport (server/cachefleet_server/_testing_transport.pyx), which also has the frames'
format: a peer that writes and reads scrambled frames over a non-blocking socket, a few bytes at a time."""

from __future__ import annotations

import random
import socket

ASK, ANSWER = 0, 255


def mask(at: int) -> int:
    return (at * 31 + 7) & 255


class Peer:
    """`pump` does what can be done now, and says whether anything was."""

    def __init__(self, sock: socket.socket, rng: random.Random) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.received = bytearray()
        self.closed = False  # by the server
        self.asked = self.answered = 0
        self._rng = rng
        self._to_send = bytearray()
        self._wire = bytearray()
        self._sent_at = self._received_at = 0
        self._frame_left = 0

    def send(self, data: bytes) -> None:
        self._to_send += data

    @property
    def sent_all(self) -> bool:
        return not self._to_send and not self._wire

    def pump(self, *, read: bool = True) -> bool:
        wrote = self._pump_out()
        return (read and self._pump_in()) or wrote

    def _put(self, plain: bytes) -> None:
        for byte in plain:
            self._wire.append(byte ^ mask(self._sent_at))
            self._sent_at += 1

    def _pump_out(self) -> bool:
        if not self._wire and self._to_send:
            if self._rng.random() < 0.1:
                self._put(bytes([ASK]))
                self.asked += 1
            n = min(len(self._to_send), self._rng.choice((1, 5, 60, 254)))
            self._put(bytes([n]) + self._to_send[:n])
            del self._to_send[:n]
        if not self._wire or self.closed:
            return False
        try:
            n = self.sock.send(self._wire[: self._rng.choice((1, 10, 300))])
        except BlockingIOError:
            return False
        except (BrokenPipeError, ConnectionResetError):
            self.closed = True
            return True
        del self._wire[:n]
        return True

    def _pump_in(self) -> bool:
        if self.closed:
            return False
        try:
            data = self.sock.recv(1 << 16)
        except BlockingIOError:
            return False
        except ConnectionResetError:  # it was closed before all was read that we sent
            data = b""
        self.closed = not data
        self._decode(data)
        return True

    def _decode(self, data: bytes) -> None:
        for scrambled in data:
            byte = scrambled ^ mask(self._received_at)
            self._received_at += 1
            if self._frame_left:
                self._frame_left -= 1
                self.received.append(byte)
            elif byte == ASK:
                self._put(bytes([ANSWER]))
            elif byte == ANSWER:
                self.answered += 1
            else:
                self._frame_left = byte
