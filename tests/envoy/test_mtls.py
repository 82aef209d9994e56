"""Tokens that are bound to their client's certificate (RFC 8705), over real TLS."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
from certificates import Authority
from clients import Http2
from conftest import StartEnvoy
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from fake_provider import FakeProvider
from harness import Bootstrap, Envoy, Provider, config
from tokens import b64url

NAME = "api.example.com"


def trusting(authority: Path) -> ssl.SSLContext:
    """For connections to 127.0.0.1, where no name is to be checked."""
    context = ssl.create_default_context(cafile=str(authority))
    context.check_hostname = False
    return context


class Client:
    """A certificate with its key, and connections that show it."""

    def __init__(self, authority: Authority, name: str, server: Path) -> None:
        authority.context(name, f"client-{name}")
        self.file = authority.file.parent / f"client-{name}.pem"
        self.context = trusting(server)
        self.context.load_cert_chain(self.file)
        self.der = x509.load_pem_x509_certificate(self.file.read_bytes()).public_bytes(serialization.Encoding.DER)

    @property
    def cnf(self) -> dict[str, str]:
        return {"x5t#S256": b64url(hashlib.sha256(self.der).digest())}

    def get(self, envoy: Envoy, token: str, **headers: str) -> int:
        connection = http.client.HTTPSConnection("127.0.0.1", envoy.port, context=self.context, timeout=20)
        try:
            connection.request("GET", "/", headers={"Authorization": f"Bearer {token}", **headers})
            response = connection.getresponse()
            response.read()
            return response.status
        finally:
            connection.close()


class Town:
    """Two clients of one authority, a stranger, and what an Envoy needs to talk TLS with them."""

    def __init__(self, directory: Path) -> None:
        self.authority, strangers = Authority(directory, "trusted"), Authority(directory, "strangers")
        self.authority.context(NAME, "server")
        self.server = directory / "server.pem"
        trusted = self.authority.file
        self.ann, self.eve = Client(self.authority, "ann", trusted), Client(self.authority, "eve", trusted)
        self.stranger = Client(strangers, "stranger", trusted)
        self.nobody = trusting(trusted)

    def context(self, client: Client) -> ssl.SSLContext:
        """A context of one's own, with this client's certificate."""
        context = trusting(self.authority.file)
        context.load_cert_chain(client.file)
        return context

    def tls(self, validation: dict[str, Any], required: bool = False) -> Any:
        def adjust(bootstrap: Bootstrap) -> None:
            certificate = {"certificate_chain": {"filename": str(self.server)}, "private_key": {"filename": str(self.server)}}
            context = {
                "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
                "require_client_certificate": required,
                "common_tls_context": {
                    "alpn_protocols": ["h2", "http/1.1"],
                    "tls_certificates": [certificate],
                    "validation_context": {"trusted_ca": {"filename": str(self.authority.file)}} | validation,
                },
            }
            socket = {"name": "envoy.transport_sockets.tls", "typed_config": context}
            bootstrap.listener["filter_chains"][0]["transport_socket"] = socket

        return adjust


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Town:
    return Town(tmp_path_factory.mktemp("town"))


def test_only_over_the_connection_of_its_certificate(start_envoy: StartEnvoy, fake: FakeProvider, town: Town) -> None:
    """TLS-01, TLS-02, TLS-03: its owner's connection, another's, and one without a certificate."""
    envoy = start_envoy(config(fake, certificate_bound={}), idp=fake.port, workers=2, adjust=town.tls({}))
    token = fake.token(cnf=town.ann.cnf)
    for _ in range(2):
        assert town.ann.get(envoy, token) == 200
        assert town.eve.get(envoy, token) == 401
    forged = f"Hash={hashlib.sha256(town.ann.der).hexdigest()}"
    assert town.eve.get(envoy, token, **{"X-Forwarded-Client-Cert": forged}) == 401
    nobody = http.client.HTTPSConnection("127.0.0.1", envoy.port, context=town.nobody, timeout=20)
    with contextlib.closing(nobody):
        nobody.request("GET", "/", headers={"Authorization": f"Bearer {token}", "X-Forwarded-Client-Cert": forged})
        response = nobody.getresponse()
        assert response.status == 401
        assert b"not_bound" in response.read()
    assert town.eve.get(envoy, fake.token()) == 200


@pytest.mark.parametrize("kind", ["es256", "opaque"])
def test_tokens_of_a_real_provider(start_envoy: StartEnvoy, provider: Provider, town: Town, kind: str) -> None:
    """TLS-01, TLS-02, INT-08: oidc-provider binds a JWT and an opaque token to a certificate."""
    envoy = start_envoy(config(provider, certificate_bound={"mode": "required"}), adjust=town.tls({}))
    token = provider.token(kind, client="svc-mtls", certificate=base64.b64encode(town.ann.der).decode())
    assert town.ann.get(envoy, token) == 200
    assert town.eve.get(envoy, token) == 401
    assert town.ann.get(envoy, provider.token(kind)) == 401


def test_a_certificate_that_envoy_has_not_validated(start_envoy: StartEnvoy, fake: FakeProvider, town: Town) -> None:
    """TLS-05: who trusts no authority binds to self-made certificates, and says so to Envoy."""
    settings = config(fake, certificate_bound={})
    accepting = town.tls({"trust_chain_verification": "ACCEPT_UNTRUSTED"})
    envoy = start_envoy(settings, idp=fake.port, adjust=accepting)
    token = fake.token(cnf=town.stranger.cnf)
    assert town.stranger.get(envoy, token) == 200
    assert town.eve.get(envoy, token) == 401
    strict = start_envoy(settings, idp=fake.port, adjust=town.tls({}, required=True))
    with pytest.raises((ssl.SSLError, ConnectionError, http.client.RemoteDisconnected)):
        town.stranger.get(strict, token)


def test_a_resumed_session_is_its_owners(start_envoy: StartEnvoy, fake: FakeProvider, town: Town) -> None:
    """TLS-06: after resumption, no certificate is sent; it is still that of the session."""
    envoy = start_envoy(config(fake, certificate_bound={}), idp=fake.port, adjust=town.tls({}))
    tokens = {client: fake.token(cnf=client.cnf) for client in (town.ann, town.eve)}
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        for client, other in ((town.ann, town.eve), (town.eve, town.ann)):
            context = town.context(client)
            context.minimum_version = context.maximum_version = version
            session, reused = None, []
            for _ in range(3):
                connection = http.client.HTTPSConnection("127.0.0.1", envoy.port, context=context, timeout=20)
                plain = socket.create_connection(("127.0.0.1", envoy.port), 20)
                connection.sock = context.wrap_socket(plain, session=session)
                for token, status in ((tokens[client], 200), (tokens[other], 401)):
                    connection.request("GET", "/", headers={"Authorization": f"Bearer {token}"})
                    response = connection.getresponse()
                    response.read()
                    assert response.status == status, (version, reused)
                reused.append(connection.sock.session_reused)
                session = connection.sock.session
                connection.close()
            assert reused[0] is False and any(reused[1:]), (version, reused)


def test_streams_of_one_connection(start_envoy: StartEnvoy, fake: FakeProvider, town: Town) -> None:
    """TLS-06: whatever a proxy sends over one HTTP/2 connection comes with that connection's certificate."""
    envoy = start_envoy(config(fake, certificate_bound={}), idp=fake.port, adjust=town.tls({}))
    tokens = {client: fake.token(cnf=client.cnf) for client in (town.ann, town.eve)}
    for client in (town.ann, town.eve):
        context = town.context(client)
        context.set_alpn_protocols(["h2"])
        with Http2(envoy.port, context) as connection:
            for _ in range(2):
                for owner, token in tokens.items():
                    response = connection.request("/", [("authorization", f"Bearer {token}")])
                    assert response.status == (200 if owner is client else 401)


def test_a_proxy_before_envoy(start_envoy: StartEnvoy, fake: FakeProvider, town: Town) -> None:
    """TLS-03: its header counts where it is configured, and only as its connection manager lets it in."""
    token = fake.token(cnf=town.ann.cnf)
    xfcc = f"By=spiffe://x;Hash={hashlib.sha256(town.ann.der).hexdigest()};Subject=\"CN=ann\""
    settings = config(fake, certificate_bound={"header": "x-forwarded-client-cert"})
    forwarding = {"forward_client_cert_details": "ALWAYS_FORWARD_ONLY"}
    envoy = start_envoy(settings, idp=fake.port, hcm=forwarding)
    assert envoy.get("/", [("X-Forwarded-Client-Cert", xfcc)], token=token).status == 200
    for wrong in [f"{xfcc},{xfcc}", xfcc.replace("Hash=", "Hash=00"), ""]:
        assert envoy.get("/", [("X-Forwarded-Client-Cert", wrong)], token=token).status == 401, wrong
    # By default, Envoy lets none in.
    plain = start_envoy(settings, idp=fake.port)
    assert plain.get("/", [("X-Forwarded-Client-Cert", xfcc)], token=token).status == 401
    pem = start_envoy(config(fake, certificate_bound={"header": "x-ssl-client-cert"}), idp=fake.port)
    text = x509.load_der_x509_certificate(town.ann.der).public_bytes(serialization.Encoding.PEM).decode()
    escaped = text.replace("\n", "%0A").replace(" ", "%20").replace("+", "%2B")
    assert pem.get("/", [("X-SSL-Client-Cert", escaped)], token=token).status == 200
