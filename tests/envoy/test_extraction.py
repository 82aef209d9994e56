"""Where a token is found, where it is not, and what is left of the request when it is taken out."""

from __future__ import annotations

import base64
import itertools

import pytest
from clients import Response, Seen
from conftest import StartEnvoy
from envoy_filters import UNDERSCORES, header_to_metadata, lua
from harness import IDENTITY, Envoy, Provider, config

SOURCES = [
    {"location": "header", "key": "Authorization"},
    {"location": "header", "key": "x-token"},
    {"location": "cookie", "key": "access_token"},
    {"location": "query_string", "key": "access_token"},
    {"location": "metadata", "metadata_filter": "early", "key": "token"},
]
COPY = """
function envoy_on_request(handle)
  local token = handle:headers():get("x-for-lua")
  if token then
    handle:headers():remove("x-for-lua")
    handle:streamInfo():dynamicMetadata():set("early", "token", token)
  end
end
"""
# What a request has besides: it must come out as it went in.
COOKIES = "a=1; b=\"x y\"; c==;  d ; %e=%20; a=2"


@pytest.fixture(scope="module")
def doors(start_shared_envoy: StartEnvoy, provider: Provider) -> Envoy:
    common = {"access_token": SOURCES, **IDENTITY}
    return start_shared_envoy(
        config(provider, **common),
        listeners={
            "strip": config(provider, enforce=False, **common),
            "consume": config(provider, forward=False, **common),
            "optional": config(provider, allow_missing=True, **common),
            "plain": config(provider, **IDENTITY),
            "schemes": config(
                provider,
                access_token=[
                    {"key": "x-auth", "scheme": "Token"},
                    {"key": "authorization", "scheme": ""},
                ],
                **IDENTITY,
            ),
        },
        before=[
            header_to_metadata("x-early", "early", "token"),
            header_to_metadata(
                "x-early-value", "early", "token", "PROTOBUF_VALUE", "BASE64", "early-value"
            ),
            lua(COPY),
        ],
        hcm=UNDERSCORES,
    )


@pytest.fixture(scope="module")
def token(provider: Provider) -> str:
    return provider.token("es256")


def user(response: Response) -> list[str]:
    assert response.status == 200, response
    return response.seen.all("x-user")


def refusal(response: Response) -> tuple[int, str]:
    return response.status, response.json()["error"]


INVALID_REQUEST = (400, "invalid_request")

# ------------------------------------------------------------------------------ all places


def place(where: str, token: str) -> tuple[str, list[tuple[str, str]]]:
    """A path and headers with the token in one of the places."""
    match where:
        case "query":
            return f"/?access_token={token}", []
        case "cookie":
            return "/", [("Cookie", f"access_token={token}")]
        case "bearer":
            return "/", [("Authorization", f"Bearer {token}")]
        case "header":
            return "/", [("x-token", token)]
        case "metadata":
            return "/", [("x-early", token)]
        case _:
            return "/", [("x-for-lua", token)]


PLACES = ["bearer", "header", "cookie", "query", "metadata", "lua"]


@pytest.mark.parametrize("where", PLACES)
def test_a_token_is_found_wherever_it_may_be(doors: Envoy, token: str, where: str) -> None:
    """GM-01."""
    path, headers = place(where, token)
    assert user(doors.get(path, headers)) == ["svc"]
    with doors.http2() as connection:
        lower = [(name.lower(), value) for name, value in headers]
        assert user(connection.request(path, lower)) == ["svc"]


@pytest.mark.parametrize(("first", "second"), [*itertools.permutations(PLACES[:5], 2)])
def test_two_places_are_one_too_many(
    doors: Envoy, token: str, first: str, second: str
) -> None:
    """EXT-05."""
    for one, other in ((token, token), (token, "wrong")):
        path_one, headers_one = place(first, one)
        path_other, headers_other = place(second, other)
        path = max(path_one, path_other, key=len)
        headers = headers_one + headers_other
        assert refusal(doors.get(path, headers)) == INVALID_REQUEST
        assert refusal(doors.door("optional").get(path, headers)) == INVALID_REQUEST
        stripped = doors.door("strip").get(path, headers).seen
        assert no_trace(stripped, token)
        assert no_trace(stripped, "wrong")


def no_trace(seen: Seen, token: str) -> bool:
    """Whether the upstream got nothing of it, in whatever place."""
    return token not in seen.path and not any(token in value for _, value in seen.headers)


@pytest.mark.parametrize("where", PLACES[:4])
@pytest.mark.parametrize("door", ["enforce", "consume"])
def test_forward_says_whether_the_upstream_gets_the_token(
    doors: Envoy, token: str, where: str, door: str
) -> None:
    """EXT-13."""
    path, headers = place(where, token)
    response = doors.door(door).get(path, headers)
    assert user(response) == ["svc"]
    assert no_trace(response.seen, token) == (door == "consume")


def test_no_access_log_holds_a_token_that_does_not_go_on(
    start_envoy: StartEnvoy, provider: Provider, token: str
) -> None:
    """ATK-14."""
    rules = [{"match": {"path_prefix": "/open"}, "bypass": True}]
    logged = {name: f"%REQ({name.upper()})%" for name in ("authorization", "cookie", "x-token")}
    envoy = start_envoy(
        config(provider, access_token=SOURCES, forward=False, rules=rules, **IDENTITY),
        log_fields=logged,
    )

    def entry(path: str, headers: list[tuple[str, str]], status: int, left: str) -> dict[str, str]:
        assert envoy.get(path, headers).status == status
        (found,) = envoy.access_log(path=left)
        return found

    bearer = ("authorization", f"Bearer {token}")
    secret = f"access_token={token}"
    entry(f"/twice?a&{secret}", [bearer], 400, "/twice?a")
    entry(f"/mixed?a&b;{secret}", [], 400, "/mixed?a")
    entry(f"/bad?{secret}x", [], 401, "/bad")
    entry(f"/open/1?{secret}&a", [], 200, "/open/1?a")
    entry(f"/good?{secret}&a", [], 200, "/good?a")
    found = entry("/all", [bearer, ("x-token", token), ("cookie", f"a=1; {secret}")], 400, "/all")
    assert [found[name] for name in logged] == [None, "a=1", None]
    found = entry("/open/2", [("authorization", "Basic dTpw")], 200, "/open/2")
    assert found["authorization"] == "Basic dTpw"


# ------------------------------------------------------------------------------- Authorization


def test_two_authorization_headers_are_refused(doors: Envoy, token: str) -> None:
    """EXT-01."""
    pairs = [(token, "bad"), ("bad", token), (token, token)]
    for one, other in pairs:
        headers = [("Authorization", f"Bearer {one}"), ("authorization", f"Bearer {other}")]
        for door in ("enforce", "optional", "plain"):
            assert refusal(doors.door(door).get("/", headers)) == INVALID_REQUEST
        with doors.http2() as connection:
            lower = [(name.lower(), value) for name, value in headers]
            assert refusal(connection.request("/", lower)) == INVALID_REQUEST
        assert no_trace(doors.door("strip").get("/", headers).seen, token)


@pytest.mark.parametrize(
    "value",
    [
        "Bearer {0}, Bearer bad",
        "Bearer {0},Bearer {0}",
        "Bearer bad, Bearer {0}",
        "Bearer {0},bad",
        "Bearer {0} bad",
        "Bearer {0} {0}",
        "Bearer\t{0}",
        "Bearer \t{0}",
        "Bearer",
        "",
    ],
)
def test_malformed_credentials_are_refused(doors: Envoy, token: str, value: str) -> None:
    """EXT-02, EXT-03, EXT-12."""
    headers = [("Authorization", value.format(token))]
    for door in ("enforce", "optional", "plain"):
        response = doors.door(door).get("/", headers)
        assert refusal(response) == INVALID_REQUEST
        assert 'error="invalid_request"' in (response.header("www-authenticate") or "")
    assert doors.door("strip").get("/", headers).seen.all("authorization") == []


@pytest.mark.parametrize("value", ["Bearer =", 'Bearer "{0}"', "Bearer \xa0{0}", "Bearer <x>"])
def test_one_thing_that_is_no_token(doors: Envoy, token: str, value: str) -> None:
    """EXT-03: the token is to blame then, not the request. On an optional route it is not "no
    token"."""
    headers = [("Authorization", value.format(token))]
    for door in ("enforce", "optional", "plain"):
        assert refusal(doors.door(door).get("/", headers)) == (401, "invalid_token")
    assert doors.door("strip").get("/", headers).seen.all("authorization") == []


@pytest.mark.parametrize("value", ["bearer {0}", "BEARER {0}", "Bearer   {0}", " Bearer {0} "])
def test_the_scheme_is_read_leniently(doors: Envoy, token: str, value: str) -> None:
    """EXT-03, TB-03."""
    assert user(doors.get("/", [("Authorization", value.format(token))])) == ["svc"]


@pytest.mark.parametrize("scheme", ["Basic", "Token", "JWT", "Negotiate", "BearerX", "DPoP"])
@pytest.mark.parametrize("door", ["plain", "optional"])
def test_another_scheme_is_answered_with_ours(
    doors: Envoy, token: str, scheme: str, door: str
) -> None:
    """EXT-04: RFC 6750, section 3.1: without an error code. It is not "no token" either."""
    response = doors.door(door).get("/", [("Authorization", f"{scheme} {token}")])
    assert response.status == 401
    challenge = response.header("www-authenticate") or ""
    assert challenge.startswith("Bearer ")
    assert "error" not in challenge


@pytest.mark.parametrize(
    "name",
    [
        "Proxy-Authorization",
        "X-Forwarded-Access-Token",
        "X-Auth-Request-Access-Token",
        "X-Access-Token",
        "Authorization_",
        "X-Authorization",
        "X_Token",
        "HTTP_AUTHORIZATION",
        "X-Forwarded-Authorization",
    ],
)
def test_no_other_header_is_a_place(doors: Envoy, token: str, name: str) -> None:
    """EXT-09, EXT-11."""
    headers = [(name, f"Bearer {token}")]
    response = doors.get("/", headers)
    assert refusal(response) == (401, "missing_token")
    assert user(doors.door("optional").get("/", headers)) == []


def test_schemes_are_those_of_the_configuration(doors: Envoy, token: str) -> None:
    door = doors.door("schemes")
    assert user(door.get("/", [("X-Auth", f"token {token}")])) == ["svc"]
    assert user(door.get("/", [("Authorization", token)])) == ["svc"]
    assert door.get("/", [("X-Auth", token)]).status == 401
    assert door.get("/", [("Authorization", f"Bearer {token}")]).status == 400


@pytest.mark.parametrize("door", ["enforce", "optional"])
def test_a_token_in_a_trailer_is_none(doors: Envoy, token: str, door: str) -> None:
    """EXT-14: it comes too late, and is not merged into the headers."""
    with doors.door(door).http2() as connection:
        trailers = [("authorization", f"Bearer {token}"), ("x-token", token)]
        response = connection.request("/", method="POST", body=b"x", trailers=trailers)
    if door == "enforce":
        assert refusal(response) == (401, "missing_token")
    else:
        assert user(response) == []


# --------------------------------------------------------------------------------------- cookies


@pytest.mark.parametrize(
    "cookies",
    [
        ["access_token={0}"],
        ["access_token=\"{0}\""],
        ["a=1; access_token={0}"],
        ["access_token={0};b=2"],
        ["a=1;access_token={0};b=2"],
        ["a=1", "access_token={0}"],
        ["access_token={0}", "b=2"],
        ["xaccess_token=x; access_token={0}; access_token2=y; __Host-access_token=z"],
        ["=access_token=x; access_token={0}"],
    ],
)
def test_a_cookie_is_found(doors: Envoy, token: str, cookies: list[str]) -> None:
    """EXT-07, GM-14."""
    lines = [("cookie", line.format(token)) for line in cookies]
    assert user(doors.get("/", lines)) == ["svc"]
    with doors.http2() as connection:  # as crumbs (RFC 9113, section 8.2.3)
        crumbs = [("cookie", crumb) for _, line in lines for crumb in line.split("; ")]
        assert user(connection.request("/", crumbs)) == ["svc"]


@pytest.mark.parametrize(
    "cookies",
    [
        ["access_token={0}; access_token={0}"],
        ["access_token={0}; access_token=bad"],
        ["access_token=bad; access_token={0}"],
        ["access_token={0}", "access_token=bad"],
        ["access_token=; access_token={0}"],
        ["access_token; access_token={0}"],
        ["access_token={0},bad"],
        ["access_token={0} bad"],
        ["access_token="],
        # A second token for whoever ignores case, or reads names as PHP does.
        ["Access_Token=x; access_token={0}"],
        ["access_token={0}; access.token=x"],
        ["access_token={0}; access_token[]=x"],
    ],
)
def test_a_doubtful_cookie_is_refused(
    doors: Envoy, token: str, cookies: list[str]
) -> None:
    """EXT-07, GM-14."""
    lines = [("cookie", line.format(token)) for line in ["z=0", *cookies]]
    assert refusal(doors.get("/", lines)) == INVALID_REQUEST
    with doors.http2() as connection:
        crumbs = [("cookie", crumb) for _, line in lines for crumb in line.split("; ")]
        assert refusal(connection.request("/", crumbs)) == INVALID_REQUEST
    stripped = doors.door("strip").get("/", lines).seen
    assert stripped.all("cookie") == ["z=0"]


@pytest.mark.parametrize(
    ("sent", "left"),
    [
        ("access_token=bad", None),
        ("access_token=bad; access_token=bad", None),
        (f"access_token=bad; {COOKIES}", COOKIES),
        (f"{COOKIES}; access_token=bad", COOKIES),
        ("a=1; access_token=bad; b=2", "a=1; b=2"),
        ("a=1;access_token=bad;b=2", "a=1; b=2"),
        ("a=\"x;access_token=bad;y\"", "a=\"x; y\""),
    ],
)
@pytest.mark.parametrize("door", ["strip", "consume"])
def test_the_other_cookies_stay(
    doors: Envoy, token: str, door: str, sent: str, left: str | None
) -> None:
    """GM-05, GM-14."""
    if door == "consume":
        sent = sent.replace("access_token=bad; access_token=bad", "access_token=bad")
        sent = sent.replace("access_token=bad", f"access_token={token}")
    seen = doors.door(door).get("/", [("Cookie", sent)]).seen
    kept = seen.header("cookie")
    assert pairs(kept) == pairs(left), "no cookie is lost, changed or moved"


def pairs(cookies: str | None) -> list[str] | None:
    """The white space between cookies may change, and nothing else."""
    return cookies and [pair.strip() for pair in cookies.split(";")]


def test_cookies_are_not_touched_without_a_reason(doors: Envoy, token: str) -> None:
    """GM-14."""
    odd = "a=1;b=2;;  c ; d=\"x\";"
    seen = doors.get("/", [("Cookie", odd), ("Cookie", "e=3")], token).seen
    assert seen.all("cookie") == [odd, "e=3"]


# ----------------------------------------------------------------------------------- the query


@pytest.mark.parametrize(
    "query",
    [
        "access_token={0}",
        "a=1&access_token={0}&b=2",
        "access%5Ftoken={0}",
        "%61ccess_token={0}",
        "&&access_token={0}&",
        "access_token2=x&access_token={0}",
        "b=access_token=x&access_token={0}",
    ],
)
def test_a_parameter_is_found(doors: Envoy, token: str, query: str) -> None:
    """EXT-06, GM-15."""
    assert user(doors.get(f"/?{query.format(token)}")) == ["svc"]
    encoded = token.replace(".", "%2E").replace("-", "%2d")
    assert user(doors.get(f"/?{query.format(encoded)}")) == ["svc"]


@pytest.mark.parametrize(
    "query",
    [
        "access_token={0}&access_token={0}",
        "access_token={0}&access%5ftoken=bad",
        "access_token=bad&access_token={0}",
        "access_token=&access_token={0}",
        "access_token&access_token={0}",
        "access_token={0}+",
        "access_token=+{0}",
        "access_token={0}%0d%0a",
        "access_token={0},bad",
        "access_token=",
        "access_token",
        # A second token for whoever ignores case, or reads names as PHP, Rack and qs do.
        "Access_Token=x&access_token={0}",
        "access_token[]=x&access_token={0}",
        "access_token={0}&access.token=x",
    ],
)
def test_a_doubtful_parameter_is_refused(
    doors: Envoy, token: str, query: str
) -> None:
    """EXT-06, GM-15."""
    path = f"/p?z=0&{query.format(token)}"
    assert refusal(doors.get(path)) == INVALID_REQUEST
    assert doors.door("strip").get(path).seen.path == "/p?z=0"


@pytest.mark.parametrize("value", ["{0}%00", "%00{0}", "%ff", "{0}%7f"])
def test_a_parameter_that_is_no_token(doors: Envoy, token: str, value: str) -> None:
    """EXT-06, GM-15."""
    path = f"/p?z=0&access_token={value.format(token)}"
    assert refusal(doors.get(path)) == (401, "invalid_token")
    assert doors.door("strip").get(path).seen.path == "/p?z=0"


@pytest.mark.parametrize("query", ["Access_Token={0}", "access-token={0}", "a=1;access_token2={0}"])
def test_another_parameter_is_no_place(doors: Envoy, token: str, query: str) -> None:
    """EXT-06."""
    assert refusal(doors.get(f"/?{query.format(token)}")) == (401, "missing_token")


@pytest.mark.parametrize("query", ["a=1;access_token={0}", "a=1;access_token=", "a=1;access_token=x&access_token={0}"])
@pytest.mark.parametrize("door", ["enforce", "optional", "strip"])
def test_a_semicolon_makes_two_readings(doors: Envoy, token: str, door: str, query: str) -> None:
    """ATK-02: whoever splits there finds a parameter of ours within another's: nothing that is
    taken out leaves one reading."""
    assert refusal(doors.door(door).get(f"/?{query.format(token)}")) == INVALID_REQUEST


def test_neither_query_nor_cookie_is_a_place_unless_configured(doors: Envoy, token: str) -> None:
    """EXT-06, EXT-08, MCP-04."""
    for path, headers in (place("query", token), place("cookie", token), place("header", token)):
        response = doors.door("plain").get(path, headers)
        assert refusal(response) == (401, "missing_token")


@pytest.mark.parametrize(
    ("sent", "left"),
    [
        ("?access_token=T", ""),
        ("?a=1&access_token=T&b=2", "?a=1&b=2"),
        ("?access_token=T&a=1", "?a=1"),
        ("?a=1&access_token=T", "?a=1"),
        ("?a=%41%2f+x&&access%5Ftoken=T&=&b", "?a=%41%2f+x&&=&b"),
        ("?a=%zz%&access_token=T&%ff", "?a=%zz%&%ff"),
        ("?access_token=T&at=access_token&access_tokens=1", "?at=access_token&access_tokens=1"),
        ("?a=?x&access_token=T&b=/../", "?a=?x&b=/../"),
        ("?a={b}|c^&access_token=T", "?a={b}|c^"),
    ],
)
@pytest.mark.parametrize("door", ["strip", "consume"])
def test_the_other_parameters_stay(
    doors: Envoy, token: str, door: str, sent: str, left: str
) -> None:
    """GM-05, GM-15."""
    value = token if door == "consume" else "bad"
    seen = doors.door(door).get("/p/q" + sent.replace("=T", f"={value}")).seen
    assert seen.path == f"/p/q{left}"


@pytest.mark.parametrize("path", ["/p?", "/p?a", "/p?&&", "/p?a=%zz", "/p?%ff=%00", "/?a=b;c=d#e"])
def test_a_query_is_not_touched_without_a_reason(
    doors: Envoy, token: str, path: str
) -> None:
    """GM-15."""
    with_token = doors.get(path, token=token)
    stripped = doors.door("strip").get(path)
    if with_token.status == 400:  # Envoy's own: no fragment may come
        assert stripped.status == 400
        return
    assert with_token.seen.path == stripped.seen.path == path.partition("#")[0]


# ------------------------------------------------------------------------------------- metadata


VALUES = {  # google.protobuf.Value
    "number": b"\x11\x00\x00\x00\x00\x00\x00\xf0?",
    "true": b"\x20\x01",
    "null": b"\x08\x00",
    "struct": b"\x2a\x07\x0a\x05\x0a\x01a\x12\x00",
    "list": b"\x32\x05\x0a\x03\x1a\x01x",
    "empty": b"\x1a\x00",
    "joined": b"\x1a\x03a,b",
}


@pytest.mark.parametrize("kind", VALUES)
def test_metadata_that_are_no_token(doors: Envoy, kind: str) -> None:
    """GM-16: whatever an earlier filter left there is malformed or absent: no crash, no
    identity."""
    value = base64.b64encode(VALUES[kind]).decode()
    for door in ("enforce", "optional"):
        response = doors.door(door).get("/", [("x-early-value", value)])
        assert response.status in (200, 400, 401), response
        if response.status == 200:
            assert door == "optional"
            assert response.seen.all("x-user") == []
    assert doors.get("/").status == 401


def test_a_request_without_metadata_has_no_token(doors: Envoy) -> None:
    """GM-16."""
    assert refusal(doors.get("/")) == (401, "missing_token")


def test_metadata_stay_when_the_request_is_stripped(doors: Envoy) -> None:
    """GM-16: no host call removes metadata: what is refused there can only go unused."""
    seen = doors.door("strip").get("/", [("x-early", "bad"), ("x-user", "admin")]).seen
    assert seen.all("x-user") == []


# ------------------------------------------------------------------------------ all together


@pytest.mark.parametrize("door", ["strip", "consume"])
def test_everything_else_stays_in_order(doors: Envoy, token: str, door: str) -> None:
    """GM-05."""
    around = [("X-A", "1"), ("x-b", "2, 3"), ("X-a", "4"), ("x-empty", ""), ("x-latin", "\xe9")]
    given = token if door == "consume" else "bad"
    headers = [*around[:2], ("X-Token", given), *around[2:]]
    seen = doors.door(door).get("/p?q=1", headers).seen
    ours = [(name, value) for name, value in seen.headers if name.lower() in
            {"x-a", "x-b", "x-empty", "x-latin"}]
    assert sorted(ours) == sorted((name.lower(), value) for name, value in around)
    in_order = [value for name, value in ours if name == "x-a"]
    assert in_order == ["1", "4"]
    assert seen.path == "/p?q=1"
    assert seen.all("x-token") == []
