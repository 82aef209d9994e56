"""Requests of every shape, through a filter that has to wait before it can decide."""

from __future__ import annotations

import base64
import hashlib

import pytest
from conftest import StartEnvoy
from harness import Envoy, Provider, config

WEBSOCKET = {"upgrade_configs": [{"upgrade_type": "websocket"}]}
DELAY = 150  # milliseconds that the provider takes: long enough for a body to arrive meanwhile


@pytest.fixture(scope="module")
def grpc_envoy(start_shared_envoy: StartEnvoy, provider: Provider) -> Envoy:
    """HTTP/2 on both sides, so that trailers get through."""
    return start_shared_envoy(config(provider), http2_upstream=True)


def slow_token(provider: Provider) -> str:
    """An opaque token that nobody has seen yet, and a provider that takes its time over it."""
    provider.fault("/token/introspection", delay=DELAY)
    return provider.token("opaque")


def upgrade(token: str | None) -> list[tuple[str, str]]:
    key = base64.b64encode(b"k" * 16).decode()
    headers = [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Key", key)]
    return headers + ([("Authorization", f"Bearer {token}")] if token else [])


def test_a_body_arrives_whole_after_the_verdict(envoy: Envoy, provider: Provider) -> None:
    body = bytes(range(256)) * 8000  # 2 MB, far more than Envoy buffers for a connection
    response = envoy.get("/", token=slow_token(provider), method="POST", body=body)
    expected = {"length": len(body), "sha256": hashlib.sha256(body).hexdigest()}
    assert response.seen.body == expected


def test_trailers_arrive_after_the_verdict(grpc_envoy: Envoy, provider: Provider) -> None:
    headers = [("authorization", f"Bearer {slow_token(provider)}")]
    with grpc_envoy.http2() as connection:
        response = connection.request(
            "/", headers, method="POST", body=b"abc", trailers=[("x-sum", "9")]
        )
    assert response.seen.trailers == [("x-sum", "9")]


def test_a_grpc_call_passes(grpc_envoy: Envoy, provider: Provider) -> None:
    headers = [
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        ("authorization", f"Bearer {slow_token(provider)}"),
    ]
    with grpc_envoy.http2() as connection:
        message = b"\0\0\0\0\0"
        response = connection.request("/svc/Method", headers, method="POST", body=message)
    assert (response.status, response.body) == (200, message)
    assert response.trailers == [("grpc-status", "0")]


def test_a_grpc_call_is_refused_in_the_terms_of_grpc(grpc_envoy: Envoy) -> None:
    headers = [("content-type", "application/grpc"), ("te", "trailers")]
    with grpc_envoy.http2() as connection:
        response = connection.request("/svc/Method", headers, method="POST", body=b"\0\0\0\0\0")
    assert response.status == 200
    assert response.header("grpc-status") == "16"  # UNAUTHENTICATED


def test_a_websocket_opens_with_a_token(start_envoy: StartEnvoy, provider: Provider) -> None:
    envoy = start_envoy(config(provider), hcm=WEBSOCKET)
    assert envoy.get("/", upgrade(None)).status == 401
    with envoy.http1() as connection:
        lines = [f"{name}: {value}" for name, value in upgrade(slow_token(provider))]
        head = "\r\n".join(["GET /ws HTTP/1.1", "Host: test.example", *lines, "", ""])
        connection.send(head.encode() + b"\x81\x82\0\0\0\0hi")  # speaks before it is let in
        assert connection.receive().status == 101
        assert connection.read(4) == b"\x81\x02hi"


def test_a_client_that_goes_away_hurts_nobody(grpc_envoy: Envoy, provider: Provider) -> None:
    """It leaves while its token is with the provider; others wait for the same answer."""
    headers = [("authorization", f"Bearer {slow_token(provider)}")]
    with grpc_envoy.http2() as connection:
        gone, stays = (connection.start("/", headers) for _ in range(2))
        connection.reset(gone)
        assert connection.receive(stays).status == 200
