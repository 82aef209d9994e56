"""Real readers on what leaves the filter: none sees an identity or token of the client's making.

`make test-readers` runs this with the same requests each time, `make readers` with others for READERS_SECONDS. What is run, and what
the readers make of odd requests: docs/readers.md.
"""

from __future__ import annotations

import base64
import json
import os
import random
import time
import urllib.parse
from collections.abc import Iterable, Iterator

import pytest
from judge import MODES, ODD, PLACES, SEMICOLONS, USUAL, Case, Finding, Judge, size
from mutations import Attacker, Sent
from programs import Filter, Readers

SECONDS = float(os.environ.get("READERS_SECONDS", "0"))
SEED = int(os.environ.get("READERS_SEED", "0")) or (time.time_ns() % 1_000_000_007 if SECONDS else 1)
BATCH = 500
# Of the known ones the short form sends one in so many, and then so many others.
ONE_IN, OTHERS = 3, 3000

CLAIMS = {"sub": "ann", "name": "Ann Lee", "email": "ann+b@c.d"}


@pytest.fixture(scope="module")
def readers() -> Iterator[Readers]:
    running = Readers(dict.fromkeys(name for names in (USUAL, ODD) for place in ("cookie", "query") for name in names.of(place)))
    yield running
    running.close()


@pytest.fixture(scope="module", params=[USUAL, ODD], ids=["usual names", "odd names"])
def judge(readers: Readers, request: pytest.FixtureRequest) -> Iterator[Judge]:
    filter_ = Filter()
    yield Judge(filter_, readers, request.param)
    filter_.close()


@pytest.mark.parametrize("language", ["Ruby", "Perl", "PHP"])
def test_what_is_left_out(readers: Readers, language: str) -> None:
    if language in readers.left_out:
        pytest.skip(f"{language}'s readers are left out (Debian: apt-get install {readers.left_out[language]})")


def test_each_reader_sees_what_no_filter_takes_off(judge: Judge, readers: Readers) -> None:
    """Or it would prove nothing that it sees nothing."""
    for place in PLACES:
        for name in filter(has_one_reading, judge.names.of(place)):
            pair = f"{name}=forged"
            sent = {
                "cookie": Sent(cookies=(f"a=1; {pair}; b=2",)),
                "query": Sent(query=f"a=1&{pair}&b=2"),
                "header": Sent(headers=((name, "forged"),)),
            }[place]
            (report,) = readers.read([judge.request(Case("missing", sent))])
            for reader, pairs in report[place].items():
                seen = [value for key, value in pairs if judge.own_name(place, key, reader) == name]
                assert reader.endswith(SEMICOLONS) or {*seen} == {"forged"}, (reader, name, pairs)


def test_each_reader_gets_the_identity_that_the_filter_writes(judge: Judge) -> None:
    for place in ("cookie", "query"):
        for reader, pairs in judge.good["allowed"][place].items():
            for name in filter(has_one_reading, judge.names.written[place]):
                seen = [value for key, value in pairs if judge.own_name(place, key, reader) == name]
                assert reader.endswith(SEMICOLONS) or [decoded(value) for value in seen] == [CLAIMS], (reader, name, seen)


def has_one_reading(name: str) -> bool:
    """Some readers find no name with a dot."""
    return "." not in name


def decoded(value: str) -> object:
    """Some readers take percent-encoding off, and some leave that to the service."""
    value = urllib.parse.unquote(value)
    return json.loads(value if value.startswith("{") else base64.urlsafe_b64decode(value + "=="))


def test_no_reader_sees_what_the_client_made(judge: Judge) -> None:
    attacker = Attacker({place: judge.names.of(place) for place in PLACES}, random.Random(SEED))
    print(f"READERS_SEED={SEED}")
    check(judge, cases(attacker))
    # It would prove little if all went one way.
    assert all(judge.ends[end] > 100 for end in ("allowed", "bypassed", "stripped", "denied")), judge.ends


def cases(attacker: Attacker) -> Iterator[Case]:
    modes = [*MODES]
    ends = time.monotonic() + SECONDS
    for index, sent in enumerate(attacker.known()):
        if SECONDS or index % ONE_IN == 0:
            yield Case(modes[index // ONE_IN % len(modes)], sent.passable())
    for index in range(10**12 if SECONDS else OTHERS):
        if SECONDS and time.monotonic() > ends:
            return
        yield Case(modes[index % len(modes)], attacker.random().passable())


def check(judge: Judge, cases: Iterable[Case]) -> None:
    """Fails with the smallest requests that show something, one for each name and kind of reader."""
    found: dict[tuple[str, str, str], Finding] = {}
    batch: list[Case] = []
    count = 0
    for case in [*cases] if not SECONDS else cases:
        batch.append(case)
        if len(batch) == BATCH:
            collect(found, judge.findings(batch))
            count += len(batch)
            batch = []
    collect(found, judge.findings(batch))
    print(f"{count + len(batch)} requests: {judge.ends}")
    shown: dict[tuple[str, str], list[Finding]] = {}
    for finding in sorted(found.values(), key=lambda finding: size(finding.case.sent))[:100]:
        shown.setdefault((finding.place, str(finding.case.sent)), []).append(finding)
    smallest = [judge.shrunk(findings[0]) for findings in [*shown.values()][:10]]
    told = [f"{finding}\n    {len(same)} readers: {', '.join(other.reader for other in same)}" for finding, same in zip(smallest, shown.values(), strict=False)]
    assert not found, "\n\n".join(["", *told])


def collect(found: dict[tuple[str, str, str], Finding], findings: Iterable[Finding]) -> None:
    for finding in findings:
        kind = finding.kind()
        if kind not in found or size(finding.case.sent) < size(found[kind].case.sent):
            found[kind] = finding
