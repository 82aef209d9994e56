"""Everything breaks, and the filter stays right: `make chaos` for long, `make test-envoy` in short.

While providers fail in every way, Envoy changes its configuration or drains, or a worker's virtual
machine ends in a trap, clients keep coming (visitors.py). No answer may be wrong, none may be late;
tokens that were proved once go on working; and when the trouble is over, nobody has to help.

$CHAOS_SECONDS is how long the providers are kept failing, round after round.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import random
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import scene
from clients import Http2, request_bytes
from conftest import StartEnvoy
from fake_provider import FakeProvider, Reply, Request
from harness import IDENTITY, Bootstrap, Door, Envoy, config, provider_entry
from tokens import AUDIENCE, Key
from visitors import LOG_FIELDS, Tokens, Visitors, check_the_log, turns, wait_for_recovery
from xds import Ecds, Xds

LENGTH = float(os.environ.get("CHAOS_SECONDS", "2"))
ROUND = 2.0  # seconds that one fault lasts
TIMEOUT = 1.0  # seconds, of each call to a provider
PATIENCE = 6.0  # of calls to the one that is well: what keeps it waiting is the machine alone
LIMIT = 8.0  # seconds for an answer: a few calls one after the other, and a machine that has more to do
RECOVERY = 25.0  # seconds: the longest pause between two tries is 16
DISCOVERY = "/.well-known/openid-configuration"
TRAP = scene.MODULE.parent / "examples/trap.wasm"


# -------------------------------------------------------------------------------------- providers


class Patient:
    """A provider to which something is done."""

    def __init__(self, fake: FakeProvider, name: str, cluster: str = "idp") -> None:
        self.fake, self.name, self.cluster = fake, name, cluster
        self.header = f"x-{name}"
        self._honest = dict(fake.routes)
        self._stopped = threading.Event()
        self._rotation: threading.Thread | None = None
        self._published = 0

    def suffer(self, fault: Fault) -> None:
        for path, honest in self._honest.items():
            self.fake.routes[path] = self._route(fault, honest)
        for number in range(10):
            self.fake.routes[f"/jwks-{number}"] = self._route(fault, self._honest["/jwks"])
        if fault is rotating:
            self._stopped.clear()
            self._rotation = threading.Thread(target=self._rotate)
            self._rotation.start()

    def heal(self) -> None:
        """Well again, and with a new key: who can't reach the provider won't know it."""
        self.fake.routes = dict(self._honest)
        self._stopped.set()
        if self._rotation:
            self._rotation.join()
        self._publish("healed")

    def _route(self, fault: Fault, honest: Any) -> Callable[[Request], Reply]:
        return lambda request: fault(self.fake, request, honest(request))

    def _rotate(self) -> None:
        """A new key each second; the one before is still published."""
        while not self._stopped.wait(1.0):
            self._publish("rotated")

    def _publish(self, what: str) -> None:
        self._published += 1
        key = Key.make(kid=f"{what}-{self._published}")
        self.fake.keys = [key, self.fake.keys[0]]


Fault = Callable[[FakeProvider, Request, Reply], Reply]
HUGE = b'{"x":"' + b"x" * (33 << 20) + b'"}'


def slow(_fake: FakeProvider, _request: Request, honest: Reply) -> Reply:
    return dataclasses.replace(honest, delay=0.2)


def hanging(_fake: FakeProvider, _request: Request, honest: Reply) -> Reply:
    return dataclasses.replace(honest, delay=60.0)


def resetting(_fake: FakeProvider, _request: Request, honest: Reply) -> Reply:
    """Amid the body."""
    return dataclasses.replace(honest, cut=len(honest.body) // 2)


def gone(_fake: FakeProvider, _request: Request, _honest: Reply) -> Reply:
    """No byte at all."""
    return Reply(raw=b"", cut=0)


def not_http(_fake: FakeProvider, _request: Request, _honest: Reply) -> Reply:
    return Reply(raw=random.randbytes(300))


def not_json(_fake: FakeProvider, _request: Request, honest: Reply) -> Reply:
    return dataclasses.replace(honest, body=random.randbytes(300))


def another_json(_fake: FakeProvider, _request: Request, _honest: Reply) -> Reply:
    values = ({}, [], None, "active", {"active": "true"}, {"keys": {}}, {"issuer": 1})
    return Reply.json(random.choice(values))


def huge(_fake: FakeProvider, _request: Request, honest: Reply) -> Reply:
    return dataclasses.replace(honest, body=HUGE)


def failing(_fake: FakeProvider, _request: Request, honest: Reply) -> Reply:
    """With a body that would be good."""
    return dataclasses.replace(honest, status=500)


def flapping(fake: FakeProvider, request: Request, honest: Reply) -> Reply:
    return random.choice((honest, failing(fake, request, honest), gone(fake, request, honest)))


def moving(fake: FakeProvider, request: Request, honest: Reply) -> Reply:
    """The keys are somewhere else each second, and nowhere else."""
    place = f"/jwks-{int(time.time()) % 10}"
    if request.path == DISCOVERY:
        return Reply.json(fake.metadata(jwks_uri=f"{fake.issuer}{place}"))
    return Reply(404) if "jwks" in request.path and request.path != place else honest


def rotating(_fake: FakeProvider, _request: Request, honest: Reply) -> Reply:
    """The answers are right; it is the keys that change."""
    return honest


def well(_fake: FakeProvider, _request: Request, honest: Reply) -> Reply:
    """The neighbour of all these, who must not notice."""
    return honest


FAULTS: list[Fault] = [slow, hanging, resetting, gone, not_http, not_json, another_json]
FAULTS += [huge, failing, flapping, moving, rotating]


@pytest.fixture
def ward() -> Iterator[list[Patient]]:
    """As many providers as there are faults, and one that is well."""
    with contextlib.ExitStack() as stack:
        patients = []
        for number in range(len(FAULTS) + 1):
            fake = stack.enter_context(FakeProvider(Key.make(kid=f"first-{number}")))
            patients.append(Patient(fake, f"p{number}", f"idp-{number}"))
            stack.callback(patients[-1].heal)
        yield patients


def start(start_envoy: StartEnvoy, patients: list[Patient]) -> Envoy:
    """One Envoy for all; the last provider is well. Keys are stale after a second, good for an hour."""
    entries = [
        provider_entry(
            patient.fake,
            name=patient.name,
            cluster=patient.cluster,
            timeout=f"{PATIENCE if patient is patients[-1] else TIMEOUT}s",
            jwks={"cache": "1s", "max_stale": "1h", "cooldown": "1s"},
            introspection={"client_id": "rs", "client_secret": "s", "negative_cache": "1s"},
        )
        for patient in patients
    ]
    places = [{"location": "header", "key": p.header, "provider": p.name} for p in patients]
    return start_envoy(
        {
            "providers": entries,
            "access_token": [{"location": "header", "key": "Authorization"}, *places],
            **IDENTITY,
        },
        clusters={patient.cluster: patient.fake.port for patient in patients},
        workers=2,
        log_fields=LOG_FIELDS,
        log_levels="wasm:warning",
    )


def test_whatever_providers_do_no_answer_is_wrong(
    start_envoy: StartEnvoy, ward: list[Patient]
) -> None:
    """All break at once, each in its own way. What was proved before goes on working."""
    envoy = start(start_envoy, ward)
    *patients, healthy = ward
    kept = Tokens(healthy.fake, "healthy", healthy.header)
    ends = time.monotonic() + LENGTH
    turn = 0
    while not turn or time.monotonic() < ends:
        faults = FAULTS[turn % len(FAULTS) :] + FAULTS[: turn % len(FAULTS)]
        turn += 1
        bags = {}
        for patient, fault in zip(patients, faults, strict=True):
            name = f"{fault.__name__}-{turn}"
            bags[name] = Tokens(
                patient.fake,
                name,
                patient.header,
                # A key that is younger than the cooldown is not looked for.
                jwt={401, 503} if fault is rotating else (),
                bad={401, 503} if fault is rotating else {401},
                # An object that doesn't say `"active": true` says no.
                unasked={401, 503} if fault is another_json else {503},
            )
        wait_for_recovery(envoy, [kept, *bags.values()], RECOVERY)
        for patient, fault in zip(patients, faults, strict=True):
            patient.suffer(fault)
        good = [turns(bag.known, bag.new, bag.asked) for bag in bags.values()]
        asking = [turns(bag.unasked, bag.inactive) for bag in bags.values()]
        bad = [turns(*(c for bag in bags.values() for c in (bag.forged, bag.expired, bag.missing)))]
        with Visitors(envoy, [*good, *asking, *bad, *kept.all()], LIMIT) as visitors:
            visitors.come(ROUND)
            for name in bags:
                scene.poll(lambda n=name: len(visitors.of(n)) > 5, f"visits of {name}", RECOVERY)
        visits = visitors.visits
        for patient in patients:
            patient.heal()
        # The neighbour's visitors were never told to come again, not even with a new token.
        assert {visit.status for visit in visitors.of("healthy")} == {200}
        # And these faults were real: somebody was told so.
        for fault in (hanging, resetting, gone, not_http, not_json, huge, failing):
            asked = f"{fault.__name__}-{turn} unasked"
            assert {visit.status for visit in visits if visit.kind == asked} == {503}
        # Tokens of before are no measure of it: the key may have been withdrawn.
        after = [Tokens(p.fake, f"{p.name}-after-{turn}", p.header) for p in patients]
        wait_for_recovery(envoy, [kept, *after], RECOVERY)
    assert check_the_log(envoy) > 100


def test_providers_that_never_worked_are_found_when_they_do(
    start_envoy: StartEnvoy, ward: list[Patient]
) -> None:
    """From a cold start: 503 to all, but never a guess."""
    patients = ward[: len(FAULTS)]
    for patient, fault in zip(patients, FAULTS, strict=True):
        patient.suffer(fault)
    envoy = start(start_envoy, ward)
    no = {401, 503}
    bags = [
        Tokens(patient.fake, f.__name__, patient.header, jwt=no, asked=no, unasked=no, bad=no)
        for patient, f in zip(patients, FAULTS, strict=True)
    ]
    callers = [turns(*bag.all()) for bag in bags]
    with Visitors(envoy, callers, LIMIT) as visitors:
        visitors.come(ROUND / 2)
    for patient in patients:
        patient.heal()
    after = [Tokens(p.fake, f"{p.name}-after", p.header) for p in patients]
    wait_for_recovery(envoy, after, RECOVERY)
    for fault in (hanging, resetting, gone, not_http, not_json, huge, failing):
        assert {v.status for v in visitors.of(fault.__name__)} == {503}, fault
    check_the_log(envoy)


# ------------------------------------------------------------------------------------------- time


@pytest.fixture
def clock(tmp_path: Path) -> Iterator[Callable[[float], None]]:
    """Sets the clock of Envoys so many minutes ahead; `clock.env` goes to Envoy."""
    compiler = shutil.which("cc")
    if not compiler:
        pytest.skip("there is no C compiler to build clock.c with")
    library, file = tmp_path / "clock.so", tmp_path / "ahead"
    source = Path(__file__).with_name("clock.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source], check=True)

    def set_ahead(minutes: float) -> None:
        new = file.with_suffix(".new")
        new.write_text(f"{minutes * 60:.0f}\n")
        new.rename(file)

    set_ahead(0)
    set_ahead.env = {"LD_PRELOAD": str(library), "CLOCK_AHEAD": str(file)}
    yield set_ahead


def test_an_hour_without_the_provider(
    start_envoy: StartEnvoy, fake: FakeProvider, clock: Any
) -> None:
    """With the times that nobody has changed: keys for ten minutes, and a day beyond that."""
    envoy = start_envoy(config(fake, **IDENTITY), idp=fake.port, process_env=clock.env)
    patient, now = Patient(fake, "idp"), int(time.time())
    known = fake.token(sub="known", exp=now + 48 * 3600)
    short = fake.token(sub="short", exp=now + 29 * 60)
    fake.active["opaque"] = {"sub": "opaque", "aud": AUDIENCE}

    def status(token: str) -> int:
        response = envoy.get("/", token=token)
        if response.status == 200:
            assert response.seen.all("x-user") in (["known"], ["short"], ["opaque"], ["new"])
        return response.status

    assert [status(token) for token in (known, short, "opaque")] == [200] * 3
    patient.suffer(gone)
    for minute in range(2, 62, 6):
        clock(minute)
        assert status(known) == 200, minute
        assert status(fake.token(sub="new", exp=now + 7200)) == 200, minute
        assert status(short) == (200 if minute < 32 else 401), minute
        assert status("opaque") == 503, "an answer is believed for a minute"
        assert envoy.get("/").status == 401
        assert status(Key.make(kid=fake.keys[0].kid).token({"iss": fake.issuer})) == 401
    clock(24 * 60 + 9)
    assert status(known) == 200
    clock(24 * 60 + 11)
    assert status(known) == 503, "the keys are older than cache and max_stale"
    patient.heal()
    clock(24 * 60 + 12)  # no pause between two tries is that long
    scene.poll(lambda: status(known) == 200, "recovery without help", RECOVERY)
    assert status("opaque") == 200
    clock(0)  # and back: the keys come from the future now
    assert [status(token) for token in (known, short, "opaque")] == [200] * 3
    assert status(fake.token(sub="known", iat=now - 900, exp=now - 600)) == 401


# ------------------------------------------------------------------------------------------ Envoy


def test_configurations_that_change_under_load(
    start_envoy: StartEnvoy, fake: FakeProvider, xds: Xds
) -> None:
    """Each answer is that of the old configuration or the new one; a bad one changes nothing."""
    options = {"log_fields": LOG_FIELDS, "log_levels": "wasm:warning", "workers": 2}
    envoy = start_envoy(config(fake, **IDENTITY), idp=fake.port, adjust=xds.take_over, **options)
    bag = Tokens(fake, "idp", bad={401, 403})
    wait_for_recovery(envoy, [bag], RECOVERY)
    with Visitors(envoy, bag.all(), LIMIT) as visitors:
        for number in range(max(3, int(LENGTH / 3))):
            strict = {"enforce_response_code": 403} if number % 2 == 0 else {}
            before = envoy.stats(r"lds\.update_rejected")
            xds.publish(config(fake, audiances=["a"]))
            scene.poll(lambda: envoy.stats(r"lds\.update_rejected") != before, "the refusal", 10)
            wanted = 401 if strict else 403
            if number:
                assert envoy.get("/bad/missing").status == wanted, "the old one is in force"
            xds.publish(config(fake, **IDENTITY, **strict))
            scene.poll(lambda: envoy.get("/bad/missing").status != wanted, "the new one", 10)
            visitors.come(0.3)
    good = [visit for visit in visitors.visits if visit.kind.startswith("idp ")]
    assert len(good) > 50
    assert {visit.status for visit in good} == {200}
    assert check_the_log(envoy) > 50


def test_an_envoy_that_drains_answers_those_who_wait(
    start_envoy: StartEnvoy, fake: FakeProvider
) -> None:
    fake.active = {f"t{n}": {"sub": f"t{n}", "aud": AUDIENCE} for n in range(0, 20, 2)}
    honest = fake.routes["/introspect"]
    envoy = start_envoy(config(fake, **IDENTITY), idp=fake.port, log_fields=LOG_FIELDS, own_process=True)
    bag = Tokens(fake, "idp")
    wait_for_recovery(envoy, [bag], RECOVERY)
    fake.routes["/introspect"] = lambda r: dataclasses.replace(honest(r), delay=0.6)
    with Visitors(envoy, [bag.known, bag.forged, bag.missing], LIMIT, may_break=True) as visitors:
        with contextlib.ExitStack() as stack:
            waiting = {n: stack.enter_context(envoy.http1()) for n in range(20)}
            for number, connection in waiting.items():
                headers = [("authorization", f"Bearer t{number}")]
                connection.send(request_bytes(f"/good/t{number}", headers))
            visitors.come(0.2)
            envoy.admin("/drain_listeners?graceful", method="POST")
            for number, connection in waiting.items():
                response = connection.receive()
                assert response.status == (200 if number % 2 == 0 else 401)
                if response.status == 200:
                    assert response.seen.all("x-user") == [f"t{number}"]
        scene.poll(lambda: not accepts(envoy), "the end of the listener", 10)
        visitors.check()
    check_the_log(envoy)


def accepts(door: Door) -> bool:
    with contextlib.suppress(OSError):
        door.get("/bad/missing")
        return True
    return False


def with_a_trap(bootstrap: Bootstrap) -> None:
    """The filter with one entry point more: see trap.rs."""
    if not TRAP.exists():
        raise scene.SceneError(f"{TRAP} is not there; this gets it: scripts/wasm --example trap")
    bootstrap.wasm["vm_config"]["code"]["local"]["filename"] = str(TRAP)
    bootstrap.hcm["http2_protocol_options"]["allow_metadata"] = True
    bootstrap.hcm["stream_idle_timeout"] = "1s"


def spring_the_trap(envoy: Envoy, token: str, user: str) -> None:
    """A request that has passed, and then an HTTP/2 METADATA frame on its stream."""
    with contextlib.suppress(OSError), Http2(envoy.port) as connection:
        headers = [("authorization", f"Bearer {token}")]
        stream = connection.start(f"/good/{user}", headers, method="POST", end=False)
        pair = b"\x00\x01a\x01b"  # HPACK: a literal without indexing
        frame = len(pair).to_bytes(3) + b"\x4d\x04" + stream.to_bytes(4) + pair
        connection.socket.sendall(frame)
        connection.receive(stream)


def test_a_worker_whose_machine_traps_refuses_until_it_has_another(
    start_envoy: StartEnvoy, fake: FakeProvider
) -> None:
    """FAIL_RELOAD: those who wait with it get no answer but Envoy's own, and nobody gets in."""
    honest = fake.routes["/introspect"]
    fake.routes["/introspect"] = lambda r: dataclasses.replace(honest(r), delay=0.1)
    envoy = start_envoy(
        config(fake, **IDENTITY),
        idp=fake.port,
        adjust=with_a_trap,
        workers=2,
        log_fields=LOG_FIELDS,
        log_levels="wasm:warning",
    )
    # 504 and 408 are what Envoy says to a request that has waited for `stream_idle_timeout`.
    after_a_trap = {503, 504, 408}
    no = after_a_trap
    bag = Tokens(fake, "idp", jwt=no, asked=no, unasked=no, bad={401, *no})
    wait_for_recovery(envoy, [bag], RECOVERY)

    def traps() -> int:
        return envoy.log().count("a trap on purpose")

    def reloads() -> int:
        return sum(envoy.stats("vm_reload_success").values())

    # Envoy hangs up on those whom the machine was about to answer.
    with Visitors(envoy, [*bag.all(), *bag.all()], LIMIT, may_break=True) as visitors:
        for number in range(max(2, int(LENGTH / 10))):
            for _ in range(4):  # some for each worker
                spring_the_trap(envoy, fake.token(sub="trapper"), "trapper")
            scene.poll(lambda n=number: traps() > n, "a trap", 10)
            visitors.come(1.2)
        visits = visitors.come(0.5)
    wait_for_recovery(envoy, [bag], RECOVERY)
    assert reloads() >= 2
    assert {visit.status for visit in visits if visit.kind.startswith("idp ")} == {200}
    assert 503 in {visit.status for visit in visitors.visits}, "somebody met a trapped machine"
    check_the_log(envoy)


@pytest.mark.parametrize("way", [Xds, Ecds], ids=["lds", "ecds"])
def test_configurations_that_come_while_machines_trap(
    start_envoy: StartEnvoy, fake: FakeProvider, tmp_path: Path, way: type[Xds]
) -> None:
    """Good ones and bad ones: at no moment does a worker go on without its filter."""
    xds = way(tmp_path)

    def adjust(bootstrap: Bootstrap) -> None:
        with_a_trap(bootstrap)
        xds.take_over(bootstrap)

    options = {"log_fields": LOG_FIELDS, "log_levels": "wasm:warning", "workers": 2}
    envoy = start_envoy(config(fake, **IDENTITY), idp=fake.port, adjust=adjust, **options)
    bag = Tokens(fake, "idp", bad={401, 503, 504, 408})
    token = fake.token(sub="trapper")

    def is_in_force(header: str) -> bool:
        with contextlib.suppress(OSError):
            responses = [envoy.get("/good/trapper", token=token) for _ in range(6)]
            return all(r.status == 200 and r.seen.all(header) == ["trapper"] for r in responses)
        return False

    with Visitors(envoy, [bag.forged, bag.expired, bag.missing], LIMIT, may_break=True) as visitors:
        for number in range(3):
            header = f"x-user-{number}"
            spring_the_trap(envoy, token, "trapper")
            xds.publish(config(fake, audiances=["a"]))
            spring_the_trap(envoy, token, "trapper")
            xds.publish(config(fake, claim_headers=[{"header": header, "claim": "sub"}]))
            scene.poll(lambda h=header: is_in_force(h), "the new one on both workers", 20)
        visitors.check()
    assert "a trap on purpose" in envoy.log()
    assert {visit.status for visit in visitors.visits} >= {401, 503}


def test_the_module_that_is_shipped_holds_no_trap() -> None:
    """Envoy calls whatever entry points a module exports: the shipped one must not have this."""
    name = b"proxy_on_request_metadata"
    assert name in TRAP.read_bytes()
    assert name not in scene.MODULE.read_bytes()


def test_the_clients_of_these_tests_notice_wrong_answers(
    start_envoy: StartEnvoy, fake: FakeProvider
) -> None:
    """Or all this would prove nothing: a filter that strips where it should refuse."""
    envoy = start_envoy(
        config(fake, enforce=False, **IDENTITY), idp=fake.port, log_fields=LOG_FIELDS
    )
    bag = Tokens(fake, "idp")
    wait_for_recovery(envoy, [bag], RECOVERY)
    with pytest.raises(AssertionError, match="forged: was let in"):
        with Visitors(envoy, [bag.forged], LIMIT) as visitors:
            visitors.come(0.3)
    with pytest.raises(AssertionError):
        check_the_log(envoy)
    with pytest.raises(AssertionError, match="was taken for"):
        with Visitors(envoy, [lambda: dataclasses.replace(bag.known(), user="bob")], LIMIT) as v:
            v.come(0.3)
    with pytest.raises(AssertionError, match="it took"):
        with Visitors(envoy, [bag.known], 0.0) as visitors:
            visitors.come(0.3)
