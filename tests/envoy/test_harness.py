"""The harness against itself: a broken test client must not look like a broken filter."""

from __future__ import annotations

import base64
import contextlib
import hashlib
from collections.abc import Iterator

import hosts
import pytest
import scene
from clients import Http1, Http2, RawHeaders, exchange, request_bytes
from fake_provider import FakeProvider, Reply
from harness import HABITS, KINDS, Envoy, Provider, Upstream, config
from hosts import Host, Pool
from test_dpop import Owner, bound
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


# ------------------------------------------------------------------------------ Envoys that tests take turns at


@pytest.fixture
def pool() -> Iterator[Pool]:
    pool = Pool()
    yield pool
    pool.close()


def test_tests_that_take_turns_at_an_envoy_share_nothing(pool: Pool, fake: FakeProvider, upstream: Upstream) -> None:
    """Neither what it counts, nor what it writes, nor what the filter keeps: keys, verdicts, and proofs that were spent."""
    clusters = {"idp": fake.port, "upstream": upstream.port}
    owner, token = Owner(fake), fake.token()
    proof = owner.proof()
    asked = fake.count("/jwks")
    for turn in range(3):
        with Envoy(bound(fake), clusters, pool=pool, log_levels="wasm:debug" if turn else "wasm:trace") as envoy:
            assert envoy.metric("oidc_requests_total") == envoy.metric("oidc_dpop_proofs_total") == 0
            assert not envoy.stats(r"downstream_rq_total$").get("http.ingress.downstream_rq_total")
            assert [owner.get(envoy, proof).status for _ in range(2)] == [200, 401], "fresh, then spent"
            assert envoy.get(f"/turn-{turn}", token=token).status == 200
            assert fake.count("/jwks") > asked, "no key was kept"
            asked = fake.count("/jwks")
            assert envoy.metric("oidc_requests_total") == 3
            assert len(envoy.access_log(count=3)) == 3
            assert ("[trace][wasm]" in envoy.log()) == (turn == 0), "the level of the log is each one's own"
            assert f"/turn-{turn}" in envoy.log() and f"/turn-{turn - 1}" not in envoy.log()
    assert pool.started == 1


def test_a_process_that_others_have_too_is_not_changed(pool: Pool, fake: FakeProvider) -> None:
    with Envoy(config(fake), {"idp": fake.port, "upstream": fake.port}, pool=pool) as envoy:
        with pytest.raises(AssertionError, match="own_process"):
            envoy.admin("/drain_listeners", "POST")
        with pytest.raises(AssertionError, match="own_process"):
            envoy.process  # noqa: B018
    assert pool.started == 1


def test_an_envoy_that_keeps_something_is_not_lent_again(
    pool: Pool, fake: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here it is two clusters; and one that has come to an end by itself is no silent matter."""
    clusters = {"idp": fake.port, "upstream": fake.port}
    put = Host._put

    def forget_clusters(host: Host, name: str, resources: hosts.Resources) -> None:
        if name == "listeners" or resources:
            put(host, name, resources)

    with Envoy(config(fake), clusters, pool=pool) as envoy:
        first = envoy._process
        monkeypatch.setattr(Host, "_put", forget_clusters)
        monkeypatch.setattr(hosts, "CLEAN_SECONDS", 0.5)
    assert not first.running()
    monkeypatch.undo()
    with contextlib.ExitStack() as stack:
        envoy = stack.enter_context(Envoy(config(fake), clusters, pool=pool))
        assert pool.started == 2 and envoy._process is not first
        envoy._process.stop()
        with pytest.raises(scene.SceneError, match="came to an end by itself"):
            stack.close()
