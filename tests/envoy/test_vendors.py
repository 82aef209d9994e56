"""Providers that people have, with the ways of each: where their issuers' metadata and keys are, what
their keys, headers and claims look like. One filter knows them all."""

from __future__ import annotations

import dataclasses
import time
import urllib.parse
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import pytest
from conftest import StartEnvoy
from fake_provider import FakeProvider, Reply, Request
from harness import Envoy
from tokens import AUDIENCE, Key, claims

NOW = int(time.time())
TENANT = "72f988bf-86f1-41af-91ab-2d7cd011db47"
CERTIFICATE = {"x5c": ["MIIDBTCCAe2gAwIBAgIQ+/=="], "x5t": "abc"}
ANYONE = {"audiences": None, "any_audience": True}
RS256, ES256, ES384, ES512 = (Key.make(alg, alg.lower()) for alg in ("RS256", "ES256", "ES384", "ES512"))
PS256, EDDSA = Key.make("PS256", "ps256"), Key.make("EdDSA", "eddsa")
BIG, BIGGER = Key.make("RS256", "3072", 3072), Key.make("RS512", "a/b+c=", 4096)

# Of no use, and in the way of nobody: for encryption, on other curves, of other kinds.
OTHER_KEYS = [
    {"kty": "RSA", "use": "enc", "alg": "RSA-OAEP", "kid": "enc", "n": RS256.jwk()["n"], "e": "AQAB"},
    {"kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA", "kid": "k1"},
    {"kty": "OKP", "crv": "X25519", "x": "AA", "kid": "x1", "use": "enc"},
    {"kty": "AKP", "alg": "ML-DSA-65", "pub": "AA", "kid": "pq"},
]


@dataclasses.dataclass
class Vendor:
    """A provider's entry, the URL of its keys, and its ways."""

    entry: dict[str, Any]
    keys: str
    key: Key = RS256
    jwk: dict[str, Any] = dataclasses.field(default_factory=dict)
    header: dict[str, Any] = dataclasses.field(default_factory=dict)
    claims: dict[str, Any] = dataclasses.field(default_factory=dict)
    metadata: str = "{path}/.well-known/openid-configuration"

    @property
    def issuer(self) -> str:
        return self.entry["issuer"]

    def token(self, **changes: Any) -> str:
        return self.key.token(claims(self.issuer, **(self.claims | changes)), self.header)


VENDORS = {
    "Entra ID": Vendor(
        {"issuer": f"https://login.microsoftonline.com/{TENANT}/v2.0"},
        "https://login.microsoftonline.com/t/discovery/v2.0/keys",
        jwk={"alg": None, "issuer": "https://login.microsoftonline.com/x/v2.0", **CERTIFICATE},
        header={"typ": "JWT", "x5t": "abc"},
        claims={"scope": None, "scp": "a b", "ver": "2.0", "nbf": NOW - 300, "tid": TENANT, "xms_ftd": ""},
    ),
    "Entra ID, version 1": Vendor(
        {"issuer": f"https://sts.windows.net/{TENANT}/", "clusters": {"login.microsoftonline.com": "idp"}},
        "https://login.microsoftonline.com/common/discovery/keys",
        BIG,
        jwk={"alg": None, **CERTIFICATE},
        header={"typ": "JWT", "x5t": "abc"},
        claims={"ver": "1.0", "appid": "x", "acr": "1", "amr": ["pwd"]},
    ),
    "Okta": Vendor(
        {"issuer": "https://org.okta.com"},
        "https://org.okta.com/oauth2/v1/keys",
        BIGGER,
        header={"typ": "okta-internal-at+jwt"},
        claims={"scope": None, "scp": ["openid"], "ver": 1, "cid": "c", "uid": "u"},
    ),
    "Okta, custom server": Vendor(
        {"issuer": "https://org.okta.com/oauth2/default"},
        "https://org.okta.com/oauth2/default/v1/keys",
        header={"typ": None},
        claims={"scope": None, "scp": ["openid"], "ver": 1, "cid": "c"},
    ),
    "Auth0": Vendor(
        {"issuer": "https://tenant.eu.auth0.com/"},
        "https://tenant.eu.auth0.com/.well-known/jwks.json",
        jwk=CERTIFICATE,
        claims={"aud": [AUDIENCE, "https://tenant.eu.auth0.com/userinfo"], "azp": "x", "permissions": []},
    ),
    "Cognito": Vendor(
        {"issuer": "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_a", **ANYONE},
        "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_a/.well-known/jwks.json",
        header={"typ": None},
        claims={"aud": None, "token_use": "access", "cognito:groups": ["a"], "version": 2},
    ),
    "Google": Vendor(
        {"issuer": "https://accounts.google.com", "clusters": {"www.googleapis.com": "idp"}},
        "https://www.googleapis.com/oauth2/v3/certs",
        header={"typ": "JWT"},
        claims={"azp": "x", "email": "a@b.c", "email_verified": True, "at_hash": "x"},
    ),
    "Google, without https": Vendor(
        {
            "issuer": "accounts.google.com",
            "validation": "jwt",
            "jwks": {"uri": "https://www.googleapis.com/oauth2/v3/certs"},
        },
        "https://www.googleapis.com/oauth2/v3/certs",
        header={"typ": "JWT"},
    ),
    "PingOne": Vendor(
        {"issuer": "https://auth.pingone.eu/e/as"},
        "https://auth.pingone.eu/e/as/jwks",
        header={"typ": None},
        claims={"aud": [AUDIENCE], "env": "e", "org": "o", "p1.rid": "x"},
    ),
    "Authentik": Vendor(
        {"issuer": "https://authentik.example.com/application/o/app/"},
        "https://authentik.example.com/application/o/app/jwks/",
        ES256,
        jwk=CERTIFICATE,
        header={"typ": "JWT"},
        claims={"acr": "goauthentik.io/providers/oauth2/default", "auth_time": NOW, "groups": []},
    ),
    "Kubernetes": Vendor(
        {"issuer": "https://kubernetes.default.svc.cluster.local", "clusters": {"10.0.0.1:6443": "idp"}},
        "https://10.0.0.1:6443/openid/v1/jwks",
        header={"typ": None},
        claims={"aud": [AUDIENCE], "kubernetes.io": {"namespace": "d", "warnafter": 1}},
    ),
    "GitLab": Vendor(
        {"issuer": "https://gitlab.com"},
        "https://gitlab.com/oauth/discovery/keys",
        header={"typ": "JWT"},
        claims={"user_id": "1", "ref_protected": "true", "nbf": NOW - 5},
    ),
    "Dex": Vendor(
        {"issuer": "https://dex.example.com:5554/dex"},
        "https://dex.example.com:5554/dex/keys",
        header={"typ": None},
        claims={"federated_claims": {"connector_id": "x", "user_id": "y"}},
    ),
    "Ory Hydra": Vendor(
        {"issuer": "https://hydra.example.com/", **ANYONE},
        "https://hydra.example.com/.well-known/jwks.json",
        header={"typ": "JWT"},
        claims={"scope": None, "aud": [], "scp": [], "ext": {}, "iat": float(NOW), "exp": NOW + 86_400.25},
    ),
    "Curity": Vendor(
        {"issuer": "https://curity.example.com/oauth/v2/oauth-anonymous"},
        "https://curity.example.com/oauth/v2/oauth-anonymous/jwks",
        ES384,
        header={"typ": None, "x5t": "x"},
        claims={"purpose": "access_token", "delegationId": "x"},
    ),
    "Keycloak": Vendor(
        {"issuer": "https://kc.example.com/realms/a%20b"},
        "https://kc.example.com/realms/a%20b/protocol/openid-connect/certs",
        PS256,
        jwk=CERTIFICATE,
        header={"typ": "JWT"},
        claims={"typ": "Bearer", "aud": ["account", AUDIENCE], "realm_access": {"roles": ["x"]}},
    ),
    "ForgeRock": Vendor(
        {"issuer": "https://am.example.com:443/am/oauth2"},
        "https://am.example.com:443/am/oauth2/connect/jwk_uri",
        header={"typ": "JWT", "zip": "NONE"},
        claims={"tokenName": "access_token", "token_type": "Bearer", "expires_in": 3600, "realm": "/"},
    ),
    "Cloud Foundry UAA": Vendor(
        {"issuer": "https://uaa.example.com/oauth/token"},
        "https://uaa.example.com/token_keys",
        jwk={"value": "-----BEGIN PUBLIC KEY-----\n"},
        header={"typ": "JWT", "jku": "https://uaa.example.com/token_keys"},
        claims={"scope": ["uaa.none"], "zid": "uaa", "cid": "c"},
    ),
    "Zitadel": Vendor(
        {"issuer": "https://zitadel.example.com:8080"},
        "https://zitadel.example.com:8080/oauth/v2/keys",
        EDDSA,
        header={"typ": "JWT"},
        claims={"aud": ["1", AUDIENCE], "urn:zitadel:iam:org:project:roles": {"admin": {"1": "x"}}},
    ),
    "one that says little": Vendor(
        {"issuer": "HTTPS://Es.Example.COM/X"},
        "https://es.example.com/keys?v=1&x=%20",
        ES512,
        jwk={"kid": None, "alg": None, "use": None},
        header={"typ": "application/at+jwt", "kid": None},
    ),
    "one that knows only OAuth": Vendor(
        {"issuer": "https://as.example.com/tenant/"},
        "https://as.example.com/tenant/k",
        jwk={"kid": None},
        metadata="/.well-known/oauth-authorization-server{path}",
    ),
}


def host(url: str) -> str:
    return urllib.parse.urlsplit(url).netloc.lower().removesuffix(":443")


@pytest.fixture(scope="module")
def internet() -> Any:
    """All hosts behind one port: which one is meant, the header says."""
    replies: dict[str, dict[str, Reply]] = defaultdict(dict)
    for vendor in VENDORS.values():
        path = urllib.parse.urlsplit(vendor.issuer).path.rstrip("/")
        document = {
            "issuer": vendor.issuer,
            "jwks_uri": vendor.keys,
            "introspection_endpoint": None,
            "userinfo_endpoint": "https://elsewhere.example.com/userinfo",
            "id_token_signing_alg_values_supported": ["RS256"],
        }
        said = [("content-type", "application/json; charset=utf-8"), ("cache-control", "public, max-age=86400")]
        replies[vendor.metadata.format(path=path)][host(vendor.issuer)] = Reply.json(document, headers=said)
        keys = {"keys": [*OTHER_KEYS, vendor.key.jwk(**vendor.jwk)]}
        said = [("content-type", "application/jwk-set+json;charset=UTF-8")]
        replies[urllib.parse.urlsplit(vendor.keys).path][host(vendor.keys)] = Reply.json(keys, headers=said)

    def answering(by_host: dict[str, Reply]) -> Callable[[Request], Reply]:
        return lambda request: by_host.get(request.header("host") or "", Reply(404))

    with FakeProvider() as fake:
        fake.routes = {path: answering(by_host) for path, by_host in replies.items()}
        yield fake


@pytest.fixture(scope="module")
def gateway(start_shared_envoy: StartEnvoy, internet: FakeProvider) -> Envoy:
    providers = []
    for index, vendor in enumerate(VENDORS.values()):
        entry = {"name": f"vendor-{index}", "cluster": "idp", "audiences": [AUDIENCE]} | vendor.entry
        providers.append({name: value for name, value in entry.items() if value is not None})
    outputs = {"claim_headers": [{"header": "x-user", "claim": "sub"}]}
    return start_shared_envoy({"providers": providers} | outputs, idp=internet.port)


@pytest.mark.parametrize("name", VENDORS)
def test_a_token_of_this_vendor_passes(gateway: Envoy, name: str) -> None:
    vendor = VENDORS[name]
    assert gateway.get("/", token=vendor.token()).seen.header("x-user") == "alice"
    if vendor.entry.get("audiences", ...) is not None:
        assert gateway.get("/", token=vendor.token(aud="urn:api:other")).status == 401
    assert gateway.get("/", token=vendor.token(exp=NOW - 3600)).status == 401
    forged = dataclasses.replace(vendor, key=dataclasses.replace(Key.make(), kid=vendor.key.kid))
    assert gateway.get("/", token=forged.token()).status == 401
