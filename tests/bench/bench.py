#!/usr/bin/env python3
"""What the filter costs, measured in a real Envoy beside Envoy's own filters: `make bench`.

One Envoy with one worker on one core; wrk, and all that Envoy calls, on another. The scenarios take
turns, round after round, so that what slows the machine down for a while slows all of them down.
Writes docs/performance.md and docs/performance.svg.

    python3 tests/bench/bench.py             the whole run, twelve minutes
    python3 tests/bench/bench.py --quick     a look, two minutes; writes to .tools/bench/quick
    python3 tests/bench/bench.py --report    only writes the report of the last run again
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import gzip
import http.client
import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "envoy"), str(HERE.parent.parent / "envoy")]

import module_size  # noqa: E402
import report  # noqa: E402
import scene  # noqa: E402
from clients import Http2  # noqa: E402
from fake_provider import FakeProvider, Reply, Request  # noqa: E402
from mint import (  # noqa: E402
    AUDIENCE,
    DIRECTORY,
    ISSUER,
    Mint,
    TokenFile,
    open_mint,
)
from scenarios import (  # noqa: E402
    CALL,
    EMPTY_FILTER,
    ENDPOINT,
    ORIGIN,
    OURS,
    Scenario,
    bootstrap,
    listeners,
    oidc,
    opaque_provider,
    provider,
    scenarios,
    second,
    wasm,
)

UNTOLD = 22 * 32  # the filter tells fast counters in lots of 32, and at most twenty-two of a run have it
CONNECTIONS = 32  # to find the most that Envoy does; for latency there is one
SIMULTANEOUS = 1000
WORKERS = (1, 2, 4)
SETTLING = 2  # seconds in which V8 compiles again what was called
GIVING_BACK = 8  # seconds in which Envoy gives memory back, 10 MiB in each
WASM_OPT = ["-O3", "--enable-simd", "--enable-bulk-memory", "--enable-sign-ext"]
WASM_OPT += ["--enable-mutable-globals", "--enable-nontrapping-float-to-int"]


@dataclasses.dataclass(frozen=True)
class Effort:
    """How long everything is measured."""

    rounds: int = 5
    seconds: int = 2  # of each scenario in each round; one to warm up, and one for latency
    latency_rounds: int = 5
    starts: int = 5
    forgeries: int = 1_000_000
    proofs: int = 300_000  # for the scenario with a bound token
    spent: int = 1_000_000  # to see whether they take memory
    fills: tuple[int, ...] = (10_000, 25_000, 100_000)


QUICK = Effort(
    rounds=2, seconds=1, latency_rounds=1, starts=1, forgeries=50_000, proofs=60_000, spent=100_000, fills=(10_000, 25_000)
)


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def check(condition: bool, what: str) -> None:
    """A scenario that doesn't do what it says would be measured for nothing."""
    if not condition:
        raise scene.SceneError(f"not as expected: {what}")


# ---------------------------------------------------------------------------------------- the cores


@dataclasses.dataclass(frozen=True)
class Cores:
    """One for the Envoy that is measured, one for everything else."""

    envoy: int
    load: int

    @classmethod
    def choose(cls) -> Cores:
        mine = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        if len(mine) < 2:
            raise scene.SceneError("two cores are needed, and Linux, which can keep them apart")
        # All of this program's threads and children, unless told otherwise.
        os.sched_setaffinity(0, {mine[-1]})
        return cls(mine[0], mine[-1])

    @contextlib.contextmanager
    def with_children_on(self, *cores: int) -> Iterator[None]:
        """Processes that are started in here stay on these cores."""
        os.sched_setaffinity(0, set(cores))
        try:
            yield
        finally:
            os.sched_setaffinity(0, {self.load})


# ------------------------------------------------------------------------------------------- Envoy


def status_of(
    port: int, token: str | None = None, proof: str | None = None, call: Sequence[tuple[str, str]] = ()
) -> int:
    """The answer to one request; with these headers, to a call of a tool."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        headers = {"Authorization": f"{'DPoP' if proof else 'Bearer'} {token}"} if token else {}
        if proof:
            headers["DPoP"] = proof
        if call:
            connection.request("POST", ENDPOINT, CALL, headers | dict(call))
        else:
            connection.request("GET", "/orders/1", headers=headers)
        return connection.getresponse().status
    finally:
        connection.close()


class Envoy(scene.EnvoyProcess):
    """A real Envoy, and what it has used up."""

    def __init__(self, cores: Cores, config: str, directory: Path, workers: int = 1) -> None:
        on = (cores.envoy,) if workers == 1 else (cores.envoy, cores.load)
        with cores.with_children_on(*on):
            super().__init__(config, directory, workers, log_levels="wasm:warning")
        self.listening = self.ports()

    def url(self, listener: str, path: str = "/orders/1") -> str:
        return f"http://127.0.0.1:{self.listening[listener]}{path}"

    def status(self, listener: str, *credentials: str | None, call: Sequence[tuple[str, str]] = ()) -> int:
        return status_of(self.listening[listener], *credentials, call=call)

    def counters(self, pattern: str = "wasmcustom") -> dict[str, int]:
        stats = json.loads(self.admin(f"/stats?format=json&filter={pattern}"))["stats"]
        return {stat["name"]: stat["value"] for stat in stats if "name" in stat}

    def counted(self, *words: str) -> int:
        """The sum of the filter's counters with all these words in their names."""
        found = self.counters()
        return sum(count for name, count in found.items() if all(word in name for word in words))

    def rss(self) -> int:
        """Resident memory, in bytes."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) * 1024

    def machine_code(self) -> int:
        """Resident memory that holds code which was made at run time, in bytes."""
        maps = re.split(r"(?m)^(?=[0-9a-f]+-[0-9a-f]+ )", Path(f"/proc/{self.pid}/smaps").read_text())
        made = [part for part in maps if re.match(r"\S+ rwxp \S+ \S+ 0\s*\n", part)]
        return sum(int(re.search(r"^Rss:\s+(\d+) kB", part, re.MULTILINE)[1]) for part in made) * 1024

    def allocated(self) -> int:
        """What is in use of the memory that Envoy's allocator has, in bytes."""
        return int(json.loads(self.admin("/memory"))["allocated"])

    def cpu(self) -> float:
        """Seconds of processor time so far, of all threads."""
        threads = Path(f"/proc/{self.pid}/task").glob("*/schedstat")
        return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9


# --------------------------------------------------------------------------------------------- wrk


@dataclasses.dataclass
class Load:
    """What wrk saw, and what it cost Envoy."""

    requests: int
    seconds: float
    p50: int  # microseconds
    p99: int
    cpu: float

    @property
    def rate(self) -> float:
        return self.requests / self.seconds


def wrk(
    url: str,
    seconds: int,
    connections: int,
    credentials: str | None,
    *script: str,
    headers: Sequence[tuple[str, str]] = (),
) -> dict[str, Any]:
    """One run of wrk; `script` are arguments of load.lua. Every answer must be as wanted."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(HERE / "load.lua")]
    for name, value in [("User-Agent", "bench"), ("Accept", "*/*"), *headers]:
        command += ["-H", f"{name}: {value}"]
    if credentials:
        command += ["-H", f"Authorization: {credentials}"]
    ran = subprocess.run([*command, url, "--", *script], capture_output=True, text=True)
    lines = [line for line in ran.stdout.splitlines() if line.startswith("{")]
    if ran.returncode or not lines:
        raise scene.SceneError(f"wrk failed:\n{ran.stdout}{ran.stderr}")
    return json.loads(lines[-1])


def measure(envoy: Envoy, scenario: Scenario, seconds: int, connections: int) -> Load:
    hits, before = envoy.counted("token_cache", "hit"), envoy.cpu()
    script: list[str] = []
    credentials = f"Bearer {scenario.token}" if scenario.token else None
    if file := scenario.file:
        script = [f"tokens={file.path}", f"offset={file.offset}"]
    if scenario.bound:
        script[0] = f"proofs={file.path}"
        credentials = f"DPoP {scenario.bound}"
    url, headers = envoy.url(scenario.listener), scenario.headers
    if scenario.is_call:
        url = envoy.url(scenario.listener, ENDPOINT)
        script.append(f"body={CALL}")
    seen = wrk(url, seconds, connections, credentials, *script, headers=headers)
    cpu = envoy.cpu() - before
    if file:
        file.use(seen["requests"], connections)
    if scenario.bound:
        check(file.offset < file.count, f"{scenario.title}: {file.count} proofs were too few")
    elif file:
        # What the run before left on its way may still have been counted, and what each listener's
        # filter had counted but not told.
        hits = envoy.counted("token_cache", "hit") - hits
        check(hits <= CONNECTIONS + UNTOLD, f"{scenario.title}: {hits} tokens were in the cache")
    failed = seen["bad"] + seen["broken"]
    check(failed == 0, f"{scenario.title}: {failed} of {seen['requests']} requests failed")
    return Load(seen["requests"], seen["microseconds"] / 1e6, seen["p50"], seen["p99"], cpu)


def send(envoy: Envoy, listener: str, count: int, *script: str, good: bool) -> None:
    """So many requests, and a few more that are on their way; all succeed, or none does."""
    seen = wrk(envoy.url(listener), 600, CONNECTIONS, None, *script, f"count={count}")
    wanted = 0 if good else count
    check(seen["bad"] == wanted, f"{seen['bad']} of {count} requests failed, {wanted} should have")


def send_tokens(envoy: Envoy, listener: str, file: TokenFile, count: int) -> None:
    script = [f"tokens={file.path}", f"offset={file.offset}"]
    send(envoy, listener, count, *script, good=True)
    file.use(count, CONNECTIONS)


# ---------------------------------------------------------------------------------------- the parts


@contextlib.contextmanager
def opaque_tokens_of(*tokens: str, delay: float = 0.0) -> Iterator[FakeProvider]:
    """A provider that knows these tokens, after some thought."""
    known = {"iss": ISSUER, "aud": AUDIENCE, "sub": "248289761001", "client_id": "s6BhdRkqt3"}
    known |= {"scope": "openid profile orders:read", "exp": int(time.time()) + 24 * 3600}
    with FakeProvider() as idp:
        idp.active |= dict.fromkeys(tokens, known)

        def introspect(request: Request) -> Reply:
            found = idp.active.get(request.form.get("token", ""))
            return Reply.json({"active": bool(found), **(found or {})}, delay=delay)

        idp.routes["/introspect"] = introspect
        yield idp


def throughput_and_latency(
    cores: Cores, effort: Effort, mint: Mint, directory: Path
) -> dict[str, Any]:
    opaque = secrets.token_urlsafe(32)
    with contextlib.ExitStack() as stack:
        idp = stack.enter_context(opaque_tokens_of(opaque))
        with cores.with_children_on(cores.load):
            other = stack.enter_context(scene.EnvoyProcess(second(), directory / "second"))
        clusters = {"idp": idp.port, **other.ports()}
        envoy = Envoy(cores, bootstrap(listeners(mint), clusters), directory / "envoy")
        stack.enter_context(envoy)
        say(f"making {effort.proofs} DPoP proofs")
        # From a future that the filter still takes, to last for longer.
        made = int(time.time()) + 240
        target = f"{ORIGIN}/orders/1"
        proofs = mint.proofs(directory / "proofs", target, effort.proofs, made)
        all_scenarios = scenarios(mint, opaque, proofs)
        for scenario in all_scenarios:
            check_scenario(envoy, idp, scenario)
        say(f"{len(all_scenarios)} scenarios do what they say; warming up")
        for scenario in all_scenarios:
            measure(envoy, scenario, 1, CONNECTIONS)
        loads: dict[str, list[Load]] = {scenario.key: [] for scenario in all_scenarios}
        for number in range(effort.rounds):
            say(f"throughput, round {number + 1} of {effort.rounds}")
            for scenario in turned(all_scenarios, number):
                loads[scenario.key].append(measure(envoy, scenario, effort.seconds, CONNECTIONS))
        calm: dict[str, list[Load]] = {scenario.key: [] for scenario in all_scenarios}
        for number in range(effort.latency_rounds):
            say(f"latency, round {number + 1} of {effort.latency_rounds}")
            for scenario in turned(all_scenarios, number):
                calm[scenario.key].append(measure(envoy, scenario, 1, 1))
        check(idp.count("/introspect") == 1, "an opaque token was asked about more than once")
        return {
            "scenarios": [
                {
                    "key": scenario.key,
                    "title": scenario.title,
                    "kind": scenario.kind,
                    "rates": [load.rate for load in loads[scenario.key]],
                    "cpu": [load.cpu / load.requests * 1e6 for load in loads[scenario.key]],
                    "busy": [load.cpu / load.seconds for load in loads[scenario.key]],
                    "p50": [load.p50 for load in calm[scenario.key]],
                    "p99": [load.p99 for load in calm[scenario.key]],
                }
                for scenario in all_scenarios
            ],
            "backends": {name: backend(envoy, name) for name in mint.files},
            "token lengths": {name: file.length for name, file in mint.files.items()},
            "connections": CONNECTIONS,
        }


def turned(items: list[Scenario], number: int) -> list[Scenario]:
    """Each round begins elsewhere: nobody always comes after the same neighbour's heat."""
    start = number * 5 % len(items)
    return items[start:] + items[:start]


def check_scenario(envoy: Envoy, idp: FakeProvider, scenario: Scenario) -> None:
    name, listener = scenario.title, scenario.listener
    call = scenario.headers if scenario.is_call else ()
    bare = envoy.status(listener)
    check(bare == (401 if scenario.protected else 200), f"{name}: {bare} without a token")
    line = scenario.token or scenario.file.take()
    token, proof = (scenario.bound, line) if scenario.bound else (line, None)
    asked, allowed = idp.count("/introspect"), envoy.counted("requests_total", "result=allowed")
    status = envoy.status(listener, token, proof, call=call)
    check(status == 200, f"{name}: {status} with a token")
    decided = envoy.counted("requests_total", "result=allowed") - allowed
    due = scenario.filters if scenario.kind == OURS else 0
    check(decided == due, f"{name}: {decided} requests allowed by the filter, not {due}")
    if scenario.key == "opaque":
        check(idp.count("/introspect") == asked + 1, f"{name}: the provider was not asked once")
        hits = envoy.counted("token_cache", "hit")
        envoy.status(listener, token)
        check(envoy.counted("token_cache", "hit") == hits + 1, f"{name}: not cached")
    if scenario.bound:
        check(envoy.status(listener, token, proof) == 401, f"{name}: the same proof again")
        check(envoy.status(listener, token) == 401, f"{name}: without a proof")
    if scenario.key.startswith("cold"):
        before = envoy.counted("verifications", scenario.file.algorithm)
        check(envoy.status(listener, scenario.file.take()) == 200, f"{name}: the next token")
        after = envoy.counted("verifications", scenario.file.algorithm)
        check(after == before + 1, f"{name}: {after - before} signatures verified")


def backend(envoy: Envoy, algorithm: str) -> str:
    """Who verified signatures of this algorithm."""
    found = [word for word in ("host", "wasm") if envoy.counted(f"alg={algorithm}", f"={word}")]
    check(len(found) == 1, f"signatures with {algorithm} were verified by {found}")
    return found[0]


@contextlib.contextmanager
def only_the_filter(cores: Cores, mint: Mint, directory: Path) -> Iterator[Envoy]:
    """A fresh Envoy with one listener, one worker, and the filter."""
    filters = {"oidc": [oidc("oidc", {"providers": [provider(mint)]})]}
    with Envoy(cores, bootstrap(filters, {}), directory) as envoy:
        check(envoy.status("oidc", mint.sample) == 200, "the first request")
        yield envoy


def memory_of_cached_tokens(
    cores: Cores, effort: Effort, mint: Mint, directory: Path
) -> list[dict[str, int]]:
    """Resident memory after the first request, and after so many different tokens."""
    # RS256 first: these tokens are the longest, and need the most memory.
    supply = {name: file.count - 2 * CONNECTIONS for name, file in mint.files.items()}
    with only_the_filter(cores, mint, directory) as envoy:
        found, sent = [{"tokens": 0, "rss": envoy.rss()}], 0
        for target in effort.fills:
            while sent < target:
                name = next(name for name, left in supply.items() if left)
                count = min(target - sent, supply[name])
                send_tokens(envoy, "oidc", mint.files[name], count)
                supply[name] -= count
                sent += count
            found.append({"tokens": sent, "rss": envoy.rss()})
        return found


def memory_under_forgeries(
    cores: Cores, effort: Effort, mint: Mint, directory: Path
) -> dict[str, Any]:
    """Resident memory while tokens come that nobody signed, no two alike."""
    chunk = effort.forgeries // 10
    with only_the_filter(cores, mint, directory) as envoy:
        sizes, started = [envoy.rss()], time.monotonic()
        for number in range(10):
            script = [f"forge={mint.forgery}", f"offset={number * (chunk + 10 * CONNECTIONS)}"]
            send(envoy, "oidc", chunk, *script, good=False)
            sizes.append(envoy.rss())
        refused = envoy.counted("requests_total", "reason=bad_signature")
        check(refused >= effort.forgeries, f"{refused} bad signatures counted")
        seconds = time.monotonic() - started
        return {"tokens": refused, "rss": sizes, "rate": effort.forgeries / seconds}


def memory_under_proofs(
    cores: Cores, effort: Effort, mint: Mint, directory: Path
) -> dict[str, Any]:
    """Resident memory while DPoP proofs come, each with a `jti` that nobody has seen."""
    chunks = 100  # each is sent long before its proofs are too old
    chunk = effort.spent // chunks
    directory.mkdir(exist_ok=True)
    dpop = {"origins": [ORIGIN], "nonce": "off"}
    filters = {"oidc": [oidc("oidc", {"providers": [provider(mint)], "dpop": dpop})]}
    with Envoy(cores, bootstrap(filters, {}), directory) as envoy:
        check(envoy.status("oidc", mint.sample) == 200, "the first request")
        sizes = [envoy.rss()]
        for number in range(chunks):
            made, first = int(time.time()) + 9, number * 2 * chunk
            several = chunk + 2 * CONNECTIONS  # some are on their way when the last answer comes
            file = mint.proofs(directory / "proofs", f"{ORIGIN}/orders/1", several, made, first)
            credentials = f"DPoP {mint.bound}"
            script = [f"proofs={file.path}", "offset=0", f"count={chunk}"]
            seen = wrk(envoy.url("oidc"), 600, CONNECTIONS, credentials, *script)
            check(seen["bad"] == 0, f"{seen['bad']} of {chunk} proofs were refused")
            sizes.append(envoy.rss())
        # A fast machine makes more than there is room for: then the oldest are forgotten, and the newest pass.
        words = ("result=first", "result=window_shrunk")
        spent = sum(envoy.counted("dpop_proofs_total", word) for word in words)
        check(spent >= effort.spent - UNTOLD, f"{spent} proofs counted")
        return {"proofs": effort.spent, "rss": sizes}


def start_times(
    cores: Cores, effort: Effort, mint: Mint, directory: Path
) -> dict[str, list[float]]:
    """Seconds from the start of the process to the first 200, without a filter, and with each."""
    chains = {"without": [], **chains_of_one(mint)}
    found: dict[str, list[float]] = {name: [] for name in chains}
    for _ in range(effort.starts):
        for name, filters in chains.items():
            config = json.loads(bootstrap({"oidc": filters}, {}))
            found[name].append(start_time(cores, config, mint.sample, directory))
    return found


def chains_of_one(mint: Mint) -> dict[str, list[dict[str, Any]]]:
    """The filter by itself, and a module that does nothing."""
    ours = oidc("oidc", {"providers": [provider(mint)]})
    return {"with": [ours], "empty": [wasm("empty", EMPTY_FILTER, "")]}


def memory_at_rest(cores: Cores, mint: Mint, directory: Path) -> list[dict[str, Any]]:
    """Resident memory after the first request, by the number of workers."""
    found = []
    for workers in WORKERS:
        run: dict[str, Any] = {"workers": workers}
        for name, filters in chains_of_one(mint).items():
            config = bootstrap({"oidc": filters}, {})
            with Envoy(cores, config, directory / f"{name}-{workers}", workers) as envoy:
                check(envoy.status("oidc", mint.sample) == 200, "the first request")
                time.sleep(SETTLING)
                run[name] = envoy.rss()
                if workers == 1:
                    run[f"{name} parts"] = {"allocated": envoy.allocated(), "code": envoy.machine_code()}
        found.append(run)
    found[0]["released"] = memory_given_back(cores, mint, directory / "released")
    return found


def memory_given_back(cores: Cores, mint: Mint, directory: Path) -> int:
    """Resident memory after the first request, where Envoy is told to give back what it does not use."""
    config = json.loads(bootstrap({"oidc": chains_of_one(mint)["with"]}, {}))
    config["memory_allocator_manager"] = {"bytes_to_release": 10 << 20, "memory_release_interval": "1s"}
    with Envoy(cores, json.dumps(config), directory) as envoy:
        check(envoy.status("oidc", mint.sample) == 200, "the first request")
        time.sleep(GIVING_BACK)
        return envoy.rss()


def start_time(cores: Cores, config: dict[str, Any], token: str, directory: Path) -> float:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    address = config["static_resources"]["listeners"][0]["address"]["socket_address"]
    address["port_value"] = port
    directory.mkdir(exist_ok=True)
    path = directory / "envoy.yaml"
    path.write_text(json.dumps(config))
    command = [scene.envoy_binary(), "--config-path", str(path), "--concurrency", "1"]
    command += ["--disable-hot-restart", "--log-level", "warning"]

    def answered() -> bool:
        with contextlib.suppress(OSError):
            return status_of(port, token) == 200
        return False

    started = time.monotonic()
    with cores.with_children_on(cores.envoy):
        process = scene.Process("envoy", command, directory / "envoy.log")
    with process:
        process.wait_for(answered, "its first answer")
        return time.monotonic() - started


def provider_calls(cores: Cores, directory: Path) -> list[dict[str, Any]]:
    """What a provider sees when a thousand requests come at once."""
    found = []
    for workers in (1, 2):
        one, *many = [secrets.token_urlsafe(32) for _ in range(SIMULTANEOUS + 1)]
        with opaque_tokens_of(one, *many, delay=2.0) as idp:
            filters = {"oidc": [oidc("oidc", {"providers": [opaque_provider()]})]}
            config = bootstrap(filters, {"idp": idp.port})
            with Envoy(cores, config, directory / f"{workers}", workers) as envoy:
                for name, tokens in (("one", [one] * SIMULTANEOUS), ("many", many)):
                    idp.requests.clear()
                    answers = all_at_once(envoy.listening["oidc"], tokens)
                    calls = idp.count("/introspect")
                    run = {"workers": workers, "tokens": name, "calls": calls, "answers": answers}
                    found.append(run)
                    if set(answers) != {"200"}:
                        say(f"{run}\n{envoy.output()}")
    return found


def all_at_once(port: int, tokens: list[str]) -> dict[str, int]:
    """One request with each token, all under way before the first is answered: statuses."""
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(Http2(port)) for _ in range(20)]
        waiting = []
        for number, token in enumerate(tokens):
            connection = connections[number % len(connections)]
            headers = [("authorization", f"Bearer {token}")]
            waiting.append((connection, connection.start("/orders/1", headers)))
        statuses = [str(connection.receive(stream).status) for connection, stream in waiting]
    return {status: statuses.count(status) for status in sorted(set(statuses))}


def module_sizes() -> dict[str, int | None]:
    """As built, as an image weighs it, and as a deployment may ship it."""
    module = scene.MODULE.read_bytes()
    packed = len(gzip.compress(module, compresslevel=9, mtime=0))
    sizes: dict[str, int | None] = {"raw": len(module), "gzip": packed, "optimised": None}
    if shutil.which("wasm-opt"):
        with tempfile.NamedTemporaryFile(suffix=".wasm") as file:
            subprocess.run(["wasm-opt", *WASM_OPT, str(scene.MODULE), "-o", file.name], check=True)
            sizes["optimised"] = Path(file.name).stat().st_size
    return sizes


def machine() -> dict[str, str]:
    cpu = Path("/proc/cpuinfo").read_text()
    model = re.search(r"^model name\s*:\s*(.*)$", cpu, re.MULTILINE)
    system = re.search(r'^PRETTY_NAME="(.*)"$', Path("/etc/os-release").read_text(), re.MULTILINE)
    virtual = re.search(r"^flags.*\bhypervisor\b", cpu, re.MULTILINE)
    version = subprocess.run([scene.envoy_binary(), "--version"], capture_output=True, text=True)
    return {
        "date": time.strftime("%Y-%m-%d"),
        "cpu": (model[1] if model else "unknown") + (", a virtual machine" if virtual else ""),
        "cores": str(os.cpu_count()),
        "system": system[1] if system else "unknown",
        "envoy": re.search(r"version: \w+/([\d.]+)/", version.stdout)[1],
        "wrk": subprocess.run(["wrk", "-v"], capture_output=True, text=True).stdout.split()[1],
    }


# ------------------------------------------------------------------------------------------- main


def run(effort: Effort, mint: Mint) -> dict[str, Any]:
    cores, started = Cores.choose(), time.monotonic()
    # First what may fail at once, so that it does.
    facts = {"sizes": module_sizes(), "machine": machine(), "effort": dataclasses.asdict(effort)}
    facts["parts"] = module_size.parts(DIRECTORY / "named.wasm")
    with tempfile.TemporaryDirectory(prefix="oidc-filter-bench-") as name:
        directory = Path(name)
        value = throughput_and_latency(cores, effort, mint, directory)
        say("calls that a provider sees")
        value["provider"] = provider_calls(cores, directory)
        say("start")
        value["start"] = start_times(cores, effort, mint, directory / "start")
        say("memory at rest")
        value["rest"] = memory_at_rest(cores, mint, directory)
        say("memory of cached tokens")
        value["cached"] = memory_of_cached_tokens(cores, effort, mint, directory / "cached")
        say(f"memory while {effort.forgeries:,} forged tokens come")
        value["forged"] = memory_under_forgeries(cores, effort, mint, directory / "forged")
        say(f"memory while {effort.spent:,} DPoP proofs come")
        value["proofs"] = memory_under_proofs(cores, effort, mint, directory / "spent")
    value |= facts
    say(f"measured in {time.monotonic() - started:.0f} s")
    return value


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a look, not a measurement")
    parser.add_argument("--report", action="store_true", help="write the last report again")
    arguments = parser.parse_args()
    results = DIRECTORY / ("quick.json" if arguments.quick else "results.json")
    target = DIRECTORY / "quick" if arguments.quick else scene.ROOT / "docs"
    try:
        if not arguments.report:
            if not shutil.which("wrk"):
                raise scene.SceneError("wrk is not there; this gets it: apt-get install wrk")
            effort = QUICK if arguments.quick else Effort()
            results.write_text(json.dumps(run(effort, open_mint(say)), indent=1))
        if not results.exists():
            raise scene.SceneError("there is no run to report")
        target.mkdir(exist_ok=True)
        print(report.write(json.loads(results.read_text()), target, arguments.quick))
    except scene.SceneError as error:
        say(f"bench.py: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
