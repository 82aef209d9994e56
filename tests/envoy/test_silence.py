"""LOG-01: whatever happens, at whatever level, no log line and no metric holds a secret."""

from __future__ import annotations

import base64
import re
import urllib.parse
from typing import Any

import pytest
from conftest import StartEnvoy
from envoy_filters import hand_off
from fake_provider import FakeProvider, Reply, Request
from harness import Envoy, config, provider_entry, validate_config
from tokens import Key, claims

SECRET = "s3cret-of-the-client"
PRIVATE = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"  # RFC 8037, appendix A.1
CLAIM = "claim-that-is-private"
OUTPUTS = {
    "user_info": [
        {"location": "header", "key": "x-identity"},
        {"location": "cookie", "key": "identity"},
        {"location": "metadata", "key": "identity"},
    ],
    "claim_headers": [{"header": "x-user", "claim": "sub"}],
    "access_token": [
        {"location": "header", "key": "Authorization"},
        {"location": "cookie", "key": "token"},
        {"location": "query_string", "key": "token"},
    ],
    "forward": False,
}
BASIC = base64.b64encode(f"rs:{SECRET}".encode()).decode()
HOSTILE = "evil\x1b[31m\r\n[critical] forged line\x00"


# All but `overloaded`, which takes ten thousand requests that wait.
REASONS = """
    missing_token invalid_request malformed_token unsupported_token unknown_issuer unknown_key
    bad_signature expired not_yet_valid wrong_audience wrong_type invalid_claims inactive
    insufficient_scope insufficient_claims not_bound provider_unavailable misconfigured
""".split()


class Answers:
    """Introspection in all moods, by the token."""

    def __init__(self) -> None:
        self.used: set[str] = set()

    def token(self, mood: str) -> str:
        token = f"opaque-{mood}-x7Kq9"
        self.used.add(token)
        return token

    def __call__(self, request: Request) -> Reply:
        token = request.form.get("token") or request.target
        known = {"active": True, "sub": CLAIM, "aud": "urn:api:test", "email": CLAIM}
        for mood, reply in {
            "active": Reply.json(known),
            "broken": Reply(500, f'{{"detail": "{CLAIM}"}}'.encode()),
            "garbage": Reply(body=f"<{CLAIM}>".encode()),
            "refused": Reply(401, CLAIM.encode()),
            "late": Reply.json(known, delay=30),
            "cut": Reply.json(known, cut=4),
            "audience": Reply.json({**known, "aud": CLAIM}),
            "claims": Reply.json({**known, "exp": CLAIM}),
            "bound": Reply.json({**known, "cnf": {"jkt": CLAIM}}),
        }.items():
            if f"-{mood}-" in token:
                return reply
        return Reply.json({"active": False, "sub": CLAIM})

    def userinfo(self, request: Request) -> Reply:
        token = request.headers.get("authorization") or ""
        if "-active-" in token or "-audience-" in token:
            return Reply.json({"sub": CLAIM, "email": CLAIM})
        return Reply(500 if "-broken-" in token else 401, CLAIM.encode())


@pytest.fixture(scope="module")
def traffic(start_shared_envoy: StartEnvoy) -> Any:
    """A bit of everything, at trace; then what was said, and what should not have been."""
    key, shared, answers = Key.make(kid="k"), Key.make("HS256", "shared-secret-x7Kq9"), Answers()
    with FakeProvider(key) as fake, FakeProvider() as gone:
        fake.routes["/introspect"] = answers
        fake.routes["/userinfo"] = answers.userinfo
        client = {"client_id": "rs", "client_secret": "${SECRET}"}
        signer = {"kty": "OKP", "crv": "Ed25519", "d": PRIVATE}
        by_key = {"client_id": "rs", "client_auth": "private_key_jwt", "client_key": signer}

        def of(introspection: dict[str, Any], **changes: Any) -> dict[str, Any]:
            entry = provider_entry(fake, introspection=introspection, timeout="500ms")
            return config(fake, providers=[entry], **OUTPUTS | changes)

        def by(**changes: Any) -> dict[str, Any]:
            entry = provider_entry(fake, introspection=None, timeout="500ms", **changes)
            return config(fake, providers=[entry], **OUTPUTS)

        inline = {"keys": [shared.jwk()]}
        envoy = start_shared_envoy(
            of(client),
            listeners={
                "strip": of(client, enforce=False),
                "post": of({**client, "client_auth": "post"}),
                "get": of({**client, "method": "GET"}),
                "key": of(by_key),
                "needs": of(client, require={"claims": [{"claim": "sub", "any_of": "nobody"}]}),
                "scopes": of(client, require={"scopes": ["nobody:can"]}),
                "jwt": by(validation="jwt", token_type="at+jwt"),
                "userinfo": by(validation="userinfo", audiences=None),
                "shared": by(validation="jwt", algorithms=["HS256"], jwks={"inline": inline}),
                "gone": config(gone, providers=[provider_entry(gone, cluster="nowhere")]),
            },
            idp=fake.port,
            env={"SECRET": SECRET},
            after=[hand_off("identity")],
            log_levels="wasm:trace",
            own_process=True,
        )
        envoy.admin("/logging?wasm=trace", method="POST")
        own = answers.used
        private = {"sub": CLAIM, "email": CLAIM, "jti": CLAIM}
        jwts = [
            key.token(claims(fake.issuer, **private)),
            key.token(claims(fake.issuer, **private, exp=1_700_000_000)),
            key.token(claims(fake.issuer, **private, aud=CLAIM)),
            key.token(claims(f"https://{CLAIM}.example")),
            key.token(claims(f"https://{HOSTILE}")),
            key.token(claims(fake.issuer, **private, aud=HOSTILE, scope=HOSTILE)),
            key.token(claims(fake.issuer, **private, scope=CLAIM, nbf=CLAIM)),
            key.token(claims(fake.issuer, **private), {"kid": f"{CLAIM}{HOSTILE}"}),
            key.token(claims(fake.issuer, **private), {"typ": CLAIM}),
            key.token(claims(fake.issuer, **private), {"alg": CLAIM}),
            key.token(claims(fake.issuer, **private, groups=[CLAIM] * 600)),
            key.token(claims(fake.issuer, **private, groups=[CLAIM] * 400)),
            key.token(claims(fake.issuer, **private, nbf=4_000_000_000)),
            key.token(claims(fake.issuer, **private, cnf={"jkt": CLAIM})),
            key.token(claims(fake.issuer, **private), {"typ": "logout+jwt"}),
            shared.token(claims(fake.issuer, **private)),
            shared.token(claims(fake.issuer, **private, exp=1_700_000_000)),
            key.token(claims(fake.issuer, sub=HOSTILE, name=CLAIM)),
            Key.make(kid="k").token(claims(fake.issuer, **private)),
            jwt_without_signature(key.token(claims(fake.issuer, **private))),
            key.token(claims(gone.issuer, **private)),
        ]
        moods = "active inactive broken garbage refused late cut audience claims bound".split()
        doors = "enforce strip post get key needs gone scopes jwt userinfo shared".split()
        for door in doors:
            envoy.door(door).get("/nothing")
            for token in [*jwts, *(answers.token(f"{mood}-{door}") for mood in moods)]:
                own.add(token)
                send(envoy, door, token)
        keys = [PRIVATE, shared.jwk()["k"], shared.private.decode()]
        yield envoy, [*sorted(own), SECRET, urllib.parse.quote(SECRET), BASIC, CLAIM, *keys]


def jwt_without_signature(token: str) -> str:
    return token.rpartition(".")[0] + "."


def send(envoy: Envoy, door: str, token: str) -> None:
    to = envoy.door(door)
    to.get("/header", token=token)
    to.get("/cookie", [("Cookie", f"token={token}")])
    to.get("/twice", [("Authorization", f"Bearer {token}")] * 2)
    to.get("/joined", [("Authorization", f"Bearer {token}, Bearer {token}")])
    to.get("/scheme", [("Authorization", f"Basic {token}")])
    hostile = [("x-user", token), ("User-Agent", "\x1b[31m"), ("Cookie", "identity=x")]
    to.get("/hostile\x7f", hostile)


def found(text: str, secrets: list[str]) -> list[str]:
    """The secrets in a text, also the halves of tokens."""
    parts = {part for secret in secrets for part in (secret, *secret.split(".")) if len(part) > 12}
    common = {"eyJhbGciOiJFUzI1NiIsImtpZCI6ImsiLCJ0eXAiOiJhdCtqd3QifQ"}
    return [part for part in parts - common if part in text]


def test_the_log_holds_no_secret(traffic: tuple[Envoy, list[str]]) -> None:
    """LOG-01."""
    envoy, secrets = traffic
    log = envoy.log()
    assert "[trace][wasm]" in log, "or this would prove nothing"
    assert "denied with" in log
    assert found(log, secrets) == []


def test_the_access_log_holds_no_secret(traffic: tuple[Envoy, list[str]]) -> None:
    """LOG-01, LOG-06: But for the metadata that this access log was asked for: claims, and
    never a token."""
    envoy, secrets = traffic
    for entry in envoy.access_log(count=500):
        assert found(str({**entry, "metadata": None}), secrets) == []
        assert found(str(entry["metadata"]), [s for s in secrets if s != CLAIM]) == []


def test_nobody_can_forge_a_line(traffic: tuple[Envoy, list[str]]) -> None:
    """LOG-02."""
    envoy, _ = traffic
    lines = envoy.log().split("\n")
    assert not [line for line in lines if line.startswith("[critical]") or "forged line" in line]
    assert not re.search(r"[\x00-\x08\x0b-\x1f]", envoy.log())


def test_metrics_have_few_labels_and_no_secret(traffic: tuple[Envoy, list[str]]) -> None:
    """LOG-03."""
    envoy, secrets = traffic
    stats = envoy.admin("/stats/prometheus")
    assert found(stats, secrets) == []
    own = [line for line in stats.splitlines() if line.startswith("oidc_")]
    assert 10 < len(own) < 100
    assert found(envoy.admin("/stats"), secrets) == []


def test_filter_state_and_details_hold_no_token(traffic: tuple[Envoy, list[str]]) -> None:
    """LOG-05."""
    envoy, secrets = traffic
    entries = envoy.access_log(count=500)
    assert {entry["result"] for entry in entries} <= {None, "allowed", "stripped", "bypassed"}
    ours = {entry["details"] for entry in entries if "oidc" in (entry["details"] or "")}
    assert ours == {f"oidc_denied{{{reason}}}" for reason in REASONS}


def test_every_kind_of_refusal_was_listened_to(traffic: tuple[Envoy, list[str]]) -> None:
    """LOG-01."""
    envoy, _ = traffic
    denied = set(re.findall(r"denied with \d+: (\w+) ", envoy.log()))
    assert denied == set(REASONS)


def test_the_words_of_a_refusal_are_those_of_rfc_6750(
    traffic: tuple[Envoy, list[str]],
) -> None:
    """RSP-03: Section 3: of what realm, scope, error and error_description are made; and each
    but once."""
    envoy, secrets = traffic
    seen = set()
    for door in ("enforce", "post", "get", "key", "needs", "scopes", "jwt", "userinfo", "shared"):
        for token in [secret for secret in secrets if secret.startswith(("ey", "opaque-"))]:
            response = envoy.door(door).get("/words", token=token)
            if response.status == 200:
                continue
            challenges = response.all("www-authenticate")
            assert len(challenges) <= 1
            assert found(str(response.headers) + response.body.decode("ascii"), secrets) == []
            for challenge in challenges:
                scheme, _, parameters = challenge.partition(" ")
                pairs = re.findall(r'(\w+)="([\x20-\x21\x23-\x5b\x5d-\x7e]*)"', parameters)
                assert ", ".join(f'{name}="{value}"' for name, value in pairs) == parameters
                names = [name for name, _ in pairs]
                assert scheme == "Bearer" and names[0] == "realm" and len(set(names)) == len(names)
                assert " " not in dict(pairs).get("error", "")
                seen.add(dict(pairs).get("error"))
    assert seen == {"invalid_token", "insufficient_scope"}


def test_the_configuration_dump_holds_the_reference_not_the_secret(
    traffic: tuple[Envoy, list[str]],
) -> None:
    """LOG-04: Environment variables that are written into the configuration itself are in the
    dump."""
    envoy, _ = traffic
    dump = envoy.admin("/config_dump?resource=static_listeners")
    assert "${SECRET}" in dump


@pytest.mark.parametrize(
    "introspection",
    [
        {"client_id": "rs", "client_secret": SECRET, "client_auth": "magic"},
        {"client_id": "", "client_secret": SECRET},
        {"client_id": "rs", "client_secret": [SECRET]},
        {"client_id": "rs", "client_secret": SECRET, SECRET[:3]: 1},
        {"client_id": "rs", "client_auth": "private_key_jwt", "client_key": {"d": PRIVATE}},
        {"client_id": "rs", "client_secret": "${" + SECRET},
        {"client_id": "rs", "client_secret": SECRET, "client_auth": "private_key_jwt"},
        {"client_id": "rs", "client_secret": SECRET, "client_key": {"d": PRIVATE}},
        {"client_id": "rs", "client_secret": SECRET, "client_auth": "post", "method": "GET"},
        {"client_id": "rs", "client_auth": "private_key_jwt", "client_key": PRIVATE},
        {"client_id": "rs", "client_secret": SECRET, "endpoint": f"https://u:{SECRET}@idp/"},
        {"client_id": "rs", "client_secret": SECRET, "cache": SECRET},
    ],
    ids=range(12),
)
def test_errors_in_the_configuration_tell_no_secret(
    fake: FakeProvider, introspection: dict[str, Any]
) -> None:
    """LOG-04."""
    entry = provider_entry(fake, introspection=introspection)
    result = validate_config(config(fake, providers=[entry]))
    assert result.returncode != 0
    assert found(result.stdout, [SECRET, PRIVATE]) == []
