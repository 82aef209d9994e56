"""The harness against itself: a broken test client must not look like a broken filter."""

from __future__ import annotations

import base64
import hashlib

import pytest
from clients import Http1, Http2, RawHeaders, exchange, request_bytes
from fake_provider import FakeProvider, Reply
from harness import HABITS, KINDS, Provider, Upstream
from tokens import CURVES, Key, claims, compact, parts


def test_http1_sends_duplicates_and_bytes_that_are_not_utf8(upstream: Upstream) -> None:
    headers: RawHeaders = [("X-A", "1"), ("x-a", "2"), (b"x-b", b"\xff\xfe")]
    response = exchange(upstream.port, request_bytes("/p?q", headers, "POST", b"abc"))
    got = response.json()
    assert got["headers"][1:3] == [["X-A", "1"], ["x-a", "2"]]
    assert ["x-b", "\xff\xfe"] in got["headers"]
    assert got["body"] == {"length": 3, "sha256": hashlib.sha256(b"abc").hexdigest()}


def test_http1_reads_chunks_and_several_cookies(upstream: Upstream) -> None:
    headers = [("x-upstream-header", f"Set-Cookie: c{i}=1") for i in range(2)]
    body = b"3\r\nabc\r\n0\r\nx-sum: 9\r\n\r\n"
    headers += [("Transfer-Encoding", "chunked"), ("Trailer", "x-sum")]
    response = exchange(upstream.port, request_bytes("/", headers, "POST", body))
    assert response.all("set-cookie") == ["c0=1", "c1=1"]
    assert response.json()["trailers"] == [["x-sum", "9"]]


def test_http2_sends_trailers_and_crumbs_and_runs_streams_side_by_side(upstream: Upstream) -> None:
    with Http2(upstream.h2_port) as connection:
        slow = connection.start("/slow", [("x-upstream-delay", "100")])
        upload = connection.start(
            "/upload", method="POST", body=b"x" * 200_000, trailers=[("x-sum", "9")]
        )
        crumbs = connection.request("/crumbs", [("cookie", "a=1"), ("cookie", "b=2")])
        assert crumbs.json()["headers"][-2:] == [["cookie", "a=1"], ["cookie", "b=2"]]
        got = connection.receive(upload).json()
        assert got["body"]["length"] == 200_000
        assert got["trailers"] == [["x-sum", "9"]]
        assert connection.receive(slow).json()["path"] == "/slow"


def test_http2_resets_one_stream_and_keeps_the_connection(upstream: Upstream) -> None:
    with Http2(upstream.h2_port) as connection:
        connection.reset(connection.start("/gone", method="POST", body=b"x", end=False))
        assert connection.request("/next").status == 200


def test_the_upstream_speaks_grpc(upstream: Upstream) -> None:
    with Http2(upstream.h2_port) as connection:
        headers = [("content-type", "application/grpc"), ("te", "trailers")]
        response = connection.request("/svc/Method", headers, method="POST", body=b"\0\0\0\0\0")
    assert (response.body, response.trailers) == (b"\0\0\0\0\0", [("grpc-status", "0")])


def test_the_upstream_speaks_websocket(upstream: Upstream) -> None:
    key = base64.b64encode(b"k" * 16).decode()
    upgrade = [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Key", key)]
    with Http1(upstream.port) as connection:
        connection.send(request_bytes("/ws", upgrade))
        assert connection.receive().status == 101
        connection.send(b"\x81\x82\0\0\0\0hi")  # masked, as a client must
        assert connection.read(4) == b"\x81\x02hi"


@pytest.mark.parametrize("kind", [*KINDS, *HABITS])
def test_the_provider_issues_jwts(provider: Provider, kind: str) -> None:
    header, payload = parts(provider.token(kind))
    assert payload["iss"] == provider.issuer
    assert header["alg"].lower() == (kind if kind in KINDS else "rs256")


def test_the_provider_ends_tokens(provider: Provider) -> None:
    _, payload = parts(provider.token("rs256", ttl=-90))
    assert payload["exp"] - claims("x")["iat"] == pytest.approx(-90, abs=2)
    token = provider.token("opaque")
    assert provider.introspect(token)["aud"] == "urn:api:opaque"
    provider.revoke(token)
    assert provider.introspect(token) == {"active": False}


def test_the_provider_logs_users_in(provider: Provider) -> None:
    token = provider.user_token("alice")
    headers = [("Authorization", f"Bearer {token}")]
    me = exchange(provider.port, request_bytes("/me", headers)).json()
    assert (me["sub"], me["email"]) == ("alice", "alice@example.test")
    assert me["groups"] == ["admin", "dev"]
    _, payload = parts(provider.user_token("bob", "openid api:read", kind="es256"))
    assert (payload["sub"], payload["tenant"]) == ("bob", "t2")


def test_the_provider_rotates_and_counts(own_provider: Provider) -> None:
    old = own_provider.token("rs256")
    own_provider.rotate("publish")
    assert parts(own_provider.token("rs256"))[0]["kid"] == parts(old)[0]["kid"]
    own_provider.rotate("activate")
    assert parts(own_provider.token("rs256"))[0]["kid"] != parts(old)[0]["kid"]
    assert len(own_provider.rotate("retire")["published"]) == len(KINDS)
    assert own_provider.counters(reset=True) == {"POST /token": 3}
    assert own_provider.counters() == {}


def test_the_provider_fails_on_demand(provider: Provider) -> None:
    provider.fault("/jwks", status=503, headers={"retry-after": "7"}, body="busy")
    response = exchange(provider.port, request_bytes("/jwks"))
    assert (response.status, response.header("retry-after"), response.body) == (503, "7", b"busy")
    provider.fault("/jwks", headers={"cache-control": "max-age=1"})
    response = exchange(provider.port, request_bytes("/jwks"))
    assert (response.status, response.header("cache-control")) == (200, "max-age=1")
    assert response.json()["keys"]
    provider.fault("/jwks", reset=True)
    with pytest.raises(ConnectionError):
        exchange(provider.port, request_bytes("/jwks"))
    assert exchange(provider.port, request_bytes("/jwks")).status == 200


def test_the_fake_provider_cuts_an_answer_off(fake: FakeProvider) -> None:
    fake.routes["/jwks"] = Reply(body=b"x" * 1000, cut=10)
    with pytest.raises(ConnectionError):
        exchange(fake.port, request_bytes("/jwks"))
    assert fake.count("/jwks") == 1


@pytest.mark.parametrize("alg", [*CURVES, "EdDSA", "RS256", "RS512", "PS256", "PS384", "HS256"])
def test_own_keys_sign(alg: str) -> None:
    """Only the shape: that the signatures verify is what the tests of the filter show."""
    key = Key.make(alg)
    header, payload = parts(key.token(claims("https://issuer.example", aud=None)))
    assert (header["alg"], payload["iss"]) == (alg, "https://issuer.example")
    assert "aud" not in payload
    assert "d" not in key.jwk()
    sizes = {"ES256": 64, "ES384": 96, "ES512": 132, "EdDSA": 64, "HS256": 32}
    assert len(key.sign(b"data")) == sizes.get(alg, 256)


def test_unsigned_and_malformed_tokens() -> None:
    assert compact({"alg": "none"}, b"\xff{") == "eyJhbGciOiJub25lIn0._3s."
