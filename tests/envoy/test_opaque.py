"""Tokens that only the provider can read: introspection, userinfo, and the compact form."""

from __future__ import annotations

import contextlib
import base64
import json
import re
import socket
import urllib.parse
from collections.abc import Iterator
from typing import Any

import pytest
import scene
from clients import Response, together
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa
from conftest import StartEnvoy
from envoy_filters import UNDERSCORES, hand_off, header_to_metadata
from fake_provider import FakeProvider, Reply, Request
from harness import IDENTITY, Envoy, Provider, config, envoy_release, provider_entry, validate_config
from pages import Page
from services import RawService
from tokens import b64url, parts

AUDIENCE = "urn:api:test"


def with_introspection(provider: Any, **introspection: Any) -> dict[str, Any]:
    """With the client of the harness, unless another is named."""
    client = {"client_id": "rs", "client_secret": "rs-secret"} | introspection
    client = {name: value for name, value in client.items() if value is not None}
    return config(provider, providers=[provider_entry(provider, introspection=client)]) | IDENTITY


def is_unavailable(response: Response) -> bool:
    assert response.status == 503, response
    assert response.header("retry-after")
    assert response.header("www-authenticate") is None
    return True


# ------------------------------------------------------------------------- who asks, and how


CLIENTS = {
    "basic": {"client_id": "rs", "client_secret": "rs-secret"},
    "basic by name": {"client_id": "rs", "client_secret": "rs-secret", "client_auth": "basic"},
    "post": {"client_id": "rs-post", "client_secret": "rs-secret", "client_auth": "post"},
    # RFC 6749, section 2.3.1: reserved characters are encoded before they go into Basic.
    "odd characters": {"client_id": "rs:odd/id", "client_secret": "p%ss:w+rd &="},
}


@pytest.mark.parametrize("client", CLIENTS)
def test_a_real_provider_knows_the_client(
    start_envoy: StartEnvoy, provider: Provider, client: str
) -> None:
    """INT-10, TB-45."""
    envoy = start_envoy(with_introspection(provider, **CLIENTS[client]))
    assert envoy.get("/", token=provider.token("opaque")).seen.header("x-user") is None
    assert envoy.get("/", token="nobody-issued-this").status == 401


@pytest.mark.parametrize(
    "client",
    [
        {"client_id": "rs", "client_secret": "wrong"},
        {"client_id": "nobody", "client_secret": "x"},
    ],
    ids=["wrong secret", "unknown"],
)
def test_a_client_that_is_refused_is_not_the_tokens_fault(
    start_envoy: StartEnvoy, provider: Provider, client: dict[str, str]
) -> None:
    """INT-03."""
    envoy = start_envoy(with_introspection(provider, **client))
    assert is_unavailable(envoy.get("/", token=provider.token("opaque")))


@pytest.mark.parametrize("method", ["POST", "GET"])
def test_the_question_to_the_letter(
    start_envoy: StartEnvoy, fake: FakeProvider, method: str
) -> None:
    """INT-10, TB-31, TB-32."""
    known = {"active": True, "sub": "alice", "aud": AUDIENCE}
    fake.routes["/ask"] = Reply.json(known)
    endpoint = f"{fake.issuer}/ask?a=b"
    changes = {"endpoint": endpoint, "method": method, "param_name": "access_token"}
    envoy = start_envoy(with_introspection(fake, **changes), idp=fake.port)
    token = "a+b/c~d-e._=="
    assert envoy.get("/", token=token).seen.all("x-user") == ["alice"]
    (asked,) = [request for request in fake.requests if request.path == "/ask"]
    assert asked.method == method
    assert asked.header("accept") == "application/json"
    credentials = base64.b64encode(b"rs:rs-secret").decode()
    assert asked.header("authorization") == f"Basic {credentials}"
    target = dict(urllib.parse.parse_qsl(asked.target.partition("?")[2]))
    if method == "GET":
        assert (target, asked.body) == ({"a": "b", "access_token": token}, b"")
    else:
        assert target == {"a": "b"}
        assert asked.form == {"access_token": token, "token_type_hint": "access_token"}
        assert asked.header("content-type") == "application/x-www-form-urlencoded"


@pytest.mark.parametrize("location", ["query_string", "cookie", "header"])
def test_no_token_adds_a_parameter(
    start_envoy: StartEnvoy, fake: FakeProvider, location: str
) -> None:
    """INT-09."""
    fake.active = {"good": {"sub": "alice", "aud": AUDIENCE}}
    source = {"location": location, "key": "t"}
    envoy = start_envoy(with_introspection(fake) | {"access_token": source}, idp=fake.port)
    token = "x&token=good&client_id=evil#%2B+=%26"
    match location:
        case "query_string":
            response = envoy.get(f"/?t={urllib.parse.quote(token, safe='')}")
        case "cookie":
            response = envoy.get("/", [("Cookie", f"t={token}")])
        case _:
            response = envoy.get("/", [("t", token)])
    assert response.status == 401
    (asked,) = [request for request in fake.requests if request.path == "/introspect"]
    assert asked.form == {"token": token, "token_type_hint": "access_token"}


def test_private_key_jwt_proves_who_asks(start_envoy: StartEnvoy, fake: FakeProvider) -> None:
    """To the fake, which is shown the assertion; RFC 7523, section 3, says what is in it."""
    private = ed25519.Ed25519PrivateKey.generate()
    public = private.public_key().public_bytes_raw()
    jwk = {"kty": "OKP", "crv": "Ed25519", "kid": "me", "x": b64url(public)}
    jwk["d"] = b64url(private.private_bytes_raw())
    fake.active = {token: {"sub": token, "aud": AUDIENCE} for token in ("one", "two")}
    client = {"client_secret": None, "client_auth": "private_key_jwt", "client_key": jwk}
    envoy = start_envoy(with_introspection(fake, **client), idp=fake.port)
    seen = set()
    for token in ("one", "two"):
        assert envoy.get("/", token=token).status == 200
        asked = [request for request in fake.requests if request.path == "/introspect"][-1]
        assert asked.header("authorization") is None
        form = asked.form
        kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
        assert (form["client_id"], form["client_assertion_type"]) == ("rs", kind)
        signed, _, signature = form["client_assertion"].rpartition(".")
        raw = base64.urlsafe_b64decode(signature + "==")
        private.public_key().verify(raw, signed.encode())
        header, payload = parts(form["client_assertion"])
        assert (header["alg"], header["kid"]) == ("EdDSA", "me")
        assert (payload["iss"], payload["sub"], payload["aud"]) == ("rs", "rs", fake.issuer)
        assert 0 < payload["exp"] - payload["iat"] <= 300
        seen.add(payload["jti"])
    assert len(seen) == 2


@pytest.mark.parametrize("form", ["pkcs8", "pkcs1", "zitadel"])
def test_the_host_signs_with_an_rsa_key(start_envoy: StartEnvoy, fake: FakeProvider, form: str) -> None:
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    layout = serialization.PrivateFormat.PKCS8 if form == "pkcs8" else serialization.PrivateFormat.TraditionalOpenSSL
    key = private.private_bytes(serialization.Encoding.PEM, layout, serialization.NoEncryption()).decode()
    client: dict[str, Any] = {"client_secret": None, "client_auth": "private_key_jwt", "client_key": key}
    if form == "zitadel":
        client["client_key"] = {"type": "application", "keyId": "me", "key": key, "clientId": "rs"}
    else:
        client["client_key_id"] = "me"
    configuration = with_introspection(fake, **client)
    if envoy_release() < (1, 37):
        refused = validate_config(configuration)
        assert refused.returncode != 0 and "`sign`" in refused.stdout
        return
    fake.active = {"one": {"sub": "alice", "aud": AUDIENCE}}
    envoy = start_envoy(configuration, idp=fake.port)
    assert envoy.get("/", token="one").status == 200
    form_data = next(request for request in fake.requests if request.path == "/introspect").form
    signed, _, signature = form_data["client_assertion"].rpartition(".")
    raw = base64.urlsafe_b64decode(signature + "==")
    private.public_key().verify(raw, signed.encode(), padding.PKCS1v15(), hashes.SHA256())
    header, payload = parts(form_data["client_assertion"])
    assert (header["alg"], header["kid"]) == ("RS256", "me")
    assert (payload["iss"], payload["sub"], payload["aud"]) == ("rs", "rs", fake.issuer)


# ------------------------------------------------------------- docs/opaque-tokens.md, as it stands

GOOGLE_CLIENT = "1234567890-abc.apps.googleusercontent.com"
TOKENINFO = {
    "azp": GOOGLE_CLIENT,
    "aud": GOOGLE_CLIENT,
    "sub": "110169484474386276334",
    "scope": "openid https://www.googleapis.com/auth/userinfo.email",
    "exp": "4000000000",
    "expires_in": "3599",
    "email": "ann@example.com",
    "email_verified": "true",
    "access_type": "online",
}


def test_googles_tokeninfo_by_its_page(start_envoy: StartEnvoy, fake: FakeProvider) -> None:
    known = {
        "ya29.good": TOKENINFO,
        "ya29.foreign": TOKENINFO | {"aud": "somebody-elses", "azp": "somebody-elses"},
        "ya29.old": TOKENINFO | {"exp": "1700000000"},
    }

    def tokeninfo(request: Request) -> Reply:
        query = dict(urllib.parse.parse_qsl(request.target.partition("?")[2]))
        if list(query) == ["access_token"] and query["access_token"] in known:
            return Reply.json(known[query["access_token"]])
        return Reply(400, b'{"error":"invalid_token","error_description":"Invalid Value"}')

    fake.routes["/tokeninfo"] = tokeninfo
    page = Page("opaque-tokens.md").json("Google")
    envoy = start_envoy(page, clusters={"google": fake.port})
    assert envoy.get("/", token="ya29.good").seen.all("x-user") == [TOKENINFO["sub"]]
    for token in ("ya29.foreign", "ya29.old", "ya29.nobodys", "garbage~"):
        assert envoy.get("/", token=token).status == 401
    # Strangers' bad tokens take nothing down.
    assert envoy.get("/", token="ya29.good").status == 200


def test_githubs_user_by_its_page(start_envoy: StartEnvoy, fake: FakeProvider) -> None:
    users = {
        "gho_good": {"login": "octocat", "id": 583231, "name": None},
        "gho_other": {"login": "other", "id": 1},
    }

    def user(request: Request) -> Reply:
        token = (request.header("authorization") or "").removeprefix("Bearer ")
        assert request.header("user-agent"), "GitHub answers 403 without"
        return Reply.json(users[token]) if token in users else Reply(401)

    fake.routes["/user"] = user
    page = Page("opaque-tokens.md").json("GitHub")
    envoy = start_envoy(page, clusters={"github": fake.port})
    seen = envoy.get("/", token="gho_good").seen
    assert (seen.all("x-user"), seen.all("x-login")) == (["583231"], ["octocat"])
    assert envoy.get("/", token="gho_other").status == 403
    assert envoy.get("/", token="gho_bad").status == 401


# ----------------------------------------------------------------------------- how long it holds


def test_a_revoked_token_ends_with_the_cache(
    start_envoy: StartEnvoy, provider: Provider
) -> None:
    envoy = start_envoy(with_introspection(provider, cache="2s"))
    token = provider.token("opaque")
    assert envoy.get("/", token=token).status == 200
    provider.revoke(token)
    assert envoy.get("/", token=token).status == 200, "believed for two seconds"
    scene.poll(lambda: envoy.get("/revoked", token=token).status == 401, "the end of it", 10)
    entry = envoy.access_log(path="/revoked", status=401)[0]
    assert entry["details"] == "oidc_denied{inactive}"


def test_without_a_cache_a_revoked_token_ends_at_once(
    start_envoy: StartEnvoy, provider: Provider
) -> None:
    envoy = start_envoy(with_introspection(provider, cache=0, negative_cache=0))
    token = provider.token("opaque")
    before = provider.counters().get("POST /token/introspection", 0)
    for _ in range(3):
        assert envoy.get("/", token=token).status == 200
    assert provider.counters()["POST /token/introspection"] - before == 3
    provider.revoke(token)
    assert envoy.get("/", token=token).status == 401


def test_an_answer_is_not_believed_beyond_exp(
    start_envoy: StartEnvoy, provider: Provider
) -> None:
    """CCH-01."""
    entry = provider_entry(provider, clock_skew=0)
    envoy = start_envoy(config(provider, providers=[entry]))
    token = provider.token("opaque", ttl=2)
    assert envoy.get("/", token=token).status == 200
    scene.poll(lambda: envoy.get("/", token=token).status == 401, "its end", 10)


def test_a_no_is_remembered_for_a_short_time(
    start_envoy: StartEnvoy, fake: FakeProvider
) -> None:
    """CCH-07."""
    envoy = start_envoy(with_introspection(fake, negative_cache="2s"), idp=fake.port)
    for _ in range(5):
        assert envoy.get("/", token="later").status == 401
    assert fake.count("/introspect") == 1
    fake.active["later"] = {"sub": "alice", "aud": AUDIENCE}
    scene.poll(lambda: envoy.get("/", token="later").status == 200, "another question", 10)


def test_a_yes_is_remembered(start_envoy: StartEnvoy, fake: FakeProvider) -> None:
    """CCH-01."""
    fake.active["good"] = {"sub": "alice", "aud": AUDIENCE}
    envoy = start_envoy(with_introspection(fake), idp=fake.port)
    for _ in range(5):
        assert envoy.get("/", token="good").seen.all("x-user") == ["alice"]
    assert fake.count("/introspect") == 1


# ----------------------------------------------------------------------------------- what fails


FAILURES = {
    "500": Reply(500, b'{"active":true}'),
    "502": Reply(502),
    "401": Reply(401, b'{"active":true}'),
    "403": Reply(403, b'{"active":true}'),
    "404": Reply(404),
    "429": Reply(429),
    "201": Reply(201, b'{"active":true}'),
    "204": Reply(204),
    "302": Reply(302, headers=[("location", "/elsewhere")]),
    "late": Reply.json({"active": True}, delay=30),
    "reset": Reply.json({"active": True}, cut=5),
    "empty": Reply(),
    "garbage": Reply(body=b"{active: true}"),
    "html": Reply(body=b"<html>", headers=[("content-type", "text/html")]),
    "jwt": Reply(
        body=b"eyJhbGciOiJub25lIn0.e30.",
        headers=[("content-type", "application/token-introspection+jwt")],
    ),
    "list": Reply.json([{"active": True}]),
    "cut off": Reply(body=b'{"active":true,"sub":"x"'),
    "large": Reply.json({"active": True, "x": "x" * (2 << 20)}),
    "deep": Reply(body=b'{"active":true,"x":' + b"[" * 50_000),
    "not http": Reply(raw=b"\x15\x03\x01\x00\x02\x02\x0a"),
}
NOT_ACTIVE = {
    "false": {"active": False, "sub": "alice", "aud": AUDIENCE},
    "a string": {"active": "true", "sub": "alice", "aud": AUDIENCE},
    "a number": {"active": 1, "sub": "alice", "aud": AUDIENCE},
    "a list": {"active": [True], "sub": "alice", "aud": AUDIENCE},
    "null": {"active": None, "sub": "alice", "aud": AUDIENCE},
    "absent": {"sub": "alice", "aud": AUDIENCE},
    "in capitals": {"Active": True, "sub": "alice", "aud": AUDIENCE},
    "expired": {"active": True, "aud": AUDIENCE, "exp": 1_700_000_000},
    "not yet": {"active": True, "aud": AUDIENCE, "nbf": 4_000_000_000},
    "wrong audience": {"active": True, "aud": "urn:other"},
    "empty audience": {"active": True, "aud": []},
    "no audience": {"active": True, "sub": "alice"},
    "wrong issuer": {"active": True, "aud": AUDIENCE, "iss": "https://evil.example"},
    "refresh token": {"active": True, "aud": AUDIENCE, "token_type": "refresh_token"},
    "id token": {"active": True, "aud": AUDIENCE, "token_use": "id"},
    "bound by dpop": {"active": True, "aud": AUDIENCE, "cnf": {"jkt": "x"}},
    "bound to tls": {"active": True, "aud": AUDIENCE, "cnf": {"x5t#S256": "x"}},
    "sub is a number": {"active": True, "aud": AUDIENCE, "sub": 1},
    "exp is text": {"active": True, "aud": AUDIENCE, "exp": "soon"},
}
TWICE = {
    "no and yes": b'{"active":false,"active":true,"aud":"urn:api:test"}',
    "yes and no": b'{"active":true,"aud":"urn:api:test","active":false}',
}


@pytest.fixture(scope="module")
def answers() -> Iterator[FakeProvider]:
    """Answers according to the token: its name is that of the answer."""

    def answer(request: Request) -> Reply:
        name = request.form["token"].replace(".", " ")
        if name in TWICE:
            return Reply(body=TWICE[name])
        return FAILURES[name] if name in FAILURES else Reply.json(NOT_ACTIVE[name])

    with FakeProvider() as fake:
        fake.routes["/introspect"] = answer
        yield fake


@pytest.fixture(scope="module")
def asking(start_shared_envoy: StartEnvoy, answers: FakeProvider) -> Envoy:
    def changed(**changes: Any) -> dict[str, Any]:
        return config(answers, providers=[provider_entry(answers, timeout="1s")], **changes)

    return start_shared_envoy(
        changed(**IDENTITY),
        listeners={
            "strip": changed(enforce=False, **IDENTITY),
            "code": changed(enforce_response_code=404),
        },
        idp=answers.port,
    )


def as_token(name: str) -> str:
    return name.replace(" ", ".")


@pytest.mark.parametrize("fault", FAILURES)
def test_a_provider_that_fails_vouches_for_nobody(
    asking: Envoy, fault: str
) -> None:
    """INT-03, INT-04, INT-12, GM-40."""
    token = as_token(fault)
    assert is_unavailable(asking.get("/", token=token))
    if fault != "late":
        assert is_unavailable(asking.door("code").get("/", token=token)), "not replaced"
        seen = asking.door("strip").get("/", [("x-user", "admin")], token).seen
        assert seen.all("x-user") == seen.all("authorization") == []


@pytest.mark.parametrize("name", [*NOT_ACTIVE, *TWICE])
def test_only_true_is_active(
    asking: Envoy, answers: FakeProvider, name: str
) -> None:
    """INT-01, INT-02, INT-05, INT-06, INT-07, INT-08."""
    response = asking.get("/", token=as_token(name))
    assert response.status == 401
    assert response.json()["error"] == "invalid_token"
    assert asking.door("code").get("/", token=as_token(name)).status == 404
    seen = asking.door("strip").get("/", [("x-user", "admin")], as_token(name)).seen
    assert seen.all("x-user") == []


def test_the_secret_goes_nowhere_else(asking: Envoy, answers: FakeProvider) -> None:
    """OUT-08."""
    assert is_unavailable(asking.get("/", token="302"))
    assert answers.count("/elsewhere") == 0


def test_an_outage_is_not_remembered(start_envoy: StartEnvoy, provider: Provider) -> None:
    """INT-04."""
    envoy = start_envoy(with_introspection(provider))
    token = provider.token("opaque")
    # What is reset is asked once more.
    for fault in ({"status": 500}, {"reset": True, "count": 2}, {"status": 200, "body": "<html>"}):
        provider.fault("/token/introspection", **fault)
        assert is_unavailable(envoy.get("/", token=token))
    assert envoy.get("/", token=token).status == 200


def test_a_list_of_endpoints_is_tried_in_order(start_envoy: StartEnvoy, fake: FakeProvider) -> None:
    fake.active["good"] = {"sub": "alice", "aud": AUDIENCE}
    fake.routes["/broken"] = Reply(500)
    endpoints = [f"{fake.issuer}/broken", f"{fake.issuer}/introspect"]
    envoy = start_envoy(with_introspection(fake, endpoint=endpoints), idp=fake.port)
    assert envoy.get("/", token="good").status == 200
    asked = [request.path for request in fake.requests if request.form.get("token") == "good"]
    assert asked == ["/broken", "/introspect"]


# -------------------------------------------------------------------------------- single flight


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("good", [True, False], ids=["active", "inactive"])
def test_100_at_once_are_one_question(
    start_envoy: StartEnvoy, fake: FakeProvider, good: bool, workers: int
) -> None:
    """INT-14."""
    answer = {"active": good, "sub": "alice", "aud": AUDIENCE}
    fake.routes["/introspect"] = Reply.json(answer, delay=1.0)
    envoy = start_envoy(with_introspection(fake), idp=fake.port, workers=workers)
    responses = together(100, lambda _: envoy.get("/", token="same"))
    assert {response.status for response in responses} == {200 if good else 401}
    assert fake.count("/introspect") <= workers


@pytest.mark.parametrize("active", [True, False], ids=["good", "bad"])
@pytest.mark.parametrize("answers_itself", [True, False], ids=["direct", "upstream"])
def test_a_thousand_wait_for_one_answer(
    start_envoy: StartEnvoy, fake: FakeProvider, active: bool, answers_itself: bool
) -> None:
    """INT-14, WSM-07: Envoy carries out what is decided in one call one within the other, on
    one stack."""
    answer = {"active": active, "sub": "alice", "aud": AUDIENCE}
    fake.routes["/introspect"] = Reply.json(answer, delay=2.0)
    direct = [{"match": {"prefix": "/"}, "direct_response": {"status": 200}}]
    routes = {"routes": direct} if answers_itself else {}
    envoy = start_envoy(with_introspection(fake), idp=fake.port, **routes)
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(envoy.http2()) for _ in range(20)]
        headers = [("authorization", "Bearer one-that-many-have")]
        waiting = [(c, c.start("/", headers)) for _ in range(50) for c in connections]
        statuses = {c.receive(stream).status for c, stream in waiting}
    assert statuses == {200 if active else 401}
    assert fake.count("/introspect") == 1


def test_slow_questions_hold_up_nobody_else(
    start_envoy: StartEnvoy, fake: FakeProvider
) -> None:
    """DOS-03, INT-13."""
    fake.routes["/introspect"] = Reply.json({"active": False}, delay=2.0)
    envoy = start_envoy(with_introspection(fake), idp=fake.port)
    jwt = fake.token()
    assert envoy.get("/", token=jwt).status == 200
    with envoy.http2() as slow:
        streams = [
            slow.start("/slow", [("authorization", f"Bearer made-up-{number}")])
            for number in range(90)
        ]
        for _ in range(20):
            assert envoy.get("/fast", token=jwt).status == 200
        assert {slow.receive(stream).status for stream in streams} == {401}
    fast = [entry["path"] for entry in envoy.access_log(count=111)]
    assert fast.index("/slow") > 20, "those who had to wait came last"


# ------------------------------------------------------------------------------------- userinfo


def test_a_real_userinfo_answers_for_a_user(
    start_envoy: StartEnvoy, provider: Provider
) -> None:
    """GM-13."""
    envoy = start_envoy(
        compact(provider, userInfo={"key": "Identity", "claims": ["sub", "email", "groups"]}),
        clusters={"127.0.0.1": provider.port},
    )
    identity = envoy.get("/", token=provider.user_token("alice")).seen.header("identity")
    assert json.loads(urllib.parse.unquote(identity or "")) == {
        "sub": "alice",
        "email": "alice@example.test",
        "groups": ["admin", "dev"],
    }
    # A machine's token has no user, and a user's token is not one for userinfo without openid.
    assert envoy.get("/", token=provider.token(None)).status == 403
    assert envoy.get("/", token="made-up").status == 403


# ----------------------------------------------------- the compact form: gm.oidc-validation


ANN = {"sub": "1", "name": "Ann Lee", "email": "a@b.c"}
ANN_URI = "%7B%22email%22:%22a@b.c%22%2C%22name%22:%22Ann%20Lee%22%2C%22sub%22:%221%22%7D"
LOCATIONS = {
    "header": {"location": "header", "key": "Authorization"},
    "raw": {"location": 0, "key": "x-raw"},
    "cookie": {"location": "cookie", "key": "access_token"},
    "queryString": {"location": "queryString", "key": "access_token"},
    "metadata": {"location": 3, "key": "token", "metadataFilter": "gm.ensure_variables"},
}
OUTPUTS = {
    "name": {"location": "header", "key": "Identity", "claims": ["name"]},
    "nope": {"location": "header", "key": "Identity", "claims": ["name", "nope"]},
    "empty": {"location": "header", "key": "Identity", "claims": []},
    "query": {"location": 2, "key": "identity", "claims": ["name"]},
    "out-cookie": {
        "location": "cookie",
        "key": "identity",
        "claims": ["name"],
        "cookieOptions": {"httpOnly": True, "secure": False, "path": "/app", "maxAge": "2h45m"},
    },
    "out-metadata": {"location": "metadata", "key": "identity"},
}
ANN_NAME = "%7B%22name%22:%22Ann%20Lee%22%7D"


def compact(provider: Any, **fields: Any) -> dict[str, Any]:
    """As greymatter's documentation has it, in its spelling."""
    token = {"location": "header", "key": "Authorization"}
    return {"provider": provider.issuer, "enforce": True, "accessToken": token, **fields}


@pytest.fixture(scope="module")
def ann() -> Iterator[FakeProvider]:
    with FakeProvider() as fake:
        fake.active["good"] = ANN
        yield fake


@pytest.fixture(scope="module")
def greymatter(start_shared_envoy: StartEnvoy, ann: FakeProvider) -> Envoy:
    identity = {"location": "header", "key": "Identity"}
    listeners: dict[str, dict[str, Any]] = {}
    for name, place in LOCATIONS.items():
        both = {"accessToken": place, "userInfo": identity}
        listeners[f"{name}-enforce"] = compact(ann, **both)
        listeners[f"{name}-strip"] = compact(ann, **both, enforce=False)
        listeners[f"{name}-404"] = compact(ann, **both, enforceResponseCode=404)
    for name, output in OUTPUTS.items():
        listeners[name] = compact(ann, userInfo=output)
    listeners["nothing"] = compact(ann)
    listeners["default"] = {"provider": ann.issuer, "userInfo": identity}
    listeners["missing"] = compact(ann, userInfo=identity, allow_missing=True)
    return start_shared_envoy(
        compact(ann, userInfo=identity),
        listeners=listeners,
        clusters={"127.0.0.1": ann.port},
        before=[header_to_metadata("x-early", "gm.ensure_variables", "token")],
        after=[hand_off("identity", "gm.oidc-validation")],
        wasm={"name": "gm.oidc-validation"},
        hcm=UNDERSCORES,
        log_fields={"identity": "%DYNAMIC_METADATA(gm.oidc-validation:identity)%"},
    )


def sent_at(name: str, token: str) -> tuple[str, list[tuple[str, str]]]:
    around = [("x-a", "1"), ("Cookie", "a=1; b=2"), ("x-b", "2")]
    match name:
        case "header":
            return "/p?a=1&b=2", [*around, ("Authorization", f"Bearer {token}")]
        case "raw":
            return "/p?a=1&b=2", [*around, ("x-raw", token)]
        case "cookie":
            cookie = ("Cookie", f"a=1; access_token={token}; b=2")
            return "/p?a=1&b=2", [around[0], cookie, around[2]]
        case "queryString":
            return f"/p?a=1&access_token={token}&b=2", around
        case _:
            return "/p?a=1&b=2", [*around, ("x-early", token)]


@pytest.mark.parametrize("door", ["enforce", "strip", "404"])
@pytest.mark.parametrize("name", LOCATIONS)
def test_a_valid_token_passes_and_stays(
    greymatter: Envoy, name: str, door: str
) -> None:
    """GM-01, GM-02, GM-03, GM-04, GM-18."""
    path, headers = sent_at(name, "good")
    seen = greymatter.door(f"{name}-{door}").get(path, [*headers, ("Identity", "admin")]).seen
    assert seen.all("identity") == [ANN_URI]
    assert seen.path == path
    left = {(key.lower(), value) for key, value in headers if key != "x-early"}
    assert left <= {(key.lower(), value) for key, value in seen.headers}


@pytest.mark.parametrize("name", LOCATIONS)
def test_an_invalid_token_is_taken_off(greymatter: Envoy, name: str) -> None:
    """GM-05, GM-06, GM-07, GM-08, GM-30."""
    path, headers = sent_at(name, "bad-token")
    forged = [("Identity", "admin"), ("identity", "admin")]
    seen = greymatter.door(f"{name}-strip").get(path, [*headers, *forged]).seen
    assert seen.path == "/p?a=1&b=2"
    assert seen.all("cookie") == ["a=1; b=2"]
    assert (seen.all("x-a"), seen.all("x-b")) == (["1"], ["2"])
    assert seen.all("identity") == []
    assert not [value for _, value in seen.headers if "bad-token" in value]


@pytest.mark.parametrize("name", LOCATIONS)
def test_a_missing_or_invalid_token_is_refused(
    greymatter: Envoy, name: str
) -> None:
    """GM-09, GM-10, GM-11, GM-12, GM-32."""
    for path, headers in (sent_at(name, "bad-token"), ("/", [])):
        assert greymatter.door(f"{name}-enforce").get(path, headers).status == 403
        assert greymatter.door(f"{name}-404").get(path, headers).status == 404


def test_userinfo_gets_the_token_as_a_bearer(greymatter: Envoy, ann: FakeProvider) -> None:
    """GM-13."""
    for name in ("header", "raw"):
        ann.active[f"fresh-{name}"] = ANN
        path, headers = sent_at(name, f"fresh-{name}")
        assert greymatter.door(f"{name}-enforce").get(path, headers).status == 200
        (asked,) = [r for r in ann.requests if r.header("authorization") == f"Bearer fresh-{name}"]
        assert (asked.method, asked.path) == ("GET", "/userinfo")


def test_metadata_need_a_namespace(ann: FakeProvider) -> None:
    """GM-17."""
    place = {"location": "metadata", "key": "token"}
    result = validate_config(compact(ann, accessToken=place))
    assert result.returncode != 0
    assert "metadata_filter: required for metadata" in result.stdout


def test_the_answer_goes_out_in_each_configured_form(greymatter: Envoy) -> None:
    """GM-20, GM-21, GM-22, GM-26, GM-28."""
    def seen(door: str, path: str = "/") -> Any:
        return greymatter.door(door).get(path, [("Identity", "admin")], "good").seen

    assert seen("name").all("identity") == [ANN_NAME]
    assert seen("nope").all("identity") == [ANN_NAME]
    assert seen("empty").all("identity") == [ANN_URI]
    assert seen("query").path == f"/?identity={ANN_NAME}"
    assert seen("query", "/p?a=1&identity=x").path == f"/p?a=1&identity={ANN_NAME}"
    nothing = seen("nothing")
    assert nothing.all("identity") == ["admin"], "it writes no such header"
    assert nothing.path == "/"


def test_the_cookie_goes_both_ways(greymatter: Envoy) -> None:
    """GM-25."""
    response = greymatter.door("out-cookie").get("/", [("Cookie", "identity=x; a=1")], "good")
    assert response.seen.all("cookie") == [f"identity={ANN_NAME}; a=1"]
    expected = f"identity={ANN_NAME}; Path=/app; Max-Age=9900; HttpOnly; SameSite=Lax"
    assert response.all("set-cookie") == [expected]


def test_metadata_are_under_the_filters_name(greymatter: Envoy) -> None:
    """GM-27."""
    greymatter.door("out-metadata").get("/with-metadata", token="good")
    assert greymatter.access_log(path="/with-metadata")[0]["identity"] == ANN


def test_no_token_passes_where_nothing_is_enforced(
    greymatter: Envoy, ann: FakeProvider
) -> None:
    """GM-31: the compact form does not enforce unless it says so."""
    before = ann.count("/userinfo")
    for door in ("default", "missing", "header-strip"):
        seen = greymatter.door(door).get("/", [("Identity", "admin")]).seen
        assert seen.all("identity") == []
    assert ann.count("/userinfo") == before
    assert greymatter.door("default").get("/", token="bad").seen.all("authorization") == []
    assert greymatter.door("missing").get("/", token="bad").status == 403


@pytest.mark.parametrize(
    ("reply", "status"),
    [
        (Reply(500), 503),
        (Reply(302, headers=[("location", "/login")]), 503),
        (Reply(body=b"<html>", headers=[("content-type", "text/html")]), 503),
        (Reply(204), 503),
        (Reply.json(ANN, cut=3), 503),
        (Reply(body=b"eyJ.e30.x", headers=[("content-type", "application/jwt")]), 503),
        (Reply.json({**ANN, "x": "x" * (2 << 20)}), 503),
        (Reply(401), 403),
        (Reply(403), 403),
        (Reply.json({"name": "Ann"}), 403),
        (Reply.json({**ANN, "sub": 1}), 403),
        (Reply.json({**ANN, "sub": ""}), 403),
        (Reply(body=b'{"sub":"1","sub":"2"}'), 403),
        (Reply.json([ANN]), None),
    ],
    ids=range(14),
)
def test_what_userinfo_may_answer(
    greymatter: Envoy,
    ann: FakeProvider,
    request: pytest.FixtureRequest,
    reply: Reply,
    status: int | None,
) -> None:
    """UIF-01, UIF-03, UIF-05, GM-40, GM-41, GM-42, GM-43: only a 401 or a useless answer is the
    token's fault."""
    token = f"case-{request.node.callspec.id}"
    good = ann.routes["/userinfo"]
    ann.routes["/userinfo"] = reply
    try:
        response = greymatter.get("/", token=token)
        assert response.status == status if status else response.status in (403, 503)
        seen = greymatter.door("header-strip").get("/", [("Identity", "admin")], token).seen
        assert seen.all("identity") == seen.all("authorization") == []
    finally:
        ann.routes["/userinfo"] = good


# ------------------------------------------------------------------------- connections that are kept


class Hasty(RawService):
    """Hangs up once on each request that comes on a kept connection, as a server does whose patience ends just then."""

    def __init__(self) -> None:
        self.late: set[str] = set()
        super().__init__()
        self.issuer = f"http://127.0.0.1:{self.port}"

    def serve(self, connection: socket.socket) -> None:
        # Metadata, an answer about a token, and one of userinfo.
        answer = {"issuer": self.issuer, "active": True, "sub": "u", "aud": AUDIENCE}
        body = json.dumps(answer).encode()
        head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        self.receive(connection)
        connection.sendall(head.encode() + body)
        while request := self.receive(connection):
            assert "x-envoy-retry-on" not in request
            about = str(re.findall(r"^GET \S+|opaque-\d+", request))
            if about not in self.late:
                self.late.add(about)
                return
            connection.sendall(head.encode() + body)

    def receive(self, connection: socket.socket) -> str:
        received = connection.recv(1 << 16).decode()
        while received.startswith("POST") and "token=" not in received:
            received += connection.recv(1 << 16).decode()
        return received


@pytest.mark.parametrize("asks", ["introspection", "userinfo"])
def test_a_connection_that_ends_costs_no_request(start_envoy: StartEnvoy, asks: str) -> None:
    hasty = Hasty()
    endpoint = {"endpoint": f"{hasty.issuer}/asked"}
    entry = provider_entry(hasty, introspection=None)
    entry[asks] = endpoint | ({"client_id": "rs", "client_secret": "rs-secret"} if asks == "introspection" else {})
    envoy = start_envoy(config(hasty, providers=[entry]) | IDENTITY, idp=hasty.port)
    statuses = [envoy.get("/", token=f"opaque-{n}").status for n in range(8)]
    assert statuses == [200] * 8
    assert hasty.late, "no connection was kept"
    hasty.close()
