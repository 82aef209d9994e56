"""What `make bench` found, as docs/performance.md and docs/performance.svg."""

from __future__ import annotations

import dataclasses
import html
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

MEBIBYTE = 1 << 20


@dataclasses.dataclass(frozen=True)
class Goal:
    """What was to be reached, and what was."""

    text: str
    measured: float | None
    bound: float
    at_least: bool
    shown: str

    @property
    def verdict(self) -> str:
        if self.measured is None:
            return "not measured"
        if self.at_least:
            met, distance = self.measured >= self.bound, self.measured / self.bound - 1
            return f"met{by(distance)}" if met else f"**not met**, {-distance:.1%} short"
        met, distance = self.measured <= self.bound, 1 - self.measured / self.bound
        return f"met{by(distance)}" if met else f"**not met**, {-distance:.1%} over"


@dataclasses.dataclass(frozen=True)
class Ratio:
    """A ratio of medians, and the least and the greatest ratio of one round."""

    value: float
    least: float
    most: float

    def __str__(self) -> str:
        return f"{self.value:.2f} ({self.least:.2f} to {self.most:.2f})"


class Results:
    """The figures of a run, and those that follow from them."""

    def __init__(self, value: dict[str, Any]) -> None:
        self.value = value
        self.scenarios: list[dict[str, Any]] = value["scenarios"]
        self.by_key = {scenario["key"]: scenario for scenario in self.scenarios}

    def ratio(self, key: str, other: str) -> Ratio:
        ours, theirs = self.by_key[key]["rates"], self.by_key[other]["rates"]
        each = [a / b for a, b in zip(ours, theirs, strict=True)]
        median = statistics.median(ours) / statistics.median(theirs)
        return Ratio(median, min(each), max(each))

    def p99(self, key: str) -> float:
        """Of the calmest round: what else the machine does can only add to it."""
        return min(self.by_key[key]["p99"])

    def cpu(self, key: str) -> float:
        return statistics.median(self.by_key[key]["cpu"])

    def growth(self) -> tuple[int, int]:
        """Of resident memory under forged tokens: in the first tenth, and after it."""
        sizes = self.value["forged"]["rss"]
        return sizes[1] - sizes[0], max(sizes[1:]) - sizes[1]

    def growth_of_proofs(self) -> int:
        """Of resident memory, once as many proofs are remembered as ever will be."""
        sizes = self.value["proofs"]["rss"]
        half = len(sizes) // 2
        return max(sizes[half:]) - sizes[half]

    def calls(self, workers: int, tokens: str) -> dict[str, Any]:
        of = self.value["provider"]
        return next(run for run in of if (run["workers"], run["tokens"]) == (workers, tokens))


# Allocators keep some pages and give others back; a leak of one byte per token would be a megabyte.
NO_GROWTH = 1 * MEBIBYTE


def goals(results: Results) -> list[Goal]:
    def at_least(text: str, key: str, other: str, bound: float) -> Goal:
        ratio = results.ratio(key, other)
        return Goal(f"{text} ≥ {bound}", ratio.value, bound, True, f"{ratio}")

    size = results.value["sizes"]["gzip"]
    start = statistics.median(results.value["start"]["with"])
    alone = results.value["rest"][0]
    memory = alone["with"] - alone["empty"]
    growth = results.growth()[1]
    count = results.value["forged"]["tokens"]
    added = (results.p99("jwt") - results.p99("none")) / 1000
    # PS256 is RS256 with more hashing, and the module verifies it by itself.
    by_itself = (results.cpu("cold-PS256") - results.cpu("none")) / 1000
    signed = results.cpu("cold-assertion") - results.cpu("cold-RS256")
    runs = [run["answers"] for run in results.value["provider"]]
    good, asked = sum(run.get("200", 0) for run in runs), sum(sum(run.values()) for run in runs)
    most = max(results.calls(workers, "one")["calls"] / workers for workers in (1, 2))
    return [
        at_least("warm JWT to an empty Wasm filter", "jwt", "empty", 0.88),
        at_least("warm JWT, three claim headers, to the same without outputs", "three", "jwt", 0.88),
        at_least("warm JWT, metadata, to the same without outputs", "metadata", "jwt", 0.85),
        at_least("new RS256 token to jwt_authn", "cold-RS256", "native-RS256", 0.93),
        at_least("new ES256 token to jwt_authn", "cold-ES256", "native-ES256", 0.96),
        at_least("warm JWT with 5,000 rules to one rule, 1.2 times the cost at most:", "rules-5000", "rules-1", 0.833),
        at_least(
            "bound token with a new ES256 proof to a new ES256 token without a binding, 1.25 times the cost at most:",
            "bound",
            "cold-ES256",
            0.8,
        ),
        at_least("warm opaque token to ext_authz", "opaque", "ext-authz", 3.0),
        at_least("warm JWT with an assertion to one with a claim header, 1.1 times the cost at most:", "assertion", "claim", 0.909),
        Goal("CPU that an ES256 assertion adds to a new RS256 token ≤ 50 µs", signed, 50, False, f"{signed:.1f} µs"),
        Goal("p99 that a warm request adds ≤ 0.15 ms", added, 0.15, False, f"{added:.3f} ms"),
        Goal(
            "CPU that a request with a new RSA-2048 token takes where the module verifies by itself ≤ 0.4 ms",
            by_itself,
            0.4,
            False,
            f"{by_itself:.2f} ms",
        ),
        Goal("module as `gzip -9` ≤ 550 kB", size, 550_000, False, kilobytes(size)),
        Goal("start to the first 200 ≤ 0.8 s", start, 0.8, False, f"{start:.2f} s"),
        Goal(
            "memory of a worker at rest beyond an empty module ≤ 25 MiB",
            memory,
            25 * MEBIBYTE,
            False,
            mebibytes(memory),
        ),
        Goal(
            f"growth of memory over {count:,} forged tokens, after warm-up: none (≤ 1 MiB)",
            growth,
            NO_GROWTH,
            False,
            mebibytes(growth),
        ),
        Goal(
            f"growth of memory over {results.value['proofs']['proofs']:,} DPoP proofs, after the first half: none (≤ 1 MiB)",
            results.growth_of_proofs(),
            NO_GROWTH,
            False,
            mebibytes(results.growth_of_proofs()),
        ),
        Goal(
            "calls for 1,000 simultaneous requests with one new opaque token: 1 per worker",
            most,
            1,
            False,
            f"{most:g} per worker",
        ),
        Goal(
            "those and 1,000 with as many new tokens: all answered 200",
            good,
            asked,
            True,
            f"{good:,} of {asked:,}",
        ),
    ]


def by(distance: float) -> str:
    return f", by {distance:.1%}" if 0 < distance < 1 else ""


def write(value: dict[str, Any], directory: Path, quick: bool) -> str:
    results = Results(value)
    text = markdown(results, quick)
    (directory / "performance.md").write_text(text)
    (directory / "performance.svg").write_text(chart(results))
    return text


# ---------------------------------------------------------------------------------------- Markdown


def markdown(results: Results, quick: bool) -> str:
    value, machine, effort = results.value, results.value["machine"], results.value["effort"]
    command = "make bench BENCH=--quick" if quick else "make bench"
    noise = "> **A quick look, not a measurement: these figures are noise.**\n\n" if quick else ""
    base = results.cpu("none")
    lengths = ", ".join(f"{n} ({name})" for name, n in value["token lengths"].items())
    backends = {"host": "Envoy's BoringSSL", "wasm": "the module itself"}
    verified = ", ".join(f"{name} by {backends[by]}" for name, by in value["backends"].items())
    warm_up, growth = results.growth()
    empty = results.ratio("empty", "native-cache")
    start = {name: statistics.median(times) for name, times in value["start"].items()}
    goal_rows = [[goal.text, goal.shown, goal.verdict] for goal in goals(results)]
    forged = value["forged"]["tokens"]
    return f"""\
# Performance

{noise}What the filter costs beside no filter, an empty one, and Envoy's own filters for the same
task. All of it comes from one run of one command, on {machine["date"]}:

```sh
{command}
```

![Requests per second](performance.svg)

## Goals

{table(["goal", "measured", "verdict"], goal_rows)}
A ratio is one of requests per second: of the medians over all rounds and, in brackets, the least
and the greatest of a single round. A filter in WebAssembly that does nothing reaches {empty} of
jwt_authn with its cache: 1.0 is out of reach for any of them.

{out_of_reach(results, start)}
{where_it_goes(results)}
## Requests per second and latency

{table(SCENARIO_HEADINGS, [scenario_row(one, base) for one in results.scenarios], numbers=True)}
*Requests/s* is the most that one worker does with {value["connections"]} connections: the median of
{effort["rounds"]} rounds of {effort["seconds"]} s, the least and the greatest. *CPU* is what a
request takes of Envoy's processor time, and what it takes more than without a filter. *Busy* is how
much of its core Envoy used: near 100 %, Envoy was the bottleneck, and not what asked it. *Latency*
is that of one connection that waits for each answer, in {effort["latency_rounds"]} rounds of 1 s: p50 is
their median, p99 that of the calmest, since what else the machine does can only add to it.

*Warm* is a token that was seen before. *New* is one that was not: these runs cycle through more
tokens than the filter's cache holds, and end with an error if one is found there. Who verified the
signatures for the filter: {verified}.

{messages(results)}

## Provider

Calls to introspection for 1,000 requests at the same time, over 20 HTTP/2 connections:

{table(["workers", "tokens", "calls", "answers"], [provider_row(run) for run in value["provider"]])}
## Memory

Resident memory of an Envoy with one worker and one listener, which has the filter:

{table(["after", "resident"], memory_rows(results), numbers=True)}
Beside a module that does nothing, after the first request:

{table(["workers", "the filter", "an empty module", "more"], [rest_row(run) for run in value["rest"]], numbers=True)}
The cache is bounded: when it is full, the least recently used tokens make room. Forged tokens have
a signature that fits another token, and never enter it. Over {forged:,} of them, no two alike,
memory grew by {mebibytes(warm_up)} in the first tenth, and by {mebibytes(growth)} at most from
there on.

## Module and start

{table(["what", "measured"], module_rows(value, start), numbers=True)}
V8 compiles the whole module before the first request, by its optimising compiler, on one thread: {compiling(value, start)} ms
for each kB. To read the configuration takes a few milliseconds: only less code makes the start shorter.

## How it was measured

- {machine["cpu"]}, {machine["cores"]} cores; {machine["system"]}; Envoy {machine["envoy"]};
  wrk {machine["wrk"]}.
- Envoy runs with one worker, and is bound to one core. wrk, with one thread, and all that Envoy
  calls are bound to another.
- All scenarios are listeners of one Envoy process, with the connection manager of
  [envoy/minimal.yaml](../envoy/minimal.yaml) and a route that answers 200 by itself. They take
  turns, a first one to warm up; each round begins elsewhere.
- Before anything is measured, each is checked: 200 with the token and 401 without, the filter's own
  counters, and the provider's count of introspections.
- HTTP/1.1 without TLS. Each request carries a token, also where nobody looks at it. The JWTs are
  {lengths} characters long.
- jwt_authn has the keys inline, checks issuer and audience, and leaves the token on the request, as
  the filter does. Its cache is larger than it needs to be.
- ext_authz asks the leanest authorizer at hand: a second Envoy, on the other core, that answers 200
  to any token by itself. The processor time that it takes is not counted.
- The module is the one that `make wasm` builds, without wasm-opt.
"""


def out_of_reach(results: Results, start: dict[str, float]) -> str:
    """Why some goals are not met, by how much each could be at most."""
    value, alone = results.value, results.value["rest"][0]
    none, calls = results.ratio("none", "ext-authz").value, results.ratio("calls", "empty").value
    allocated, code = (alone["with parts"][name] - alone["empty parts"][name] for name in ("allocated", "code"))
    more = alone["with"] - alone["empty"]
    return f"""\
## Why not all are met

- **Beside an empty filter**: one that makes the same host calls and nothing else reaches {calls:.2f}. What the filter does between them takes
  {results.cpu("jwt") - results.cpu("calls"):.1f} µs, of which the digest of the token is a fifth.
- **The callback for a response**: a module has it for all requests or for none. Where nothing waits for the response, it does nothing; that
  Envoy calls it is part of the host calls.
- **New tokens**: Envoy verifies the signatures of both. The filter reads, checks and keeps the claims in WebAssembly, and `jwt_authn` in native code:
  [where it goes](#where-it-goes).
- **Beside ext_authz**: a request without any filter reaches {none:.2f}. The goal is beyond what Envoy does.
- **Size**: the code of what the filter can do, in thousands of functions, of which the largest takes less than a hundredth:
  the table below has the parts.
- **Start**: V8 takes {compiling(value, start)} ms for each kB of the module, whatever the code is.
- **Memory**: of the {mebibytes(more)} that Envoy has more than with an empty module, {mebibytes(allocated)} are in use by V8 and Envoy for the
  module, {mebibytes(code)} are machine code, and the rest is what Envoy's allocator keeps of what compiling took. With
  `memory_allocator_manager: {{ bytes_to_release: 10485760, memory_release_interval: 1s }}` in its bootstrap, Envoy gives back
  {mebibytes(alone["with"] - alone["released"])}.
"""


def where_it_goes(results: Results) -> str:
    """What stands between the filter and the goals that it has not reached."""

    def step(text: str, key: str, before: str) -> list[str]:
        return [text, f"{results.cpu(key) - results.cpu(before):.1f}"]

    def bound(text: str, key: str) -> list[str]:
        return [text, *(f"{results.ratio(of, key).value:.2f}" for of in ("none", "empty", "calls", "jwt"))]

    warm = [
        ["the request itself, without a filter", f"{results.cpu('none'):.1f}"],
        step("Envoy's calls into the module, and the module's of Envoy: the headers, the clock, the mark for a safety net", "calls", "none"),
        step("the filter: reading and hashing the token, finding it, judging it, counting", "jwt", "calls"),
    ]
    def new_bound(name: str) -> list[str]:
        # With no more than the host calls, and a signature that takes what jwt_authn's takes.
        signature = results.cpu(f"native-{name}") - results.cpu("native-cache")
        most = results.cpu(f"native-{name}") / (results.cpu("calls") + signature)
        reached = results.ratio(f"cold-{name}", f"native-{name}").value
        return [f"jwt_authn with new {name} tokens", "", "", f"{most:.2f}", f"{reached:.2f}"]

    bounds = [
        bound("jwt_authn with its cache", "native-cache"),
        bound("an empty Wasm filter", "empty"),
        bound("ext_authz, with the same JWT", "ext-authz"),
        new_bound("RS256"),
        new_bound("ES256"),
    ]
    new = [
        [
            name,
            f"{results.cpu(f'native-{name}') - results.cpu('native-cache'):.1f}",
            f"{results.cpu(f'cold-{name}') - results.cpu('jwt'):.1f}",
        ]
        for name in results.value["token lengths"]
    ]
    sizes = part_sizes(results.value["parts"])
    libraries = sum(size for part, size in sizes.items() if part not in NOT_LIBRARIES)
    return f"""\
## Where it goes

A warm request, in microseconds of Envoy's processor, one thing after the other:

{table(["what", "CPU, µs"], warm, numbers=True)}
(A Wasm filter that does nothing takes {results.cpu("empty") - results.cpu("none"):.1f}: the SDK exports all callbacks, and Envoy
calls each. This module, and the one with the host calls only, export those that they need.)

So much is within reach of a filter in WebAssembly at all, in requests per second as a ratio:

{table(["to", "no filter at all", "filter that does nothing", "only the host calls", "oidc-filter"], bounds, numbers=True)}
(With new tokens: were their signatures as cheap as jwt_authn's, and all else but the host calls free.)

What a new token costs beyond a known one: its signature, and decoding, reading and keeping the claims. With RS256 and
ES256 the signature is verified by the same code, Envoy's BoringSSL; all the rest is native code there and WebAssembly
here. With PS256 and EdDSA the signature is verified in WebAssembly, too.

{table(["algorithm", "jwt_authn, µs", "oidc-filter, µs"], new, numbers=True)}
The code of the module, before wasm-opt:

{table(["part", "size"], [[part, kilobytes(size)] for part, size in sizes.items()], numbers=True)}
(All but the filter's own parts and the tables: {kilobytes(libraries)}.)
"""


def messages(results: Results) -> str:
    """What it takes to judge a message to an MCP server."""
    rows = [
        ["by its headers alone (`source: headers`)", "mcp-header"],
        ["by its body", "mcp-body"],
        ["by its headers and its body, which are compared (2026-07-28)", "mcp-both"],
        ["by its body, with the module for `filter_lists`", "mcp-lists"],
    ]
    rows = [
        [text, f"{results.cpu(key) - results.cpu('post'):.1f}", f"{results.ratio(key, 'post')}"] for text, key in rows
    ]
    return f"""\
## Messages to an MCP server

A `tools/call` of 2 kB, beside the same POST to a filter without `mcp`, which takes {results.cpu("post"):.1f} µs of Envoy's
processor ({results.cpu("post-none"):.1f} without any filter):

{table(["judged", "more CPU, µs", "requests/s to that"], rows, numbers=True)}
A service that reads each request to its end answers: another Envoy on the other core."""


CRYPTOGRAPHY = (
    "blake3 cmov const_oid crypto_bigint crypto_common ctutils curve25519_dalek der digest ecdsa ed25519_dalek"
    " elliptic_curve hmac p256 p384 p521 pkcs8 primefield primeorder rfc6979 rsa sec1 sha2 signature spki subtle wnaf"
)
FILTER, CONFIGURATION, TABLES = "the filter", "the filter, reading its configuration", "tables, constants"
PARTS = {
    "cryptography": CRYPTOGRAPHY.split(),
    "Rust's standard library": ["alloc", "core", "foldhash", "hashbrown", "std", "no crate's"],
    "JSON": ["itoa", "ryu", "serde", "serde_core", "serde_json", "zmij"],
    "URLs": ["form_urlencoded", "idna", "idna_adapter", "percent_encoding", "url"],
    "regular expressions": ["regex_lite"],
    TABLES: ["data, tables"],
}
NOT_LIBRARIES = {FILTER, CONFIGURATION, TABLES}


def part_sizes(parts: dict[str, dict[str, int]]) -> dict[str, int]:
    """The module's parts in bytes, the largest first."""
    crates, own = dict(parts["crates"]), parts["own"]
    config = own.get("config", 0)
    crates["oidc_filter"] -= config
    sizes = {FILTER: crates.pop("oidc_filter"), CONFIGURATION: config}
    for name, members in PARTS.items():
        sizes[name] = sum(crates.pop(member, 0) for member in members)
    sizes["other crates"] = sum(crates.values())
    return dict(sorted(sizes.items(), key=lambda part: -part[1]))


def compiling(value: dict[str, Any], start: dict[str, float]) -> str:
    """Milliseconds that a kilobyte of the module adds to the start."""
    return f"{(start['with'] - start['empty']) * 1e6 / value['sizes']['raw']:.2f}"


SCENARIO_HEADINGS = [
    "scenario",
    "requests/s",
    "least to greatest",
    "CPU, µs",
    "more than none, µs",
    "busy",
    "p50, µs",
    "p99, µs",
]


def scenario_row(scenario: dict[str, Any], base: float) -> list[str]:
    rates = scenario["rates"]
    cpu, busy, p50 = (statistics.median(scenario[k]) for k in ("cpu", "busy", "p50"))
    p99 = min(scenario["p99"])
    return [
        scenario["title"],
        f"{statistics.median(rates):,.0f}",
        f"{min(rates):,.0f} to {max(rates):,.0f}",
        f"{cpu:.1f}",
        f"{cpu - base:.1f}" if scenario["key"] != "none" else "",
        f"{busy:.0%}",
        f"{p50:,.0f}",
        f"{p99:,.0f}",
    ]


def provider_row(run: dict[str, Any]) -> list[str]:
    tokens = {"one": "one new opaque token", "many": "1,000 new opaque tokens"}
    answers = ", ".join(f"{count:,} × {status}" for status, count in run["answers"].items())
    return [str(run["workers"]), tokens[run["tokens"]], f"{run['calls']:,}", answers]


def memory_rows(results: Results) -> list[list[str]]:
    value = results.value
    names = ["its start and one request"]
    names += [f"{one['tokens']:,} different valid tokens" for one in value["cached"][1:]]
    rows = [[n, mebibytes(one["rss"])] for n, one in zip(names, value["cached"], strict=True)]
    sizes, count = value["forged"]["rss"], value["forged"]["tokens"]
    proofs, spent = value["proofs"]["rss"], value["proofs"]["proofs"]
    return [
        *rows,
        ["another start and one request", mebibytes(sizes[0])],
        [f"{count // 10:,} different forged tokens", mebibytes(sizes[1])],
        [f"{count:,} different forged tokens", mebibytes(sizes[-1])],
        ["a third start and one request", mebibytes(proofs[0])],
        [f"{spent // 2:,} different DPoP proofs", mebibytes(proofs[len(proofs) // 2])],
        [f"{spent:,} different DPoP proofs", mebibytes(proofs[-1])],
    ]


def rest_row(run: dict[str, Any]) -> list[str]:
    ours, empty = run["with"], run["empty"]
    return [str(run["workers"]), mebibytes(ours), mebibytes(empty), mebibytes(ours - empty)]


def module_rows(value: dict[str, Any], start: dict[str, float]) -> list[list[str]]:
    sizes = value["sizes"]
    return [
        ["module, as built", kilobytes(sizes["raw"])],
        ["module, after `gzip -9`: what an image weighs", kilobytes(sizes["gzip"])],
        ["module, after `wasm-opt -O3`", kilobytes(sizes["optimised"])],
        ["start of Envoy to its first 200, without the filter", f"{start['without']:.2f} s"],
        ["start of Envoy to its first 200, with an empty module", f"{start['empty']:.2f} s"],
        ["start of Envoy to its first 200, with the filter", f"{start['with']:.2f} s"],
    ]


def table(headings: Sequence[str], rows: Sequence[Sequence[str]], numbers: bool = False) -> str:
    """With `numbers`, every column but the first is aligned to the right."""
    rules = ["---"] + ["---:" if numbers else "---"] * (len(headings) - 1)
    return "".join(f"| {' | '.join(row)} |\n" for row in [headings, rules, *rows])


def mebibytes(count: int) -> str:
    return f"{count / MEBIBYTE:.1f} MiB"


def kilobytes(count: int | None) -> str:
    return "not measured" if count is None else f"{count / 1000:,.0f} kB"


# ------------------------------------------------------------------------------------------- chart

WIDTH, LEFT, RIGHT = 800, 300, 80
TOP, STEP, BAR, BOTTOM = 84, 30, 18, 46
STYLE = """
    text { font: 13px system-ui, "Segoe UI", Helvetica, Arial, sans-serif; fill: #1f2328; }
    .title { font-size: 17px; font-weight: 600; }
    .quiet { fill: #59636e; }
    .grid { stroke: #d1d9e0; }
    .spread { stroke: #1f2328; stroke-width: 1.5; opacity: .55; }
    .none { fill: #9aa4af; }
    .native { fill: #5b8def; }
    .ours { fill: #1a9f6b; }
    @media (prefers-color-scheme: dark) {
      text { fill: #e6edf3; }
      .quiet { fill: #9198a1; }
      .grid { stroke: #3d444d; }
      .spread { stroke: #f0f6fc; }
      .none { fill: #6e7681; }
      .native { fill: #4f7fd9; }
      .ours { fill: #2ea878; }
    }
"""
KINDS = {"none": "baseline", "native": "Envoy's own", "ours": "oidc-filter"}


def chart(results: Results) -> str:
    """Horizontal bars, requests per second; a thin line from the least to the greatest round."""
    height = TOP + STEP * len(results.scenarios) + BOTTOM
    most = max(max(scenario["rates"]) for scenario in results.scenarios)
    tick = nice_step(most)
    scale = (WIDTH - LEFT - RIGHT) / most
    foot = TOP + STEP * len(results.scenarios)
    parts = ['<text class="title" x="20" y="32">Requests per second, one worker on one core</text>']
    x = 20.0
    for kind, name in KINDS.items():
        parts.append(f'<rect class="{kind}" x="{x:g}" y="48" width="12" height="12" rx="2"/>')
        parts.append(f'<text class="quiet" x="{x + 18:g}" y="59">{html.escape(name)}</text>')
        x += 40 + 7.2 * len(name)
    for number in range(int(most / tick) + 1):
        at = LEFT + number * tick * scale
        label = f"{number * tick:,}"
        parts.append(f'<line class="grid" x1="{at:.1f}" x2="{at:.1f}" y1="{TOP - 6}" y2="{foot}"/>')
        parts.append(
            f'<text class="quiet" x="{at:.1f}" y="{foot + 20}" text-anchor="middle">{label}</text>'
        )
    for row, scenario in enumerate(results.scenarios):
        parts += bar(scenario, TOP + STEP * row, scale)
    body = "\n  ".join(parts)
    return f"""\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">
  <title>Requests per second with each filter</title>
  <style>{STYLE}  </style>
  {body}
</svg>
"""


def bar(scenario: dict[str, Any], y: int, scale: float) -> list[str]:
    rates, middle, base = scenario["rates"], y + BAR / 2, y + BAR / 2 + 4.5
    median, least, most = statistics.median(rates), min(rates), max(rates)
    end, name = LEFT + most * scale, html.escape(label(scenario))
    return [
        f'<text x="{LEFT - 10}" y="{base:g}" text-anchor="end">{name}</text>',
        f'<rect class="{scenario["kind"]}" x="{LEFT}" y="{y}" width="{median * scale:.1f}"'
        f' height="{BAR}" rx="2"/>',
        f'<line class="spread" x1="{LEFT + least * scale:.1f}" x2="{end:.1f}"'
        f' y1="{middle:g}" y2="{middle:g}"/>',
        f'<text x="{end + 8:.1f}" y="{base:g}">{median:,.0f}</text>',
    ]


def label(scenario: dict[str, Any]) -> str:
    return scenario["title"].replace("every token new", "new tokens").replace(", no cache, ", ", ")


def nice_step(most: float) -> int:
    """So that there are four to eight lines."""
    return next(step for step in (500, 1000, 2000, 2500, 5000, 10_000, 20_000) if most / step <= 8)
