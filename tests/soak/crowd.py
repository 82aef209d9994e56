"""The clients of `make soak`: processes that send requests of every kind in a random order.

Each kind has exactly one right answer: a status, and the word of the refusal or the identity that
the service behind the filter would see. Anything else is kept as unexplained.
"""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import itertools
import json
import random
import re
import secrets
import socket
import struct
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from cryptography.hazmat.primitives import serialization
from tokens import Key, b64url, claims, compact, segment

CONNECTIONS = 32  # of each process, each with one request under way
LEAVE_EVERY = 1000  # requests: then somebody comes and goes without waiting
TIMEOUT = 30.0
KNOWN = 200  # tokens of each kind that come again and again
ORIGIN = "https://soak"  # of the service, as clients with bound tokens know it
SHOWN = 20  # unexplained answers that are shown
DAY = 24 * 3600
RESET_ON_CLOSE = struct.pack("ii", 1, 0)

HEADER = segment({"alg": "ES256", "kid": "any"})  # of a JWT, so that garbage isn't taken for opaque

HEAD = re.compile(rb"HTTP/1\.1 (\d{3}) ")
LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n")
SEEN = re.compile(rb"\r\nx-seen-user: (.*?)\r\n")
CLOSE = b"\r\nconnection: close\r\n"
WORD = re.compile(rb'"error_description":"(\w+)')


class Answer(NamedTuple):
    """What is right: the status, and the word of a refusal or the identity of who was let in."""

    status: bytes
    word: bytes


@dataclasses.dataclass(frozen=True)
class Kind:
    """Requests with one right answer, and how many of a thousand are of this kind: none, where they only come alone."""

    name: str
    weight: int
    refusal: Answer | None = None  # None: let in
    has_token: bool = True  # one token, which is looked up in the cache



def refused(name: str, weight: int, status: int, word: str, has_token: bool = True) -> Kind:
    return Kind(name, weight, Answer(b"%d" % status, word.encode()), has_token)


KINDS = (
    Kind("JWT, known", 390),
    Kind("JWT, new", 60),
    Kind("JWT in a cookie", 50),
    Kind("JWT and a forged x-user", 40),
    Kind("JWT among 30 kB of headers", 10),
    refused("JWT, expired", 60, 401, "expired"),
    refused("JWT, another's signature", 80, 401, "bad_signature"),
    refused("JWT, unknown key", 20, 401, "unknown_key"),
    refused("JWT, for somebody else", 20, 401, "wrong_audience"),
    refused("garbage", 60, 401, "malformed_token"),
    Kind("opaque, active", 90),
    refused("opaque, inactive", 40, 401, "inactive"),
    refused("opaque, never seen", 4, 401, "inactive"),
    refused("two tokens", 16, 400, "invalid_request", has_token=False),
    refused("no token", 60, 401, "missing_token", has_token=False),
    Kind("bound token, new proof", 0),
)


@dataclasses.dataclass(frozen=True)
class Task:
    """What one process is to do; everything in it can be sent to another process."""

    port: int
    issuer: str
    private_key: bytes
    kid: str
    number: str  # of this process
    requests: int
    only: str | None = None  # one kind only

    @property
    def key(self) -> Key:
        return Key("ES256", self.kid, serialization.load_pem_private_key(self.private_key, None))


class Shot(NamedTuple):
    """One request and its right answer."""

    kind: str
    data: bytes
    right: Answer


Make = Callable[[], tuple[bytes, str]]  # a request, and whose it is


def opaque(number: int) -> str:
    return f"opaque-{number:04d}"


def digest(text: str) -> str:
    """As in `ath`, and, for a JWK with its required members in order (RFC 7638), in `jkt`."""
    return b64url(hashlib.sha256(text.encode()).digest())


def request(*headers: str) -> bytes:
    return "\r\n".join(("GET / HTTP/1.1", "host: soak", *headers, "", "")).encode()


def bearer(token: str) -> str:
    return f"authorization: Bearer {token}"


class Workshop:
    """Makes requests. What a client would send again is made once."""

    def __init__(self, task: Task) -> None:
        self._task, self._key = task, task.key
        self._serial = itertools.count()
        users = [f"user-{task.number}-{number}" for number in range(KNOWN)]
        known = [(self._token(user), user) for user in users]
        self._holder = Key.make("ES256")
        self._jwk = {name: self._holder.jwk()[name] for name in ("crv", "kty", "x", "y")}
        jkt = digest(json.dumps(self._jwk, separators=(",", ":")))
        owned = [(self._token(user, cnf={"jkt": jkt}), user) for user in users]
        self._owned = [(token, digest(token), user) for token, user in owned]
        noise = [f"x-noise-{number}: {'x' * 5000}" for number in range(6)]
        expired = [self._token(user, exp=1_700_000_000) for user in users]
        foreign = [self._token(user, aud="urn:somebody:else") for user in users]
        signatures = [token.rpartition(".")[2] for token, _ in known]
        spoof = ("x-user: admin", "X-User: root")
        self._makes: dict[str, Make] = {
            "JWT, known": again([(request(bearer(t)), user) for t, user in known]),
            "JWT, new": self._new,
            "JWT in a cookie": again([(request(f"cookie: a=b; token={t}"), u) for t, u in known]),
            "JWT and a forged x-user": again([(request(bearer(t), *spoof), u) for t, u in known]),
            "JWT among 30 kB of headers": again([(request(*noise, bearer(t)), u) for t, u in known]),
            "JWT, expired": again([(request(bearer(t)), "") for t in expired]),
            "JWT, another's signature": lambda: self._forged(random.choice(signatures)),
            "JWT, unknown key": again([(request(bearer(t)), "") for t in self._strangers()]),
            "JWT, for somebody else": again([(request(bearer(t)), "") for t in foreign]),
            "garbage": lambda: (request(bearer(f"{HEADER}.{secrets.token_urlsafe(40)}.x")), ""),
            "opaque, active": again([(request(bearer(opaque(n))), opaque(n)) for n in range(KNOWN)]),
            "opaque, inactive": again([(request(bearer(f"no-{n}")), "") for n in range(KNOWN)]),
            "opaque, never seen": lambda: (request(bearer(secrets.token_urlsafe(32))), ""),
            "two tokens": again([(request(bearer(t), f"cookie: token={t}"), "") for t, _ in known]),
            "no token": again([(request("cookie: a=b"), "")]),
            "bound token, new proof": self._proof,
        }
        assert self._makes.keys() == {kind.name for kind in KINDS}

    def shots(self) -> Iterator[Shot]:
        """One request after the other, without end."""
        only = self._task.only
        kinds = [kind for kind in KINDS if only == kind.name or only is None and kind.weight]
        weights = [kind.weight or 1 for kind in kinds]
        while True:
            for kind in random.choices(kinds, weights, k=1000):
                data, user = self._makes[kind.name]()
                yield Shot(kind.name, data, kind.refusal or Answer(b"200", user.encode()))

    def _token(self, user: str, **changes: Any) -> str:
        changes = {"exp": int(time.time()) + DAY} | changes
        return self._key.token(claims(self._task.issuer, sub=user, **changes))

    def _new(self) -> tuple[bytes, str]:
        user = f"new-{self._task.number}-{next(self._serial)}"
        return request(bearer(self._token(user))), user

    def _proof(self) -> tuple[bytes, str]:
        """A token that has come before, with a proof that nobody has seen (RFC 9449, section 4.2)."""
        token, ath, user = random.choice(self._owned)
        jti = f"{self._task.number}-{next(self._serial)}"
        claims = {"jti": jti, "htm": "GET", "htu": f"{ORIGIN}/", "iat": int(time.time()), "ath": ath}
        proof = self._holder.token(claims, {"typ": "dpop+jwt", "jwk": self._jwk, "kid": None})
        return request(f"authorization: DPoP {token}", f"dpop: {proof}"), user

    def _forged(self, signature: str) -> tuple[bytes, str]:
        """Claims that nobody signed, no two alike, with a signature of something else."""
        user = f"forged-{self._task.number}-{next(self._serial)}"
        header = {"alg": "ES256", "kid": self._key.kid, "typ": "at+jwt"}
        return request(bearer(compact(header, claims(self._task.issuer, sub=user)) + signature)), ""

    def _strangers(self) -> list[str]:
        payload = claims(self._task.issuer)
        return [self._key.token(payload, {"kid": f"unknown-{n}"}) for n in range(KNOWN)]


def again(made: list[tuple[bytes, str]]) -> Make:
    return lambda: random.choice(made)


class Connection:
    """Sends a request, and reads its answer when it is asked to."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._socket = self._connect()
        self.sent: Shot | None = None

    def _connect(self) -> socket.socket:
        opened = socket.create_connection(("127.0.0.1", self._port), TIMEOUT)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return opened

    def send(self, shot: Shot) -> None:
        self._socket.sendall(shot.data)
        self.sent = shot

    def receive(self) -> Answer:
        data = self._socket.recv(1 << 16)
        while (end := data.find(b"\r\n\r\n")) < 0:
            data += self._more()
        head = data[: end + 2]
        size = end + 4 + int(LENGTH.search(head)[1])
        while len(data) < size:
            data += self._more()
        if CLOSE in head:  # as Envoy does after a 400
            self._socket.close()
            self._socket = self._connect()
        status, word = HEAD.match(head), SEEN.search(head) or WORD.search(data, end)
        # More than one answer to a request is as wrong as none.
        whole = status and len(data) == size
        return Answer(status[1] if whole else data, word[1] if word else b"")

    def _more(self) -> bytes:
        data = self._socket.recv(1 << 16)
        if not data:
            raise ConnectionError("closed without an answer")
        return data

    def leave(self) -> None:
        """As a client does that is switched off: with a reset, and whatever is under way."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        self._socket.close()

    def close(self) -> None:
        self._socket.close()


def leave(port: int, number: int) -> None:
    """Three ways to go: before the provider answers, amid the headers, amid the body."""
    # A token that its provider takes its time over, in a place that belongs to that provider.
    waits = request(f"x-slow: late-{secrets.token_hex(8)}")
    body = request("x-slow: known", "content-length: 9999").replace(b"GET", b"POST") + b"x" * 99
    connection = Connection(port)
    connection.send(Shot("leaver", (waits, waits[:-9], body)[number % 3], Answer(b"", b"")))
    connection.leave()


class Visit:
    """The life of one process."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._answered: collections.Counter[str] = collections.Counter()
        self._unexplained: list[str] = []
        self._wrong = self._left = 0

    def run(self, progress: Any) -> dict[str, Any]:
        connections: list[Connection] = []
        try:
            shots = Workshop(self._task).shots()
            connections += [Connection(self._task.port) for _ in range(CONNECTIONS)]
            for number, shot in zip(range(self._task.requests), shots):
                connection = connections[number % CONNECTIONS]
                self._receive(connection)
                connection.send(shot)
                if number % LEAVE_EVERY == 0:
                    progress.value = number
                    if self._task.only is None:
                        leave(self._task.port, self._left)
                        self._left += 1
            for connection in connections:
                self._receive(connection)
            progress.value = self._task.requests
        except OSError as error:
            self._is_wrong(f"a connection broke: {error!r}")
        for connection in connections:
            connection.close()
        return {
            "answered": self._answered,
            "wrong": self._wrong,
            "unexplained": self._unexplained,
            "left": self._left,
        }

    def _receive(self, connection: Connection) -> None:
        if shot := connection.sent:
            answer = connection.receive()
            self._answered[shot.kind] += 1
            if answer != shot.right:
                self._is_wrong(f"{shot.kind}: {answer}, and not {shot.right}")

    def _is_wrong(self, what: str) -> None:
        self._wrong += 1
        if len(self._unexplained) < SHOWN:
            self._unexplained.append(what)


def visit(task: Task, progress: Any, results: Any) -> None:
    """What a process runs."""
    results.put(Visit(task).run(progress))
