#!/usr/bin/env python3
"""Millions of requests of every kind, through a real Envoy: `make soak SOAK_REQUESTS=10000000`.

It ends with 0 only if each request got the one answer that is right, the filter's counters and
Envoy's say the same as the clients', the virtual machines are those of the start, and the memory of
the process no longer grows. Clients that leave in the middle are among the others.

`SOAK_ONLY=proofs SOAK_REQUESTS=1000000` sends as many DPoP proofs, each with a `jti` of its own, and
`SOAK_ONLY=assertions` as many new tokens, for each of which an assertion is signed; nothing else comes
between them.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import dataclasses
import json
import multiprocessing
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "envoy"), str(HERE.parent.parent / "envoy")]

import scene  # noqa: E402
from cryptography.hazmat.primitives import serialization  # noqa: E402
from crowd import KINDS, KNOWN, ORIGIN, Task, opaque, visit  # noqa: E402
from fake_provider import FakeProvider, Reply, Request  # noqa: E402
from harness import Bootstrap, Envoy, config, provider_entry  # noqa: E402
from tokens import AUDIENCE, Key  # noqa: E402

CACHE_ENTRIES = 56_000  # of each worker: src/filter/facts.rs
PROOFS = 262_144  # that are remembered: `dpop.replay.capacity`
GROWTH = 2 << 20  # bytes, over the second half
RESERVE = 16 << 20  # bytes that the allocator may keep more, after a moment when much was going on
SAMPLES = 20
SLOW = 0.3  # seconds that those who leave don't wait
SETTLE_SECONDS = 30.0  # the filter tells the rest of its counters within ten


def say(line: str) -> None:
    print(line, flush=True)


# ------------------------------------------------------------------------------------------- scene


@dataclasses.dataclass(frozen=True)
class Alone:
    """One kind of request that comes alone: what is configured for it, and how many fill what there is to fill."""

    kind: str
    settings: dict[str, Any]
    fill: int  # of each worker; of all, where they share it
    is_shared: bool = False

    def filling(self, workers: int) -> int:
        return (self.fill if self.is_shared else self.fill * workers) * 5 // 4


# RFC 7515, appendix A.3.1: no secret.
P256 = {"kty": "EC", "crv": "P-256", "kid": "k", "d": "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"}
ASSERTION = {"issuer": "https://edge.example.com", "audience": "soak", "keys": P256}

ALONE = {
    "proofs": Alone("bound token, new proof", {"dpop": {"origins": [ORIGIN]}}, PROOFS, is_shared=True),
    "assertions": Alone("JWT, new", {"assertion": ASSERTION}, CACHE_ENTRIES),
}


def answers_itself(bootstrap: Bootstrap) -> None:
    """No service: Envoy answers 200, and says what a service would have seen as the identity.

    Every worker gets as many connections as any other, so that their caches fill alike.
    """
    (host,) = bootstrap.hcm["route_config"]["virtual_hosts"]
    seen = {"key": "x-seen-user", "value": "%REQ(x-user)%"}
    route = {"match": {"prefix": "/"}, "direct_response": {"status": 200}}
    host["routes"] = [route | {"response_headers_to_add": [{"header": seen}]}]
    bootstrap.listener["connection_balance_config"] = {"exact_balance": {}}
    bootstrap.hcm["access_log"] = []


def filter_config(idp: FakeProvider, slow: FakeProvider, more: dict[str, Any]) -> dict[str, Any]:
    own = provider_entry(idp, name="idp", jwks={"cooldown": "5s"})
    own["introspection"] |= {"cache": "20s", "negative_cache": "10s"}
    late = provider_entry(slow, name="slow", cluster="slow", validation="introspection")
    return config(
        idp,
        providers=[own, late],
        access_token=[
            {"location": "header", "key": "Authorization", "provider": "idp"},
            {"location": "cookie", "key": "token", "provider": "idp"},
            {"location": "header", "key": "x-slow", "provider": "slow"},
        ],
        claim_headers=[{"header": "x-user", "claim": "sub"}],
        **more,
    )


@contextlib.contextmanager
def running(workers: int, more: dict[str, Any]) -> Iterator[tuple[Envoy, FakeProvider, FakeProvider]]:
    with FakeProvider(Key.make("ES256")) as idp, FakeProvider() as slow:
        known = {"iss": idp.issuer, "aud": AUDIENCE, "client_id": "soak"}
        idp.active = {opaque(n): known | {"sub": opaque(n)} for n in range(KNOWN)}

        def late(request: Request) -> Reply:
            active = request.form.get("token") == "known"
            known = {"sub": "late", "aud": AUDIENCE} if active else {}
            return Reply.json({"active": active, **known}, delay=SLOW)

        slow.routes["/introspect"] = late
        clusters = {"idp": idp.port, "slow": slow.port, "upstream": 1}
        with Envoy(
            filter_config(idp, slow, more),
            clusters,
            workers=workers,
            log_levels="wasm:warning",
            adjust=answers_itself,
        ) as envoy:
            yield envoy, idp, slow


# --------------------------------------------------------------------------------- what is measured


class Memory(NamedTuple):
    """What the process has, and what of it is in use: all but what its allocator keeps in reserve."""

    resident: int
    used: int

    @classmethod
    def of(cls, envoy: Envoy) -> Memory:
        status = Path(f"/proc/{envoy.process.pid}/status").read_text()
        resident = int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) * 1024
        heap = {name: int(value) for name, value in json.loads(envoy.admin("/memory")).items()}
        return cls(resident, resident - heap["total_physical_bytes"] + heap["allocated"])

    def __str__(self) -> str:
        return f"{self.resident / 2**20:8.1f} MiB resident, {self.used / 2**20:8.1f} MiB in use"


def machines(envoy: Envoy) -> dict[str, int]:
    """Virtual machines: how many there are, how many were made or reloaded."""
    found = envoy.stats(r"^wasm\.envoy\.wasm\.runtime|vm_reload")
    return {name.rpartition(".")[2]: count for name, count in found.items()}


def decided(envoy: Envoy, *words: str) -> int:
    stats = envoy.stats("wasmcustom")
    return sum(count for name, count in stats.items() if all(word in name for word in words))


@dataclasses.dataclass
class Total:
    """What all processes saw together."""

    answered: collections.Counter[str]
    wrong: int
    left: int
    unexplained: list[str]
    seconds: float
    memory: list[Memory]

    @property
    def requests(self) -> int:
        return self.answered.total()


class Soak:
    """One Envoy, and crowds of clients one after the other."""

    def __init__(self, envoy: Envoy, idp: FakeProvider, slow: FakeProvider, clients: int) -> None:
        self._envoy, self._providers, self._clients = envoy, (idp, slow), clients
        self._crowds = 0
        self.calls = 0
        self.all = Total(collections.Counter(), 0, 0, [], 0.0, [])

    def crowd(self, requests: int, only: str | None = None, samples: int = 1) -> Total:
        """So many requests, spread over the processes."""
        # Not by fork: this process has threads, which are the providers.
        context = multiprocessing.get_context("spawn")
        results, tasks = context.Queue(), self._tasks(requests, only)
        counts = [context.Value("q", 0, lock=False) for _ in tasks]
        processes = [
            context.Process(target=visit, args=(task, count, results), daemon=True)
            for task, count in zip(tasks, counts, strict=True)
        ]
        started = time.monotonic()
        for process in processes:
            process.start()
        sizes: list[Memory] = []
        while any(process.is_alive() for process in processes) and results.qsize() < len(processes):
            time.sleep(0.1)
            self._forget()
            done = sum(count.value for count in counts)
            if done >= requests * (len(sizes) + 1) / samples:
                sizes.append(Memory.of(self._envoy))
                if samples > 1:
                    rate = done / (time.monotonic() - started)
                    say(f"  {done:>12,} {sizes[-1]} {rate:10,.0f}/s")
        found = [results.get(timeout=10) for _ in processes]
        for process in processes:
            process.join()
        total = Total(
            sum((one["answered"] for one in found), collections.Counter()),
            sum(one["wrong"] for one in found),
            sum(one["left"] for one in found),
            [line for one in found for line in one["unexplained"]],
            time.monotonic() - started,
            sizes,
        )
        self.all.answered += total.answered
        self.all.wrong += total.wrong
        self.all.left += total.left
        self.all.unexplained += total.unexplained
        return total

    def _tasks(self, requests: int, only: str | None) -> list[Task]:
        idp = self._providers[0]
        key = idp.keys[0].private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        self._crowds += 1
        return [
            Task(
                self._envoy.port,
                idp.issuer,
                key,
                idp.keys[0].kid,
                f"{self._crowds}-{number}",
                requests // self._clients,
                only,
            )
            for number in range(self._clients)
        ]

    def _forget(self) -> None:
        """The providers keep what they were asked; over millions of requests that is a lot."""
        for provider in self._providers:
            count = len(provider.requests)
            del provider.requests[:count]
            self.calls += count


# ------------------------------------------------------------------------------------------ verdict


def differences(envoy: Envoy, total: Total, signs: bool) -> list[str]:
    """Where the filter or Envoy has counted something else than the clients have."""
    wanted: collections.Counter[str] = collections.Counter()
    for kind in KINDS:
        word = kind.refusal.word.decode() if kind.refusal else "none"
        result = "denied" if kind.refusal else "allowed"
        wanted[f";result={result};reason={word};"] += total.answered[kind.name]
    # What is remembered beyond the room for it takes the place of something older, and is counted by another word.
    spent = [decided(envoy, "dpop_proofs_total", f"result={word}") for word in ("first", "window_shrunk")]
    looked_up = sum(total.answered[kind.name] for kind in KINDS if kind.has_token)
    found = []

    def compare(what: str, wanted: int, counted: int, leavers: int = 0) -> None:
        if not wanted <= counted <= wanted + leavers:
            found.append(f"{what}: counted {counted:,}, and not {wanted:,}")

    requests = {
        name: count
        for name, count in envoy.stats("wasmcustom").items()
        if "requests_total" in name and ";provider=slow" not in name
    }
    for labels, count in wanted.items():
        compare(labels, count, sum(n for name, n in requests.items() if labels in name))
    compare("all requests", total.requests, sum(requests.values()))
    # Of those who left, some were decided before Envoy noticed.
    compare("those who left", 0, decided(envoy, "requests_total", "provider=slow"), total.left)
    compare("looked up", looked_up, decided(envoy, "token_cache"), total.left)
    compare("proofs spent", total.answered["bound token, new proof"], sum(spent))
    by_envoy = envoy.stats(r"^http\.ingress\.downstream_rq_(2xx|4xx|5xx|completed|active)$")
    count = {name.rpartition("_")[2]: value for name, value in by_envoy.items()}
    let_in = sum(total.answered[kind.name] for kind in KINDS if not kind.refusal)
    compare("assertions", let_in if signs else 0, decided(envoy, "assertions_total"))
    compare("2xx", let_in, count["2xx"], total.left)
    compare("4xx", total.requests - let_in, count["4xx"], total.left)
    compare("5xx", 0, count["5xx"], total.left)
    compare("still open", 0, count["active"])
    return found


def judge(soak: Soak, envoy: Envoy, run: Total, before: dict[str, int], signs: bool) -> list[str]:
    """All that is wrong."""
    problems = []
    if soak.all.wrong:
        problems.append(f"{soak.all.wrong:,} unexplained answers:")
        problems += [f"  {line}" for line in soak.all.unexplained]
    deadline = time.monotonic() + SETTLE_SECONDS
    while (different := differences(envoy, soak.all, signs)) and time.monotonic() < deadline:
        time.sleep(1)
    problems += different
    if (after := machines(envoy)) != before:
        problems.append(f"virtual machines: {before} before, {after} after")
    problems += grown(run.memory)
    return problems


def grown(memory: list[Memory]) -> list[str]:
    """Whether the second half of the run needed more than the first."""
    half = len(memory) // 2
    if not half:
        return ["the run ended before its memory could be measured"]
    before, after = memory[:half], memory[half:]
    used = max(one.used for one in after) - max(one.used for one in before)
    resident = max(one.resident for one in after) - max(one.resident for one in before)
    say(f"growth in the second half   {Memory(resident, used)}")
    if used > GROWTH or resident > GROWTH + RESERVE:
        return [f"memory grew: {Memory(resident, used)}"]
    return []


def report(soak: Soak, run: Total, envoy: Envoy, before: dict[str, int]) -> None:
    say("\nkind                           answered   right answer")
    for kind in KINDS:
        if not run.answered[kind.name]:
            continue
        right = f"{kind.refusal.status.decode()} {kind.refusal.word.decode()}" if kind.refusal else "200"
        say(f"  {kind.name:<28} {run.answered[kind.name]:>10,}  {right}")
    say(f"  {'all':<28} {run.requests:>10,}")
    say(f"  {'left without an answer':<28} {run.left:>10,}\n")
    say(f"unexplained answers   {soak.all.wrong:,}")
    say(f"requests per second   {run.requests / run.seconds:,.0f}, over {run.seconds:,.0f} s")
    say(f"calls to providers    {soak.calls:,}")
    say(f"virtual machines      {before} before, {machines(envoy)} after")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=10_000_000)
    parser.add_argument("--workers", type=int, default=2, help="of Envoy")
    parser.add_argument("--clients", type=int, default=2, help="processes")
    parser.add_argument("--only", choices=sorted(ALONE), help="requests of this kind alone")
    given = parser.parse_args()
    alone = ALONE.get(given.only)
    try:
        with running(given.workers, alone.settings if alone else {}) as (envoy, idp, slow):
            soak = Soak(envoy, idp, slow, given.clients)
            say(f"at the start: {Memory.of(envoy)}")
            # Until all is full: from there on, nothing has a reason to grow.
            if alone:
                soak.crowd(alone.filling(given.workers), only=alone.kind)
            else:
                soak.crowd(CACHE_ENTRIES * given.workers * 5 // 4, only="JWT, new")
                soak.crowd(max(given.requests // 20, 20_000))
            if soak.all.wrong:
                raise scene.SceneError("while warming up: " + "\n".join(soak.all.unexplained))
            before = machines(envoy)
            say(f"warm, after {soak.all.requests:,} requests: {Memory.of(envoy)}")
            run = soak.crowd(given.requests, only=alone.kind if alone else None, samples=SAMPLES)
            report(soak, run, envoy, before)
            signs = alone is not None and "assertion" in alone.settings
            problems = judge(soak, envoy, run, before, signs)
    except scene.SceneError as error:
        say(f"soak.py: {error}")
        return 1
    for problem in problems:
        say(problem)
    say("FAILED" if problems else "passed")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
