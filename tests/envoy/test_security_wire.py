"""Attacks byte by byte, on a real Envoy: tokens that are too much, answers that never end, HTTP that lies."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import socket
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from certificates import Authority
from clients import request_bytes
from conftest import StartEnvoy
from envoy_filters import lua
from fake_provider import FakeProvider, Reply, Request
from harness import IDENTITY, ROOT, Bootstrap, Envoy, config, no_crash, provider_entry
from tokens import Key, b64url, claims, compact

TO_UPSTREAM = r"cluster\.upstream\.upstream_rq_total"


@pytest.fixture(scope="module")
def idp() -> Iterator[FakeProvider]:
    with FakeProvider() as fake:
        yield fake


@pytest.fixture(scope="module")
def doors(start_shared_envoy: StartEnvoy, idp: FakeProvider) -> Envoy:
    return start_shared_envoy(
        config(idp, **IDENTITY),
        listeners={
            "optional": config(idp, allow_missing=True, **IDENTITY),
            "preflight": config(idp, allow_preflight=True, **IDENTITY),
        },
        idp=idp.port,
        log_fields={"upstream": "%UPSTREAM_HOST%"},
    )


def serves_on(envoy: Envoy, idp: FakeProvider) -> bool:
    """The attack is over, and nothing has happened."""
    assert no_crash(envoy)
    return envoy.get("/", (), idp.token()).seen.all("x-user") == ["alice"]


# ----------------------------------------------------------------------- tokens that are too much


def deflated(data: bytes) -> bytes:
    """RFC 7516, section 4.1.3: as `zip: DEF` would have it in an encrypted token."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    return compressor.compress(data) + compressor.flush()


def bomb(key: Key, issuer: str, megabytes: int) -> str:
    payload = json.dumps(claims(issuer)).encode().ljust(megabytes << 20)
    header = {"alg": key.alg, "kid": key.kid, "zip": "DEF"}
    return compact(header, deflated(payload), key.sign)


@pytest.mark.parametrize("megabytes", [0, 10, 50])
def test_a_compressed_payload_is_never_inflated(
    doors: Envoy, idp: FakeProvider, megabytes: int
) -> None:
    """ALG-18."""
    token = bomb(idp.keys[0], idp.issuer, megabytes)
    begun = time.monotonic()
    response = doors.get("/", (), token)
    # Fifty megabytes of nothing take 64 KiB: that is Envoy's to refuse.
    assert response.status == (431 if len(token) > 60_000 else 401)
    assert time.monotonic() - begun < 5
    assert serves_on(doors, idp)


def nested(levels: int) -> bytes:
    return b"[" * levels + b"]" * levels


@pytest.mark.parametrize("levels", [64, 1_000, 5_000, 20_000, 200_000])
@pytest.mark.parametrize("part", ["header", "payload"])
def test_no_depth_and_no_size_takes_a_worker_down(
    doors: Envoy, idp: FakeProvider, part: str, levels: int
) -> None:
    """ENC-13, ENC-14: a stack that overflows would be the end of the machine, and of all
    requests in it."""
    key = idp.keys[0]
    header: Any = {"alg": key.alg, "kid": key.kid}
    payload: Any = claims(idp.issuer)
    text = json.dumps(header if part == "header" else payload).encode()
    deep = text[:-1] + b',"x":' + nested(levels) + b"}"
    token = compact(*((deep, payload) if part == "header" else (header, deep)), key.sign)
    response = doors.get("/", (), token)
    assert response.status == (431 if len(token) > 60_000 else 401)
    only = compact(nested(levels), nested(levels), key.sign)
    assert doors.get("/", (), only).status in (401, 431)
    assert serves_on(doors, idp)


@pytest.mark.parametrize("size", [16_384, 60_000, 70_000, 1_000_000])
def test_a_token_of_any_size_is_answered(
    doors: Envoy, idp: FakeProvider, size: int
) -> None:
    """ENC-14."""
    key = idp.keys[0]
    for token in (
        idp.token(x="x" * size),
        key.token(claims(idp.issuer), {"x": "x" * size}),
        "a" * size,
        "." * size,
    ):
        assert doors.get("/", (), token).status in (401, 431)
    assert serves_on(doors, idp)


def published_tokens() -> list[str]:
    """Every token of tests/vectors, and every text there that somebody could take for one."""
    vectors = ROOT / "tests/vectors"

    def cases(path: str) -> Any:
        return json.loads((vectors / path).read_text())

    found = [case["jws"] for case in cases("wycheproof/jws.json")]
    found += [case["token"] for case in cases("wycheproof/jwe.json")]
    found += [case["jwt"] for case in cases("jwt_verify_lib/parse.json")]
    found += [case["jwt"] for case in cases("jwt_verify_lib/verify.json")]
    found += [case["token"] for case in cases("rfc/tokens.json")]
    found += [seed["text"] for seed in cases("mod_auth_openidc/seeds.json")]
    for case in cases("cookbook/tokens.json"):
        found += case["output"].values()
    return [text if isinstance(text, str) else json.dumps(text) for text in found]


def test_no_published_token_passes_or_does_harm(doors: Envoy, idp: FakeProvider) -> None:
    """WSM-02."""
    tokens = published_tokens()
    assert len(tokens) > 700
    for token in tokens:
        # What would end the line goes in as something that does not.
        value = token.encode().replace(b"\r", b" ").replace(b"\n", b" ").replace(b"\0", b"\x80")
        with doors.http1() as connection:
            for scheme in (b"Bearer ", b""):
                connection.send(request_bytes("/", [("Authorization", scheme + value)]))
                response = connection.receive()
                assert response.status in (400, 401, 431), token[:100]
                if response.header("connection") == "close":
                    break
    assert serves_on(doors, idp)


def test_a_token_in_a_body_is_none(doors: Envoy, idp: FakeProvider) -> None:
    """EXT-05: RFC 6750, section 2.2: no body is read, so that none is a place, and none is a
    second one."""
    good = idp.token()
    form = ("Content-Type", "application/x-www-form-urlencoded")
    body = f"access_token={good}".encode()
    for door in ("enforce", "optional"):
        to = doors.door(door) if door != "enforce" else doors
        response = to.get("/", [form], method="POST", body=body)
        if door == "enforce":
            assert (response.status, response.json()["error"]) == (401, "missing_token")
        else:
            assert response.seen.all("x-user") == []
        assert to.get("/", [form], "x.y.z", method="POST", body=body).status == 401
    response = doors.get("/", [form], good, method="POST", body=b"access_token=x.y.z")
    assert response.seen.all("x-user") == ["alice"]


# ------------------------------------------------------------------------ keys in foreign hands


def test_a_certificate_in_the_token_certifies_nothing(
    doors: Envoy, idp: FakeProvider, tmp_path: Path
) -> None:
    """ALG-12: Self-made, for a key of the attacker, under the name that the provider's key has."""
    authority = Authority(tmp_path, "idp.example.com")
    lines = authority.file.read_text().split("-----")[2].split()
    der = base64.b64decode("".join(lines))
    stranger = Key("ES256", idp.keys[0].kid, authority.key)
    for header in (
        {"x5c": ["".join(lines)]},
        {"x5c": ["".join(lines)], "kid": None},
        {"x5c": ["".join(lines)], "x5t#S256": b64url(hashlib.sha256(der).digest())},
        {"x5t": b64url(hashlib.sha1(der).digest()), "kid": None},
        {"jwk": stranger.jwk()},
        {"jwk": stranger.jwk(), "kid": None},
    ):
        assert doors.get("/", (), stranger.token(claims(idp.issuer), header)).status == 401
    assert serves_on(doors, idp)


# --------------------------------------------------------------------------- answers without end


class Dripping(FakeProvider):
    """Begins to answer at once, and takes as long as it likes: a byte at a time."""

    def __init__(self, path: str, head: bytes) -> None:
        super().__init__()
        self._path, self._head = path, head

    def answer(self, request: Request, connection: socket.socket) -> None:
        if request.path != self._path:
            return super().answer(request, connection)
        self.requests.append(request)
        connection.sendall(self._head)
        while not self._stopping.wait(0.2):
            connection.sendall(b" ")


@pytest.mark.parametrize("path", ["/jwks", "/.well-known/openid-configuration", "/introspect"])
@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx: ",
    ],
    ids=["body", "headers"],
)
def test_an_answer_that_drips_is_none(
    start_envoy: StartEnvoy, path: str, head: bytes
) -> None:
    """JWK-12, INT-04: the timeout is for the whole of it."""
    with Dripping(path, head) as fake:
        entry = provider_entry(fake, timeout="1s")
        envoy = start_envoy(config(fake, providers=[entry]), idp=fake.port)
        begun = time.monotonic()
        token = "opaque" if path == "/introspect" else fake.token()
        assert envoy.get("/", (), token).status == 503
        assert time.monotonic() - begun < 8
        if path == "/introspect":
            assert envoy.get("/", (), fake.token()).status == 200, "nobody else waits for it"
        assert no_crash(envoy)


def test_a_gzip_bomb_is_not_unpacked(start_envoy: StartEnvoy, fake: FakeProvider) -> None:
    """JWK-12: the filter asks for no compression, and reads none."""
    keys = json.dumps({"keys": [key.jwk() for key in fake.keys]}).encode()
    headers = [("content-type", "application/json"), ("content-encoding", "gzip")]
    for size in (0, 64 << 20):
        fake.routes["/jwks"] = Reply(body=gzip.compress(keys.ljust(size)), headers=headers)
        envoy = start_envoy(config(fake), idp=fake.port)
        assert envoy.get("/", (), fake.token()).status == 503
        assert no_crash(envoy)
    asked = [request for request in fake.requests if request.path == "/jwks"]
    assert {request.header("accept-encoding") for request in asked} == {"identity"}


def test_two_tokens_while_keys_are_on_their_way(
    start_envoy: StartEnvoy, fake: FakeProvider
) -> None:
    """OUT-07: what was a crash elsewhere: two credentials, keys that are still fetched, and a
    lenient policy."""
    keys = {"keys": [key.jwk() for key in fake.keys]}
    fake.routes["/jwks"] = Reply.json(keys, delay=1.5)
    envoy = start_envoy(config(fake, allow_missing=True, **IDENTITY), idp=fake.port)
    good = ("authorization", f"Bearer {fake.token()}")
    bad = ("authorization", "Bearer x.y.z")
    with envoy.http2() as connection:
        waiting = connection.start("/waits", [good])
        for pair in ([good, good], [good, bad], [bad, good]):
            assert connection.request("/twice", pair).status == 400
        assert connection.receive(waiting).seen.all("x-user") == ["alice"]
    entries = [entry["path"] for entry in envoy.access_log(count=4)]
    assert entries == ["/twice"] * 3 + ["/waits"], "the malformed ones waited for nothing"
    assert no_crash(envoy)


# ------------------------------------------------------------------------------- HTTP that lies


@pytest.mark.parametrize("origin", [None, "https://a.example"])
def test_options_with_a_body_is_no_preflight(
    doors: Envoy, idp: FakeProvider, origin: str | None
) -> None:
    """HTP-02."""
    headers = [("Origin", origin)] if origin else []
    door = doors.door("preflight")
    assert door.get("/", headers, method="OPTIONS", body=b"x=1").status == 401
    headers.append(("Access-Control-Request-Method", "POST"))
    assert door.get("/", headers, method="OPTIONS", body=b"x=1").status == 401
    empty = [*headers, ("Content-Length", "0")]
    assert door.get("/", empty, method="OPTIONS").status == (200 if origin else 401)
    chunked = request_bytes("/", [*headers, ("Transfer-Encoding", "chunked")], "OPTIONS") + b"0\r\n\r\n"
    assert door.raw(chunked).status == 401
    # No browser's preflight has these.
    for field in (("X-HTTP-Method-Override", "POST"), ("Cookie", "a=1"), ("Content-Type", "text/plain")):
        assert door.get("/", [*headers, field], method="OPTIONS").status == 401, field
    assert door.get("/?_method=POST", headers, method="OPTIONS").status == 401


@pytest.mark.parametrize("token", [None, "bad", "good"])
def test_a_stream_that_ends_as_it_begins(
    doors: Envoy, idp: FakeProvider, token: str | None
) -> None:
    """HTP-08: HEADERS, DATA and RST_STREAM in one packet, many times over."""
    token = idp.token() if token == "good" else token
    headers = [(":method", "POST"), (":scheme", "http"), (":path", "/gone"), (":authority", "x")]
    headers += [("authorization", f"Bearer {token}")] if token else []
    for _ in range(20):
        with doors.http2() as connection:
            inner = connection._h2
            for _ in range(20):
                stream = inner.get_next_available_stream_id()
                inner.send_headers(stream, headers)
                inner.send_data(stream, b"x" * 100)
                inner.reset_stream(stream)
            connection._flush()
            try:
                connection.request("/", [("authorization", "Bearer x")])
            except ConnectionError:
                pass  # Envoy may well have enough of such a client
    assert serves_on(doors, idp)


@pytest.mark.parametrize(
    "lie",
    [
        [("content-length", "0")],
        [("content-length", "5")],
        [("content-length", "500")],
        [("content-length", "60"), ("content-length", "0")],
        [("transfer-encoding", "chunked")],
        [("connection", "close")],
        [("x", "1\r\ntransfer-encoding: chunked")],
        [("x\r\nauthorization", "Bearer x")],
    ],
    ids=["none", "less", "more", "twice", "chunked", "connection", "value", "name"],
)
def test_a_length_that_lies_smuggles_nothing(
    doors: Envoy, idp: FakeProvider, lie: list[tuple[str, str]]
) -> None:
    """HTP-10: HTTP/2 in, HTTP/1.1 out: what the body says of itself would be believed behind
    us."""
    inside = b"GET /smuggled HTTP/1.1\r\nHost: x\r\nx-user: admin\r\n\r\n".ljust(60)
    headers = [("authorization", f"Bearer {idp.token()}"), *lie]
    before = sum(doors.stats(TO_UPSTREAM).values())
    with doors.http2() as connection:
        try:
            response = connection.request("/outer", headers, method="POST", body=inside)
            if response.status == 200 and not response.reset:
                assert response.seen.body["length"] == len(inside)
                assert response.seen.all("x-user") == ["alice"]
        except ConnectionError:
            pass  # Envoy ended it
    assert sum(doors.stats(TO_UPSTREAM).values()) - before <= 1
    assert doors.get("/after").status == 401
    doors.access_log(path="/after")
    assert "/smuggled" not in {entry["path"] for entry in doors.access_log()}


# ------------------------------------------------------------- copies of a request, behind us


def names(request: Request) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in request.headers:
        found.setdefault(name.lower(), []).append(value)
    return found


def behind(*ports: tuple[str, int]) -> Any:
    def adjust(bootstrap: Bootstrap) -> None:
        for name, port in ports:
            bootstrap.cluster(name, port)

    return adjust


@pytest.mark.parametrize("forward", [True, False])
def test_copies_of_a_request_say_what_the_upstream_was_told(
    start_envoy: StartEnvoy, fake: FakeProvider, forward: bool
) -> None:
    """HTP-12: a mirror, a retry and an internal redirect: one identity, the proved one, and no
    token kept back."""
    with FakeProvider() as service, FakeProvider() as mirror:
        failed: list[Request] = []

        def flaky(request: Request) -> Reply:
            if not failed:
                failed.append(request)
                return Reply(503)
            return Reply.json({})

        away = [("location", "http://test.example/landed")]
        service.routes |= {
            "/mirrored": Reply.json({}),
            "/flaky": flaky,
            "/moved": Reply(302, headers=away),
            "/landed": Reply.json({}),
        }
        routes = [
            {
                "match": {"path": "/mirrored"},
                "route": {"cluster": "service", "request_mirror_policies": [{"cluster": "mirror"}]},
            },
            {
                "match": {"path": "/moved"},
                "route": {"cluster": "service", "internal_redirect_policy": {}},
            },
            {
                "match": {"prefix": "/"},
                "route": {
                    "cluster": "service",
                    "retry_policy": {"retry_on": "5xx", "num_retries": 2},
                },
            },
        ]
        envoy = start_envoy(
            config(fake, forward=forward, **IDENTITY),
            idp=fake.port,
            routes=routes,
            adjust=behind(("service", service.port), ("mirror", mirror.port)),
        )
        forged = [("x-user", "admin")]
        for path in ("/mirrored", "/flaky", "/moved"):
            assert envoy.get(path, forged).status == 401
        assert service.requests == mirror.requests == []
        assert envoy.get("/mirrored", forged, fake.token()).status == 200
        assert envoy.get("/flaky", forged, fake.token()).status == 200
        moved = envoy.get("/moved", forged, fake.token()).status
        # A redirect begins anew, and asks for the token again: one that was taken off is missing.
        assert moved == (200 if forward else 401)
        deadline = time.monotonic() + 5
        while not mirror.requests and time.monotonic() < deadline:
            time.sleep(0.02)
        expected = ["/mirrored", "/flaky", "/flaky", "/moved"] + (["/landed"] if forward else [])
        assert [request.path for request in service.requests] == expected
        assert [request.path for request in mirror.requests] == ["/mirrored"]
        for request in [*service.requests, *mirror.requests]:
            assert names(request)["x-user"] == ["alice"], request
            assert ("authorization" in names(request)) == forward, request


def test_a_path_counts_as_it_is_at_the_filter(
    start_envoy: StartEnvoy, fake: FakeProvider
) -> None:
    """PTH-13: what a route makes of it later doesn't open a door; what an earlier filter made
    of it does."""
    code = """
    function envoy_on_request(handle)
      if handle:headers():get(":path") == "/alias" then
        handle:headers():replace(":path", "/public/alias")
      end
    end
    """

    def rewritten(prefix: str, to: str) -> dict[str, Any]:
        return {"match": {"prefix": prefix}, "route": {"cluster": "upstream", "prefix_rewrite": to}}

    envoy = start_envoy(
        config(fake, rules=[{"match": {"path_prefix": "/public"}, "bypass": True}], **IDENTITY),
        idp=fake.port,
        before=[lua(code)],
        routes=[
            rewritten("/inner", "/public"),
            rewritten("/public/leak", "/admin"),
            {"match": {"prefix": "/"}, "route": {"cluster": "upstream"}},
        ],
    )
    forged = [("x-user", "admin"), ("x-envoy-original-path", "/public")]
    assert envoy.get("/inner/x", forged).status == 401
    assert envoy.get("/inner/x", forged, fake.token()).seen.path == "/public/x"
    assert envoy.get("/alias", forged).seen.all("x-user") == []
    # The operator's own doing: a path that is open by the rule, and leads elsewhere by the route.
    leak = envoy.get("/public/leak", forged).seen
    assert (leak.path, leak.all("x-user")) == ("/admin", [])
