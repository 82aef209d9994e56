"""Every output as those see it for whom it is written: the upstream, the client, Envoy's filters."""

from __future__ import annotations

import base64
import json
import urllib.parse
from typing import Any

import pytest
from clients import Response
from conftest import StartEnvoy
from envoy_filters import TYPE, UNDERSCORES, hand_off, http_filter, metadata_principal, rbac
from fake_provider import FakeProvider, Reply
from harness import Envoy, Upstream, config
from tokens import Key

KEY = Key.make()
USER_INFO = [
    {"key": "identity", "claims": ["name", "email"]},
    {"key": "x-all"},
    {"key": "x-none", "claims": ["nothing"]},
    {"key": "x-base64", "claims": ["name", "email"], "encoding": "base64url"},
    {"key": "x-json", "claims": ["name", "email", "nothing"], "encoding": "json"},
    {"location": "query_string", "key": "identity", "claims": ["name", "email"]},
    {"location": "query_string", "key": "id64", "claims": ["name"], "encoding": "base64url"},
    {"location": "cookie", "key": "identity", "claims": ["name", "email"]},
    {"location": "metadata", "key": "identity", "claims": ["sub", "name", "groups", "nested"]},
    {"location": "metadata", "key": "Other", "metadata_namespace": "my.ns", "claims": ["sub"]},
]
CLAIM_HEADERS = [
    {"header": "x-user", "claim": "sub"},
    {"header": "X-Groups", "claim": "groups", "separator": "|"},
    {"header": "x-list", "claim": "groups"},
    {"header": "x-number", "claim": "number"},
    {"header": "x-flag", "claim": "flag"},
    {"header": "x-object", "claim": "nested"},
    {"header": "x-deep", "path": "nested.a.b"},
    {"header": "x-path", "path": ["nested", "https://dotted.example/claim"]},
    {"header": "x-fallback", "claims": ["nickname", "email"], "prefix": "mail:"},
    {
        "header": "x-short",
        "claim": "email",
        "transformers": [
            {"matches": "^(.*)@b[.]c$", "replaces": "$1"},
            {"matches": "a", "replaces": "never"},
        ],
    },
]
ANN = {"name": "Ann Lee", "email": "a@b.c"}
ANN_URI = "%7B%22email%22:%22a@b.c%22%2C%22name%22:%22Ann%20Lee%22%7D"  # the contract's example


@pytest.fixture(scope="module")
def fake() -> Any:
    with FakeProvider(KEY) as running:
        yield running


@pytest.fixture(scope="module")
def doors(start_shared_envoy: StartEnvoy, fake: FakeProvider, upstream: Upstream) -> Envoy:
    outputs = {"user_info": USER_INFO, "claim_headers": CLAIM_HEADERS}
    ext_authz = http_filter(
        "ext_authz",
        "ext_authz.v3.ExtAuthz",
        http_service={
            "server_uri": {"uri": "http://upstream", "cluster": "authz", "timeout": "5s"},
            "path_prefix": "/authz",
            "authorization_request": {
                "headers_to_add": [
                    {
                        "key": "x-authz-client",
                        "value": "%DYNAMIC_METADATA(oidc:identity:sub)%",
                    }
                ]
            },
            "authorization_response": {
                "allowed_upstream_headers": {"patterns": [{"exact": "x-authz-saw"}]}
            },
        },
    )
    every = {"any": True}
    admin = {"url_path": {"path": {"prefix": "/admin"}}}
    everybody = {"permissions": [{"not_rule": admin}], "principals": [every]}
    admins = {
        "permissions": [admin],
        "principals": [metadata_principal("oidc", "identity", "name", exact="root")],
    }
    route = {"route": {"cluster": "upstream"}}
    off = {"@type": f"{TYPE}.ext_authz.v3.ExtAuthzPerRoute", "disabled": True}
    unasked = {"typed_per_filter_config": {"ext_authz": off}}
    return start_shared_envoy(
        config(fake, **outputs),
        listeners={
            "strip": config(fake, enforce=False, **outputs),
            "optional": config(fake, allow_missing=True, **outputs),
            "preflight": config(fake, allow_preflight=True, **outputs),
            "plain": config(fake, claim_headers=CLAIM_HEADERS[:1], forward=False),
            "cookies": config(
                fake,
                user_info=[
                    {
                        "location": "cookie",
                        "key": "full",
                        "claims": ["sub"],
                        "cookie_options": {
                            "path": "/app",
                            "domain": "example.test",
                            "max_age": "2h45m",
                            "http_only": False,
                            "secure": False,
                            "same_site": "Strict",
                        },
                    },
                    {
                        "location": "cookie",
                        "key": "rounded",
                        "claims": ["sub"],
                        "cookie_options": {"max_age": "1.5s", "same_site": "None"},
                    },
                    {
                        "location": "cookie",
                        "key": "gone",
                        "claims": ["sub"],
                        "cookieOptions": {"maxAge": "-1m"},
                    },
                ],
            ),
            "required": config(
                fake,
                claim_headers=[{"header": "x-tenant", "claim": "tenant", "required": True}],
            ),
            "everything": config(
                fake, user_info=[{"location": "metadata", "key": "identity"}]
            ),
        },
        idp=fake.port,
        clusters={"authz": upstream.port},
        after=[
            hand_off("identity"),
            hand_off("other", "my.ns"),
            rbac(everybody=everybody, admins=admins),
            ext_authz,
        ],
        hcm=UNDERSCORES,
        routes=[
            {"match": {"prefix": "/asked"}, **route},
            {"match": {"prefix": "/"}, **route, **unasked},
        ],
        http2_upstream=False,
        log_fields={
            "mark": "%REQ(X-MARK)%",
            "typed": "%FILTER_STATE(wasm.oidc.identity:TYPED)%",
            "other": "%FILTER_STATE(wasm.my.ns.Other:TYPED)%",
            "other_metadata": "%DYNAMIC_METADATA(my.ns)%",
            "sub": "%DYNAMIC_METADATA(oidc:identity:sub)%",
            "cel": "%CEL(filter_state['wasm.oidc.identity'].name)%",
            "reason": "%FILTER_STATE(wasm.oidc.reason:PLAIN)%",
        },
    )


def claims_in(text: str | None) -> Any:
    """What an upstream reads out of a percent-encoded output."""
    assert text is not None
    return json.loads(urllib.parse.unquote(text))


def query(response: Response) -> dict[str, str]:
    """Still encoded."""
    _, _, text = response.seen.path.partition("?")
    return dict(pair.partition("=")[::2] for pair in text.split("&"))


def cookies(header: str | None) -> dict[str, str]:
    return dict(pair.partition("=")[::2] for pair in (header or "").split("; "))


# -------------------------------------------------------------------------- exact encodings


def test_the_forms_of_an_object(doors: Envoy, fake: FakeProvider) -> None:
    """GM-20, GM-23."""
    response = doors.get("/p?a=1", token=fake.token(**ANN))
    seen = response.seen
    assert seen.header("identity") == ANN_URI
    assert seen.header("x-none") == "%7B%7D"
    assert claims_in(seen.header("x-all"))["sub"] == "alice"
    compact = '{"email":"a@b.c","name":"Ann Lee"}'
    expected = base64.urlsafe_b64encode(compact.encode()).rstrip(b"=").decode()
    assert seen.header("x-base64") == expected
    assert seen.header("x-json") == compact
    assert seen.path == f"/p?a=1&identity={ANN_URI}&id64=eyJuYW1lIjoiQW5uIExlZSJ9"
    assert seen.header("cookie") == f"identity={ANN_URI}"
    expected = f"identity={ANN_URI}; Path=/; HttpOnly; Secure; SameSite=Lax"
    assert response.all("set-cookie") == [expected]


ODD_TEXTS = [
    "Zoë",
    "日本 😀",
    'a"b\\c',
    "100% & =+#?/",
    "a,b;c d",
    " padded ",
    "x\r\nx-injected: 1",
    "\x00\x01\x7f\x85",
    "\u202eevil\u2028",
    "=?utf-8?q?x?=",
    "",
    "%41",
    "a|b",
]


@pytest.mark.parametrize("text", ODD_TEXTS, ids=range(len(ODD_TEXTS)))
def test_every_text_comes_out_as_it_went_in(
    doors: Envoy, fake: FakeProvider, text: str
) -> None:
    """HDR-06, HDR-07, HDR-08, HDR-10, GM-23, GM-24."""
    expected = {"name": text, "email": text}
    response = doors.get("/p", token=fake.token(sub=text or "x", groups=[text, "a"], **expected))
    seen = response.seen
    assert claims_in(seen.header("identity")) == expected
    assert json.loads(seen.header("x-json") or "") == expected
    padded = (seen.header("x-base64") or "") + "==="
    assert json.loads(base64.urlsafe_b64decode(padded)) == expected
    assert claims_in(query(response)["identity"]) == expected
    assert claims_in(cookies(seen.header("cookie"))["identity"]) == expected
    value = cookies(response.header("set-cookie"))["identity"]
    assert claims_in(value) == expected
    assert not set(value) & set(' ",;\\') and value.isascii()
    assert urllib.parse.unquote(seen.header("x-user") or "") == (text or "x")
    for name in ("x-groups", "x-list"):
        separator = "|" if name == "x-groups" else ","
        elements = (seen.header(name) or "").split(separator)
        assert [urllib.parse.unquote(element) for element in elements] == [text, "a"]
    assert all(value.isascii() for _, value in seen.headers)
    assert "x-injected" not in {name for name, _ in seen.headers}


def test_single_claims_of_every_type(doors: Envoy, fake: FakeProvider) -> None:
    """HDR-11."""
    token = fake.token(
        **ANN,
        groups=["admin", "a|b,c"],
        number=9007199254740993,
        flag=False,
        nested={"b": [1, None], "a": {"b": 1.5}, "https://dotted.example/claim": "x"},
    )
    seen = doors.get("/", token=token).seen
    assert seen.header("x-groups") == "admin|a%7Cb,c"
    assert seen.header("x-list") == "admin,a|b%2Cc"
    assert seen.header("x-number") == "9007199254740993"
    assert seen.header("x-flag") == "false"
    assert claims_in(seen.header("x-object")) == {
        "b": [1, None],
        "a": {"b": 1.5},
        "https://dotted.example/claim": "x",
    }
    assert seen.header("x-deep") == "1.5"
    assert seen.header("x-path") == "x"
    assert seen.header("x-fallback") == "mail:a@b.c"
    assert seen.header("x-short") == "a"


def test_a_claim_that_is_not_there_writes_nothing(doors: Envoy, fake: FakeProvider) -> None:
    """HDR-02."""
    forged = [("x-number", "1"), ("x-flag", "true"), ("x-list", "admin"), ("X-Groups", "admin")]
    seen = doors.get("/", forged, fake.token(number=None, groups=None)).seen
    assert not {name.lower() for name, _ in seen.headers} & {name.lower() for name, _ in forged}


def test_a_required_claim_that_is_not_there_is_a_403(doors: Envoy, fake: FakeProvider) -> None:
    door = doors.door("required")
    response = door.get("/required", [("x-tenant", "t1")], fake.token())
    assert response.status == 403
    assert doors.access_log(path="/required")[0]["details"] == "oidc_denied{insufficient_claims}"
    assert door.get("/", (), fake.token(tenant="t2")).seen.all("x-tenant") == ["t2"]


# ------------------------------------------------------------------------------------- cookies


def test_set_cookie_has_its_attributes(doors: Envoy, fake: FakeProvider) -> None:
    """GM-25."""
    response = doors.door("cookies").get("/", token=fake.token())
    value = "%7B%22sub%22:%22alice%22%7D"
    assert response.all("set-cookie") == [
        f"full={value}; Path=/app; Domain=example.test; Max-Age=9900; SameSite=Strict",
        f"rounded={value}; Path=/; Max-Age=2; HttpOnly; Secure; SameSite=None",
        f"gone={value}; Path=/; Max-Age=0; HttpOnly; Secure; SameSite=Lax",
    ]
    assert response.seen.header("cookie") == "; ".join(
        f"{name}={value}" for name in ("full", "rounded", "gone")
    )


def test_set_cookie_stands_beside_the_upstreams(doors: Envoy, fake: FakeProvider) -> None:
    """GM-25."""
    headers = [("x-upstream-header", "Set-Cookie: session=1"), ("Cookie", "b=2")]
    for response in (
        doors.get("/", headers, fake.token(**ANN)),
        h2(doors, headers, fake.token(**ANN)),
    ):
        own, upstreams = sorted(response.all("set-cookie"), key=lambda line: "session" in line)
        assert own.startswith(f"identity={ANN_URI};")
        assert upstreams == "session=1"
        assert response.seen.header("cookie") == f"identity={ANN_URI}; b=2"


def h2(doors: Envoy, headers: list[tuple[str, str]], token: str) -> Response:
    with doors.http2() as connection:
        pairs = [(name.lower(), value) for name, value in headers]
        return connection.request("/", [*pairs, ("authorization", f"Bearer {token}")])


CACHED = [
    (["Cache-Control: public, max-age=60, s-maxage=600"], "private, max-age=60"),
    (["Cache-Control: max-age=60", "Cache-Control: public"], "private, max-age=60"),
    (["Cache-Control: no-store"], "private, no-store"),
    (["CDN-Cache-Control: max-age=600", "Surrogate-Control: max-age=600"], "private"),
    ([], "private"),
]


@pytest.mark.parametrize("sent,expected", CACHED, ids=range(len(CACHED)))
def test_a_response_with_our_cookie_is_its_readers_own(
    doors: Envoy, fake: FakeProvider, sent: list[str], expected: str
) -> None:
    """ATK-19."""
    headers = [("x-upstream-header", line) for line in sent]
    for more in ([], [("x-upstream-status", "304")]):
        for response in (
            doors.get("/", headers + more, fake.token(**ANN)),
            h2(doors, headers + more, fake.token(**ANN)),
        ):
            assert response.all("set-cookie")
            assert response.all("cache-control") == [expected]
            assert not response.all("cdn-cache-control") + response.all("surrogate-control")


def test_the_answers_of_later_filters(doors: Envoy, fake: FakeProvider) -> None:
    """ATK-19."""
    response = doors.get("/admin", token=fake.token(name="ann"))  # the RBAC behind the filter
    assert (response.status, response.all("cache-control")) == (403, ["private"])
    assert response.all("set-cookie")
    # Without a cookie of ours, what the upstream says is left alone.
    public = [("x-upstream-header", "Cache-Control: public")]
    response = doors.door("plain").get("/", public, fake.token())
    assert response.all("cache-control") == ["public"]


def test_no_cookie_is_set_when_the_filter_refuses(doors: Envoy, fake: FakeProvider) -> None:
    assert doors.get("/", token="bad").all("set-cookie") == []
    assert doors.door("strip").get("/", token="bad").all("set-cookie") == []
    assert doors.door("optional").get("/").all("set-cookie") == []


# ------------------------------------------------------------ metadata, filter state, filters


def test_the_access_log_reads_metadata_and_filter_state(
    doors: Envoy, fake: FakeProvider
) -> None:
    """GM-27."""
    nested = {"a": [1, "x", True], "b": {"c": 0.5}}
    with_null = {**nested, "null": None}  # Envoy can't hand a null on: it is left out
    token = fake.token(name="Zoë", groups=["a", "b"], nested=with_null)
    assert doors.get("/typed", [("x-mark", "typed")], token).status == 200
    (entry,) = doors.access_log(mark="typed")  # the path has its outputs by then
    expected = {"sub": "alice", "name": "Zoë", "groups": ["a", "b"], "nested": nested}
    assert entry["metadata"] == {"identity": expected}
    assert entry["typed"]["value"] == expected
    assert (entry["sub"], entry["cel"]) == ("alice", "Zoë")
    assert entry["other"]["value"] == {"sub": "alice"}
    assert entry["other_metadata"] == {"other": {"sub": "alice"}}
    assert (entry["result"], entry["reason"]) == ("allowed", None)


def test_nothing_is_there_when_nobody_was_proved(doors: Envoy) -> None:
    """GM-27."""
    forged = [("x-oidc-metadata-identity", "GgF4"), ("x-oidc-metadata-other", "GgF4")]
    doors.get("/nobody", forged)
    doors.door("strip").get("/nobody-strip", forged, token="bad")
    doors.door("optional").get("/nobody-optional", forged)
    for path, result, reason in [
        ("/nobody", None, None),
        ("/nobody-strip", "stripped", "inactive"),
        ("/nobody-optional", "bypassed", "missing_token"),
    ]:
        (entry,) = doors.access_log(path=path)
        assert entry["metadata"] is entry["typed"] is entry["other"] is entry["sub"] is None
        assert (entry["result"], entry["reason"]) == (result, reason)


def test_rbac_decides_by_a_claim(doors: Envoy, fake: FakeProvider) -> None:
    forged = [("x-oidc-metadata-identity", "GgRyb290")]
    assert doors.get("/admin", forged, fake.token(name="alice")).status == 403
    assert doors.door("strip").get("/admin", forged).status == 403
    assert doors.get("/admin", forged, fake.token(name="root")).status == 200


def test_ext_authz_is_told_who_it_is(doors: Envoy, fake: FakeProvider) -> None:
    forged = [("x-authz-client", "admin"), ("x-authz-saw", "admin")]
    seen = doors.get("/asked", forged, fake.token(sub="carol")).seen
    assert seen.all("x-authz-saw") == ["carol"]
    assert doors.door("strip").get("/asked", forged).status == 403


# --------------------------------------------------------------------------- what does not fit


@pytest.mark.parametrize("size", [*range(5780, 6100, 20)])
def test_a_hand_off_arrives_whole_or_the_request_does_not(
    doors: Envoy, fake: FakeProvider, size: int
) -> None:
    """HDR-09: Around 8 KiB: there Envoy's header_to_metadata drops a value without a word."""
    door, path = doors.door("everything"), f"/large-{size}"
    response = door.get(path, token=fake.token(big="x" * size))
    (entry,) = doors.access_log(path=path)
    if response.status == 200:
        assert entry["metadata"]["identity"]["big"] == "x" * size
        assert entry["typed"]["value"]["big"] == "x" * size
    else:
        assert (response.status, entry["details"]) == (503, "oidc_denied{misconfigured}")
        assert size > 5800, "so much fits in 8 KiB of base64"


@pytest.mark.parametrize("where", ["header", "cookie", "query_string", "metadata"])
def test_too_much_is_refused_never_cut(
    start_envoy: StartEnvoy, fake: FakeProvider, where: str
) -> None:
    """HDR-09."""
    envoy = start_envoy(
        config(fake, enforce=False, user_info=[{"location": where, "key": "identity"}]),
        idp=fake.port,
    )
    big = fake.token(groups=[f"group-{number}" for number in range(700)])
    assert envoy.get("/", token=big).status == 503
    assert envoy.get("/", token=fake.token()).status == 200
    assert "name fewer claims in `user_info`" in envoy.log()


@pytest.mark.parametrize(("levels", "kind"), [(32, dict), (33, dict), (48, list), (49, list)])
def test_what_envoy_would_drop_for_its_depth_is_refused(
    start_envoy: StartEnvoy, fake: FakeProvider, levels: int, kind: type
) -> None:
    envoy = start_envoy(
        config(fake, user_info=[{"location": "metadata", "key": "identity"}]),
        idp=fake.port,
        after=[hand_off("identity")],
        log_fields={"identity": "%DYNAMIC_METADATA(oidc:identity)%"},
    )
    claim: Any = "bottom"
    for _ in range(levels):
        claim = {"a": claim} if kind is dict else [claim]
    response = envoy.get("/", token=fake.token(deep=claim))
    (entry,) = envoy.access_log(count=1)
    assert (response.status, entry["identity"] is None) in [(200, False), (503, True)]
    assert (response.status == 200) == (levels in (32, 48))


# ---------------------------------------------------------------------------------- forgeries


FORGED_HEADERS = [
    "identity",
    "Identity",
    "x-all",
    "x-user",
    "X-USER",
    "x_user",
    "X_User",
    "x.user",
    "x~user",
    "x-groups",
    "x_groups",
    "x-oidc-metadata-identity",
    "x_oidc_metadata_identity",
    "x-oidc-metadata-other",
    "X-OIDC-Metadata-Other",
]
PREFLIGHT = [("Origin", "https://a.example"), ("Access-Control-Request-Method", "PUT")]
WAYS = ["allowed", "stripped", "nobody", "optional", "preflight"]


def request_in_a_way(
    doors: Envoy,
    fake: FakeProvider,
    way: str,
    path: str = "/",
    headers: list[tuple[str, str]] = [],  # noqa: B006 (never changed)
) -> Response:
    """All the ways that lead to the upstream."""
    match way:
        case "allowed":
            return doors.get(path, headers, fake.token(**ANN))
        case "stripped":
            return doors.door("strip").get(path, headers, "forged")
        case "nobody":
            return doors.door("strip").get(path, headers)
        case "optional":
            return doors.door("optional").get(path, headers)
        case _:
            return doors.door("preflight").get(path, headers + PREFLIGHT, method="OPTIONS")


@pytest.mark.parametrize("way", WAYS)
def test_a_forged_header_goes_in_every_spelling(
    doors: Envoy, fake: FakeProvider, way: str
) -> None:
    """GM-30, HDR-01, HDR-03, HDR-04."""
    forged = [(name, "forged") for name in FORGED_HEADERS] * 2
    seen = request_in_a_way(doors, fake, way, headers=[*forged, ("x-users", "kept")]).seen
    assert "forged" not in {value for _, value in seen.headers}
    assert seen.all("x-users") == ["kept"]
    assert seen.all("x-user") == (["alice"] if way == "allowed" else [])


@pytest.mark.parametrize("way", [way for way in WAYS if way != "preflight"])  # it has no cookies
def test_a_forged_cookie_goes_in_every_spelling(
    doors: Envoy, fake: FakeProvider, way: str
) -> None:
    """GM-30."""
    forged = "identity=forged; a=1; Identity=forged; ident%69ty=forged; identity=forged; b=2"
    # White space to Python and JavaScript, where it is Latin-1, and in UTF-8.
    spaces = "\xa0identity=forged; identity\x85=forged; \xc2\xa0identity=forged; +identity=forged"
    more = "identity[x]=forged; identity=forged"
    headers = [("Cookie", cookie) for cookie in (forged, spaces, more)]
    response = request_in_a_way(doors, fake, way, headers=headers)
    own = f"identity={ANN_URI}; " if way == "allowed" else ""  # first: some readers stop there
    assert response.seen.all("cookie") == [f"{own}a=1; b=2"]


@pytest.mark.parametrize("way", WAYS)
def test_a_forged_parameter_goes_in_every_spelling(
    doors: Envoy, fake: FakeProvider, way: str
) -> None:
    """GM-26, GM-30."""
    path = "/p?identity=forged&a=%41&ident%69ty=forged&IDENTITY=forged&id64=forged"
    path += "&identity[]=forged&b&+identity=forged&identity%00=forged&identity.sub=forged"
    path += "&%C2%A0identity=forged&?identity=forged&ident%u0069ty=forged"
    seen = request_in_a_way(doors, fake, way, path).seen
    assert "forged" not in seen.path
    assert seen.path.startswith("/p?a=%41&b")
    assert ("identity=%7B" in seen.path) == (way == "allowed")


@pytest.mark.parametrize(
    "nomination", ["x-user", "X-User, close", "keep-alive, x-user, identity", "close, te, x-all"]
)
def test_a_nominated_header_still_arrives(
    doors: Envoy, fake: FakeProvider, nomination: str
) -> None:
    """HDR-05: RFC 9110, section 7.6.1: a proxy removes what Connection names. Not what it wrote
    itself."""
    headers = [("Connection", nomination), ("x-user", "forged")]
    seen = doors.get("/", headers, fake.token(**ANN)).seen
    assert seen.all("x-user") == ["alice"]
    assert seen.header("identity") == ANN_URI
    assert seen.header("x-all") is not None


@pytest.mark.parametrize("way", ["allowed", "slow", "stripped", "optional"])
def test_a_forged_trailer_goes(
    start_envoy: StartEnvoy, fake: FakeProvider, way: str
) -> None:
    """HDR-04."""
    outputs = {"user_info": USER_INFO, "claim_headers": CLAIM_HEADERS}
    changes = {"stripped": {"enforce": False}, "optional": {"allow_missing": True}}
    envoy = start_envoy(
        config(fake, **outputs, **changes.get(way, {})),
        idp=fake.port,
        http2_upstream=True,
        hcm=UNDERSCORES,
        after=[hand_off("identity"), hand_off("other", "my.ns")],
    )
    slow = Reply.json({"active": True, "sub": "alice", "aud": "urn:api:test"}, delay=0.2)
    fake.routes["/introspect"] = slow
    token = {"allowed": fake.token(), "slow": "opaque", "stripped": "x.y.z"}.get(way)
    trailers = [(name.lower(), "forged") for name in FORGED_HEADERS]
    headers = [("authorization", f"Bearer {token}")] if token else []
    with envoy.http2() as connection:
        response = connection.request(
            "/", headers, method="POST", body=b"abc", trailers=[*trailers, ("x-sum", "1")]
        )
    assert response.seen.trailers == [("x-sum", "1")]


def test_nothing_is_written_but_what_was_asked_for(doors: Envoy, fake: FakeProvider) -> None:
    """GM-28: the token does not stay either: without user_info, with forward: false."""
    seen = doors.door("plain").get("/p", token=fake.token(**ANN)).seen
    assert {name.lower() for name, _ in seen.headers} <= {
        "host",
        "x-user",
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-request-id",
        "x-envoy-internal",
        "x-envoy-external-address",
        "x-envoy-expected-rq-timeout-ms",
    }
    assert seen.path == "/p"
