"""HTTP in all its shapes: what one request proves is nothing to the next, and none slips by."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import pytest
from clients import Response, request_bytes, together
from conftest import StartEnvoy
from envoy_filters import http_filter
from fake_provider import FakeProvider, Reply, Request
from harness import IDENTITY, Envoy, config

USERS = [f"user-{number}" for number in range(24)]
BAD = "made-up"
TO_UPSTREAM = r"cluster\.upstream\.upstream_rq_total"


@pytest.fixture(scope="module")
def slow() -> Any:
    """Takes its time over every token, and longer over some than over others that came earlier."""

    def answer(request: Request) -> Reply:
        token = request.form["token"]
        if not token.startswith("user-"):
            return Reply.json({"active": False}, delay=0.25)
        known = {"active": True, "sub": token.partition("~")[0], "aud": "urn:api:test"}
        return Reply.json(known, delay=0.1 + int(token[-1]) * 0.03)

    with FakeProvider() as fake:
        fake.routes["/introspect"] = answer
        yield fake


@pytest.fixture(scope="module", params=[1, 2], ids=["1-worker", "2-workers"])
def envoy(
    request: pytest.FixtureRequest, start_shared_envoy: StartEnvoy, slow: FakeProvider
) -> Envoy:
    return start_shared_envoy(
        config(slow, **IDENTITY),
        listeners={
            "strip": config(slow, enforce=False, **IDENTITY),
            "preflight": config(slow, allow_preflight=True, **IDENTITY),
        },
        idp=slow.port,
        workers=request.param,
        hcm={
            "upgrade_configs": [{"upgrade_type": "websocket"}, {"upgrade_type": "CONNECT"}],
            "http2_protocol_options": {"allow_connect": True, "max_concurrent_streams": 200},
        },
    )


@pytest.fixture
def fresh(request: pytest.FixtureRequest) -> str:
    """Makes tokens of this test ones that no cache knows."""
    return hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:12]


def bearer(token: str) -> tuple[str, str]:
    return ("authorization", f"Bearer {token}")


def token_of(user: str, fresh: str) -> str:
    return f"{user}~{fresh}{int(user[-1])}"


def is_let_in_as(response: Response, user: str) -> bool:
    return response.status == 200 and response.seen.all("x-user") == [user]


# ---------------------------------------------------------------- many requests, one connection


def test_keep_alive_proves_nothing_for_the_next(envoy: Envoy, fresh: str) -> None:
    """HTP-11."""
    with envoy.http1() as connection:
        for number in range(8):
            user = USERS[number]
            connection.send(request_bytes("/", [bearer(token_of(user, fresh))]))
            assert is_let_in_as(connection.receive(), user)
            connection.send(request_bytes("/", [("x-user", user)]))
            assert connection.receive().status == 401
            connection.send(request_bytes("/", [bearer(BAD), ("x-user", user)]))
            assert connection.receive().status == 401


def test_pipelined_requests_are_answered_in_order(envoy: Envoy, fresh: str) -> None:
    """HTP-11: two at a time: Envoy ends a connection on which more answers have piled up."""
    with envoy.http1() as connection:
        for number, user in enumerate(USERS[:6]):
            good = request_bytes("/good", [bearer(token_of(user, fresh))])
            bad = request_bytes("/bad", [bearer(f"{BAD}-{number}-{fresh}"), ("x-user", user)])
            connection.send(good + bad if number % 2 else bad + good)
            for is_good in (True, False) if number % 2 else (False, True):
                response = connection.receive()
                assert is_let_in_as(response, user) if is_good else response.status == 401


def test_streams_side_by_side_keep_their_identities(envoy: Envoy, fresh: str) -> None:
    """HTP-11."""
    with envoy.http2() as connection:
        streams = []
        for number, user in enumerate(USERS * 3):
            token = [token_of(user, fresh), BAD, None][number % 3]
            headers = [("x-user", "admin")] + ([bearer(token)] if token else [])
            streams.append((connection.start("/", headers), user, number % 3))
        for stream, user, kind in reversed(streams):
            response = connection.receive(stream)
            assert is_let_in_as(response, user) if kind == 0 else response.status == 401


def test_connections_side_by_side_keep_their_identities(envoy: Envoy, fresh: str) -> None:
    """HTP-11."""
    def visit(number: int) -> bool:
        user = USERS[number % len(USERS)]
        with envoy.http1() as connection:
            for _ in range(3):
                connection.send(request_bytes("/", [bearer(token_of(user, fresh))]))
                if not is_let_in_as(connection.receive(), user):
                    return False
        return True

    assert all(together(48, visit))


# --------------------------------------------------------------------------- those who go away


def test_clients_that_leave_while_they_wait(envoy: Envoy, fresh: str) -> None:
    """HTP-08."""
    token = token_of("user-9", fresh)
    with envoy.http2() as connection:
        streams = [connection.start("/", [bearer(token)]) for _ in range(40)]
        uploads = [
            connection.start("/", [bearer(BAD)], method="POST", body=b"x" * 500, end=False)
            for _ in range(10)
        ]
        for stream in streams[:20] + uploads:
            connection.reset(stream)
        for stream in streams[20:]:
            assert is_let_in_as(connection.receive(stream), "user-9")
    for _ in range(20):
        with envoy.http1() as quitter:
            quitter.send(request_bytes("/", [bearer(f"{BAD}-{fresh}")]))
    assert is_let_in_as(envoy.get("/", [bearer(token)]), "user-9")
    assert "failed:" not in envoy.log()


def test_half_a_request_waits_for_nobody(envoy: Envoy, fresh: str) -> None:
    """HTP-08: a body that never comes does not keep a verdict from being told."""
    with envoy.http1() as connection:
        head = request_bytes("/", [bearer(BAD), ("Content-Length", "10")], "POST")
        connection.send(head + b"half")
        assert connection.receive().status == 401


# ---------------------------------------------------------------------------------- bodies


def test_five_megabytes_wait_outside(envoy: Envoy, fresh: str) -> None:
    """HTP-05."""
    body = bytes(range(256)) * 20_000
    response = envoy.get("/", [bearer(token_of("user-7", fresh))], method="POST", body=body)
    assert is_let_in_as(response, "user-7")
    expected = {"length": len(body), "sha256": hashlib.sha256(body).hexdigest()}
    assert response.seen.body == expected
    with envoy.http2() as connection:
        token = token_of("user-8", fresh)
        response = connection.request("/", [bearer(token)], method="POST", body=body)
    assert response.seen.body == expected


def test_nothing_of_a_refused_body_gets_there(envoy: Envoy, fresh: str) -> None:
    """HTP-05."""
    before = sum(envoy.stats(TO_UPSTREAM).values())
    for number in range(4):
        with envoy.http1() as connection:
            headers = [bearer(f"{BAD}-{fresh}-{number}"), ("Transfer-Encoding", "chunked")]
            connection.send(request_bytes("/", headers, "POST"))
            connection.send(b"5\r\nhello\r\n" * 100 + b"0\r\n\r\n")
            assert connection.receive().status == 401
    assert sum(envoy.stats(TO_UPSTREAM).values()) == before


@pytest.mark.parametrize("good", [True, False])
def test_expect_100_continue_is_answered_after_the_verdict(envoy: Envoy, fresh: str, good: bool) -> None:
    """HTP-14."""
    token = token_of("user-6", fresh) if good else f"{BAD}-{fresh}"
    with envoy.http1() as connection:
        headers = [bearer(token), ("Expect", "100-continue"), ("Content-Length", "5")]
        connection.send(request_bytes("/", headers, "POST"))
        connection.send(b"hello")
        response = connection.receive()
    if good:
        assert is_let_in_as(response, "user-6")
        assert response.seen.body["length"] == 5
    else:
        assert response.status == 401


# ------------------------------------------------------------------------- methods and targets


def test_head_is_answered_without_a_body(envoy: Envoy) -> None:
    """HTP-16."""
    with envoy.http1() as connection:
        for _ in range(2):
            connection.send(request_bytes("/", method="HEAD"))
            response = connection.receive(head=True)
            assert (response.status, response.body) == (401, b"")
            assert response.header("www-authenticate")
        connection.send(request_bytes("/"))  # the connection is in step
        assert connection.receive().json()["error"] == "missing_token"
    with envoy.http2() as h2:
        assert h2.request("/", method="HEAD").body == b""


METHODS = ["GET", "POST", "PUT", "DELETE", "PATCH", "TRACE", "OPTIONS", "PROPFIND", "get", "XYZZY"]


@pytest.mark.parametrize("method", METHODS)
def test_no_method_is_free(envoy: Envoy, method: str) -> None:
    override = [("X-HTTP-Method-Override", "OPTIONS"), ("X-HTTP-Method", "OPTIONS")]
    for door in (envoy, envoy.door("preflight")):
        assert door.get("/", override, method=method).status in (400, 401)


PREFLIGHT = [("Origin", "https://a.example"), ("Access-Control-Request-Method", "POST")]


def test_a_preflight_passes_where_it_may(envoy: Envoy) -> None:
    """HTP-01."""
    forged = [("x-user", "admin")]
    response = envoy.door("preflight").get("/", PREFLIGHT + forged, method="OPTIONS")
    assert response.seen.all("x-user") == []
    assert envoy.get("/", PREFLIGHT, method="OPTIONS").status == 401
    with_token = envoy.door("preflight").get("/", [*PREFLIGHT, bearer(BAD)], method="OPTIONS")
    assert with_token.status in (200, 401)


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("OPTIONS", []),
        ("OPTIONS", PREFLIGHT[:1]),
        ("OPTIONS", PREFLIGHT[1:]),
        ("OPTIONS", [("Origin", ""), PREFLIGHT[1]]),
        ("OPTIONS", [PREFLIGHT[0], ("Access-Control-Request-Method", "")]),
        ("OPTIONS", [PREFLIGHT[0], *PREFLIGHT]),
        ("options", PREFLIGHT),
        ("GET", PREFLIGHT),
        ("POST", [*PREFLIGHT, ("X-HTTP-Method-Override", "OPTIONS")]),
    ],
)
def test_what_only_looks_like_a_preflight(
    envoy: Envoy, method: str, headers: list[tuple[str, str]]
) -> None:
    """HTP-02."""
    assert envoy.door("preflight").get("/", headers, method=method).status in (400, 401)


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.0\r\n\r\n",
        b"GET http://test.example/ HTTP/1.1\r\nHost: test.example\r\n\r\n",
        b"GET HTTP://other.example/ HTTP/1.1\r\nHost: test.example\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: \r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: test.example\r\n\r\n",
        b"CONNECT test.example:443 HTTP/1.1\r\nHost: test.example:443\r\n\r\n",
        b"CONNECT test.example:443 HTTP/1.1\r\nHost: test.example\r\n\r\nearly data",
    ],
    ids=["1.0", "absolute", "capitals", "empty host", "no host", "asterisk", "connect", "early"],
)
def test_every_form_of_a_target_needs_a_token(envoy: Envoy, head: bytes) -> None:
    """HTP-04, HTP-13."""
    before = sum(envoy.stats(TO_UPSTREAM).values())
    assert envoy.raw(head).status in (400, 401, 403, 404, 426)
    assert sum(envoy.stats(TO_UPSTREAM).values()) == before


def test_connect_over_http2_needs_a_token(envoy: Envoy) -> None:
    """HTP-03, HTP-04."""
    with envoy.http2() as connection:
        pseudo = [(":method", "CONNECT"), (":protocol", "websocket")]
        response = connection.request("/", pseudo, method="CONNECT")
        assert response.status in (400, 401, 404)


@pytest.mark.parametrize(
    "message",
    [
        b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\n"
        b"Host: x\r\n\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n0\r\n\r\n",
        b"Content-Length: 0\r\nContent-Length: 44\r\n\r\nGET /smuggled HTTP/1.1\r\n"
        b"Host: x\r\n\r\n",
        b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        b"Content-Length: +4\r\n\r\nabcd",
        b"Content-Length: 4, 4\r\n\r\nabcd",
        b"X: 1\r\n Transfer-Encoding: chunked\r\n\r\n",
        b"X: \x00\r\n\r\n",
    ],
    ids=range(10),
)
def test_smuggled_requests_get_nowhere(envoy: Envoy, fresh: str, message: bytes) -> None:
    """HTP-10: a good token on the first request is none for what hides in its body."""
    token = token_of("user-5", fresh).encode()
    head = b"POST /outer HTTP/1.1\r\nHost: test.example\r\nAuthorization: Bearer %s\r\n" % token
    with envoy.http1() as connection:
        connection.send(head + message)
        response = connection.receive()
        if response.status == 200:
            assert response.seen.path == "/outer"
            connection.send(request_bytes("/next"))
            try:
                response = connection.receive()
                assert response.status in (400, 401)
            except ConnectionError:
                pass
    envoy.get(f"/after-{fresh}")
    envoy.access_log(path=f"/after-{fresh}")  # by now, everything before is in the log as well
    smuggled = [entry for entry in envoy.access_log() if entry["path"] == "/smuggled"]
    assert 200 not in {entry["status"] for entry in smuggled}


# ---------------------------------------------------------------------- upgrades and gRPC


def websocket(token: str | None) -> list[tuple[str, str]]:
    key = base64.b64encode(b"k" * 16).decode()
    upgrade = [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Key", key)]
    return upgrade + ([bearer(token)] if token else [])


@pytest.mark.parametrize("token", [None, BAD])
def test_a_websocket_opens_to_nobody_without_a_token(
    envoy: Envoy, token: str | None
) -> None:
    """HTP-03."""
    before = sum(envoy.stats(TO_UPSTREAM).values())
    with envoy.http1() as connection:
        connection.send(request_bytes("/ws", websocket(token)) + b"\x81\x82\0\0\0\0hi")
        assert connection.receive().status == 401
    assert sum(envoy.stats(TO_UPSTREAM).values()) == before


def test_a_websocket_upgrade_needs_a_token(envoy: Envoy, fresh: str) -> None:
    """HTP-03."""
    with envoy.http1() as connection:
        token = token_of("user-4", fresh)
        connection.send(request_bytes("/ws", websocket(token)) + b"\x81\x82\0\0\0\0hi")
        assert connection.receive().status == 101
        assert connection.read(4) == b"\x81\x02hi"


def offer(*protocols: str) -> list[tuple[str, str]]:
    return [*websocket(None), ("Sec-WebSocket-Protocol", ", ".join(protocols))]


def kubernetes(token: str) -> str:
    encoded = base64.urlsafe_b64encode(token.encode()).decode().rstrip("=")
    return f"base64url.bearer.authorization.k8s.io.{encoded}"


@pytest.fixture(scope="module")
def protocols(start_shared_envoy: StartEnvoy, slow: FakeProvider) -> Envoy:
    source = {"location": "websocket_protocol"}
    return start_shared_envoy(
        config(slow, access_token=source, **IDENTITY),
        listeners={"strip": config(slow, access_token=source, enforce=False, **IDENTITY)},
        idp=slow.port,
        hcm={"upgrade_configs": [{"upgrade_type": "websocket"}]},
    )


@pytest.mark.parametrize(
    ("before", "token", "behind", "left"),
    [
        (["bearer"], str, ["chat", "superchat"], "chat, superchat"),
        (["chat", "bearer"], str, [], "chat"),
        (["bearer"], str, [], "bearer"),
        ([], kubernetes, ["v4.channel.k8s.io"], "v4.channel.k8s.io"),
        (["chat"], kubernetes, [], "chat"),
    ],
)
def test_a_websocket_with_its_token_among_the_protocols(
    protocols: Envoy, fresh: str, before: list[str], token: Any, behind: list[str], left: str
) -> None:
    """EXT-13: the service chooses one that the client has offered, which no browser does
    without."""
    offered = [*before, token(token_of("user-5", fresh)), *behind]
    with protocols.http1() as connection:
        connection.send(request_bytes("/ws", offer(*offered)) + b"\x81\x82\0\0\0\0hi")
        response = connection.receive()
        assert (response.status, response.header("x-upstream-offered")) == (101, left)
        assert response.header("sec-websocket-protocol") in offered
        assert connection.read(4) == b"\x81\x02hi"


@pytest.mark.parametrize(
    ("offered", "status"),
    [
        (["chat"], 401),
        (["bearer", BAD, "chat"], 401),
        ([kubernetes(BAD), "chat"], 401),
        (["bearer"], 400),
        (["bearer", "user-5", "bearer", "user-5"], 400),
        (["bearer", "user-5", kubernetes("user-5")], 400),
        ([kubernetes("user-5") + "==", "chat"], 400),
    ],
)
def test_a_websocket_without_one_good_token(
    protocols: Envoy, offered: list[str], status: int
) -> None:
    """EXT-13."""
    with protocols.http1() as connection:
        connection.send(request_bytes("/ws", offer(*offered)))
        assert connection.receive().status == status
    with protocols.door("strip").http1() as connection:
        connection.send(request_bytes("/ws", offer(*offered)))
        response = connection.receive()
        assert response.status == 101
        left = response.header("x-upstream-offered") or ""
        assert "user-5" not in left and BAD not in left and "k8s" not in left


GRPC = [("content-type", "application/grpc"), ("te", "trailers")]


def test_a_grpc_call_is_refused_in_its_own_terms(
    start_envoy: StartEnvoy, slow: FakeProvider
) -> None:
    """HTP-15."""
    envoy = start_envoy(
        config(slow, require={"scopes": ["admin"]}),
        listeners={"down": config(slow, providers=[down(slow)])},
        idp=slow.port,
    )
    message = b"\0\0\0\0\0"
    expected = {
        (None, "enforce"): "16",  # UNAUTHENTICATED
        (BAD, "enforce"): "16",
        ("user-0", "enforce"): "7",  # PERMISSION_DENIED
        ("user-0", "down"): "14",  # UNAVAILABLE
    }
    for (token, door), status in expected.items():
        with envoy.door(door).http2() as connection:
            headers = GRPC + ([bearer(token)] if token else [])
            response = connection.request("/svc/Method", headers, method="POST", body=message)
        assert (response.status, response.header("grpc-status")) == (200, status)
        assert response.body == b""


@pytest.fixture(scope="module")
def grpc(start_shared_envoy: StartEnvoy, slow: FakeProvider) -> Envoy:
    def of(form: str = "json", **more: Any) -> dict[str, Any]:
        return config(slow, require={"scopes": ["admin"]}, response_body=form, **more)

    return start_shared_envoy(
        of(),
        listeners={
            "code": of("problem", enforce_response_code=443),
            "verify": of(verify_path="/verify"),
            "yes": of(verify_path="/verify", verify_response_code=200),
        },
        idp=slow.port,
        http2_upstream=True,
    )


SPOKEN = {
    "missing": (None, "16", "missing_token: no access token was sent"),
    "invalid": (BAD, "16", "inactive: the access token is not active"),
    "malformed": ("", "16", "invalid_request: the credentials are malformed, or there are more than one"),
    "insufficient": ("user-0", "7", "insufficient_scope: the access token lacks a scope"),
}


@pytest.mark.parametrize("door", [None, "code"])
@pytest.mark.parametrize("row", SPOKEN)
def test_a_grpc_message_is_a_line_for_people(grpc: Envoy, row: str, door: str | None) -> None:
    """HTP-15."""
    token, status, message = SPOKEN[row]
    credentials = [] if token is None else [("authorization", f"Bearer {token}".strip())]
    for media_type in ("application/grpc", "application/grpc+proto"):
        headers = [("content-type", media_type), ("te", "trailers"), *credentials]
        with (grpc.door(door) if door else grpc).http2() as connection:
            response = connection.request("/svc/Method", headers, method="POST", body=b"\0" * 5)
        assert (response.status, response.header("content-type")) == (200, "application/grpc")
        assert (response.all("grpc-status"), response.all("grpc-message")) == ([status], [message])
        assert response.body == b""


@pytest.mark.parametrize("media_type", ["application/grpc-web", "application/grpc-web-text+proto"])
@pytest.mark.parametrize("row", SPOKEN)
def test_a_call_of_grpc_web(grpc: Envoy, row: str, media_type: str) -> None:
    """HTP-15."""
    token, status, message = SPOKEN[row]
    credentials = [] if token is None else [("authorization", f"Bearer {token}".strip())]
    for door in (grpc, grpc.door("code")):
        response = door.get("/svc/Method", [("content-type", media_type), *credentials], method="POST")
        assert response.status == 200
        assert response.header("content-type") == media_type.removesuffix("+proto")
        assert (response.all("grpc-status"), response.all("grpc-message")) == ([status], [message])
        frame = base64.b64decode(response.body) if "text" in media_type else response.body
        trailers = f"grpc-status: {status}\r\ngrpc-message: {message}\r\n".encode()
        assert frame == b"\x80" + len(trailers).to_bytes(4, "big") + trailers


def test_behind_envoys_own_grpc_web(start_envoy: StartEnvoy, slow: FakeProvider) -> None:
    """HTP-15."""
    before = [http_filter("grpc_web", "grpc_web.v3.GrpcWeb")]
    envoy = start_envoy(config(slow), idp=slow.port, before=before, http2_upstream=True)
    for media_type in ("application/grpc-web", "application/grpc-web+proto", "application/grpc-web-text"):
        response = envoy.get("/svc/Method", [("content-type", media_type)], method="POST")
        assert response.header("grpc-status") == "16"
        assert response.header("grpc-message") == "missing_token: no access token was sent"
        assert (response.header("content-type") or "").startswith("application/grpc-web")


@pytest.mark.parametrize("protocol", ["http1", "http2"])
def test_a_no_to_another_proxy_stays_one_whatever_its_client_speaks(
    grpc: Envoy, protocol: str
) -> None:
    """ATK-20: Envoy makes 200 of every local reply to a gRPC call, which a proxy that asks
    takes for a yes."""
    for media_type in ("application/grpc", "application/grpc+x", "application/grpc-web", "text/plain"):
        for token, status in ((None, 401), (BAD, 401), ("user-0", 403)):
            for door in (grpc.door("verify"), grpc.door("yes")):
                headers = [("content-type", media_type), *([bearer(token)] if token else [])]
                if protocol == "http1":
                    response = door.get("/verify/things", headers)
                else:
                    with door.http2() as connection:
                        response = connection.request("/verify/things", headers)
                assert response.status == status, media_type
                if status == 401:
                    assert response.header("www-authenticate")


def down(fake: FakeProvider) -> dict[str, Any]:
    return {"issuer": fake.issuer, "cluster": "nowhere", "audiences": "urn:api:test"}


# ------------------------------------------------------------------------------- answers


ROWS = {
    "missing": (None, 401, 'Bearer realm="api", scope="read write"'),
    "unsupported": ("Basic dTpw", 401, 'Bearer realm="api", scope="read write"'),
    "malformed": (
        "Bearer",
        400,
        'Bearer realm="api", error="invalid_request", error_description="invalid_request: '
        'the credentials are malformed, or there are more than one"',
    ),
    "invalid": (
        f"Bearer {BAD}",
        401,
        'Bearer realm="api", error="invalid_token", '
        'error_description="inactive: the access token is not active"',
    ),
    "insufficient": (
        "Bearer user-0",
        403,
        'Bearer realm="api", error="insufficient_scope", error_description="insufficient_scope: '
        'the access token lacks a scope", scope="read write"',
    ),
}


@pytest.fixture(scope="module")
def bodies(start_shared_envoy: StartEnvoy, slow: FakeProvider) -> Envoy:
    def of(form: str, **more: Any) -> dict[str, Any]:
        scopes = {"scopes": ["read", "write"]}
        return config(slow, realm="api", require=scopes, response_body=form, **more)

    forms = ("problem", "jsonrpc", "text", "none")
    return start_shared_envoy(
        of("json"),
        listeners={form: of(form) for form in forms}
        | {"code": of("json", enforce_response_code=418)},
        idp=slow.port,
    )


@pytest.mark.parametrize("protocol", ["http1", "http2"])
@pytest.mark.parametrize("row", ROWS)
def test_the_challenge_of_every_row(
    bodies: Envoy, row: str, protocol: str
) -> None:
    """RSP-01, RSP-02, RSP-04, RSP-06."""
    credentials, status, challenge = ROWS[row]
    headers = [("authorization", credentials)] if credentials else []
    if protocol == "http1":
        response = bodies.get("/", headers)
    else:
        with bodies.http2() as connection:
            response = connection.request("/", headers)
    assert (response.status, response.all("www-authenticate")) == (status, [challenge])
    assert response.header("cache-control") == "no-store"
    assert response.header("content-type") == "application/json"
    assert set(response.json()) == {"error", "error_description"}
    assert int(response.header("content-length") or -1) == len(response.body)


@pytest.mark.parametrize(
    ("form", "media_type"),
    [
        ("problem", "application/problem+json"),
        ("jsonrpc", "application/json"),
        ("text", "text/plain; charset=utf-8"),
        ("none", None),
    ],
)
def test_the_forms_of_a_body(bodies: Envoy, form: str, media_type: str | None) -> None:
    """RSP-08."""
    response = bodies.door(form).get("/<script>?<script>", token="<script>")
    assert response.status in (400, 401)
    assert b"script" not in response.body
    response = bodies.door(form).get("/", token=BAD)
    assert response.status == 401
    match form:
        case "problem":
            assert response.json()["status"] == 401
        case "jsonrpc":
            assert response.json()["error"]["code"] == -401
            assert (response.json()["jsonrpc"], response.json()["id"]) == ("2.0", None)
        case "text":
            assert response.body == b"inactive: the access token is not active\n"
        case _:
            assert response.body == b""
    if media_type:
        assert response.header("content-type") == media_type


def test_enforce_response_code_replaces_the_first_three_rows(bodies: Envoy) -> None:
    expected = dict.fromkeys(ROWS, 418) | {"insufficient": 403}
    door = bodies.door("code")
    got = {
        row: door.get("/", [("authorization", value)] if value else []).status
        for row, (value, _, _) in ROWS.items()
    }
    assert got == expected


# --------------------------------------------------------------------------------- many


def test_a_thousand_paused_streams(start_envoy: StartEnvoy, fake: FakeProvider) -> None:
    """WSM-07: all wait for one answer; the filter holds them, and lets all of them go."""
    known = {"active": True, "sub": "alice", "aud": "urn:api:test"}
    fake.routes["/introspect"] = Reply.json(known, delay=1.5)
    envoy = start_envoy(config(fake, **IDENTITY), idp=fake.port)
    connections = [envoy.http2() for _ in range(10)]
    try:
        waiting = [
            (connection, connection.start("/", [bearer("same")]))
            for connection in connections
            for _ in range(100)
        ]
        assert all(is_let_in_as(each.receive(stream), "alice") for each, stream in waiting)
    finally:
        for connection in connections:
            connection.socket.close()
    assert fake.count("/introspect") == 1
