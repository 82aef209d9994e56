"""Clients that come again and again while something breaks, and forgive no wrong answer.

A thread for each caller. Each answer is judged as it comes: nobody with a bad token is let in,
nobody is taken for somebody else, and nobody waits for longer than was promised. What was let in
is looked up in Envoy's access log as well, since some clients leave before they are answered.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType

import scene
from clients import Http1, Response, request_bytes
from fake_provider import FakeProvider
from harness import Envoy
from tokens import AUDIENCE, Key, claims

PAUSE = 0.02  # between two requests of one caller: the machine has other things to do, too
LOG_FIELDS = {"upstream": "%UPSTREAM_HOST%", "user": "%REQ(X-USER)%"}  # Envoys need them


@dataclasses.dataclass(frozen=True)
class Call:
    """One request: whose it is, if it may be let in at all, and what else may be the answer."""

    kind: str
    token: str | None
    user: str | None = None
    or_else: frozenset[int] = frozenset()
    header: str | None = None  # that holds the token, in place of Authorization

    def data(self) -> bytes:
        headers = [("x-user", "admin")]
        if self.token is not None:
            scheme = "" if self.header else "Bearer "
            headers.append((self.header or "Authorization", f"{scheme}{self.token}"))
        return request_bytes(f"/good/{self.user}" if self.user else f"/bad/{self.kind}", headers)

    def wrong(self, response: Response) -> str | None:
        """What is wrong with an answer."""
        if response.status == 200:
            if self.user is None:
                return "was let in"
            if response.seen.all("x-user") != [self.user]:
                return f"was taken for {response.seen.all('x-user')}"
            return None
        if response.status not in self.or_else:
            return f"got {response.status}: {response.body[:200]!r}"
        if response.status >= 500 and response.all("www-authenticate"):
            return "was blamed for an outage"
        return None


Caller = Callable[[], Call]


@dataclasses.dataclass(frozen=True)
class Visit:
    """One answer."""

    kind: str
    status: int


class Visitors:
    """`with Visitors(envoy, callers) as visitors`: they come until the block ends.

    `limit`      seconds within which each request must be answered
    `may_break`  whether connections may break without an answer, as when a listener goes
    """

    def __init__(
        self, envoy: Envoy, callers: Iterable[Caller], limit: float, may_break: bool = False
    ) -> None:
        self.visits: list[Visit] = []
        self.broken: list[str] = []
        self._wrong: list[str] = []
        self._envoy, self._limit, self._may_break = envoy, limit, may_break
        self._stopping = threading.Event()
        callers = list(callers)
        self._threads = [threading.Thread(target=self._come, args=(c,)) for c in callers]
        self._threads.append(threading.Thread(target=self._come_and_leave, args=(callers,)))

    def __enter__(self) -> Visitors:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()
        if kind is None:
            self.check()

    def check(self) -> None:
        """No wrong answer so far, to anybody."""
        assert not self._wrong, "\n".join(self._wrong[:20])
        assert self._may_break or not self.broken, "\n".join(self.broken[:20])

    def come(self, seconds: float) -> list[Visit]:
        """The visits of so many seconds from now, none of them wrong."""
        start = len(self.visits)
        time.sleep(seconds)
        self.check()
        return self.visits[start:]

    def of(self, name: str) -> list[Visit]:
        """The visits so far with the tokens of this name."""
        return [visit for visit in self.visits if visit.kind.startswith(f"{name} ")]

    def _come(self, caller: Caller) -> None:
        while not self._stopping.wait(PAUSE):
            call, started = caller(), time.monotonic()
            try:
                with Http1(self._envoy.port) as connection:
                    connection.send(call.data())
                    response = connection.receive()
            except OSError as error:
                self.broken.append(f"{call.kind}: {error!r}")
            else:
                self._judge(call, response)
            if (seconds := time.monotonic() - started) > self._limit:
                self._wrong.append(f"{call.kind}: it took {seconds:.1f} s")

    def _judge(self, call: Call, response: Response) -> None:
        if wrong := call.wrong(response):
            self._wrong.append(f"{call.kind}: {wrong}")
        self.visits.append(Visit(call.kind, response.status))

    def _come_and_leave(self, callers: Sequence[Caller]) -> None:
        for caller in itertools.cycle(callers):
            if self._stopping.wait(2 * PAUSE):
                return
            with contextlib.suppress(OSError), Http1(self._envoy.port) as connection:
                connection.send(caller().data())


def check_the_log(envoy: Envoy) -> int:
    """Nobody reached the service but as who they are, also of those who left; how many did."""
    let_in = [entry for entry in envoy.access_log() if entry["upstream"] is not None]
    for entry in let_in:
        assert entry["path"] == f"/good/{entry['user']}", entry
    return len(let_in)


class Tokens:
    """What one provider's visitors bring. `header` is the place of its opaque tokens.

    `jwt`, `asked` and `unasked` are what may be the answer to good ones instead of 200; `bad` what
    may be the answer to bad ones.
    """

    def __init__(
        self,
        fake: FakeProvider,
        name: str,
        header: str | None = None,
        *,
        jwt: Iterable[int] = (),
        asked: Iterable[int] = (),
        unasked: Iterable[int] = (503,),
        bad: Iterable[int] = (401,),
    ) -> None:
        self._fake, self._name, self._header = fake, name, header
        self._jwt, self._bad = frozenset(jwt), frozenset(bad)
        self._or_asked, self._or_unasked = frozenset(asked), frozenset(unasked)
        self._serial = itertools.count()
        self._known = fake.token(sub=f"{name}-known")
        self._asked = self._opaque(f"{name}-asked")
        self._stranger = Key.make(kid=fake.keys[0].kid)

    def known(self) -> Call:
        """A JWT that was there before."""
        return Call(f"{self._name} known", self._known, f"{self._name}-known", self._jwt)

    def new(self) -> Call:
        user = f"{self._name}-new-{next(self._serial)}"
        return Call(f"{self._name} new", self._fake.token(sub=user), user, self._jwt)

    def asked(self) -> Call:
        """An opaque token that the provider was asked about before."""
        user = f"{self._name}-asked"
        return Call(f"{self._name} asked", self._asked, user, self._or_asked, self._header)

    def unasked(self) -> Call:
        user = f"{self._name}-unasked-{next(self._serial)}"
        token = self._opaque(user)
        return Call(f"{self._name} unasked", token, user, self._or_unasked, self._header)

    def inactive(self) -> Call:
        token = f"inactive-{secrets.token_hex(8)}"
        return Call("inactive", token, None, self._bad | {503}, self._header)

    def forged(self) -> Call:
        token = self._stranger.token(claims(self._fake.issuer, sub="admin"))
        return Call("forged", token, None, self._bad)

    def expired(self) -> Call:
        now = int(time.time())
        token = self._fake.token(sub="admin", iat=now - 1200, exp=now - 600)
        return Call("expired", token, None, self._bad)

    def missing(self) -> Call:
        return Call("missing", None, None, self._bad)

    def all(self) -> list[Caller]:
        return [*self.good(), self.forged, self.expired, self.inactive, self.missing]

    def good(self) -> list[Caller]:
        return [self.known, self.new, self.asked, self.unasked]

    def _opaque(self, user: str) -> str:
        token = f"opaque-{user}"
        self._fake.active[token] = {"sub": user, "aud": AUDIENCE}
        return token


def wait_for_recovery(envoy: Envoy, bags: Iterable[Tokens], seconds: float) -> None:
    """Until all that is good is let in on every worker, each of which has caches of its own.

    To be called while nobody else has a connection: that is how the workers are told apart.
    """
    active = r"listener\..*\.worker_\d+\.downstream_cx_active"

    def with_each_worker() -> bool:
        connections.append(stack.enter_context(envoy.http1()))
        return all(envoy.stats(active).values())

    def is_let_in(call: Call, connection: Http1) -> bool:
        connection.send(call.data())
        response = connection.receive()
        wrong = call.wrong(response)
        last.append(f"{call.kind}: {response.status}, {wrong}, {response.body[:200]!r}")
        return response.status == 200 and not wrong

    def well_again() -> bool:
        callers = (caller for bag in bags for caller in bag.good())
        return all(is_let_in(caller(), each) for caller in callers for each in connections)

    bags, last = list(bags), [""]
    scene.poll(lambda: not any(envoy.stats(active).values()), "the last connection to close", 5)
    with contextlib.ExitStack() as stack:
        connections: list[Http1] = []
        scene.poll(with_each_worker, "a connection to each worker", 5)
        try:
            scene.poll(well_again, "recovery without help", seconds)
        except scene.SceneError as error:
            raise AssertionError(f"{error}: {last[-1]}") from error


def turns(*callers: Caller) -> Caller:
    """One caller in place of several, in turn: threads are dear."""
    ring = itertools.cycle(callers)
    return lambda: next(ring)()
