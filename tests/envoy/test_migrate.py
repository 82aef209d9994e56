"""The pages of docs/migrate/, run: each configuration is taken from its page, with other hosts and audiences.

Where a case needs another place for the token or another code, the difference stands in the test. The numbers (GM for
greymatter, TB for MCP Toolbox, AR for AuthService) are those of the cases that the systems' own behaviour was put into.
"""

from __future__ import annotations

import base64
import copy
import json
import time
import urllib.parse
from collections.abc import Callable
from typing import Any

import pytest
from clients import Response, together
from conftest import StartEnvoy
from cryptography.hazmat.primitives import serialization
from envoy_filters import UNDERSCORES, hand_off, header_to_metadata
from fake_provider import FakeProvider, Reply
from harness import Bootstrap, Door, Envoy, Provider, envoy_release, validate_config
from pages import Page
from tokens import Key, claims, compact

GREYMATTER = Page("migrate/greymatter.md")
TOOLBOX = Page("migrate/mcp-toolbox.md")
AUTHSERVICE = Page("migrate/authservice.md")
JWT_AUTHN = Page("migrate/envoy-jwt-authn.md")
ISTIO = Page("migrate/istio.md")

Pairs = list[tuple[str, str]]


def bearer(token: str) -> Pairs:
    return [("Authorization", f"Bearer {token}")]


# ------------------------------------------------------------------------------------ greymatter

ANN = {"sub": "1", "name": "Ann Lee", "email": "a@b.c"}
ANN_URI = "%7B%22email%22:%22a@b.c%22%2C%22name%22:%22Ann%20Lee%22%2C%22sub%22:%221%22%7D"
NAME_URI = "%7B%22name%22:%22Ann%20Lee%22%7D"
PLACES = {
    "header": {"location": "header", "key": "Authorization"},
    "cookie": {"location": "cookie", "key": "access_token"},
    "queryString": {"location": "queryString", "key": "access_token"},
    "metadata": {"location": "metadata", "key": "token", "metadataFilter": "gm.ensure_variables"},
}
EARLY = [header_to_metadata("x-early", "gm.ensure_variables", "token")]
CLIENTS = "; ".join(["a=1", 'b="x y"', "c=="])  # cookies that must come out as they went in


def greymatter(issuer: str, **changes: Any) -> dict[str, Any]:
    """The page's configuration of theirs, with these fields otherwise; None takes one out."""
    fields = GREYMATTER.json("Theirs", idp=issuer) | changes
    return {name: value for name, value in fields.items() if value is not None}


def carrying(door: Door, place: str, token: str, path: str = "/p", more: Pairs | None = None) -> Response:
    """A request with the token in this place, and other things around it."""
    headers = [("x-before", "1"), *(more or [])]
    cookies, query = CLIENTS, "a=1&b=%20"
    if place == "header":
        headers.append(("Authorization", f"Bearer {token}"))
    if place == "cookie":
        cookies = f"{CLIENTS}; access_token={token}; d=4"
    if place == "queryString":
        query = f"a=1&access_token={token}&b=%20"
    if place == "metadata":
        headers.append(("x-early", token))
    return door.get(f"{path}?{query}", [*headers, ("Cookie", cookies), ("x-after", "2")])


@pytest.fixture(scope="module")
def gm_fake() -> Any:
    with FakeProvider() as running:
        running.active["good"] = ANN
        yield running


@pytest.fixture(scope="module")
def gm_real(start_shared_envoy: StartEnvoy, provider: Provider) -> Envoy:
    """Each place, enforcing and not, in front of the real provider's userinfo endpoint."""
    everything = {"location": "header", "key": "Identity"}
    doors = {
        f"{place}-{enforce}": greymatter(
            provider.issuer, accessToken=source, enforce=enforce, userInfo=everything, enforceResponseCode=None
        )
        for place, source in PLACES.items()
        for enforce in (True, False)
    }
    own_code = greymatter(provider.issuer, accessToken=PLACES["header"], enforceResponseCode=404)
    listeners = {**doors, "404": own_code}
    return start_shared_envoy(
        GREYMATTER.json("Ours", idp=provider.issuer),
        clusters={"127.0.0.1": provider.port},
        listeners=listeners,
        before=EARLY,
    )


@pytest.fixture(scope="module")
def alice(provider: Provider) -> str:
    return provider.user_token("alice", scope="openid profile email")


@pytest.mark.parametrize("place", PLACES, ids=[f"GM-0{number}-{place}" for number, place in enumerate(PLACES, 1)])
def test_a_good_token_passes(gm_real: Envoy, alice: str, place: str) -> None:
    """GM-01."""
    seen = carrying(gm_real.door(f"{place}-True"), place, alice).seen
    identity = json.loads(urllib.parse.unquote(seen.header("Identity") or ""))
    # GM-23: what is beyond ASCII comes through.
    assert (identity["sub"], identity["name"], identity["email"]) == ("alice", "Alice Ärlig", "alice@example.test")
    there = {"header": seen.header("authorization"), "cookie": seen.header("cookie"), "queryString": seen.path}
    assert place == "metadata" or alice in (there[place] or "")


@pytest.mark.parametrize("place", PLACES, ids=[f"GM-0{number}-{place}" for number, place in enumerate(PLACES, 5)])
def test_a_bad_token_is_stripped(gm_real: Envoy, place: str) -> None:
    """GM-05."""
    path = f"/strip-{place}"
    seen = carrying(gm_real.door(f"{place}-False"), place, "worthless", path).seen
    assert seen.all("Identity") == []
    assert seen.all("authorization") == []
    assert seen.header("cookie") == CLIENTS + ("; d=4" if place == "cookie" else "")
    assert seen.path == f"{path}?a=1&b=%20"
    assert [name for name, _ in seen.headers if name in ("x-before", "x-after")] == ["x-before", "x-after"]
    assert gm_real.access_log(path=seen.path)[0]["result"] == "stripped"


@pytest.mark.parametrize("place", PLACES, ids=[f"GM-{number:02}-{place}" for number, place in enumerate(PLACES, 9)])
def test_a_bad_token_is_refused(gm_real: Envoy, place: str) -> None:
    """GM-09."""
    assert carrying(gm_real.door(f"{place}-True"), place, "worthless").status == 403


def test_a_refusal_has_the_configured_status(gm_real: Envoy, alice: str) -> None:
    """GM-12."""
    door = gm_real.door("404")
    assert [carrying(door, "header", token).status for token in ("worthless", alice)] == [404, 200]
    assert door.get("/").status == 404


def test_the_form_that_is_written_out(gm_real: Envoy, alice: str) -> None:
    """GM-20."""
    seen = carrying(gm_real, "cookie", alice).seen
    assert seen.header("USER_DN") == "%7B%22name%22:%22Alice%20%C3%84rlig%22%7D"
    assert carrying(gm_real, "cookie", "worthless").status == 403


def test_with_a_scheme_or_without(start_envoy: StartEnvoy, gm_fake: FakeProvider) -> None:
    """GM-13."""
    raw = PLACES["header"] | {"scheme": ""}
    envoy = start_envoy(
        greymatter(gm_fake.issuer, accessToken=PLACES["header"]),
        clusters={"127.0.0.1": gm_fake.port},
        listeners={"raw": greymatter(gm_fake.issuer, accessToken=raw)},
    )
    assert envoy.get(token="good").status == 200
    assert envoy.door("raw").get(headers=[("Authorization", "good")]).status == 200
    assert {r.header("authorization") for r in gm_fake.requests if r.path == "/userinfo"} == {"Bearer good"}
    # Not both in one configuration: what has a scheme is no raw token.
    assert envoy.get(headers=[("Authorization", "good")]).status == 403
    assert envoy.door("raw").get(token="good").status == 403


@pytest.fixture(scope="module")
def gm(start_shared_envoy: StartEnvoy, gm_fake: FakeProvider) -> Envoy:
    header = PLACES["header"]

    def one(**changes: Any) -> dict[str, Any]:
        return greymatter(gm_fake.issuer, accessToken=header, **changes)

    def cookie(**options: Any) -> dict[str, Any]:
        return {"location": "cookie", "key": "id", "claims": ["name"], "cookieOptions": options}

    plain = {"httpOnly": False, "secure": False, "domain": "", "path": "", "maxAge": ""}
    bound = {"httpOnly": True, "secure": True, "domain": "x.test", "path": "/app", "maxAge": "2h45m"}
    listeners = {
        "lenient": one(enforce=False),
        "cookies": greymatter(gm_fake.issuer, accessToken=PLACES["cookie"], enforce=False),
        "parameters": greymatter(gm_fake.issuer, accessToken=PLACES["queryString"], enforce=False),
        "numbers": greymatter(gm_fake.issuer, accessToken={"location": 1, "key": "access_token"}),
        "missing": one(userInfo={"key": "Identity", "claims": ["name", "nope"]}),
        "all": one(userInfo={"location": "header", "key": "Identity", "claims": []}),
        "as-plain-cookie": one(userInfo=cookie(**plain)),
        "as-cookie": one(userInfo=cookie(**bound)),
        "rounded": one(userInfo=cookie(maxAge="1.5s")),
        "deleted": one(userInfo=cookie(maxAge="-1.5h")),
        "as-parameter": one(userInfo={"location": "queryString", "key": "id", "claims": ["name"]}),
        "as-metadata": one(userInfo={"location": "metadata", "key": "id", "metadata_namespace": "gm.oidc-validation"}),
        "silent": one(userInfo=None),
        "allow-missing": one(allow_missing=True),
        "ann-only": one(require={"claims": {"claim": "name", "matches": "Ann( .*)?"}}),
        "consumed": greymatter(gm_fake.issuer, forward=False),
        "rules": GREYMATTER.json("Ours", index=1, idp=gm_fake.issuer),
    }
    return start_shared_envoy(
        one(),
        clusters={"127.0.0.1": gm_fake.port, "idp": gm_fake.port},
        listeners=listeners,
        after=[hand_off("id", "gm.oidc-validation")],
        hcm=UNDERSCORES,
        log_fields={"id": "%DYNAMIC_METADATA(gm.oidc-validation:id)%"},
    )


def test_a_cookie_carries_a_token(gm: Envoy) -> None:
    """GM-14."""
    def left(*cookies: str) -> list[str]:
        return gm.door("cookies").get(headers=[("Cookie", line) for line in cookies]).seen.all("cookie")

    assert left("access_token=bad; a=1; b=2") == ["a=1; b=2"]
    assert left("a=1; access_token=bad; b=2") == ["a=1; b=2"]
    assert left("a=1; b=2; access_token=bad") == ["a=1; b=2"]
    assert left("access_token=bad") == []
    assert left("access_token=bad; a=1; access_token=good") == ["a=1"]
    assert left("xaccess_token=1; access_token=bad; access_token2=2") == ["xaccess_token=1; access_token2=2"]


def test_a_query_parameter_carries_a_token(gm: Envoy) -> None:
    """GM-15."""
    def left(path: str) -> str:
        return gm.door("parameters").get(path).seen.path

    assert left("/p?a=1&access_token=bad&b=2") == "/p?a=1&b=2"
    assert left("/p?access_token=bad") == "/p"
    assert left("/p?access%5Ftoken=b%61d&b=%2B+x") == "/p?b=%2B+x"
    assert left("/p?access_token=bad&a=1&access_token=good") == "/p?a=1"
    assert gm.door("parameters").get("/p?access_token=g%6fod").seen.path == "/p?access_token=g%6fod"


def test_a_request_without_metadata_has_no_token(gm_real: Envoy) -> None:
    """GM-16."""
    assert gm_real.door("metadata-True").get("/").status == 403
    assert gm_real.door("metadata-False").get("/").seen.all("Identity") == []


def test_metadata_without_a_namespace_are_refused(gm_fake: FakeProvider) -> None:
    """GM-17."""
    result = validate_config(greymatter(gm_fake.issuer, accessToken={"location": "metadata", "key": "token"}))
    assert result.returncode != 0
    assert "metadata_filter: required" in result.stdout


def test_tls_config_belongs_to_the_cluster(gm_fake: FakeProvider) -> None:
    result = validate_config(greymatter(gm_fake.issuer, TLSConfig={"useTLS": True}))
    assert result.returncode != 0
    assert "unknown field" in result.stdout


def test_locations_can_be_numbers(gm: Envoy) -> None:
    """GM-18."""
    assert carrying(gm.door("numbers"), "cookie", "good").status == 200
    assert carrying(gm.door("numbers"), "header", "good").status == 403


def test_only_the_listed_claims_go_out(gm: Envoy) -> None:
    """GM-20 to GM-22."""
    assert carrying(gm, "header", "good").seen.header("USER_DN") == NAME_URI
    assert carrying(gm.door("missing"), "header", "good").seen.header("Identity") == NAME_URI
    assert carrying(gm.door("all"), "header", "good").seen.header("Identity") == ANN_URI


def test_any_claim_survives_the_encoding(gm: Envoy, gm_fake: FakeProvider) -> None:
    """GM-23, GM-24."""
    strange = {
        "sub": "Zoë", "a": [1, True, None, 1.5, {"b": "c"}], "q": "\"\\%,; \r\nx: y", "z": "\u2028\U0001f600",
    }  # fmt: skip
    gm_fake.active["strange"] = strange
    value = carrying(gm.door("all"), "header", "strange").seen.header("Identity")
    assert json.loads(urllib.parse.unquote(value or "")) == strange
    assert (value or "").isascii() and not set(value or "") & set("\r\n \",;")


def test_cookies_on_both_sides(gm: Envoy) -> None:
    """GM-25."""
    def attributes(door: str) -> set[str]:
        response = carrying(gm.door(door), "header", "good", more=[("Cookie", "id=forged")])
        assert [line for line in response.seen.header("cookie").split("; ") if line.startswith("id=")] == [
            f"id={NAME_URI}"
        ]
        value, *rest = (response.header("set-cookie") or "").split("; ")
        assert value == f"id={NAME_URI}"
        return set(rest)

    assert attributes("as-plain-cookie") == {"Path=/", "SameSite=Lax"}
    assert attributes("as-cookie") == {
        "Path=/app", "Domain=x.test", "Max-Age=9900", "HttpOnly", "Secure", "SameSite=Lax",
    }  # fmt: skip
    assert "Max-Age=2" in attributes("rounded")
    assert any(attribute in ("Max-Age=-1", "Max-Age=0") for attribute in attributes("deleted"))


def test_an_identity_goes_out_as_a_query_parameter(gm: Envoy) -> None:
    """GM-26."""
    door = gm.door("as-parameter")
    assert door.get("/p", token="good").seen.path == f"/p?id={NAME_URI}"
    assert door.get("/p?id=forged&a=1", token="good").seen.path == f"/p?a=1&id={NAME_URI}"


def test_an_identity_goes_out_as_metadata(gm: Envoy) -> None:
    """GM-27."""
    seen = gm.door("as-metadata").get("/metadata", [("x-oidc-metadata-id", "forged")], token="good").seen
    assert not [name for name, _ in seen.headers if name.startswith("x-oidc-metadata")]
    assert gm.access_log(path="/metadata")[0]["id"] == ANN


def test_no_identity_goes_out_where_none_is_configured(gm: Envoy) -> None:
    """GM-28."""
    seen = gm.door("silent").get("/p", token="good").seen
    assert not [value for _, value in seen.headers if "Ann" in value]


@pytest.mark.parametrize("token", [None, "worthless", "good"])
def test_forged_identities_go(gm: Envoy, token: str | None) -> None:
    """GM-30."""
    forged = [("USER_DN", "root"), ("user-dn", "root"), ("User_Dn", "root")]
    headers = [*forged, *(bearer(token) if token else [])]
    seen = gm.door("lenient").get("/p", headers).seen
    spelt = [value for name, value in seen.headers if name.lower().replace("-", "_") == "user_dn"]
    assert spelt == ([NAME_URI] if token == "good" else [])


def test_a_request_without_a_token_goes_on_or_is_refused(gm: Envoy, gm_fake: FakeProvider) -> None:
    """GM-31, GM-32."""
    before = gm_fake.count("/userinfo")
    assert gm.door("lenient").get("/p").status == 200
    assert gm.get("/p").status == 403
    assert gm.door("allow-missing").get("/p").status == 200
    assert gm_fake.count("/userinfo") == before
    assert gm.door("allow-missing").get("/p", token="worthless").status == 403


@pytest.mark.parametrize(
    "answer",
    [
        Reply(500),
        Reply(302, headers=[("location", "/")]),
        Reply(body=b'{"sub":"1"}', cut=3),
        Reply(body=b"[]"),
        Reply(body=b"not JSON"),
        Reply(body=b"{}.{}.x", headers=[("content-type", "application/jwt")]),
        Reply(body=b'{"sub":"' + b"x" * (2 << 20) + b'"}'),
    ],
    ids=["GM-40-500", "GM-40-302", "GM-40-reset", "GM-41-list", "GM-41-text", "GM-42-jwt", "GM-43-2MiB"],
)
def test_a_provider_that_is_of_no_use(gm: Envoy, gm_fake: FakeProvider, answer: Reply) -> None:
    """GM-40."""
    usual = gm_fake.routes["/userinfo"]
    gm_fake.routes["/userinfo"] = answer
    try:
        response = gm.get("/p", token="unheard-of")
        assert (response.status, response.header("retry-after") is not None) == (503, True)
        seen = gm.door("lenient").get("/p", token="unheard-of").seen
        assert (seen.all("authorization"), seen.all("USER_DN")) == ([], [])
    finally:
        gm_fake.routes["/userinfo"] = usual


def test_a_provider_that_is_silent(start_envoy: StartEnvoy, fake: FakeProvider) -> None:
    """GM-40."""
    config = GREYMATTER.json("Ours", idp=fake.issuer)
    config["providers"][0]["timeout"] = "300ms"
    fake.routes["/userinfo"] = Reply(delay=5)
    envoy = start_envoy(config, idp=fake.port, listeners={"lenient": config | {"enforce": False}})
    assert carrying(envoy, "cookie", "slow").status == 503
    assert carrying(envoy.door("lenient"), "cookie", "slow").seen.header("cookie") == f"{CLIENTS}; d=4"


def test_an_answer_about_nobody(gm: Envoy, gm_fake: FakeProvider) -> None:
    """GM-41."""
    gm_fake.active["nobody"] = {"name": "Ann Lee"}
    assert gm.get("/p", token="nobody").status == 403


def test_a_route_of_its_own(gm: Envoy) -> None:
    """GM-50, GM-51."""
    door = gm.door("rules")
    assert door.get("/things", token="worthless").seen.all("Identity") == []
    assert door.get("/admin", token="worthless").status == 404
    assert door.get("/admin/x").status == 404
    assert door.get("/things", token="good").seen.header("Identity") == NAME_URI
    both = "%7B%22email%22:%22a@b.c%22%2C%22name%22:%22Ann%20Lee%22%7D"
    assert door.get("/admin", token="good").seen.header("Identity") == both


def test_no_copy_is_needed(gm: Envoy) -> None:
    """GM-60, GM-62: the token is taken from the cookie where it is; `removeOriginal` is
    `forward: false`."""
    assert carrying(gm.door("consumed"), "cookie", "good").seen.header("cookie") == f"{CLIENTS}; d=4"


def test_a_value_that_must_match(gm: Envoy, gm_fake: FakeProvider) -> None:
    """GM-61."""
    gm_fake.active["anna"] = ANN | {"name": "Anna Lee"}
    assert [gm.door("ann-only").get("/p", token=token).status for token in ("good", "anna")] == [200, 403]


# ----------------------------------------------------------------------------------- MCP Toolbox

ECDSA, SECOND, RSA = Key.make(), Key.make(kid="k2"), Key.make("RS256", "r1")
FORGER = Key("ES256", "k1", Key.make().private)
CLIENT = {"INTROSPECTION_CLIENT_ID": "rs", "INTROSPECTION_CLIENT_SECRET": "rs-secret"}
SCOPE = "read:files"
TOOLBOX_URL = "https://toolbox.example.com"


@pytest.fixture(scope="module")
def tb_fake() -> Any:
    with FakeProvider(ECDSA, SECOND) as running:
        keys = [ECDSA.jwk(), SECOND.jwk(), RSA.jwk(alg="RS512")]
        running.routes["/jwks"] = Reply.json({"keys": keys})
        yield running


@pytest.fixture(scope="module")
def toolbox(start_shared_envoy: StartEnvoy, tb_fake: FakeProvider) -> Envoy:
    mcp = TOOLBOX.json("MCP mode", "Ours", idp=tb_fake.issuer)
    two = copy.deepcopy(mcp) | {"require": {"scopes": [SCOPE, "write:files"]}}
    endless = copy.deepcopy(mcp)
    endless["providers"][0]["require_expiration"] = False
    return start_shared_envoy(
        mcp,
        idp=tb_fake.port,
        listeners={
            "two": two,
            "endless": endless,
            "header": TOOLBOX.json("Toolbox mode", "Ours", idp=tb_fake.issuer),
        },
        env=CLIENT,
        hcm=UNDERSCORES,
    )


class Tokens:
    """Tokens for Toolbox: those of a good provider but for what a case is about."""

    def __init__(self, issuer: str) -> None:
        self.issuer = issuer

    def __call__(self, key: Key = ECDSA, header: dict[str, Any] | None = None, **changes: Any) -> str:
        return key.token(self.claims(**changes), header)

    def claims(self, **changes: Any) -> dict[str, Any]:
        good = claims(self.issuer, aud=TOOLBOX_URL, scope=SCOPE, iss=self.issuer)
        return {name: value for name, value in (good | changes).items() if value is not None}

    def confused(self) -> str:
        """HS256, with the public key as the secret."""
        encoding, form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        pem = ECDSA.private.public_key().public_bytes(encoding, form)
        return Key("HS256", "k1", pem).token(self.claims())


def now() -> int:
    return int(time.time())


# What is sent, the status, and the word for it.
TB_CASES: dict[str, tuple[Callable[[Tokens], Pairs], int, str]] = {
    "TB-01": (lambda t: bearer(t()), 200, ""),
    "TB-02": (lambda t: [], 401, "missing_token"),
    "TB-03": (lambda t: [("Authorization", f"bearer {t()}")], 200, ""),
    "TB-04": (lambda t: [("Authorization", f"Bearer  {t()}")], 200, ""),
    "TB-05": (lambda t: [("Authorization", "Basic dTpw")], 401, "unsupported_token"),
    "TB-06": (lambda t: [("Authorization", "Bearer")], 400, "invalid_request"),
    "TB-06-two": (lambda t: [("Authorization", "Bearer a b")], 400, "invalid_request"),
    "TB-07": (lambda t: bearer(t()) * 2, 400, "invalid_request"),
    "TB-08": (lambda t: bearer(t(exp=now() - 3600)), 401, "expired"),
    "TB-09": (lambda t: bearer(t(exp=None)), 401, "invalid_claims"),
    "TB-10": (lambda t: bearer(t(nbf=now() + 3600)), 401, "not_yet_valid"),
    "TB-11": (lambda t: bearer(t(FORGER)), 401, "bad_signature"),
    "TB-12-none": (lambda t: bearer(compact({"alg": "none"}, t.claims())), 401, "unsupported_token"),
    "TB-12-hs256": (lambda t: bearer(t.confused()), 401, "unsupported_token"),
    "TB-14": (lambda t: bearer(t(SECOND, {"kid": None})), 200, ""),
    "TB-15": (lambda t: bearer(t(RSA)), 401, "unknown_key"),
    "TB-16": (lambda t: bearer(t(aud="wrong")), 401, "wrong_audience"),
    "TB-17": (lambda t: bearer(t(aud=["x", TOOLBOX_URL])), 200, ""),
    "TB-18": (lambda t: bearer(t(aud=42)), 401, "invalid_claims"),
    "TB-19": (lambda t: bearer(t(iss=None)), 401, "invalid_claims"),
    "TB-20": (lambda t: bearer(t(iss="https://other.example")), 401, "unknown_issuer"),
    "TB-21": (lambda t: bearer(t(iss=f"{t.issuer}/")), 401, "unknown_issuer"),
    "TB-22": (lambda t: bearer(t(scope="wrong:scope")), 403, "insufficient_scope"),
    "TB-23": (lambda t: bearer(t(scope=f"{SCOPE}  write:files\t")), 200, ""),
    "TB-24": (lambda t: bearer(t(scope=f"{SCOPE}X")), 403, "insufficient_scope"),
    "TB-25": (lambda t: bearer(t(aud="wrong", scope="wrong")), 401, "wrong_audience"),
    "TB-54": (lambda t: [("my-generic-auth_token", t())], 401, "missing_token"),
}


@pytest.mark.parametrize("case", TB_CASES)
def test_tb_mcp_mode(toolbox: Envoy, tb_fake: FakeProvider, case: str) -> None:
    headers, status, word = TB_CASES[case]
    response = toolbox.get("/mcp", headers(Tokens(tb_fake.issuer)), method="POST", body=b"{}")
    assert response.status == status, response
    if status == 200:
        return
    body = response.json()
    assert (body["jsonrpc"], body["id"], body["error"]["code"]) == ("2.0", None, -status)
    assert body["error"]["message"].startswith(f"{word}: "), body
    challenge = response.header("www-authenticate") or ""
    # TB-02 and TB-22: where scopes are the matter, the challenge has them.
    is_about_scopes = word in ("missing_token", "unsupported_token", "insufficient_scope") and "error=\"invalid" not in challenge
    assert (f'scope="{SCOPE}"' in challenge) == is_about_scopes, challenge
    assert ('error="invalid_token"' in challenge) == (status == 401 and not is_about_scopes), challenge


def test_a_token_without_an_end(toolbox: Envoy, tb_fake: FakeProvider) -> None:
    """TB-09."""
    assert toolbox.door("endless").get("/mcp", bearer(Tokens(tb_fake.issuer)(exp=None))).status == 200


def test_every_required_scope_is_needed(toolbox: Envoy, tb_fake: FakeProvider) -> None:
    """TB-22, TB-23."""
    token, door = Tokens(tb_fake.issuer), toolbox.door("two")
    assert door.get("/mcp", bearer(token(scope=f"{SCOPE}  write:files "))).status == 200
    # Only spaces separate scopes (RFC 6749, section 3.3): with a tab behind it, it is another one.
    for lacking in (SCOPE, f"{SCOPE} write:files\t"):
        response = door.get("/mcp", bearer(token(scope=lacking)))
        assert (response.status, 'scope="write:files"' in (response.header("www-authenticate") or "")) == (403, True)


def test_tb_what_needs_no_token(toolbox: Envoy) -> None:
    """Also TB-70 and TB-74, as far as the filter has a part in them: the request passes."""
    open_paths = ("/", "/healthz", "/ui", "/ui/x", "/.well-known/oauth-protected-resource/mcp")
    assert [toolbox.get(path).status for path in open_paths] == [200] * 5
    assert [toolbox.get(path).status for path in ("/mcp", "/mcp/sse", "/api/tool", "/uix", "/healthz/x")] == [401] * 5
    preflight = [("Origin", "https://app.example"), ("Access-Control-Request-Method", "POST")]
    assert toolbox.get("/mcp", preflight, method="OPTIONS").status == 200
    assert toolbox.get("/mcp", method="OPTIONS").status == 401


def real_toolbox(issuer: str, kind: str, mode: str = "MCP mode") -> dict[str, Any]:
    """For the real provider, which knows other audiences and scopes than the page."""
    config = TOOLBOX.json(mode, "Ours", idp=issuer, toolbox=f"urn:api:{kind}")
    return config | {"require": {"scopes": ["api:read"]}} if "require" in config else config


def test_jwts_of_the_real_provider_are_judged(start_envoy: StartEnvoy, provider: Provider) -> None:
    # TB-14 and TB-17 are habits of it: no kid, beside the keys of five algorithms; and a list in `aud`.
    """TB-01, TB-02, TB-08, TB-16, TB-22."""
    doors = {kind: real_toolbox(provider.issuer, kind) for kind in ("nokid", "audlist", "scp", "opaque")}
    envoy = start_envoy(real_toolbox(provider.issuer, "rs256"), listeners=doors, env=CLIENT)

    def status(token: str, door: Door = envoy) -> int:
        return door.get("/mcp", bearer(token)).status

    assert status(provider.token()) == 200
    assert envoy.get("/mcp").status == 401
    assert status(provider.token(ttl=-3600)) == 401
    assert status(provider.token("es256")) == 401
    assert status(provider.token(scope="api:write")) == 403
    for kind in doors:
        assert status(provider.token(kind), envoy.door(kind)) == 200, kind
    # TB-30: one call for each request, as there.
    provider.counters(reset=True)
    opaque = provider.token("opaque")
    assert [status(opaque, envoy.door("opaque")) for _ in range(3)] == [200] * 3
    assert provider.counters()["POST /token/introspection"] == 3
    provider.revoke(opaque)
    assert status(opaque, envoy.door("opaque")) == 401


def test_rotated_keys_are_fetched(start_envoy: StartEnvoy, own_provider: Provider) -> None:
    """TB-13."""
    config = real_toolbox(own_provider.issuer, "es256")
    envoy = start_envoy(config, idp=own_provider.port, env=CLIENT)
    assert envoy.get("/mcp", bearer(own_provider.token("es256"))).status == 200
    own_provider.rotate()
    own_provider.counters(reset=True)
    assert envoy.get("/mcp", bearer(own_provider.token("es256"))).status == 200
    assert own_provider.counters()["GET /jwks"] == 1
    flood = [Key("ES256", f"unknown-{number}", FORGER.private) for number in range(20)]
    forged = [key.token(claims(own_provider.issuer, aud="urn:api:es256")) for key in flood]
    assert together(20, lambda number: envoy.get("/mcp", bearer(forged[number])).status) == [401] * 20
    assert own_provider.counters()["GET /jwks"] == 1


# What is sent, and whether it makes an identity.
TB_HEADER_CASES: dict[str, tuple[Callable[[Tokens], Pairs], bool]] = {
    "TB-50": (lambda t: [("my-generic-auth_token", t())], True),
    "TB-51": (lambda t: [], False),
    "TB-51-other-header": (lambda t: bearer(t()), False),
    "TB-51-empty": (lambda t: [("my-generic-auth_token", "")], False),
    "TB-52-audience": (lambda t: [("my-generic-auth_token", t(aud="wrong"))], False),
    "TB-52-expired": (lambda t: [("my-generic-auth_token", t(exp=now() - 3600))], False),
    "TB-52-issuer": (lambda t: [("my-generic-auth_token", t(iss="https://other.example"))], False),
    "TB-52-scheme": (lambda t: [("my-generic-auth_token", f"Bearer {t()}")], False),
    "TB-53-spelling": (lambda t: [("my-generic-auth-token", t())], False),
}


@pytest.mark.parametrize("case", TB_HEADER_CASES)
def test_tb_toolbox_mode(toolbox: Envoy, tb_fake: FakeProvider, case: str) -> None:
    make, is_known = TB_HEADER_CASES[case]
    headers, door = make(Tokens(tb_fake.issuer)), toolbox.door("header")
    seen = door.get("/tool", [*headers, ("x-toolbox-claims", "forged")]).seen
    told = [json.loads(urllib.parse.unquote(value))["sub"] for value in seen.all("x-toolbox-claims")]
    assert told == (["alice"] if is_known else [])
    assert bool(seen.all("my-generic-auth_token")) == is_known
    # With `authRequired`, it is refused.
    response = door.get("/private/tool", headers)
    assert response.status == (200 if is_known else 400 if case in ("TB-51-empty", "TB-52-scheme") else 401)
    assert is_known or response.json()["jsonrpc"] == "2.0"


def test_a_name_with_an_underscore(start_envoy: StartEnvoy, tb_fake: FakeProvider) -> None:
    """TB-53: with the setting of envoy/*.yaml, Envoy refuses the header itself."""
    envoy = start_envoy(TOOLBOX.json("Toolbox mode", "Ours", idp=tb_fake.issuer), idp=tb_fake.port)
    response = envoy.get("/tool", [("my-generic-auth_token", "x")])
    assert (response.status, envoy.access_log()[0]["details"]) == (400, "http1.unexpected_underscore")


def test_toolbox_mode_by_the_real_provider(start_envoy: StartEnvoy, provider: Provider) -> None:
    """TB-50, TB-52."""
    envoy = start_envoy(real_toolbox(provider.issuer, "rs256", "Toolbox mode"), hcm=UNDERSCORES)

    def told(token: str) -> list[str]:
        return envoy.get("/tool", [("my-generic-auth_token", token)]).seen.all("x-toolbox-claims")

    assert "svc" in told(provider.token())[0]
    assert told(provider.token("es256")) == told(provider.token(ttl=-3600)) == []


# ----------------------------------------------------------------------------------- AuthService

AR_AUDIENCE = "istio-ingressgateway.istio-system.svc.cluster.local"
FORGED = [("kubeflow-userid", "admin"), ("Kubeflow-Userid", "root"), ("kubeflow_userid", "eve")]
FORGED += [("kubeflow-groups", "admins"), ("Auth-Method", "magic")]


@pytest.fixture(scope="module")
def ar_fake() -> Any:
    with FakeProvider(ECDSA) as running:
        running.routes["/decide"] = Reply(204)
        yield running


@pytest.fixture(scope="module")
def authservice(start_shared_envoy: StartEnvoy, ar_fake: FakeProvider) -> Envoy:
    jwt = AUTHSERVICE.json("Ours", idp=ar_fake.issuer, authorizer=ar_fake.issuer)
    opaque = AUTHSERVICE.json("Ours", index=1, idp=ar_fake.issuer)
    session = {"location": "cookie", "key": "authservice_session"}
    verified = {"claims": [{"claim": "email_verified", "any_of": ["true"]}]}
    everybody = {"require": {"groups_allowlist": ["*"]}}
    nowhere = {"uri": "http://127.0.0.1:1/decide", "cluster": "closed"}
    return start_shared_envoy(
        jwt,
        clusters={"idp": ar_fake.port, "authorizer": ar_fake.port, "closed": 1},
        listeners={
            "opaque": opaque,
            "verified": opaque | {"require": verified},
            "raw": jwt | {"access_token": {"key": "Authorization", "scheme": ""}},
            "session": jwt | {"access_token": [{"key": "Authorization"}, session]},
            "everybody": jwt | everybody,
            "unreachable": jwt | {"external_authorization": nowhere},
        },
        hcm=UNDERSCORES,
    )


def ar_claims(issuer: str, **changes: Any) -> dict[str, Any]:
    good = {"iss": issuer, "aud": AR_AUDIENCE, "email": "bob@example.com", "groups": ["a", "b"]}
    return claims(issuer, **(good | changes))


def identity(response: Response) -> tuple[list[str], list[str], list[str]]:
    """The three headers, in whatever spelling."""
    seen = response.seen.headers

    def named(wanted: str) -> list[str]:
        return [value for name, value in seen if name.lower().replace("_", "-") == wanted]

    return named("kubeflow-userid"), named("kubeflow-groups"), named("auth-method")


BOB = (["u:bob@example.com"], ["a,b"], ["header"])
NOBODY: tuple[list[str], list[str], list[str]] = ([], [], [])

# The claims, the signer, the status and the word.
AR_CASES: dict[str, tuple[dict[str, Any], Key, int, str]] = {
    "AR-10": ({}, ECDSA, 200, ""),
    "AR-11": ({"exp": 1}, ECDSA, 401, "expired"),
    "AR-12": ({}, FORGER, 401, "bad_signature"),
    "AR-13": ({"iss": "https://other.example"}, ECDSA, 401, "unknown_issuer"),
    "AR-14": ({"aud": "other"}, ECDSA, 401, "wrong_audience"),
    "AR-16-list": ({"aud": ["other", AR_AUDIENCE]}, ECDSA, 200, ""),
    "AR-17": ({"email": None}, ECDSA, 403, "insufficient_claims"),
    "AR-23": ({"aud": "kubeflow"}, ECDSA, 200, ""),
    "AR-24": ({"aud": "kubeflow", "exp": None}, ECDSA, 401, "invalid_claims"),
    "AR-80-other-groups": ({"groups": ["d", "e"]}, ECDSA, 403, "insufficient_claims"),
    "AR-80-no-groups": ({"groups": None}, ECDSA, 403, "insufficient_claims"),
}


@pytest.mark.parametrize("case", AR_CASES)
def test_ar_jwt(authservice: Envoy, ar_fake: FakeProvider, case: str) -> None:
    changes, key, status, word = AR_CASES[case]
    response = authservice.get("/p", bearer(key.token(ar_claims(ar_fake.issuer, **changes))))
    assert response.status == status, response
    if status == 200:
        assert identity(response) == BOB
    else:
        assert response.body.startswith(f"{word}: ".encode()), response
        # AR-11: never a redirect. AR-81: nobody is named.
        assert response.header("location") is None
        assert b"bob" not in response.body


def test_what_is_no_jwt_is_refused(authservice: Envoy) -> None:
    """AR-15."""
    assert authservice.get("/p", bearer("a.b.c")).status == 401
    assert authservice.get("/p", bearer("opaque")).status == 401


def test_the_real_userinfo_answers(start_envoy: StartEnvoy, provider: Provider) -> None:
    """AR-17, AR-18, AR-19."""
    envoy = start_envoy(AUTHSERVICE.json("Ours", index=1, idp=provider.issuer))
    token = provider.user_token("alice")
    provider.counters(reset=True)
    assert identity(envoy.get("/p", bearer(token))) == (["alice@example.test"], ["admin,dev"], ["header"])
    assert provider.counters()["GET /me"] == 1
    assert envoy.get("/p", bearer("worthless")).status == 401
    # Without the scope `email`, or `groups`, the claim isn't there.
    for scope in ("openid groups", "openid email"):
        response = envoy.get("/p", bearer(provider.user_token("alice", scope=scope)))
        assert (response.status, response.body.split(b":")[0]) == (403, b"insufficient_claims")


def test_users_and_groups_by_the_real_provider(start_envoy: StartEnvoy, provider: Provider, ar_fake: FakeProvider) -> None:
    """AR-10."""
    config = AUTHSERVICE.json("Ours", idp=provider.issuer, authorizer=ar_fake.issuer)
    config["providers"][0]["audiences"] = ["urn:api:rs256"]
    config["claim_headers"][0]["claim"] = "sub"  # its access tokens have no `email`
    config["require"] = {"groups_allowlist": ["admin"]}
    envoy = start_envoy(config, clusters={"authorizer": ar_fake.port})
    token = provider.user_token("alice", scope="openid api:read", kind="rs256")
    assert identity(envoy.get("/p", bearer(token))) == (["u:alice"], ["admin,dev"], ["header"])
    token = provider.user_token("bob", scope="openid api:read", kind="rs256")
    assert envoy.get("/p", bearer(token)).status == 403


@pytest.mark.parametrize("value", [True, False, "true", "false", None, 42, "fals"], ids=lambda value: f"AR-20-{value}")
def test_only_a_verified_address_passes(authservice: Envoy, ar_fake: FakeProvider, value: Any) -> None:
    """AR-20: it must be readable; what it says counts only where it is demanded."""
    known = {"sub": "1", "email": "bob@example.com", "groups": ["a"], "email_verified": value}
    ar_fake.active["opaque"] = {name: claim for name, claim in known.items() if claim is not None}
    is_readable = value not in (42, "fals")
    assert authservice.door("opaque").get("/p", bearer("opaque")).status == (200 if is_readable else 401)
    status = authservice.door("verified").get("/p", bearer("opaque")).status
    assert status == (200 if value in (True, "true") else 403 if is_readable else 401)


@pytest.mark.parametrize(
    ("groups", "header", "status"),
    [("a", "a", 200), (["a", 1, None, {"x": 1}], 'a,1,null,{"x":1}', 200), ([1, ["a"]], "", 403), (7, "", 403), ([], "", 403)],
    ids=["AR-21", "AR-22-mixed", "AR-22-numbers", "AR-22-number", "AR-22-none"],
)
def test_groups_of_any_shape(
    authservice: Envoy, ar_fake: FakeProvider, groups: Any, header: str, status: int
) -> None:
    """AR-21, AR-22."""
    response = authservice.get("/p", bearer(ECDSA.token(ar_claims(ar_fake.issuer, groups=groups))))
    assert response.status == status
    assert status != 200 or identity(response)[1] == [header]


def test_an_id_token_without_groups(authservice: Envoy, ar_fake: FakeProvider) -> None:
    """AR-23, AR-41."""
    token = ECDSA.token(ar_claims(ar_fake.issuer, aud="kubeflow", groups=None), {"typ": "JWT"})
    assert identity(authservice.door("everybody").get("/p", bearer(token))) == (BOB[0], [""], ["header"])


@pytest.mark.parametrize(("seconds", "status"), [(30, 200), (120, 401)])
def test_a_token_is_refused_before_its_time(authservice: Envoy, ar_fake: FakeProvider, seconds: int, status: int) -> None:
    """AR-25."""
    token = ECDSA.token(ar_claims(ar_fake.issuer, nbf=now() + seconds))
    assert authservice.get("/p", bearer(token)).status == status


def test_a_token_without_a_scheme_is_read(authservice: Envoy, ar_fake: FakeProvider) -> None:
    """AR-26."""
    raw = [("Authorization", ECDSA.token(ar_claims(ar_fake.issuer)))]
    assert authservice.get("/p", raw).status == 401
    assert identity(authservice.door("raw").get("/p", raw)) == BOB


def test_a_bearer_and_a_session(authservice: Envoy, ar_fake: FakeProvider) -> None:
    """AR-27."""
    good = ECDSA.token(ar_claims(ar_fake.issuer))
    foreign = ECDSA.token(ar_claims(ar_fake.issuer, iss="https://other.example"))
    cookie = [("Cookie", f"authservice_session={good}")]
    assert authservice.get("/p", [*bearer(foreign), *cookie]).status == 401
    assert authservice.door("session").get("/p", [*bearer(foreign), *cookie]).status == 400
    assert identity(authservice.door("session").get("/p", cookie)) == (BOB[0], BOB[1], ["cookie"])


def test_a_skipped_path_needs_no_token(authservice: Envoy) -> None:
    """AR-01."""
    for path in ("/my_app", "/my_app/", "/my_app/x?y"):
        assert identity(authservice.get(path, FORGED)) == NOBODY


def test_a_skipped_prefix_ends_at_a_whole_segment(authservice: Envoy) -> None:
    """AR-02."""
    assert [authservice.get(path).status for path in ("/my_app_secret", "/my_appx/", "/My_App/")] == [401] * 3


@pytest.mark.parametrize(
    "path",
    ["/my_app/../p", "/my_app/%2e%2e/p", "/my_app/..%2fp", "/my_app/..;/p", "//my_app/../p", "/p/../p2//my_app/../../p",
     "/my_app/%252e%252e/p", "/my_app\\..\\p", "/%6dy_app;x/p"],
)  # fmt: skip
def test_no_odd_spelling_widens_a_skipped_path(authservice: Envoy, path: str) -> None:
    """AR-03."""
    response = authservice.get(path)
    # 307: Envoy itself asks for the plain path.
    assert response.status in (307, 400, 401), response
    assert response.status != 307 or "my_app" not in (response.header("location") or "")


def test_a_skipped_path_passes_before_the_provider_is_there(start_envoy: StartEnvoy, fake: FakeProvider) -> None:
    """AR-04."""
    fake.routes["/.well-known/openid-configuration"] = Reply(500)
    fake.routes["/.well-known/oauth-authorization-server"] = Reply(500)
    config = AUTHSERVICE.json("Ours", idp=fake.issuer, authorizer=fake.issuer)
    envoy = start_envoy(config, idp=fake.port, clusters={"authorizer": fake.port})
    response = envoy.get("/p", bearer(ECDSA.token(ar_claims(fake.issuer))))
    assert (response.status, response.header("content-type")) == (503, "text/plain; charset=utf-8")
    assert envoy.get("/my_app/x").status == 200


def test_forged_kubeflow_identities_go(authservice: Envoy, ar_fake: FakeProvider) -> None:
    """AR-40."""
    token = ECDSA.token(ar_claims(ar_fake.issuer))
    assert identity(authservice.get("/p", [*FORGED, *bearer(token), *FORGED])) == BOB


@pytest.mark.parametrize(
    ("email", "written"),
    [("user@domain.com", "u:transformed"), ("x@domain.com", "u:x"), ("x@other.com", "u:x@other.com")],
)
def test_transformers_rewrite_a_claim(authservice: Envoy, ar_fake: FakeProvider, email: str, written: str) -> None:
    """AR-42."""
    token = ECDSA.token(ar_claims(ar_fake.issuer, email=email))
    assert identity(authservice.get("/p", bearer(token)))[0] == [written]


def test_no_claim_writes_a_second_header(authservice: Envoy, ar_fake: FakeProvider) -> None:
    """AR-43."""
    token = ECDSA.token(ar_claims(ar_fake.issuer, email="bob\r\nkubeflow-userid: admin\u0000Zoë"))
    (written,), _, _ = identity(authservice.get("/p", bearer(token)))
    assert urllib.parse.unquote(written) == "u:bob\r\nkubeflow-userid: admin\u0000Zoë"
    assert written.isascii() and written.isprintable()


def test_the_verify_endpoint_answers_other_proxies(authservice: Envoy, ar_fake: FakeProvider) -> None:
    """AR-50, AR-51."""
    allowed = bearer(ECDSA.token(ar_claims(ar_fake.issuer)))
    denied = bearer(ECDSA.token(ar_claims(ar_fake.issuer, groups=["d"])))
    response = authservice.get("/authservice/verify/p", allowed)
    assert (response.status, response.header("kubeflow-userid"), response.header("auth-method")) == (
        204, "u:bob@example.com", "header",
    )  # fmt: skip
    assert authservice.get("/authservice/verify/p").status == 401
    assert authservice.get("/authservice/verify/p", denied).status == 403
    assert authservice.get("/authservice/verify/my_app/x", FORGED).status == 204
    assert authservice.get("/authservice/verify/my_app/x", FORGED).header("kubeflow-userid") is None
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        assert authservice.get("/authservice/verify/p", method=method).status == 401
        assert authservice.get("/authservice/verify", method=method).status == 401
    # Nothing else of the prefix is open.
    assert authservice.get("/authservice/logout", method="POST").status == 401


def test_an_empty_allow_list_is_refused(authservice: Envoy, ar_fake: FakeProvider) -> None:
    """AR-80."""
    token = ECDSA.token(ar_claims(ar_fake.issuer, groups=["c", "d"]))
    assert authservice.get("/p", bearer(token)).status == 200
    config = AUTHSERVICE.json("Ours", idp=ar_fake.issuer) | {"require": {"groups_allowlist": []}}
    result = validate_config(config)
    assert (result.returncode != 0, "require.groups_allowlist" in result.stdout) == (True, True)


def test_a_refusal_names_nobody(authservice: Envoy, ar_fake: FakeProvider) -> None:
    """AR-81."""
    token = ECDSA.token(ar_claims(ar_fake.issuer, email="<script>@x", groups=["<b>d</b>"]))
    response = authservice.get("/p", bearer(token))
    assert (response.status, b"<" in response.body) == (403, False)
    assert (response.header("content-type"), response.header("set-cookie")) == ("text/plain; charset=utf-8", None)


@pytest.mark.parametrize("host", ["app.example:443", "app.example"])
def test_the_authorizer_is_told_who_asks(authservice: Envoy, ar_fake: FakeProvider, host: str) -> None:
    """AR-82."""
    told = ar_claims(ar_fake.issuer, sub="1234")
    ar_fake.requests.clear()
    assert authservice.get("/p?q=1", [("Host", host), *bearer(ECDSA.token(told))], method="DELETE").status == 200
    (asked,) = [request for request in ar_fake.requests if request.path == "/decide"]
    body = json.loads(asked.body)
    assert body.pop("timestamp").startswith("20")
    assert body == {
        "provider": {"issuer": ar_fake.issuer, "name": "127.0.0.1"},
        "request": {
            "host": "app.example", "method": "DELETE", "path": "/p?q=1", "port": "443" if ":" in host else "80",
        },
        "sent": {"host": host, "path": "/p?q=1"},
        "user": {"claims": told, "extra": {}, "groups": ["a", "b"], "id": "1234", "name": "bob@example.com"},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("answer", "status"),
    [(Reply(200), 200), (Reply(204), 200), (Reply(401, b"not now"), 403), (Reply(403, b"not now"), 403), (Reply(500), 503)],
    ids=["200", "204", "401", "403", "500"],
)
def test_what_the_authorizer_says(
    authservice: Envoy, ar_fake: FakeProvider, answer: Reply, status: int
) -> None:
    """AR-82."""
    ar_fake.routes["/decide"] = answer
    try:
        response = authservice.get("/p", bearer(ECDSA.token(ar_claims(ar_fake.issuer))))
    finally:
        ar_fake.routes["/decide"] = Reply(204)
    assert response.status == status
    assert (b"not now" in response.body) == (status == 403)


def test_without_its_authorizer_the_filter_refuses(authservice: Envoy, ar_fake: FakeProvider) -> None:
    """AR-82."""
    token = bearer(ECDSA.token(ar_claims(ar_fake.issuer)))
    assert authservice.door("unreachable").get("/p", token).status == 503


def test_a_preflight_passes_where_it_is_allowed(authservice: Envoy) -> None:
    """AR-83."""
    origin, method = ("Origin", "https://app.example"), ("Access-Control-Request-Method", "PUT")
    for headers in ([], [origin], [method]):
        assert authservice.get("/p", headers, method="OPTIONS").status == 401
    # A header that may tell another method makes it no preflight.
    forged = [(name, value) for name, value in FORGED if name != "Auth-Method"]
    assert identity(authservice.get("/p", [origin, method, *forged], method="OPTIONS")) == NOBODY


# --------------------------------------------------------------------------- Envoy's jwt_authn

API = "https://api.example.com"
REPORTS = "https://reports.example.com"
PARTNER = "https://partner.example.com"
PARTNER_KEY = Key.make(kid="p1")


@pytest.fixture(scope="module")
def ja_fake() -> Any:
    with FakeProvider(ECDSA) as running:
        yield running


@pytest.fixture(scope="module")
def both(start_shared_envoy: StartEnvoy, ja_fake: FakeProvider) -> Envoy:
    """The page's two configurations, each on its listener."""
    ours = JWT_AUTHN.json("Ours", idp=ja_fake.issuer)
    (theirs,) = JWT_AUTHN.yaml("Theirs", idp=ja_fake.issuer)
    keys = {"keys": [PARTNER_KEY.jwk()]}
    ours["providers"][1]["jwks"]["inline"] = keys
    theirs["typed_config"]["providers"]["partner"]["local_jwks"]["inline_string"] = json.dumps(keys)
    namespace = "envoy.filters.http.jwt_authn"

    def adjust(bootstrap: Bootstrap) -> None:
        listener = copy.deepcopy(bootstrap.listener) | {"name": "theirs"}
        hcm = listener["filter_chains"][0]["filters"][0]["typed_config"]
        hcm["http_filters"] = [theirs, hcm["http_filters"][-1]]
        bootstrap.value["static_resources"]["listeners"].append(listener)

    envoy = start_shared_envoy(
        ours,
        idp=ja_fake.port,
        after=[hand_off("payload", namespace)],
        hcm=UNDERSCORES,
        adjust=adjust,
        log_fields={"payload": f"%DYNAMIC_METADATA({namespace}:payload)%"},
    )
    for door in (envoy, envoy.door("theirs")):  # both have keys
        assert door.get("/", bearer(Ask(ja_fake.issuer).token())).status == 200
    return envoy


class Ask:
    """Requests for the matrix."""

    def __init__(self, issuer: str) -> None:
        self.issuer = issuer

    def token(self, key: Key = ECDSA, header: dict[str, Any] | None = None, **changes: Any) -> str:
        return key.token(claims(self.issuer, **({"aud": API, "iss": self.issuer} | changes)), header)

    def partners(self, key: Key = PARTNER_KEY, **changes: Any) -> str:
        return self.token(key, iss=PARTNER, **changes)


Case = tuple[str, Callable[[Ask], Pairs]]

# Both decide the same, and the service gets the same.
JA_EQUAL: dict[str, Case] = {
    "a good token": ("/", lambda a: bearer(a.token(org={"tenant": "t1"}))),
    "none": ("/", lambda a: []),
    "an open path": ("/healthz", lambda a: []),
    "an open path with a query": ("/healthz?x", lambda a: []),
    "an open path with a bad token": ("/healthz", lambda a: bearer("x")),
    "an open path with a forged identity": ("/healthz", lambda a: [("x-user", "eve"), ("x-jwt-payload", "e")]),
    "not quite the open path": ("/healthz/", lambda a: []),
    "expired": ("/", lambda a: bearer(a.token(exp=now() - 3600))),
    "expired within the skew": ("/", lambda a: bearer(a.token(exp=now() - 30))),
    "without exp": ("/", lambda a: bearer(a.token(exp=None))),
    "exp as a string": ("/", lambda a: bearer(a.token(exp=str(now() + 600)))),
    "exp with a fraction": ("/", lambda a: bearer(a.token(exp=now() + 600.5))),
    "not yet valid": ("/", lambda a: bearer(a.token(nbf=now() + 3600))),
    "not yet valid within the skew": ("/", lambda a: bearer(a.token(nbf=now() + 30))),
    "a list of audiences": ("/", lambda a: bearer(a.token(aud=["x", API]))),
    "a number as the audience": ("/", lambda a: bearer(a.token(aud=42))),
    "another issuer": ("/", lambda a: bearer(a.token(iss="https://other.example"))),
    "no issuer": ("/", lambda a: bearer(a.token(iss=None))),
    "another signature": ("/", lambda a: bearer(a.token(FORGER))),
    "an unknown key": ("/", lambda a: bearer(a.token(header={"kid": "unknown"}))),
    "no key named": ("/", lambda a: bearer(a.token(header={"kid": None}))),
    "alg none": ("/", lambda a: bearer(a.token(header={"alg": "none"}))),
    "a claim twice": ("/", lambda a: bearer(ECDSA.token(b'{"iss":"x",' + json.dumps(claims(a.issuer, aud=API)).encode()[1:]))),
    "two spaces": ("/", lambda a: [("Authorization", f"Bearer  {a.token()}")]),
    "another scheme": ("/", lambda a: [("Authorization", "Basic dTpw")]),
    "an opaque token": ("/", lambda a: bearer("opaque")),
    "a parameter": ("/?a=1&access_token={}&b", lambda a: []),
    "a cookie": ("/", lambda a: [("Cookie", f"a=1; session={a.token()}")]),
    "optional, none": ("/optional", lambda a: []),
    "optional, good": ("/optional/x", lambda a: bearer(a.token())),
    "optional, bad": ("/optional", lambda a: bearer(a.token(exp=1))),
    "optional, encoded": ("/%6fptional", lambda a: []),
    "optional, and out of it": ("/optional/%2e%2e/x", lambda a: []),
    "optional, and out of it otherwise": ("/optional/..;/x", lambda a: []),
    "optional, forged": ("/optional", lambda a: [("x-user", "eve"), ("x-tenant", "e")]),
    "whoever, none": ("/whoever", lambda a: []),
    "whoever, good": ("/whoever", lambda a: bearer(a.token())),
    "partners, ours": ("/partners", lambda a: bearer(a.token())),
    "partners, by our key": ("/partners", lambda a: bearer(a.partners(ECDSA))),
    "partners, in a cookie": ("/partners", lambda a: [("Cookie", f"session={a.partners()}")]),
    "a partner elsewhere": ("/", lambda a: bearer(a.partners())),
    "reports": ("POST /reports", lambda a: bearer(a.token(aud=REPORTS))),
    "reports by GET": ("/reports", lambda a: bearer(a.token())),
    "forged, and good": ("/", lambda a: [*bearer(a.token()), ("x-user", "eve"), ("x-tenant", "eve")]),
    "a claim that is not there": ("/", lambda a: bearer(a.token(sub=None))),
    "a claim that is a number": ("/", lambda a: bearer(a.token(org={"tenant": 42}))),
    "a claim that is a boolean": ("/", lambda a: bearer(a.token(org={"tenant": True}))),
    "a preflight": ("OPTIONS /", lambda a: [("Origin", "https://x"), ("Access-Control-Request-Method", "PUT")]),
    "an OPTIONS": ("OPTIONS /", lambda a: []),
}

# Theirs lets pass, and ours refuses with this status.
JA_STRICTER: dict[str, tuple[str, Callable[[Ask], Pairs], int]] = {
    "a DPoP proof": ("/", lambda a: bearer(a.token(header={"typ": "dpop+jwt"})), 401),
    "a logout token": ("/", lambda a: bearer(a.token(header={"typ": "logout+jwt"})), 401),
    "crit": ("/", lambda a: bearer(a.token(header={"crit": ["x"], "x": 1})), 401),
    "bound to a key": ("/", lambda a: bearer(a.token(cnf={"jkt": "x"})), 401),
    "iat in the future": ("/", lambda a: bearer(a.token(iat=now() + 3600)), 401),
    "something before the scheme": ("/", lambda a: [("Authorization", f"xxBearer {a.token()}")], 401),
    "something behind the token": ("/", lambda a: [("Authorization", f"Bearer {a.token()} x")], 400),
    "two places": ("/?access_token={}", lambda a: bearer(a.token()), 400),
    "two cookies": ("/", lambda a: [("Cookie", f"session={a.token()}; session={a.token()}")], 400),
    "two cookies, one bad": ("/", lambda a: [("Cookie", f"session={a.token()}; session=x")], 400),
    "half a segment": ("/optionalx", lambda a: [], 401),
    "a huge claim": ("/", lambda a: bearer(a.token(sub="x" * 9000)), 503),
}

# Both refuse: theirs with the first status, ours with the second.
JA_STATUS: dict[str, tuple[str, Callable[[Ask], Pairs], int, int]] = {
    "another audience": ("/", lambda a: bearer(a.token(aud="x")), 403, 401),
    "no audience": ("/", lambda a: bearer(a.token(aud=None)), 403, 401),
    "the rule's audience": ("POST /reports", lambda a: bearer(a.token()), 403, 401),
    "no token behind Bearer": ("/", lambda a: [("Authorization", "Bearer")], 401, 400),
    "two headers": ("/", lambda a: bearer(a.token()) * 2, 401, 400),
    "an empty cookie": ("/", lambda a: [("Cookie", "session=")], 401, 400),
    "a comma": ("/", lambda a: [("Authorization", f"Bearer {a.token()},x")], 401, 400),
}


def on_both(both: Envoy, ask: Ask, target: str, headers: Callable[[Ask], Pairs]) -> tuple[Response, Response]:
    """Theirs, ours."""
    method, _, path = target.rpartition(" ")
    path, pairs = path.replace("{}", ask.token()), headers(ask)
    theirs, ours = (door.get(path, pairs, method=method or "GET") for door in (both.door("theirs"), both))
    return theirs, ours


def payload(seen: Any) -> Any:
    value = seen.header("x-jwt-payload")
    return value and json.loads(base64.urlsafe_b64decode(value + "=="))


# jwt_authn removed no forged payload before, and held a path with `..;` for one.
JA_EQUAL_SINCE = {"an open path with a forged identity": (1, 40), "optional, and out of it otherwise": (1, 39)}


@pytest.mark.parametrize("case", JA_EQUAL)
def test_jwt_authn_equal(both: Envoy, ja_fake: FakeProvider, case: str) -> None:
    if envoy_release() < JA_EQUAL_SINCE.get(case, ()):
        pytest.skip("jwt_authn of this release lets more through")
    theirs, ours = on_both(both, Ask(ja_fake.issuer), *JA_EQUAL[case])
    assert theirs.status == ours.status, f"{theirs}\n{ours}"
    if ours.status == 200:
        names = ("authorization", "cookie", "x-user", "x-tenant")
        told = [([seen.all(name) for name in names], seen.path, payload(seen)) for seen in (theirs.seen, ours.seen)]
        assert told[0] == told[1]


@pytest.mark.parametrize("case", JA_STRICTER)
def test_jwt_authn_stricter(both: Envoy, ja_fake: FakeProvider, case: str) -> None:
    target, headers, status = JA_STRICTER[case]
    theirs, ours = on_both(both, Ask(ja_fake.issuer), target, headers)
    assert (theirs.status, ours.status) == (200, status), f"{theirs}\n{ours}"


@pytest.mark.parametrize("case", JA_STATUS)
def test_jwt_authn_another_status(both: Envoy, ja_fake: FakeProvider, case: str) -> None:
    target, headers, *statuses = JA_STATUS[case]
    theirs, ours = on_both(both, Ask(ja_fake.issuer), target, headers)
    assert [theirs.status, ours.status] == statuses, f"{theirs}\n{ours}"


def test_jwt_authn_the_other_way_round(both: Envoy, ja_fake: FakeProvider) -> None:
    ask = Ask(ja_fake.issuer)
    theirs, ours = on_both(both, ask, "/", lambda a: [("Authorization", f"bearer {a.token()}")])
    assert (theirs.status, ours.status) == (401, 200)
    theirs, ours = on_both(both, ask, "/", lambda a: bearer(a.token(sub="a\r\nx: y")))
    assert (theirs.status, ours.seen.header("x-user")) == (503, "a%0D%0Ax: y")


@pytest.mark.parametrize(
    ("claims", "header", "theirs", "ours"),
    [
        ({"org": {"tenant": ["a", "b"]}}, "x-tenant", "WyJhIiwiYiJd", "a,b"),
        ({"org": {"tenant": {"a": 1}}}, "x-tenant", "eyJhIjoxfQ==", '{"a":1}'),
        ({"org": {"tenant": 1.5}}, "x-tenant", "1.500000", "1.5"),
        ({"sub": "Zoë"}, "x-user", "ZoÃ«", "Zo%C3%AB"),
    ],
    ids=["list", "object", "fraction", "beyond-ascii"],
)
def test_jwt_authn_other_outputs(
    both: Envoy, ja_fake: FakeProvider, claims: dict[str, Any], header: str, theirs: str, ours: str
) -> None:
    answers = on_both(both, Ask(ja_fake.issuer), "/", lambda a: bearer(a.token(**claims)))
    assert [answer.seen.header(header) for answer in answers] == [theirs, ours]


def test_jwt_authn_a_bad_token_that_may_pass(both: Envoy, ja_fake: FakeProvider) -> None:
    theirs, ours = on_both(both, Ask(ja_fake.issuer), "/whoever", lambda a: bearer(a.token(exp=1)))
    assert [len(answer.seen.all("authorization")) for answer in (theirs, ours)] == [1, 0]


def test_jwt_authn_another_spelling(both: Envoy, ja_fake: FakeProvider) -> None:
    theirs, ours = on_both(both, Ask(ja_fake.issuer), "/", lambda a: [*bearer(a.token()), ("X_User", "eve")])
    assert [answer.seen.all("x_user") for answer in (theirs, ours)] == [["eve"], []]


@pytest.mark.parametrize("path", ["/partners", "/partnersx"])
def test_jwt_authn_whose_claim_headers(both: Envoy, ja_fake: FakeProvider, path: str) -> None:
    theirs, ours = on_both(both, Ask(ja_fake.issuer), path, lambda a: bearer(a.partners()))
    assert [answer.seen.all("x-user") for answer in (theirs, ours)] == [[], ["alice"]]


def test_jwt_authn_the_realm(both: Envoy, ja_fake: FakeProvider) -> None:
    path = "/?access_token={}"
    theirs, ours = on_both(both, Ask(ja_fake.issuer), path, lambda a: bearer(a.token(exp=1)))
    assert ["access_token=" in (answer.header("www-authenticate") or "") for answer in (theirs, ours)] == [True, False]


def test_jwt_authn_the_metadata(both: Envoy, ja_fake: FakeProvider) -> None:
    on_both(both, Ask(ja_fake.issuer), "/metadata", lambda a: bearer(a.token(org={"tenant": "t1"})))
    theirs, ours = (entry["payload"] for entry in both.access_log(2, path="/metadata"))
    assert theirs == ours and ours["org"] == {"tenant": "t1"}


# What is configured, what the token has, and whether `jwt_authn` takes one for the other.
JA_AUDIENCES: list[tuple[str, str, bool]] = [
    ("https://api.example.com", "https://api.example.com", True),
    ("api", "api", True),
    ("https://api.example.com", "http://api.example.com", True),
    ("https://api.example.com", "https://api.example.com/", True),
    ("https://api.example.com", "api.example.com", True),
    ("https://api.example.com/", "https://api.example.com", True),
    ("http://api.example.com/", "api.example.com", True),
    ("api.example.com", "https://api.example.com", True),
    ("api.example.com/", "api.example.com", True),
    ("https://api.example.com/v1", "api.example.com/v1/", True),
    ("https://api.example.com", "https://api.example.com//", False),
    ("https://api.example.com", "HTTPS://api.example.com", False),
    ("https://api.example.com", "https://API.example.com", False),
    ("https://api.example.com", "https://api.example.com/v1", False),
]


def as_theirs(audience: str) -> list[str]:
    """The page's list for an audience: all that `jwt_authn` takes for it."""
    bare = audience.removeprefix("https://").removeprefix("http://").removesuffix("/")
    return [f"{scheme}{bare}{slash}" for scheme in ("https://", "http://", "") for slash in ("", "/")]


@pytest.fixture(scope="module")
def audiences(start_shared_envoy: StartEnvoy, ja_fake: FakeProvider) -> Envoy:
    """Each audience under a path of its own, on both filters, and on ours with the page's list as well."""
    ours = JWT_AUTHN.json("Ours", idp=ja_fake.issuer)
    (theirs,) = JWT_AUTHN.yaml("Theirs", idp=ja_fake.issuer)
    ours["rules"] = [
        {"match": {"path": f"/{kind}{number}"}, "providers": ["main"], "audiences": value}
        for number, (audience, *_) in enumerate(JA_AUDIENCES)
        for kind, value in (("plain", [audience]), ("list", as_theirs(audience)))
    ]
    theirs["typed_config"]["rules"] = [
        {
            "match": {"path": f"/plain{number}"},
            "requires": {"provider_and_audiences": {"provider_name": "main", "audiences": [audience]}},
        }
        for number, (audience, *_) in enumerate(JA_AUDIENCES)
    ]

    def adjust(bootstrap: Bootstrap) -> None:
        listener = copy.deepcopy(bootstrap.listener) | {"name": "theirs"}
        hcm = listener["filter_chains"][0]["filters"][0]["typed_config"]
        hcm["http_filters"] = [theirs, hcm["http_filters"][-1]]
        bootstrap.value["static_resources"]["listeners"].append(listener)

    return start_shared_envoy(ours, idp=ja_fake.port, adjust=adjust)


@pytest.mark.parametrize("number", range(len(JA_AUDIENCES)))
def test_jwt_authn_audiences(audiences: Envoy, ja_fake: FakeProvider, number: int) -> None:
    configured, sent, is_taken = JA_AUDIENCES[number]
    headers = bearer(Ask(ja_fake.issuer).token(aud=sent))
    theirs = audiences.door("theirs").get(f"/plain{number}", headers).status
    ours, listed = (audiences.get(f"/{kind}{number}", headers).status for kind in ("plain", "list"))
    assert (theirs == 200) == is_taken, theirs
    assert ours == (200 if configured == sent else 401)
    assert (listed == 200) == is_taken, listed


def test_jwt_authn_the_list_of_audiences_is_that_of_the_page() -> None:
    assert JWT_AUTHN.json("Audiences")["providers"][0]["audiences"] == as_theirs(API)


# ------------------------------------------------------------------------------------------ Istio


@pytest.fixture(scope="module")
def istio(start_shared_envoy: StartEnvoy, ja_fake: FakeProvider) -> Envoy:
    alone = ISTIO.json("Ours", index=1, idp=ja_fake.issuer)
    config = ISTIO.json("Ours", idp=ja_fake.issuer)
    clusters = {config["providers"][0]["cluster"]: ja_fake.port}
    return start_shared_envoy(config, clusters=clusters, listeners={"alone": alone})


ADMIN = {"groups": ["dev", "admin"], "org": {"tenant": "t1"}}

# The path, the claims that differ (None: no token), the status.
ISTIO_CASES: dict[str, tuple[str, dict[str, Any] | None, int]] = {
    "valid": ("/", {}, 200),
    "missing": ("/", None, 401),
    "expired": ("/", {"exp": 1}, 401),
    "other issuer": ("/", {"iss": "https://other.example"}, 401),
    "other audience": ("/", {"aud": "x"}, 401),
    "open": ("/healthz", None, 200),
    "open, with a bad token": ("/healthz", {"exp": 1}, 401),
    "admin": ("/admin", ADMIN, 200),
    "admin below": ("/admin/x", ADMIN | {"org": {"tenant": "t2"}, "groups": "admin"}, 200),
    "admin of another tenant": ("/admin", ADMIN | {"org": {"tenant": "t3"}}, 403),
    "admin without the group": ("/admin/x", ADMIN | {"groups": ["dev"]}, 403),
    "admin without claims": ("/admin", {}, 403),
    "admin without a token": ("/admin/x", None, 401),
    "not the admin's": ("/administrator", {}, 200),
}


@pytest.mark.parametrize("case", ISTIO_CASES)
def test_istio(istio: Envoy, ja_fake: FakeProvider, case: str) -> None:
    path, changes, status = ISTIO_CASES[case]
    ask = Ask(ja_fake.issuer)
    response = istio.get(path, [("x-user", "eve"), *([] if changes is None else bearer(ask.token(**changes)))])
    assert response.status == status, response
    if status == 200:
        assert response.seen.all("x-user") == ([] if changes is None else ["alice"])
        assert (payload(response.seen) or {}).get("sub") == (None if changes is None else "alice")


def test_istio_places(istio: Envoy, ja_fake: FakeProvider) -> None:
    token = Ask(ja_fake.issuer).token()
    assert istio.get(f"/?access_token={token}").status == 200
    assert istio.get("/", [("Cookie", f"session={token}")]).status == 200
    assert istio.get(f"/?access_token={token}", bearer(token)).status == 400


def test_istio_without_a_policy(istio: Envoy, ja_fake: FakeProvider) -> None:
    ask, door = Ask(ja_fake.issuer), istio.door("alone")
    assert [door.get("/", headers).status for headers in ([], bearer(ask.token()), bearer(ask.token(exp=1)))] == [
        200, 200, 401,
    ]  # fmt: skip


# ------------------------------------------------------------------------------------- Kubernetes


def test_a_service_account_of_kubernetes(start_envoy: StartEnvoy, fake: FakeProvider) -> None:
    """docs/kubernetes.md, with a token in the form that Kubernetes gives it: no `typ`, and claims below a dotted name."""
    config = Page("kubernetes.md").json("The provider")
    config["providers"][0] |= {"issuer": fake.issuer, "jwks": {"uri": f"{fake.issuer}/jwks"}}
    envoy = start_envoy(config, clusters={config["providers"][0]["cluster"]: fake.port})

    def account(namespace: str, **changes: Any) -> Pairs:
        about = {"namespace": namespace, "serviceaccount": {"name": "runner", "uid": "u1"}, "pod": {"name": "r-1"}}
        own = {"sub": f"system:serviceaccount:{namespace}:runner", "aud": [API], "kubernetes.io": about}
        return bearer(fake.token({"typ": None}, **(own | {"client_id": None, "scope": None} | changes)))

    seen = envoy.get("/", account("build")).seen
    assert (seen.header("x-namespace"), seen.header("x-service-account")) == ("build", "runner")
    assert envoy.get("/", account("other")).status == 403
    # A token for the API server, and one of the old kind.
    assert envoy.get("/", account("build", aud=["https://kubernetes.default.svc.cluster.local"])).status == 401
    assert envoy.get("/", account("build", aud=None, exp=None)).status == 401
