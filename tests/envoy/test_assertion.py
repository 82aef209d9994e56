"""Signed identities, read by those who will read them: PyJWT, jose (npm), and Envoy's own jwt_authn; claims from elsewhere, and tokens
that a real provider exchanges."""

from __future__ import annotations

import base64
import json
import re
import secrets
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
import scene
import yaml
from clients import request_bytes, together
from conftest import StartEnvoy
from fake_provider import FakeProvider, Reply, Request
from harness import ROOT, Door, Envoy, Provider, config, envoy_release, no_crash, validate_config
from pages import Page
from services import free_port
from tokens import Key, b64url, b64url_uint
from xds import Xds

ISSUER = "https://edge.example.com"
AUDIENCE = "https://orders.internal"
JWKS = "/.well-known/oidc-filter/jwks.json"
HEADER = "x-oidc-assertion"
AUDIENCE_OF_TOKENS = "urn:api:test"  # those of the fake provider


def private_jwk(alg: str, kid: str) -> dict[str, str]:
    """A private key as the filter takes it."""
    if alg == "HS256":
        return {"kty": "oct", "kid": kid, "k": b64url(secrets.token_bytes(32))}
    key = Key.make(alg, kid)
    jwk = key.jwk()
    if alg == "EdDSA":
        return jwk | {"d": b64url(key.private.private_bytes_raw())}
    numbers = key.private.private_numbers()
    if alg == "ES256":
        return jwk | {"d": b64url_uint(numbers.private_value, 32)}
    names = {"d": "d", "p": "p", "q": "q", "dp": "dmp1", "dq": "dmq1", "qi": "iqmp"}
    return jwk | {name: b64url_uint(getattr(numbers, field)) for name, field in names.items()}


def assertion(keys: Any, **changes: Any) -> dict[str, Any]:
    return {"issuer": ISSUER, "audience": AUDIENCE, "keys": keys} | changes


def asserting(provider: Any, keys: Any, **top: Any) -> dict[str, Any]:
    return config(provider, assertion=assertion(keys), assertion_jwks_path=JWKS) | top


def test_the_key_of_the_page_is_one(tmp_path: Path) -> None:
    """Its two lines make a key, and the same as the JWK that the filter takes."""
    (lines,) = re.findall(r"```sh\n(openssl .*?)```", (ROOT / "docs/assertions.md").read_text(), re.S)
    made = subprocess.run(["sh", "-ec", lines], cwd=tmp_path, capture_output=True, text=True, check=True)
    key = made.stdout.splitlines()[-1]
    with FakeProvider() as fake:
        result = validate_config(asserting(fake, "${ASSERTION_KEY}"), env={"ASSERTION_KEY": key})
    assert result.returncode == 0, result.stdout


def by_pyjwt(door: Door, value: str, secret: str | None = None) -> dict[str, Any]:
    """Header and payload, by the published keys."""
    header = jwt.get_unverified_header(value)
    if secret is None:
        keys = jwt.PyJWKSet.from_json(door.get(JWKS).body.decode())
        key = keys[header["kid"]].key
    else:
        key = base64.urlsafe_b64decode(secret + "==")
    demands = {"require": ["exp", "iat", "jti", "aud", "iss"]}
    payload = jwt.decode(value, key, algorithms=[header["alg"]], audience=AUDIENCE, issuer=ISSUER, options=demands)
    return {"header": header, "payload": payload}


def by_jose(door: Door, values: list[str]) -> list[dict[str, Any]]:
    """The same by jose, which fetches the keys itself."""
    url = f"http://127.0.0.1:{door.port}{JWKS}"
    said = subprocess.run(
        ["node", str(ROOT / "envoy/provider/assertion-peer.mjs"), url, ISSUER, AUDIENCE],
        input="\n".join(values) + "\n", capture_output=True, text=True, check=True, timeout=60,
    ).stdout
    return [json.loads(line) for line in said.splitlines()]


# ------------------------------------------------------------------------- who reads it


ALGORITHMS = [
    "ES256",
    "EdDSA",
    pytest.param("RS256", marks=pytest.mark.skipif(envoy_release() < (1, 37), reason="Envoy signs from 1.37 on")),
]


@pytest.mark.parametrize("alg", ALGORITHMS)
def test_pyjwt_and_jose_read_the_same(start_envoy: StartEnvoy, provider: Provider, alg: str) -> None:
    """AST-01."""
    # The answer about an opaque token of a client's own has no `sub`.
    whole = assertion(private_jwk(alg, "k"), subject=["sub", "client_id"])
    envoy = start_envoy(config(provider, assertion=whole, assertion_jwks_path=JWKS))
    tokens = [provider.token("es256"), provider.token("opaque"), provider.user_token("alice", "openid api:read", "rs256")]
    values = [envoy.get("/", token=token).seen.header(HEADER) for token in tokens]
    from_jose = by_jose(envoy, values)
    for value, read in zip(values, from_jose, strict=True):
        assert by_pyjwt(envoy, value) == read
        assert read["header"] == {"alg": alg, "typ": "JWT", "kid": "k"}
        assert read["payload"]["idp"] == provider.issuer
        assert read["payload"]["exp"] - read["payload"]["iat"] == 60
    assert [read["payload"]["sub"] for read in from_jose] == ["svc", "svc", "alice"]
    assert len({read["payload"]["jti"] for read in from_jose}) == 3
    # Another's, and one that was changed, are none.
    other = jwt.encode({"iss": ISSUER, "aud": AUDIENCE, "exp": time.time() + 60}, "x" * 32, headers={"kid": "k"})
    head, payload, signature = values[0].split(".")
    changed = ".".join([head, values[1].split(".")[1], signature])
    assert all("error" in read for read in by_jose(envoy, [other, changed]))
    backend = "host" if alg != "EdDSA" and envoy_release() >= (1, 37) else "wasm"
    assert envoy.metric("oidc_assertions_total", alg=alg, backend=backend, result="signed") == 3
    assert "assertions signed by k" in envoy.log()
    assert no_crash(envoy)


def test_signatures_of_the_host_of_every_length(start_envoy: StartEnvoy, fake: FakeProvider) -> None:
    """DER of every length becomes r || s: each of them verifies, and each has a name of its own."""
    envoy = start_envoy(asserting(fake, private_jwk("ES256", "k")), idp=fake.port)
    key = jwt.PyJWKSet.from_json(envoy.get(JWKS).body.decode())["k"].key

    def names(part: int) -> set[str]:
        found = set()
        with envoy.http1() as client:
            for number in range(part, 10_000, 4):
                client.send(request_bytes("/", [("Authorization", f"Bearer {fake.token(jti=str(number))}")]))
                value = client.receive().seen.header(HEADER)
                # At once: an assertion lives for a minute.
                found.add(jwt.decode(value, key, algorithms=["ES256"], audience=AUDIENCE, issuer=ISSUER)["jti"])
        return found

    assert len(set().union(*together(4, names))) == 10_000


def test_an_assertion_that_is_too_long(start_envoy: StartEnvoy, fake: FakeProvider) -> None:
    """AST-11: the client hears nothing of it, the operator the header, the size and the claim, and nobody a value."""
    settings = asserting(fake, private_jwk("ES256", "k"))
    settings["assertion"]["claims"] = ["groups", "email"]
    envoy = start_envoy(settings, idp=fake.port)
    groups = [f"{number:040}" for number in range(600)]
    known = {"iss": fake.issuer, "aud": AUDIENCE_OF_TOKENS, "sub": "ann", "email": "ann@example.com"}
    fake.active |= {"opaque-many": known | {"groups": groups}, "opaque-few": known | {"groups": groups[:2]}}
    refused = envoy.get("/", token="opaque-many")
    assert (refused.status, refused.json()["error_description"].split(":")[0]) == (503, "misconfigured")
    (line,) = [line for line in envoy.log().splitlines() if "is too long to be written" in line]
    wanted = rf"{HEADER}: an assertion of (\d+) bytes is too long .*most of it is the claim groups: leave it out of `assertion.claims`"
    size = int(re.search(wanted, line)[1])
    assert 600 * 43 * 4 // 3 < size < 40_000, line
    assert "[warning]" in line and groups[7] not in envoy.log()
    few = envoy.get("/", token="opaque-few").seen.header(HEADER)
    assert by_pyjwt(envoy, few)["payload"]["groups"] == groups[:2]
    assert no_crash(envoy)


def test_a_shared_secret(start_envoy: StartEnvoy, provider: Provider) -> None:
    key = private_jwk("HS256", "k")
    envoy = start_envoy(config(provider, assertion=assertion(key)))
    value = envoy.get("/", token=provider.token()).seen.header(HEADER)
    assert by_pyjwt(envoy, value, key["k"])["payload"]["sub"] == "svc"


def test_keys_that_are_refused() -> None:
    """What an operator may not write is refused with the field's path, and without the key."""
    class Nobody:
        issuer = "https://idp.example.com"

    good = private_jwk("ES256", "k")
    for keys, path in [
        ([], "assertion.keys"),
        ([good | {"use": "enc"}], "assertion.keys[0]"),
        ([good | {"crv": "P-384"}], "assertion.keys[0]"),
        ([good | {"x": good["y"]}], "assertion.keys[0]"),
        ([good, good], "assertion.keys[1]"),
        (["${ASSERTION_KEY}"], "assertion.keys[0]"),
    ]:
        said = validate_config(asserting(Nobody(), keys))
        assert said.returncode != 0 and f"{path}: " in said.stdout, said.stdout
        assert good["d"] not in said.stdout
    said = validate_config(asserting(Nobody(), ["${ASSERTION_KEY}"]), env={"ASSERTION_KEY": json.dumps(good)})
    assert said.returncode == 0, said.stdout
    rsa = validate_config(asserting(Nobody(), private_jwk("RS256", "r")))
    assert (rsa.returncode == 0) == (envoy_release() >= (1, 37)), rsa.stdout


def test_the_key_set_on_the_wire(start_envoy: StartEnvoy, provider: Provider) -> None:
    """AST-15."""
    keys = [private_jwk("ES256", "a"), private_jwk("EdDSA", "b"), private_jwk("HS256", "c")]
    envoy = start_envoy(asserting(provider, keys))
    answer = envoy.get(JWKS)
    assert answer.status == 200 and answer.header("content-type") == "application/jwk-set+json"
    assert answer.header("cache-control") == "public, max-age=300"
    published = json.loads(answer.body)["keys"]
    assert [key["kid"] for key in published] == ["a", "b"]
    assert not any({"d", "k"} & key.keys() for key in published)
    assert envoy.get(JWKS, [("if-none-match", answer.header("etag"))]).status == 304
    assert envoy.get(JWKS, method="POST").status == 405
    head = envoy.get(JWKS, method="HEAD")
    assert head.status == 200 and head.header("content-length") == str(len(answer.body))
    assert envoy.get(f"{JWKS}/x").status == 401


def test_a_client_s_own_never_reaches_the_service(start_envoy: StartEnvoy, provider: Provider) -> None:
    """AST-02."""
    rules = [{"match": {"path_prefix": "/open"}, "bypass": True}, {"match": {"path_prefix": "/none"}, "assertion": []}]
    hcm = {"common_http_protocol_options": {"headers_with_underscores_action": "ALLOW"}}
    envoy = start_envoy(asserting(provider, private_jwk("ES256", "k"), rules=rules), hcm=hcm)
    forged = [("X-OIDC-Assertion", "forged"), ("x_oidc_assertion", "forged"), ("x-oidc-assertion", "forged")]
    for path, token, count in [("/", provider.token(), 1), ("/open", None, 0), ("/none", provider.token(), 0)]:
        seen = envoy.get(path, forged, token=token).seen
        assert not [value for _, value in seen.headers if "forged" in value], path
        assert len(seen.all(HEADER)) == count, path


# ------------------------------------------------------------------------- Envoy as the service


def edge_and_service(directory: Path, provider: Provider, upstream_port: int, keys: list[str]) -> Any:
    """envoy/assertion.yaml as it stands, with other ports."""
    value = yaml.safe_load((ROOT / "envoy/assertion.yaml").read_text())
    value["admin"]["address"]["socket_address"]["port_value"] = 0
    ports = {"idp": provider.port, "service": upstream_port, "edge": free_port(), "orders": free_port()}
    for listener in value["static_resources"]["listeners"]:
        listener["address"]["socket_address"] |= {"address": "127.0.0.1", "port_value": ports[listener["name"]]}
    for cluster in value["static_resources"]["clusters"]:
        endpoint = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]
        endpoint["address"]["socket_address"]["port_value"] = ports[cluster["name"]]
    text = json.dumps(value).replace("http://127.0.0.1:9000", provider.issuer)
    env = {"ASSERTION_KEY": keys[0]}
    return scene.EnvoyProcess(text, directory, 1, env), ports


def test_the_example_as_it_stands(provider: Provider, upstream: Any, tmp_path: Path) -> None:
    """envoy/assertion.yaml: jwt_authn takes the keys from the filter's path, and lets nobody past it."""
    process, ports = edge_and_service(tmp_path, provider, upstream.port, [json.dumps(private_jwk("ES256", "k"))])
    try:
        edge, orders = Door(ports["edge"]), Door(ports["orders"])
        response = edge.get("/", token=provider.token())
        assert response.status == 200, response
        seen = response.seen
        assert by_pyjwt(edge, seen.header(HEADER))["payload"]["sub"] == "svc"
        assert seen.header("authorization") is None
        assert orders.get("/").status == 401
        assert orders.get("/", token=provider.token()).status == 401
        assert orders.get("/", [(HEADER, seen.header(HEADER))]).status == 200
        dump = process.admin("/config_dump")
        assert "oidc-assertion" in dump and '"d"' not in dump
    finally:
        process.stop()


def jwt_authn(port_of_keys: int, cache: str = "300s") -> tuple[dict[str, Any], dict[str, Any]]:
    """Envoy's filter as the service's, and the cluster that it fetches keys from."""
    remote = {"http_uri": {"uri": f"http://edge{JWKS}", "cluster": "keys", "timeout": "5s"}, "cache_duration": cache}
    provider = {
        "issuer": ISSUER, "audiences": [AUDIENCE], "from_headers": [{"name": HEADER}], "forward": True, "remote_jwks": remote,
    }
    kind = "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication"
    rules = [{"match": {"prefix": "/"}, "requires": {"provider_name": "edge"}}]
    return {"name": "envoy.filters.http.jwt_authn", "typed_config": {"@type": kind, "providers": {"edge": provider}, "rules": rules}}


def test_another_key_without_an_outage(
    start_envoy: StartEnvoy, fake: FakeProvider, tmp_path: Path
) -> None:
    """Two edges behind one service that keeps keys: through all steps of a rotation, under load, not one 401.

    The edges take each step one after the other, so that between the steps they differ, as replicas do.
    """
    old, new = private_jwk("ES256", "old"), private_jwk("EdDSA", "new")
    public = {name: value for name, value in old.items() if name != "d"}
    steps = [[old], [old, new], [new, old], [new, public], [new]]

    def step(number: int) -> dict[str, Any]:
        return asserting(fake, steps[number]) | {"assertion": assertion(steps[number], lifetime="5s")}

    directories = [tmp_path / name for name in ("a", "b")]
    sources = []
    edges: list[Envoy] = []
    keys_port = free_port()
    # Who serves the keys to the service is one of the edges.
    service = start_envoy(
        config(fake, allow_missing=True),
        idp=fake.port,
        clusters={"keys": keys_port},
        after=[jwt_authn(keys_port, "2s")],
    )
    for index, directory in enumerate(directories):
        directory.mkdir()
        source = Xds(directory)

        def adjust(bootstrap: Any, source: Xds = source, index: int = index) -> None:
            if index == 0:
                bootstrap.listener["address"]["socket_address"]["port_value"] = keys_port
            source.take_over(bootstrap)

        edges.append(start_envoy(step(0), idp=fake.port, clusters={"upstream": service.port}, adjust=adjust))
        sources.append(source)
    statuses: dict[int, int] = {}
    names: set[str] = set()
    stop = threading.Event()

    def load(edge: Envoy, number: int) -> None:
        count = 0
        while not stop.is_set():
            count += 1
            token = fake.token(jti=f"{number}-{count}")
            response = edge.get("/", token=token)
            statuses[response.status] = statuses.get(response.status, 0) + 1
            if response.status == 200:
                names.add(jwt.get_unverified_header(response.seen.header(HEADER))["kid"])

    edges[0].get("/", token=fake.token())
    time.sleep(2.5)  # the service has had the first key set
    threads = [threading.Thread(target=load, args=(edge, number)) for number, edge in enumerate(edges)]
    for thread in threads:
        thread.start()
    for number in range(1, len(steps)):
        for edge, source in zip(edges, sources, strict=True):
            source.publish(step(number))
            wait_for_keys(edge, [key["kid"] for key in steps[number]])
        # The service keeps keys for 2 s; an assertion lives 5 s.
        time.sleep(3 if number < 2 else 6)
    stop.set()
    for thread in threads:
        thread.join()
    assert set(statuses) == {200}, statuses
    assert statuses[200] > 200 and names == {"old", "new"}


def wait_for_keys(edge: Envoy, kids: list[str]) -> None:
    def there() -> bool:
        response = edge.get(JWKS)
        return response.status == 200 and sorted(key["kid"] for key in json.loads(response.body)["keys"]) == sorted(kids)

    scene.poll(there, f"the keys {kids}", 10)


# ------------------------------------------------------------------------- docs/assertions.md


PAGE = Page("assertions.md")


def recipe(fake: FakeProvider, index: int, *headings: str) -> dict[str, Any]:
    found = PAGE.json(*headings, index=index, idp=fake.issuer)
    found["providers"][0] |= {"audiences": [AUDIENCE_OF_TOKENS]}
    return found


@pytest.mark.parametrize("headings", [(), ("In place of the token",), ("One audience for each service",)])
def test_the_recipes_of_the_page(start_envoy: StartEnvoy, fake: FakeProvider, headings: tuple[str, ...]) -> None:
    """docs/assertions.md, as it stands there, with keys in Envoy's environment."""
    found = recipe(fake, 0, *headings) | {"assertion_jwks_path": JWKS}
    env = {"ASSERTION_KEY": json.dumps(private_jwk("ES256", "k")), "INTROSPECTION_CLIENT_SECRET": "rs-secret"}
    envoy = start_envoy(found, idp=fake.port, env=env)
    header = found["assertion"].get("header", HEADER)
    token = fake.token(email="ann@example.com", realm_access={"roles": ["buyer"]})
    fake.active[token] = {"sub": "ann", "aud": AUDIENCE_OF_TOKENS, "iss": fake.issuer}
    seen = envoy.get("/", token=token).seen
    value = seen.header(header).removeprefix("Bearer ")
    payload = by_pyjwt(envoy, value)["payload"]
    assert payload["iss"] == ISSUER and payload["aud"] == AUDIENCE
    if not headings:
        assert payload["email"] == "ann@example.com" and payload["roles"] == ["buyer"]
        assert seen.header("authorization") is None
    if found.get("rules"):
        billing = jwt.decode(envoy.get("/billing", token=token).seen.header(HEADER), options={"verify_signature": False})
        assert billing["aud"] == "https://billing.internal"
        nobody = jwt.decode(envoy.get("/static/x").seen.header(HEADER), options={"verify_signature": False})
        assert nobody["anonymous"] is True and "sub" not in nobody


# ------------------------------------------------------------------------- claims from elsewhere


def test_a_service_that_knows_more(start_envoy: StartEnvoy, fake: FakeProvider) -> None:
    """docs/enrichment.md, as it stands there."""
    asked: list[Any] = []

    def about(request: Request) -> Reply:
        asked.append(json.loads(request.body))
        return Reply.json({"groups": ["buyer"], "contract": {"tier": "gold"}})

    fake.routes["/about"] = about
    found = Page("enrichment.md").json("Claims from a service", idp=fake.issuer)
    found["providers"][0]["audiences"] = [AUDIENCE_OF_TOKENS]
    found["enrich"]["uri"] = f"{fake.issuer}/about"
    envoy = start_envoy(found, idp=fake.port, clusters={"attributes": fake.port})
    token = fake.token(groups=["admin"])
    assert envoy.get("/", token=token).seen.header("x-tier") == "gold"
    assert envoy.get("/", token=token).status == 200
    assert asked == [{"issuer": fake.issuer, "subject": "alice"}]
    fake.routes["/about"] = Reply(status=500)
    other = fake.token(sub="other", groups=["buyer"])
    assert envoy.get("/", token=other).status == 503
    assert envoy.metric("oidc_fetches_total", kind="enrichment", result="ok") == 1
    assert envoy.metric("oidc_fetches_total", kind="enrichment", result="failed") == 1


def test_userinfo_beside_a_jwt(start_envoy: StartEnvoy, fake: FakeProvider) -> None:
    found = Page("enrichment.md").json("Claims from userinfo", idp=fake.issuer)
    found["providers"][0]["audiences"] = [AUDIENCE_OF_TOKENS]
    envoy = start_envoy(found, idp=fake.port)
    fake.routes["/userinfo"] = Reply.json({"sub": "alice", "email": "ann@example.com"})
    assert envoy.get("/", token=fake.token()).seen.header("x-email") == "ann@example.com"
    fake.routes["/userinfo"] = Reply.json({"sub": "somebody else", "email": "eve@example.com"})
    assert envoy.get("/", token=fake.token(jti="2")).status == 503


# ------------------------------------------------------------------------- token exchange


def exchanging(provider: Provider, **changes: Any) -> dict[str, Any]:
    exchange = {"client_id": "edge", "client_secret": "edge-secret", "resource": "urn:api:es256", "scopes": ["api:read"]}
    return config(provider, forward=False, token_exchange=exchange | changes)


def test_a_real_provider_makes_the_token_for_the_service(start_envoy: StartEnvoy, own_provider: Provider) -> None:
    """XCH-01: oidc-provider with the grant of RFC 8693."""
    provider = own_provider
    envoy = start_envoy(exchanging(provider), idp=provider.port)
    for token in [provider.token("rs256"), provider.token("opaque"), provider.user_token("alice", "openid api:read", "rs256")]:
        value = envoy.get("/", token=token).seen.header("authorization").removeprefix("Bearer ")
        payload = jwt.decode(value, options={"verify_signature": False})
        assert payload["aud"] == "urn:api:es256" and payload["scope"] == "api:read"
        assert payload["subject"] in ("svc", "alice") and payload["act"] == {"client_id": "edge"}
        keys = jwt.PyJWKClient(f"{provider.issuer}/jwks")
        assert jwt.decode(value, keys.get_signing_key_from_jwt(value).key, algorithms=["ES256"], audience="urn:api:es256")
    provider.counters(reset=True)
    token = provider.token("rs256")
    for _ in range(5):
        assert envoy.get("/", token=token).status == 200
    # One for the token itself, and one exchange.
    assert provider.counters()["POST /token"] == 2


def test_what_a_real_provider_refuses(start_envoy: StartEnvoy, own_provider: Provider) -> None:
    """XCH-04."""
    provider = own_provider
    envoy = start_envoy(
        exchanging(provider, resource="urn:api:nowhere"),
        idp=provider.port,
        listeners={"stranger": exchanging(provider, client_secret="wrong")},
    )
    assert envoy.get("/", token=provider.token()).status == 403
    assert envoy.door("stranger").get("/", token=provider.token()).status == 503
    assert no_crash(envoy)


def test_the_recipe_for_an_exchange(start_envoy: StartEnvoy, fake: FakeProvider) -> None:
    """docs/enrichment.md, as it stands there."""
    forms: list[dict[str, str]] = []

    def token(request: Request) -> Reply:
        forms.append(request.form)
        kind = "urn:ietf:params:oauth:token-type:access_token"
        answer = {"access_token": "for.orders", "issued_token_type": kind, "token_type": "Bearer", "expires_in": 60}
        return Reply.json(answer)

    fake.routes["/token"] = token
    metadata = fake.metadata(token_endpoint=f"{fake.issuer}/token")
    fake.routes["/.well-known/openid-configuration"] = Reply.json(metadata)
    found = Page("enrichment.md").json("A token for the service", idp=fake.issuer)
    found["providers"][0]["audiences"] = [AUDIENCE_OF_TOKENS]
    envoy = start_envoy(found, idp=fake.port, env={"EXCHANGE_CLIENT_SECRET": "s"})
    seen = envoy.get("/", token=fake.token()).seen
    assert seen.all("authorization") == ["Bearer for.orders"]
    assert forms[0]["audience"] == AUDIENCE and forms[0]["scope"] == "orders:read"
    assert envoy.get("/healthz").seen.header("authorization") is None
