"""Keys over time: rotation, floods of unknown ones, and providers that do not hand them out."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import scene
from clients import Response, together
from conftest import StartEnvoy
from fake_provider import FakeProvider, Reply
from harness import Envoy, Provider, config, provider_entry
from tokens import Key, claims

DISCOVERY = "/.well-known/openid-configuration"
DISCOVERIES = (DISCOVERY, "/.well-known/oauth-authorization-server")
KEY = Key.make(kid="good")
RSA = Key.make("RS256", kid="rsa")


def with_keys(provider: Any, **jwks: Any) -> dict[str, Any]:
    return config(provider, providers=[provider_entry(provider, jwks=jwks)])


def is_unavailable(response: Response) -> bool:
    """The contract's fifth row: nobody can say, and the client is not to blame."""
    assert response.status == 503, response
    assert response.header("retry-after")
    assert response.header("www-authenticate") is None
    assert response.json()["error"] == "provider_unavailable"
    return True


def settled(fake: FakeProvider, path: str = "/jwks", count: int = 2) -> None:
    """Waits until the worker and the main thread, which has a filter too, have what they want."""
    scene.poll(lambda: fake.count(path) >= count, f"{count} fetches of {path}")


# ------------------------------------------------------------------------------------ rotation


def test_a_key_that_was_rotated_in_is_fetched_at_once(
    start_envoy: StartEnvoy, own_provider: Provider
) -> None:
    """TB-13, CCH-07."""
    envoy = start_envoy(with_keys(own_provider, cooldown="1s"), idp=own_provider.port)
    old = own_provider.token("es256")
    assert envoy.get("/", token=old).status == 200

    own_provider.rotate("publish")
    own_provider.rotate("activate")
    new = own_provider.token("es256")
    assert envoy.get("/", token=new).status == 200, "one fetch, while the request waits"
    assert envoy.get("/", token=old).status == 200, "both are published"

    # The rude way, and within the cooldown: no fetch is due at once, but soon.
    own_provider.rotate("swap")
    newest = own_provider.token("rs256")
    scene.poll(lambda: envoy.get("/", token=newest).status == 200, "the newest key")
    assert envoy.get("/", token=new).status == 401, "JWK-14: replaced, not added to"
    assert envoy.get("/", token=old).status == 401


def test_a_withdrawn_key_ends_with_the_cache(
    start_envoy: StartEnvoy, own_provider: Provider
) -> None:
    """JWK-14, CCH-06."""
    envoy = start_envoy(with_keys(own_provider, cache="1s"), idp=own_provider.port)
    old = own_provider.token("es256")
    assert envoy.get("/", token=old).status == 200
    own_provider.rotate("publish")
    own_provider.rotate("activate")
    own_provider.rotate("retire")
    scene.poll(lambda: envoy.get("/retired", token=old).status == 401, "the key to go", 15)
    details = envoy.access_log(path="/retired", status=401)[0]["details"]
    assert details == "oidc_denied{unknown_key}"
    assert envoy.get("/", token=own_provider.token("es256")).status == 200


def test_a_flood_of_unknown_keys_is_one_fetch(
    start_envoy: StartEnvoy, fake: FakeProvider
) -> None:
    """JWK-15."""
    envoy = start_envoy(with_keys(fake, cooldown="30s"), idp=fake.port)
    good = fake.token()
    assert envoy.get("/", token=good).status == 200
    settled(fake)
    before = fake.count("/jwks")
    tokens = [fake.token({"kid": f"random-{number}"}) for number in range(200)]
    statuses = together(50, lambda i: [envoy.get("/", token=t).status for t in tokens[i::50]])
    assert {status for some in statuses for status in some} == {401}
    assert fake.count("/jwks") - before <= 1
    assert envoy.get("/", token=good).status == 200
    details = {entry["details"] for entry in envoy.access_log(count=202)}
    assert details == {"via_upstream", "oidc_denied{unknown_key}"}


def test_an_unknown_key_is_fetched_after_the_cooldown(start_envoy: StartEnvoy, fake: FakeProvider) -> None:
    """JWK-15: nobody can hold a key off for ever by naming others all the time."""
    envoy = start_envoy(with_keys(fake, cooldown="1s"), idp=fake.port)
    assert envoy.get("/", token=fake.token()).status == 200
    assert envoy.get("/", token=fake.token({"kid": "x"})).status == 401
    fake.keys = [Key.make(kid="next")]

    def let_in() -> bool:
        envoy.get("/", token=fake.token({"kid": "x"}))
        return envoy.get("/", token=fake.token()).status == 200

    scene.poll(let_in, "the next key", 15)


# -------------------------------------------------------------------------------- single flight


@pytest.mark.parametrize("workers", [1, 2])
def test_200_cold_requests_wait_for_one_fetch(
    start_envoy: StartEnvoy, fake: FakeProvider, workers: int
) -> None:
    """JWK-16."""
    keys = {"keys": [key.jwk() for key in fake.keys]}
    fake.routes["/jwks"] = Reply.json(keys, delay=1.0)
    envoy = start_envoy(config(fake), idp=fake.port, workers=workers)
    good, bad = fake.token(), Key.make(kid=fake.keys[0].kid).token(claims(fake.issuer))
    responses = together(200, lambda i: envoy.get("/", token=bad if i % 4 == 0 else good))
    assert [response.status for response in responses] == [401, 200, 200, 200] * 50
    assert fake.count("/jwks") <= workers + 1  # the main thread has a filter as well
    assert fake.count(DISCOVERY) <= workers + 1


def test_those_who_leave_take_nothing_with_them(
    start_envoy: StartEnvoy, fake: FakeProvider
) -> None:
    """HTP-08, OUT-06: whoever caused the fetch goes away; the others still get their answers."""
    keys = {"keys": [key.jwk() for key in fake.keys]}
    fake.routes["/jwks"] = Reply.json(keys, delay=1.0)
    envoy = start_envoy(config(fake), idp=fake.port)
    headers = [("authorization", f"Bearer {fake.token()}")]
    with envoy.http1() as quitter, envoy.http2() as connection:
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
        quitter.send(f"GET /left HTTP/1.1\r\nhost: x\r\n{lines}\r\n".encode())
        streams = [connection.start(f"/{number}", headers) for number in range(10)]
        for stream in streams[::2]:
            connection.reset(stream)
        quitter.socket.close()
        assert [connection.receive(stream).status for stream in streams[1::2]] == [200] * 5
    assert envoy.get("/", headers).status == 200
    assert envoy.access_log(path="/left")[0]["flags"] == "DC"


# ------------------------------------------------------------------------------ cold and broken


def good_keys(*more: Any) -> dict[str, Any]:
    return {"keys": [*more, KEY.jwk()]}


BROKEN = {
    "404": Reply(404),
    "500": Reply(500, json.dumps(good_keys()).encode()),
    "204": Reply(204),
    "302": Reply(302, headers=[("location", "/elsewhere")]),
    "late": Reply.json(good_keys(), delay=30),
    "reset": Reply.json(good_keys(), cut=10),
    "not http": Reply(raw=b"SSH-2.0-OpenSSH_9.6\r\n"),
    "empty": Reply(),
    "html": Reply(body=b"<html>Sign in</html>", headers=[("content-type", "text/html")]),
    "html with keys": Reply.json(good_keys(), headers=[("content-type", "text/html; charset=x")]),
    "text": Reply(body=b"not json"),
    "cut off": Reply(body=json.dumps(good_keys()).encode()[:-5]),
    "trailing": Reply(body=json.dumps(good_keys()).encode() + b"}"),
    "no keys": Reply.json({"keys": []}),
    "null": Reply.json({"keys": None}),
    "an object": Reply.json({"keys": {"0": KEY.jwk()}}),
    "a list": Reply.json([KEY.jwk()]),
    "twice": Reply(body=b'{"keys":[],' + json.dumps(good_keys()).encode()[1:]),
    "nothing usable": Reply.json({"keys": [{"kty": "EC"}, RSA.jwk(use="enc")]}),
    "deep": Reply(body=b'{"keys":' + b"[" * 100_000),
    "thousands": Reply.json(good_keys(*({"kty": "OKP", "kid": f"{n}"} for n in range(3000)))),
    "two megabytes": Reply.json({**good_keys(), "x": "x" * (2 << 20)}),
    "33 megabytes": Reply.json({**good_keys(), "x": "x" * (33 << 20)}),
    "gzip": Reply(
        body=b"\x1f\x8b\x08\x00" + b"\x00" * 20,
        headers=[("content-type", "application/json"), ("content-encoding", "gzip")],
    ),
}
BROKEN_DISCOVERY = {
    "discovery 500": Reply(500),
    "discovery empty": Reply(),
    "discovery list": Reply.json([]),
    "discovery 302": Reply(302, headers=[("location", "/elsewhere")]),
}
OTHER_ISSUERS: dict[str, Callable[[str], str | None]] = {
    "with a slash": lambda issuer: f"{issuer}/",
    "in upper case": str.upper,
    "a stranger": lambda _: "https://evil.example",
    "nobody": lambda _: None,
}
FORBIDDEN_URIS = [
    "http://169.254.169.254/latest/meta-data/",
    "http://localhost:{port}/jwks",
    "http://127.0.0.1:1/jwks",
    "http://127.0.0.1.evil.example:{port}/jwks",
    "http://127.0.0.1:{port}@evil.example/jwks",
    "http://evil.example/jwks",
    "file:///etc/passwd",
    "//evil.example/jwks",
    "/jwks",
    "",
]
CACHE_CONTROL = ["max-age=1", "no-store", "max-age=1, must-revalidate"]
FINE = {  # odd, but there is a good key in it
    "one bad among good": good_keys({"kty": "EC", "crv": "P-256", "kid": "bad"}, {"kty": "??"}),
    "foreign members": {**good_keys(), "x": [1, {"y": None}]},
    "many": good_keys(*({"kty": "OKP", "crv": "X25519", "kid": f"{n}"} for n in range(50))),
    "weak beside": good_keys({**RSA.jwk(kid="weak"), "n": "AQAB"}, "not an object", None),
    "symmetric beside": good_keys({"kty": "oct", "k": "c2VjcmV0", "kid": "s", "alg": "HS256"}),
}


class Many:
    """Providers by name, each with a fault of its own, in one Envoy."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self._stack = stack
        self.fakes: dict[str, FakeProvider] = {}
        self.envoy: Envoy

    def add(self, name: str, path: str, reply: Reply | Callable[[FakeProvider], Reply]) -> None:
        fake = self._stack.enter_context(FakeProvider(KEY))
        fake.routes[path] = reply(fake) if callable(reply) else reply
        self.fakes[name] = fake

    def start(self, start: StartEnvoy, **entry: Any) -> None:
        clusters = {f"idp-{index}": fake.port for index, fake in enumerate(self.fakes.values())}
        entries = [
            provider_entry(fake, name=f"p{index}", cluster=f"idp-{index}", **entry)
            for index, fake in enumerate(self.fakes.values())
        ]
        self.envoy = start({"providers": entries}, clusters=clusters)

    def name(self, fault: str) -> str:
        return f"p{[*self.fakes].index(fault)}"

    def get(self, fault: str, path: str = "/") -> Response:
        return self.envoy.get(path, token=self.fakes[fault].token())


def renamed(change: Callable[[str], str | None], fake: FakeProvider) -> Reply:
    return Reply.json(fake.metadata(issuer=change(fake.issuer)))


def with_jwks_uri(uri: str, fake: FakeProvider) -> Reply:
    return Reply.json(fake.metadata(jwks_uri=uri.format(port=fake.port)))


@pytest.fixture(scope="module")
def cold(start_shared_envoy: StartEnvoy) -> Iterator[Many]:
    """Providers that never were any good."""
    with contextlib.ExitStack() as stack:
        many = Many(stack)
        for fault, reply in BROKEN.items():
            many.add(fault, "/jwks", reply)
        for fault, reply in BROKEN_DISCOVERY.items():
            many.add(fault, DISCOVERY, reply)
        for name, change in OTHER_ISSUERS.items():
            many.add(name, DISCOVERY, partial(renamed, change))
        for uri in FORBIDDEN_URIS:
            many.add(uri, DISCOVERY, partial(with_jwks_uri, uri))
        for name, keys in FINE.items():
            many.add(name, "/jwks", Reply.json(keys))
        for header in CACHE_CONTROL:
            headers = [("content-type", "application/json"), ("cache-control", header)]
            many.add(header, "/jwks", Reply.json(good_keys(), headers=headers))
        many.start(start_shared_envoy, timeout="2s", jwks={"cooldown": "1s"})
        yield many


@pytest.mark.parametrize("fault", [*BROKEN, *BROKEN_DISCOVERY])
def test_without_keys_nobody_is_let_in(cold: Many, fault: str) -> None:
    """JWK-11, JWK-12, JWK-13."""
    assert is_unavailable(cold.get(fault))


@pytest.mark.parametrize("name", FINE)
def test_a_bad_key_does_no_harm_to_a_good_one(cold: Many, name: str) -> None:
    """JWK-01, JWK-04, JWK-08."""
    assert cold.get(name).status == 200


def test_nobody_is_followed_elsewhere(cold: Many) -> None:
    """OUT-03, OUT-08."""
    for fault in ("302", "discovery 302"):
        assert is_unavailable(cold.get(fault))
        assert cold.fakes[fault].count("/elsewhere") == 0


def test_a_published_secret_verifies_nothing(cold: Many) -> None:
    """JWK-08: RFC 8725, section 2.1."""
    fake = cold.fakes["symmetric beside"]
    hs256 = Key("HS256", "s", b"secret")
    assert cold.envoy.get("/", token=hs256.token(claims(fake.issuer))).status == 401


def test_every_provider_has_keys_of_its_own(cold: Many) -> None:
    """JWK-22: one that publishes the same kid, and signs for another."""
    stranger = Key.make(kid=KEY.kid)
    for name in FINE:
        token = stranger.token(claims(cold.fakes[name].issuer))
        assert cold.envoy.get("/", token=token).status == 401


# ------------------------------------------------------------------------------ warm and broken


WARM = [fault for fault in BROKEN if fault not in ("33 megabytes", "late", "not http")]


def test_keys_serve_on_through_an_outage_and_then_no_longer(
    start_envoy: StartEnvoy,
) -> None:
    """JWK-11, JWK-12, JWK-17: every fault at once: keys are refreshed after a second, and stay
    usable for four more."""
    with contextlib.ExitStack() as stack:
        many = Many(stack)
        for fault in WARM:
            many.add(fault, "/jwks", Reply.json(good_keys()))
        jwks = {"cache": "1s", "max_stale": "6s", "cooldown": "1s"}
        many.start(start_envoy, jwks=jwks, timeout="2s")
        for fault, fake in many.fakes.items():
            assert many.get(fault).status == 200
            fake.routes["/jwks"] = BROKEN[fault]

        def all_failed() -> bool:
            failed = "oidc_fetches_total"
            for fault in WARM:
                assert many.get(fault, "/warm").status == 200, fault
            return all(
                many.envoy.metric(failed, provider=many.name(f), kind="jwks", result="failed")
                for f in WARM
            )

        scene.poll(all_failed, "a failed refresh of every provider's keys", 6)
        for fault in WARM:
            scene.poll(lambda f=fault: many.get(f).status == 503, f"the end of {fault}", 15)
            assert is_unavailable(many.get(fault))
        for fault, fake in many.fakes.items():
            fake.routes["/jwks"] = Reply.json(good_keys())
        for fault in WARM:
            scene.poll(lambda f=fault: many.get(f).status == 200, f"{fault} to recover", 40)


# ------------------------------------------------------------------------- what discovery says


@pytest.mark.parametrize("name", OTHER_ISSUERS)
def test_another_issuers_metadata_are_not_used(cold: Many, name: str) -> None:
    """OUT-01."""
    assert is_unavailable(cold.get(name))
    assert cold.fakes[name].count("/jwks") == 0


def test_the_operator_is_told(start_envoy: StartEnvoy, fake: FakeProvider) -> None:
    """OUT-01."""
    fake.routes[DISCOVERY] = Reply.json(fake.metadata(issuer=f"{fake.issuer}/"))
    envoy = start_envoy(config(fake), idp=fake.port)
    assert is_unavailable(envoy.get("/", token=fake.token()))
    assert f'the metadata name the issuer "{fake.issuer}/", not "{fake.issuer}"' in envoy.log()


@pytest.mark.parametrize("uri", FORBIDDEN_URIS)
def test_a_host_without_a_cluster_is_named_and_never_called(cold: Many, uri: str) -> None:
    """OUT-02."""
    fake = cold.fakes[uri]
    assert is_unavailable(cold.get(uri))
    assert {request.path for request in fake.requests} <= set(DISCOVERIES)
    said = f"{cold.name(uri)}: jwks cannot be fetched: "
    assert said in cold.envoy.log()
    if uri.startswith("http"):
        host = uri.format(port=fake.port).split("/")[2].rpartition("@")[2]
        if host == "evil.example" and "@" in uri:
            return  # a URL with a user name is none
        assert f'{said}no cluster for the host "{host}"' in cold.envoy.log()


@pytest.mark.parametrize("kind", ["introspection", "userinfo"])
def test_an_endpoint_without_a_cluster_is_named(start_envoy: StartEnvoy, kind: str) -> None:
    """OUT-02: Google's userinfo, for one, is on another host than its issuer."""
    with FakeProvider() as fake:
        changes = {f"{kind}_endpoint": "https://evil.example/x"}
        fake.routes[DISCOVERY] = Reply.json(fake.metadata(**changes))
        entry = provider_entry(fake, validation=kind, introspection=None, audiences=None, any_audience=True)
        envoy = start_envoy(config(fake, providers=[entry]), idp=fake.port)
        assert envoy.get("/", token="opaque").status == 503
        assert f'{kind} cannot be fetched: no cluster for the host "evil.example"' in envoy.log()
        assert {request.path for request in fake.requests} == {DISCOVERY}


def test_a_host_with_a_cluster_is_called(start_envoy: StartEnvoy, fake: FakeProvider) -> None:
    """OUT-02."""
    with FakeProvider(*fake.keys) as cdn:
        host = "cdn.example:8443"
        fake.routes[DISCOVERY] = Reply.json(fake.metadata(jwks_uri=f"http://{host}/jwks?v=1"))
        entry = provider_entry(fake, clusters={host: "cdn"})
        envoy = start_envoy(
            config(fake, providers=[entry]), idp=fake.port, clusters={"cdn": cdn.port}
        )
        assert envoy.get("/", token=fake.token()).status == 200
        assert {request.target for request in cdn.requests} == {"/jwks?v=1"}
        assert {request.header("host") for request in cdn.requests} == {host}
        assert fake.count("/jwks") == 0


def test_nothing_that_a_token_says_is_called(
    start_envoy: StartEnvoy, fake: FakeProvider
) -> None:
    """OUT-04."""
    envoy = start_envoy(config(fake), idp=fake.port)
    with FakeProvider() as evil:
        stranger = evil.keys[0]
        for header in (
            {"jku": f"{evil.issuer}/jwks"},
            {"x5u": f"{evil.issuer}/jwks"},
            {"jwk": stranger.jwk()},
            {"kid": f"{evil.issuer}/jwks"},
            {"kid": "../../jwks?x="},
        ):
            token = stranger.token(claims(fake.issuer), header)
            assert envoy.get("/", token=token).status == 401
        assert envoy.get("/", token=stranger.token(claims(evil.issuer))).status == 401
        assert evil.requests == []
    assert {request.target for request in fake.requests} <= {DISCOVERY, "/jwks"}


def test_a_cluster_that_is_not_there(
    start_envoy: StartEnvoy, fake: FakeProvider
) -> None:
    """OUT-05, WSM-09."""
    envoy = start_envoy(config(fake, providers=[provider_entry(fake, cluster="nowhere")]))
    for token in (fake.token(), "opaque"):
        assert is_unavailable(envoy.get("/", token=token))
    assert "nowhere" in envoy.log()


@pytest.mark.parametrize("header", CACHE_CONTROL)
def test_cache_control_shortens_the_time(cold: Many, header: str) -> None:
    """JWK-17: of the ten minutes that are configured."""
    settled(cold.fakes[header], count=5)
    assert cold.get(header).status == 200
