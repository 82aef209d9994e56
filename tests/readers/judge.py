"""The one statement: no reader sees an identity or token of the client's making."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from mutations import Headers, Sent
from programs import Filter, Outcome, Readers, Report, read_by_envoy

@dataclasses.dataclass(frozen=True)
class Names:
    """What the filter writes, and where it reads tokens, by place: two of each that are written, the second ones in base64url."""

    written: dict[str, tuple[str, str]]
    read: dict[str, tuple[str, ...]]

    def of(self, place: str) -> tuple[str, ...]:
        return self.written[place] + self.read[place]

    def outputs(self) -> dict[str, Any]:
        user_info = [{"key": self.written["header"][1], "claims": CLAIMS}, {"location": "metadata", "key": "claims", "claims": CLAIMS}]
        for location, place in (("cookie", "cookie"), ("query_string", "query")):
            for key, encoding in zip(self.written[place], ("uri", "base64url"), strict=True):
                user_info.append({"location": location, "key": key, "claims": CLAIMS, "encoding": encoding})
        return {"claim_headers": [{"header": self.written["header"][0], "claim": "sub"}], "user_info": user_info}

    def sources(self) -> list[dict[str, str]]:
        locations = {"header": "header", "cookie": "cookie", "query": "query_string"}
        return [{"location": locations[place], "key": key} for place, keys in self.read.items() for key in keys]


# The letters are those that change most under Unicode's case mapping.
USUAL = Names(
    {"header": ("x-user", "x-identity"), "cookie": ("identity", "user_id"), "query": ("who", "user_info")},
    {"header": ("authorization", "x-token"), "cookie": ("session",), "query": ("access_token",)},
)
# With signs in them, or of one letter.
ODD = Names(
    {"header": ("x_user.id", "u"), "cookie": ("__Host-id", "a.b"), "query": ("user.info", "_id")},
    {"header": ("authorization", "x!token"), "cookie": ("t",), "query": ("t",)},
)
PLACES = ("header", "cookie", "query")

SEMICOLONS = ("separator ;", "separator=;", "delimiter ;")
# Each word of a list is a parameter without a value to them, also in lists that are everybody's: `fields=id,who`.
COMMAS = ("delimiter /[&;,]/",)
HANDOFF = "x_oidc_metadata_"

CLAIMS = ["sub", "name", "email"]


@dataclasses.dataclass(frozen=True)
class Mode:
    """A configuration, and the client's own good part of a request."""

    result: str
    top: dict[str, Any] = dataclasses.field(default_factory=dict)
    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = ()
    # Another proxy asks about the request, and does as it is told.
    asks: bool = False
    # A rule says that tokens go on that nobody has looked at: all, or those that are none of ours.
    leaves: str = ""

    def request(self, sent: Sent, token: str, names: Names) -> Headers:
        """`sent` beside what belongs to the mode."""
        places = {place: keys[-1] for place, keys in names.read.items()}
        own = [(name.format(**places), value.format(token=token, **places)) for name, value in self.headers]
        queries = [value for name, value in own if name == ":query"]
        queries += [sent.query] if sent.query else []
        cookies = [value for name, value in own if name == "cookie"] + [*sent.cookies]
        path = ("/verify" if self.asks else "") + "/p" + ("?" + "&".join(queries) if queries else "")
        rest = [pair for pair in own if pair[0] not in (":query", "cookie")]
        return [
            (":method", self.method),
            (":scheme", "https"),
            (":authority", "api.example.com"),
            (":path", path),
            *rest,
            *((name, value) for name, value in sent.headers),
            *(("cookie", value) for value in cookies),
        ]


VERIFY = {"verify_path": "/verify", "verify_response_code": 200}
BYPASS = [{"match": {"path_prefix": "/"}, "bypass": True}]
BEARER = ("authorization", "Bearer {token}")
MODES = {
    "allowed": Mode("allowed", headers=(BEARER,)),
    "allowed, not forwarded": Mode("allowed", {"forward": False}, headers=(BEARER,)),
    "token in a cookie": Mode("allowed", headers=(("cookie", "{cookie}={token}"),)),
    "token in the query": Mode("allowed", headers=((":query", "{query}={token}"),)),
    "token in the query, not forwarded": Mode("allowed", {"forward": False}, headers=((":query", "{query}={token}"),)),
    "token in a header": Mode("allowed", headers=(("{header}", "{token}"),)),
    "missing": Mode("bypassed", {"allow_missing": True}),
    "stripped": Mode("stripped", {"enforce": False}, headers=(("authorization", "Bearer bad"),)),
    "stripped, missing": Mode("stripped", {"enforce": False}),
    "bypassed": Mode("bypassed", {"rules": BYPASS}, leaves="tokens"),
    "bypassed, not forwarded": Mode("bypassed", {"rules": BYPASS, "forward": False}, leaves="authorization"),
    "preflight": Mode(
        "bypassed",
        {"allow_preflight": True},
        method="OPTIONS",
        headers=(("origin", "https://web.example"), ("access-control-request-method", "GET")),
    ),
    "asked about, allowed": Mode("confirmed", VERIFY, headers=(BEARER,), asks=True),
    "asked about, not forwarded": Mode("confirmed", VERIFY | {"forward": False}, headers=(BEARER,), asks=True),
    "asked about, missing": Mode("confirmed", VERIFY | {"allow_missing": True}, asks=True),
    "asked about, stripped": Mode("confirmed", VERIFY | {"enforce": False}, headers=(("authorization", "Bearer bad"),), asks=True),
}


@dataclasses.dataclass(frozen=True)
class Case:
    mode: str
    sent: Sent


@dataclasses.dataclass(frozen=True)
class Finding:
    """A reader sees under one of our names what neither the filter wrote nor proved."""

    case: Case
    reader: str
    place: str
    name: str
    value: str
    outcome: Outcome

    def __str__(self) -> str:
        sent = [f"cookie: {cookie!r}" for cookie in self.case.sent.cookies]
        sent += [f"query: {self.case.sent.query!r}"] if self.case.sent.query else []
        sent += [f"header: {name}: {value!r}" for name, value in self.case.sent.headers]
        left = [f"{name}: {value}" for name, value in self.outcome.headers if name in (":path", "cookie")]
        return f"{self.reader} reads {self.value[:60]!r} as the {self.place} {self.name}\n    {self.case.mode}; {'; '.join(sent)}\n    what left the filter: {left}"

    def kind(self) -> tuple[str, str, str]:
        return (self.place, self.name, self.reader)


def spelt_alike(one: str, other: str) -> bool:
    """Whether somebody who ignores case takes one for the other, in whichever of the ways that languages have for it."""
    if one == other:
        return True
    ways = (str.lower, str.upper, str.casefold)
    return any(way(one) == way(other) for way in ways) or one.upper().lower() == other.upper().lower()


def folded(name: str) -> str:
    """A header's name as CGI folds it (RFC 3875, section 4.1.18)."""
    return re.sub("[^a-z0-9]", "_", name.lower())


class Judge:
    """Sends cases through the filter, and what leaves it to the readers."""

    def __init__(self, filter_: Filter, readers: Readers, names: Names) -> None:
        self.filter = filter_
        self.readers = readers
        self.names = names
        base = {
            "providers": [
                {
                    "issuer": "https://idp.example.com",
                    "audiences": ["https://api.example.com"],
                    "validation": "jwt",
                    "jwks": {"inline": {"keys": filter_.keys}},
                },
            ],
            "access_token": names.sources(),
            **names.outputs(),
        }
        headers_only = {"user_info": [output for output in base["user_info"] if "location" not in output]}
        self.index = {
            name: filter_.configure(base | mode.top | (headers_only if mode.asks else {})) for name, mode in MODES.items()
        }
        self.good: dict[str, Report] = {}
        for name, mode in MODES.items():
            (outcome,) = self.outcomes([Case(name, Sent())])
            assert outcome.result == mode.result, (name, outcome)
            (self.good[name],) = readers.read([outcome.headers])
        self.ends: dict[str, int] = {}

    def outcomes(self, cases: Sequence[Case]) -> list[Outcome]:
        requests = [self.request(case) for case in cases]
        outcomes = self.filter.send((self.index[case.mode], request) for case, request in zip(cases, requests, strict=True))
        return [outcome.as_told(request) for outcome, request in zip(outcomes, requests, strict=True)]

    def findings(self, cases: Sequence[Case], only: str | None = None) -> Iterator[Finding]:
        """What is wrong with each of them; with `only`, by those who read in one language."""
        left: dict[tuple[str, tuple[tuple[str, str], ...]], tuple[Case, Outcome]] = {}
        for case, outcome in zip(cases, self.outcomes(cases), strict=True):
            self.ends[outcome.result] = self.ends.get(outcome.result, 0) + 1
            assert outcome.result in ("allowed", "stripped", "bypassed", "denied", "confirmed"), (case, outcome)
            if outcome.result != "denied":
                left.setdefault((case.mode, outcome.headers), (case, outcome))
        reports = self.readers.read([outcome.headers for _, outcome in left.values()], only)
        for (case, outcome), report in zip(left.values(), reports, strict=True):
            yield from self.judge(case, outcome, report)
            yield from self.new_meanings(case, outcome)

    def new_meanings(self, case: Case, outcome: Outcome) -> Iterator[Finding]:
        """What Envoy itself, which may choose another route by it, finds in what is left, and didn't find in what was sent."""
        if outcome.result in ("allowed", "confirmed"):
            return
        before, after = read_by_envoy(self.request(case)), read_by_envoy(outcome.headers)
        for place in before:
            if new := [pair for pair in after[place] if pair not in before[place] and any(pair)]:
                yield Finding(case, "Envoy: a route", place, "(something new)", "=".join(new[0]), outcome)

    def request(self, case: Case) -> Headers:
        return MODES[case.mode].request(case.sent, self.filter.token, self.names)

    @functools.lru_cache(100_000)  # noqa: B019
    def own_name(self, place: str, key: str, reader: str) -> str | None:
        """Which of the filter's names a reader's name is."""
        if place == "header" and folded(key).startswith(HANDOFF):
            return HANDOFF

        def is_same(name: str) -> bool:
            if place == "header":
                return folded(name) == folded(key)
            # A service in PHP looks for the name that PHP makes of ours.
            return spelt_alike(name.replace(".", "_") if reader.startswith("PHP") else name, key)

        return next((name for name in self.names.of(place) if is_same(name)), None)

    def judge(self, case: Case, outcome: Outcome, report: Report) -> Iterator[Finding]:
        for place, readers in report.items():
            if MODES[case.mode].asks and place != "header":
                continue
            for reader, pairs in readers.items():
                for key, value in pairs:
                    name = self.own_name(place, key, reader)
                    if name and not self.is_good(case.mode, place, reader, name, value):
                        yield Finding(case, reader, place, name, value, outcome)

    def is_good(self, mode: str, place: str, reader: str, name: str, value: str) -> bool:
        """Whether this reader finds the same when the client adds nothing."""
        left = {"tokens": self.names.read[place], "authorization": ("authorization",)}.get(MODES[mode].leaves, ())
        if name in left or value == "null" and reader.endswith(COMMAS):
            return True
        good = self.good_values(mode, place, reader, name)
        if reader.endswith(SEMICOLONS):
            # To those who separate parameters by semicolons alone, ours is the beginning of a value.
            return value.partition("&")[0] in [found.partition("&")[0] for found in good]
        return value in good

    @functools.cache  # noqa: B019
    def good_values(self, mode: str, place: str, reader: str, name: str) -> list[str]:
        return [found for key, found in self.good[mode][place][reader] if self.own_name(place, key, reader) == name]

    def shrunk(self, finding: Finding) -> Finding:
        """The smallest request that shows the same reader the same fault."""
        language = finding.reader.partition(":")[0]

        def still(sents: Iterable[Sent]) -> Finding | None:
            cases = [Case(finding.case.mode, sent) for sent in sents]
            found = [other for other in self.findings(cases, language) if other.kind() == finding.kind()]
            return min(found, key=lambda other: size(other.case.sent), default=None)

        for _ in range(40):
            smaller = still([*smaller_than(finding.case.sent)])
            if smaller is None:
                break
            finding = smaller
        return finding


def size(sent: Sent) -> tuple[int, int]:
    text = "".join([*sent.cookies, sent.query, *(name + value for name, value in sent.headers)])
    return len(text) + 5 * (len(sent.cookies) + len(sent.headers)), sum(not octet.isalnum() for octet in text)


def smaller_than(sent: Sent) -> Iterator[Sent]:
    """One part less, or a few octets less somewhere."""
    for index, cookie in enumerate(sent.cookies):
        before, after = sent.cookies[:index], sent.cookies[index + 1 :]
        yield dataclasses.replace(sent, cookies=before + after)
        for less in shorter(cookie):
            yield dataclasses.replace(sent, cookies=(*before, less, *after)).passable()
    if sent.query:
        yield dataclasses.replace(sent, query="")
        for less in shorter(sent.query):
            yield dataclasses.replace(sent, query=less)
    for index, (name, value) in enumerate(sent.headers):
        before, after = sent.headers[:index], sent.headers[index + 1 :]
        yield dataclasses.replace(sent, headers=before + after)
        for less in shorter(name):
            if less:
                yield dataclasses.replace(sent, headers=(*before, (less, value), *after))


def shorter(text: str) -> Iterator[str]:
    length = len(text)
    span = length
    while span:
        for start in range(0, length - span + 1, max(1, span // 2)):
            yield text[:start] + text[start + span :]
        span //= 2
