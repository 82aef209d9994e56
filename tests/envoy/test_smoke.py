"""The shortest way through everything: if one of these fails, look here first."""

from __future__ import annotations

import pytest
from conftest import StartEnvoy
from fake_provider import FakeProvider
from harness import IDENTITY, KINDS, Envoy, Provider, config, provider_entry
from tokens import Key, claims



def test_no_token_is_told_how_to_get_in(envoy: Envoy) -> None:
    response = envoy.get("/none")
    assert response.status == 401
    challenge = response.header("www-authenticate")
    assert challenge
    assert challenge.startswith("Bearer ")
    assert "error=" not in challenge
    assert envoy.access_log(path="/none")[0]["details"] == "oidc_denied{missing_token}"


@pytest.mark.parametrize("kind", KINDS)
def test_a_jwt_of_a_real_provider_passes(envoy: Envoy, provider: Provider, kind: str) -> None:
    response = envoy.get("/ok", token=provider.token(kind))
    assert response.status == 200, response
    assert response.seen.all("x-user") == ["svc"]


def test_a_jwt_passes_over_http2(envoy: Envoy, provider: Provider) -> None:
    headers = [("authorization", f"Bearer {provider.token('es256')}"), ("x-user", "admin")]
    with envoy.http2() as connection:
        response = connection.request("/h2", headers)
        assert connection.request("/h2").status == 401
    assert response.seen.all("x-user") == ["svc"]


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("struct", [False, True], ids=["json", "struct"])
def test_every_worker_enforces(
    start_envoy: StartEnvoy, provider: Provider, workers: int, struct: bool
) -> None:
    """Each worker has its own instance of the module; connections are spread over them."""
    envoy = start_envoy(config(provider, **IDENTITY), workers=workers, struct=struct)
    token = provider.token("rs256")
    for _ in range(8):
        assert envoy.get("/").status == 401
        assert envoy.get("/", token=token).seen.all("x-user") == ["svc"]


def test_an_opaque_token_is_introspected(envoy: Envoy, provider: Provider) -> None:
    token = provider.token("opaque")
    assert envoy.get("/", token=token).status == 200
    assert envoy.get("/", token="nobody-issued-this").status == 401


def test_a_user_token_is_sent_to_userinfo(start_envoy: StartEnvoy, provider: Provider) -> None:
    entry = provider_entry(
        provider, validation="userinfo", audiences=None, any_audience=True, introspection=None
    )
    claim_headers = [{"header": "x-email", "claim": "email"}]
    envoy = start_envoy(config(provider, providers=[entry], claim_headers=claim_headers))
    response = envoy.get("/", token=provider.user_token("alice"))
    assert response.status == 200, response
    assert response.seen.all("x-email") == ["alice@example.test"]


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("forged", "bad_signature"),
        ("expired", "expired"),
        ("other issuer", "unknown_issuer"),
    ],
)
def test_a_token_that_is_not_good_is_refused(
    envoy: Envoy, provider: Provider, fault: str, reason: str
) -> None:
    good = provider.token("rs256")
    token = {
        "forged": f"{good.rpartition('.')[0]}.{provider.token('rs256').rpartition('.')[2]}",
        "expired": provider.token("rs256", ttl=-600),
        "other issuer": Key.make("RS256").token(claims("https://evil.example")),
    }[fault]
    path = f"/{reason}"
    response = envoy.get(path, token=token, headers=[("x-user", "admin")])
    assert response.status == 401, response
    assert 'error="invalid_token"' in (response.header("www-authenticate") or "")
    assert response.json()["error"] == "invalid_token"
    assert envoy.access_log(path=path)[0]["details"] == f"oidc_denied{{{reason}}}"


def test_a_token_for_somebody_else_is_refused(start_envoy: StartEnvoy, fake: FakeProvider) -> None:
    envoy = start_envoy(config(fake), idp=fake.port)
    assert envoy.get("/", token=fake.token(aud="urn:other")).status == 401
    assert envoy.access_log()[0]["details"] == "oidc_denied{wrong_audience}"


def test_what_is_invalid_is_stripped(start_envoy: StartEnvoy, provider: Provider) -> None:
    envoy = start_envoy(config(provider, enforce=False, **IDENTITY))
    response = envoy.get("/", token="forged", headers=[("x-user", "admin")])
    assert response.seen.all("authorization") == response.seen.all("x-user") == []
    assert envoy.access_log()[0]["result"] == "stripped"
    good = provider.token("rs256")
    assert envoy.get("/", token=good).seen.all("x-user") == ["svc"]


def test_a_provider_that_is_down_is_not_the_clients_fault(
    start_envoy: StartEnvoy, fake: FakeProvider
) -> None:
    fake.routes.clear()
    envoy = start_envoy(config(fake), idp=fake.port)
    response = envoy.get("/down", token=fake.token())
    assert (response.status, response.header("www-authenticate")) == (503, None)
    assert response.header("retry-after")


def test_an_own_key_at_a_fake_provider_passes(start_envoy: StartEnvoy, fake: FakeProvider) -> None:
    envoy = start_envoy(config(fake, **IDENTITY), idp=fake.port)
    assert envoy.get("/", token=fake.token(sub="carol")).seen.all("x-user") == ["carol"]


def test_decisions_are_counted(start_envoy: StartEnvoy, provider: Provider) -> None:
    envoy = start_envoy(config(provider))
    envoy.get("/")
    envoy.get("/", token=provider.token("rs256"))
    envoy.access_log(count=2)  # the filter may count when the stream ends
    assert envoy.metric("oidc_requests_total", result="denied", reason="missing_token") == 1
    assert envoy.metric("oidc_requests_total", result="allowed") == 1
