"""Tokens that are bound to keys (RFC 9449), with a real provider and clients that are not ours.

Proofs are made by `oauth4webapi` and `dpop` (npm) and by `requests-oauth2client` (PyPI).
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import scene
from clients import Http1, Http2, Response, exchange, request_bytes
from conftest import StartEnvoy
from fake_provider import FakeProvider, Reply
from harness import ROOT, Bootstrap, Door, Envoy, Provider, Upstream, config
from requests_oauth2client import DPoPKey
from tokens import AUDIENCE, Key, b64url

ORIGIN = "https://api.example.com"
PEER = [shutil.which("node") or "node", str(ROOT / "envoy/provider/dpop-peer.mjs")]


def peer(*arguments: str, told: Any = None) -> Any:
    done = subprocess.run([*PEER, *arguments], input=json.dumps(told), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def ath(token: str) -> str:
    return b64url(hashlib.sha256(token.encode()).digest())


class Owner:
    """Whoever has a key, and a token that is bound to it."""

    def __init__(self, fake: FakeProvider, alg: str = "ES256", **claims: Any) -> None:
        self.key = DPoPKey.generate(alg=alg)
        self.token = fake.token(cnf={"jkt": self.key.dpop_jkt}, **claims)

    def proof(self, path: str = "/", method: str = "GET", nonce: str | None = None) -> str:
        # The library puts the nonce of its last answer in by itself; these tests say which.
        self.key.rs_nonce = nonce
        return str(self.key.proof(htm=method, htu=f"{ORIGIN}{path}", ath=ath(self.token), nonce=nonce))

    def headers(self, proof: str | None = None) -> list[tuple[str, str]]:
        return [("Authorization", f"DPoP {self.token}"), ("DPoP", proof or self.proof())]

    def get(self, door: Door, proof: str | None = None) -> Response:
        return door.get("/", self.headers(proof))


def bound(provider: Any, **dpop: Any) -> dict[str, Any]:
    return config(provider, dpop={"origins": [ORIGIN]} | dpop)


@pytest.fixture
def shared(start_envoy: StartEnvoy, fake: FakeProvider) -> Iterator[Envoy]:
    yield start_envoy(bound(fake), idp=fake.port, workers=2)


@pytest.mark.parametrize("resource", ["urn:api:es256", "urn:api:opaque"])
@pytest.mark.parametrize("nonce", ["required", "optional", "off"])
def test_oauth4webapi_finds_its_way(start_envoy: StartEnvoy, provider: Provider, resource: str, nonce: str) -> None:
    """DPP-01, MV-20, MV-21, MV-32: a JWT and an opaque token of oidc-provider, which wants nonces too."""
    envoy = start_envoy(bound(provider, nonce=nonce), workers=2)
    seen = peer("flow", provider.issuer, f"http://127.0.0.1:{envoy.port}", f"{ORIGIN}/orders?page=1", resource)
    asked = ["use_dpop_nonce"] if nonce == "required" else []
    assert seen["seen"] == [*asked, 200, 200, 200]
    # DPP-02: what a thief has of it.
    assert (seen["type"], seen["bearer"]) == ("dpop", 401)
    assert re.search(r'Bearer .*error="invalid_token".*, DPoP .*algs="', seen["challenge"])
    (allowed, *_) = envoy.access_log(count=3, status=200)
    assert allowed["result"] == "allowed"


@pytest.mark.parametrize("alg", ["ES256", "ES384", "ES512", "EdDSA", "RS256", "PS256"])
def test_proofs_of_requests_oauth2client(shared: Envoy, fake: FakeProvider, alg: str) -> None:
    """DPP-01, DPP-19: each algorithm, whoever does the arithmetic; what the service gets."""
    owner = Owner(fake, alg)
    response = owner.get(shared)
    assert response.status == 200, response.body
    assert response.seen.all("authorization") == [f"DPoP {owner.token}"]
    assert response.seen.all("dpop") == []


@pytest.mark.parametrize("alg", ["ES256", "Ed25519", "PS256"])
def test_proofs_of_dpop(shared: Envoy, fake: FakeProvider, alg: str) -> None:
    """DPP-06: a proof of the library `dpop` is good, but for the token of its key only."""
    token = fake.token(cnf={"jkt": DPoPKey.generate().dpop_jkt})
    made = peer("proof", alg, "GET", f"{ORIGIN}/", token)
    response = shared.get("/", [("Authorization", f"DPoP {token}"), ("DPoP", made["proof"])])
    assert (response.status, response.json()["error"]) == (401, "invalid_dpop_proof")


def test_what_passes_here_passes_there(start_envoy: StartEnvoy, fake: FakeProvider) -> None:
    """DPP-04 to DPP-14: oauth4webapi, as a service, takes every proof that is taken here. Each has one member that is odd."""
    envoy = start_envoy(bound(fake, nonce="off"), idp=fake.port)
    key = Key.make("ES256")
    jwk = {name: key.jwk()[name] for name in ("crv", "kty", "x", "y")}
    jkt = b64url(hashlib.sha256(json.dumps(jwk, separators=(",", ":")).encode()).digest())
    token = fake.token(cnf={"jkt": jkt}, jti="1")
    odd: list[Any] = [1, 1.5, True, [], {}, "", " ", "x", ["x"], {"a": 1}]
    number = itertools.count()

    def proof(header: dict[str, Any], claims: dict[str, Any]) -> str:
        own = {"jti": f"jti-{next(number)}", "htm": "GET", "htu": f"{ORIGIN}/", "iat": int(time.time()), "ath": ath(token)}
        return key.token(own | claims, {"typ": "dpop+jwt", "jwk": jwk, "kid": None} | header)

    made = {"good": proof({}, {})}
    for value in odd:
        for name in ("typ", "alg", "jwk", "kid", "crit", "b64", "cty"):
            made[f"header {name} {value}"] = proof({name: value}, {})
        for name in ("kty", "crv", "x", "y", "d", "use", "key_ops", "alg"):
            made[f"jwk {name} {value}"] = proof({"jwk": jwk | {name: value}}, {})
        for name in ("jti", "htm", "htu", "iat", "ath", "nonce", "iss", "sub", "aud", "exp", "nbf"):
            made[f"claim {name} {value}"] = proof({}, {name: value})
    for htu in ("http://api.example.com/", f"{ORIGIN}:8443/", f"{ORIGIN}.evil/", "https://evil/", f"{ORIGIN}//", f"{ORIGIN}/x"):
        made[f"htu {htu}"] = proof({}, {"htu": htu})
    theirs = peer("judge", fake.issuer, f"{ORIGIN}/", AUDIENCE, told={
        "token": token, "keys": [fake.keys[0].jwk()], "proofs": list(made.values()),
    })
    ours = []
    for each in made.values():
        headers = [("Authorization", f"DPoP {token}"), ("DPoP", each)]
        ours.append(envoy.get("/", headers).status)
    verdicts = dict(zip(made, zip(ours, theirs, strict=True), strict=True))
    assert verdicts["good"] == (200, None)
    assert set(ours) == {200, 401}
    assert {name: why for name, (status, why) in verdicts.items() if status == 200 and why} == {}
    # And what they refuse is most of it: the other way round, they are content with more.
    assert sum(why is not None for why in theirs) > 100


def test_fifty_copies_over_two_workers(shared: Envoy, fake: FakeProvider) -> None:
    """DPP-13: of 50 copies of one proof at once, one passes, 200 times."""
    owner = Owner(fake)
    connections = [Http1(shared.port) for _ in range(50)]
    try:
        for _ in range(200):
            data = request_bytes("/", owner.headers())
            for connection in connections:
                connection.send(data)
            responses = [connection.receive() for connection in connections]
            statuses = sorted(response.status for response in responses)
            assert statuses == [200] + [401] * 49
            refused = next(response for response in responses if response.status == 401)
            assert refused.json()["error"] == "invalid_dpop_proof"
    finally:
        for connection in connections:
            connection.socket.close()
    spread = shared.stats(r"listener\..*worker_.*downstream_cx_total")
    assert sum(1 for count in spread.values() if count > 0) >= 2, f"both workers had a part in it: {spread}"
    # Counters may lag by ten seconds.
    counted = {"first": 200, "replayed": 200 * 49}
    for result, count in counted.items():
        scene.poll(lambda: shared.metric("oidc_dpop_proofs_total", result=result) == count, result, 15)


def test_a_worker_that_begins_anew_remembers(start_envoy: StartEnvoy, fake: FakeProvider) -> None:
    """DPP-13: another listener with the same filter is another filter of the same process."""
    settings = bound(fake)
    envoy = start_envoy(settings, idp=fake.port, workers=2, listeners={"other": settings})
    owner = Owner(fake)
    proof = owner.proof()
    assert owner.get(envoy, proof).status == 200
    assert owner.get(envoy.door("other"), proof).status == 401
    assert owner.get(envoy.door("other")).status == 200


def test_nonces_are_good_on_every_worker(start_envoy: StartEnvoy, fake: FakeProvider) -> None:
    """DPP-16, WSM-12, MV-24: given by one worker, known to all, and never twice the same."""
    envoy = start_envoy(bound(fake, nonce="required"), idp=fake.port, workers=2)
    owner = Owner(fake)
    nonces = set()
    for _ in range(20):
        response = owner.get(envoy)
        assert response.status == 401
        assert 'DPoP realm="oidc"' in response.header("www-authenticate")
        assert 'error="use_dpop_nonce"' in response.header("www-authenticate")
        assert response.header("cache-control") == "no-store"
        (nonce,) = response.all("dpop-nonce")
        nonces.add(nonce)
    assert len(nonces) == 20
    for nonce in nonces:
        for _ in range(2):
            response = owner.get(envoy, owner.proof(nonce=nonce))
            assert (response.status, response.all("dpop-nonce")) == (200, [])
    assert owner.get(envoy, owner.proof(nonce="x" * 67)).status == 401


def test_a_good_answer_brings_a_nonce(shared: Envoy, fake: FakeProvider) -> None:
    """DPP-16: where nonces are optional, whoever has none is given one, and no cache keeps that."""
    response = Owner(fake).get(shared)
    assert response.status == 200
    assert len(response.all("dpop-nonce")) == 1
    assert response.all("cache-control") == ["no-store"]


def test_one_header_with_one_proof(shared: Envoy, fake: FakeProvider) -> None:
    """DPP-04: two headers, which Envoy may join, are none."""
    owner = Owner(fake)
    authorization = ("Authorization", f"DPoP {owner.token}")
    for proofs in [[], [owner.proof(), owner.proof()], [f"{owner.proof()},{owner.proof()}"], ["garbage"], [""]]:
        response = shared.get("/", [authorization, *(("DPoP", proof) for proof in proofs)])
        assert (response.status, response.json()["error"]) == (401, "invalid_dpop_proof"), proofs
    assert owner.get(shared).status == 200


def test_the_origin_is_not_the_clients_to_choose(shared: Envoy, fake: FakeProvider) -> None:
    """DPP-10: headers that say under which name a request came."""
    owner = Owner(fake)
    for name, value in [
        ("Host", "evil.example"),
        ("X-Forwarded-Host", "evil.example"),
        ("X-Forwarded-Proto", "http"),
        ("Forwarded", "host=evil.example;proto=http"),
        ("X-Envoy-Original-Path", "/evil"),
    ]:
        for htu in ("https://evil.example/", "http://api.example.com/", f"{ORIGIN}/evil"):
            proof = str(owner.key.proof(htm="GET", htu=htu, ath=ath(owner.token)))
            response = shared.get("/", [*owner.headers(proof), (name, value)])
            assert response.status == 401, (name, htu)
        assert shared.get("/", [*owner.headers(), (name, value)]).status == 200, name


def test_a_route_that_is_rewritten(start_envoy: StartEnvoy, fake: FakeProvider) -> None:
    """DPP-20: the proof names what the client sees."""
    action = {"cluster": "upstream", "prefix_rewrite": "/internal/", "host_rewrite_literal": "service"}
    route = {"match": {"prefix": "/api/"}, "route": action}
    envoy = start_envoy(bound(fake), idp=fake.port, routes=[route])
    owner = Owner(fake)
    response = envoy.get("/api/orders", owner.headers(owner.proof("/api/orders")))
    assert (response.status, response.seen.path) == (200, "/internal/orders")
    assert envoy.get("/api/orders", owner.headers(owner.proof("/internal/orders"))).status == 401


def test_an_internal_redirect_needs_a_proof_of_its_own(start_envoy: StartEnvoy, fake: FakeProvider) -> None:
    """DPP-20: the proof was for another resource, and is gone."""
    action = {"cluster": "service", "internal_redirect_policy": {"max_internal_redirects": 1}}
    route = {"match": {"prefix": "/"}, "route": action}
    with FakeProvider() as service:
        moved = Reply(302, headers=[("location", "http://service.example/new")])
        service.routes |= {"/old": moved, "/new": Reply(200)}
        for settings in (bound(fake), bound(fake, forward_proof=True), bound(fake, forward_as="bearer")):
            envoy = start_envoy(settings, idp=fake.port, clusters={"service": service.port}, routes=[route])
            owner = Owner(fake)
            headers = [("Host", "service.example"), *owner.headers(owner.proof("/old"))]
            assert envoy.get("/old", headers).status == 401
            assert envoy.get("/new", owner.headers(owner.proof("/new"))).status == 200
        assert [request.path for request in service.requests] == ["/old", "/new"] * 3


def test_grpc(start_envoy: StartEnvoy, fake: FakeProvider) -> None:
    """DPP-21: POST to the full name of the method."""
    envoy = start_envoy(bound(fake), idp=fake.port, http2_upstream=True)
    owner = Owner(fake)
    path = "/shop.v1.Orders/List"
    for proof, status in [(owner.proof(path, "POST"), 200), (owner.proof("/shop.v1.Orders/Get", "POST"), 16)]:
        headers = [*owner.headers(proof), ("content-type", "application/grpc"), ("te", "trailers")]
        response = envoy.get(path, headers, method="POST", body=b"\0\0\0\0\0")
        if status == 200:
            assert (response.status, response.header("grpc-status")) != (200, "16")
        else:
            assert response.header("grpc-status") == "16"


def test_a_websocket(start_envoy: StartEnvoy, fake: FakeProvider) -> None:
    """DPP-21: a GET, also where HTTP/2 begins it with CONNECT; a tunnel is nobody's resource."""
    envoy = start_envoy(
        bound(fake),
        idp=fake.port,
        hcm={
            "upgrade_configs": [{"upgrade_type": "websocket"}, {"upgrade_type": "CONNECT"}],
            "http2_protocol_options": {"allow_connect": True},
        },
    )
    owner = Owner(fake)
    key = base64.b64encode(b"k" * 16).decode()
    upgrade = [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Key", key)]
    for method, status in (("GET", 101), ("CONNECT", 401)):
        proof = owner.proof("/ws", method)
        with Http1(envoy.port) as connection:
            connection.send(request_bytes("/ws", [*upgrade, *owner.headers(proof)]))
            assert connection.receive().status == status, method
    for method, status in (("GET", 200), ("CONNECT", 401)):
        extended = [(":method", "CONNECT"), (":protocol", "websocket"), ("sec-websocket-version", "13")]
        proved = [(name.lower(), value) for name, value in owner.headers(owner.proof("/ws", method))]
        with Http2(envoy.port) as connection:
            stream = connection.start("/ws", [*extended, *proved], end=False)
            assert connection.head(stream).status == status, method
    lines = "\r\n".join(f"{name}: {value}" for name, value in owner.headers(owner.proof("/", "CONNECT")))
    tunnel = f"CONNECT api.example.com:443 HTTP/1.1\r\nHost: api.example.com:443\r\n{lines}\r\n\r\n"
    assert exchange(envoy.port, tunnel.encode()).status in (401, 404)


def test_the_configuration_to_copy(provider: Provider, upstream: Upstream, tmp_path: Path) -> None:
    """DPP-02, MV-21, MV-27: envoy/bound-tokens.yaml as it stands, but for its ports."""
    bootstrap = Bootstrap("bound-tokens")
    (ours,) = bootstrap.wasm["configuration"]["value"]["providers"]
    ours["issuer"] = provider.issuer
    bootstrap.cluster("idp", provider.port)
    bootstrap.cluster("upstream", upstream.port)
    (origin,) = bootstrap.wasm["configuration"]["value"]["dpop"]["origins"]
    with scene.EnvoyProcess(bootstrap.text(), tmp_path) as envoy:
        port = envoy.ports()["enforce"]
        url = f"http://127.0.0.1:{port}"
        for path, seen in (("/orders", [200] * 3), ("/payments/1", ["use_dpop_nonce", 200, 200, 200])):
            flow = peer("flow", provider.issuer, url, origin + path, "urn:api:es256")
            assert (flow["seen"], flow["bearer"]) == (seen, 401)
        headers = [("Authorization", f"Bearer {provider.token()}")]
        statuses = [exchange(port, request_bytes(path, headers)).status for path in ("/orders", "/payments/1")]
        assert statuses == [200, 401]


def test_the_proxy_that_asks_for_its_client(start_envoy: StartEnvoy, fake: FakeProvider) -> None:
    """DPP-08, DPP-13: the verify endpoint judges a proof for the request that is asked about, once."""
    verify = {"method_header": "x-method", "uri_header": "x-uri"}
    settings = bound(fake, nonce="off") | {"verify_path": "/verify", "verify_request": verify}
    envoy = start_envoy(settings, idp=fake.port, workers=2)
    owner = Owner(fake)

    def ask(proof: str, method: str = "POST", uri: str = "/orders?page=1") -> int:
        return envoy.get("/verify", [*owner.headers(proof), ("X-Method", method), ("X-Uri", uri)]).status

    proof = owner.proof("/orders", "POST")
    assert ask(proof, "GET") == 401
    assert ask(proof, "POST", "/payments") == 401
    assert ask(owner.proof("/verify", "GET")) == 401
    assert [ask(proof), ask(proof)] == [204, 401]


def test_a_service_that_knows_no_dpop(start_envoy: StartEnvoy, fake: FakeProvider) -> None:
    """MV-33: it gets a bearer token."""
    envoy = start_envoy(bound(fake, forward_as="bearer"), idp=fake.port)
    owner = Owner(fake)
    assert owner.get(envoy).seen.all("authorization") == [f"Bearer {owner.token}"]


def test_nothing_configured_lets_no_bound_token_in(start_envoy: StartEnvoy, fake: FakeProvider) -> None:
    """DPP-02: as before there was DPoP."""
    envoy = start_envoy(config(fake), idp=fake.port)
    owner = Owner(fake)
    assert owner.get(envoy).status == 401
    assert envoy.get("/", token=owner.token).status == 401
    assert envoy.get("/", token=fake.token()).status == 200
