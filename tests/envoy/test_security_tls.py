"""Who the provider is, is for TLS to say: a stranger with another certificate is called by nobody."""

from __future__ import annotations

import copy
import re
import ssl
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from certificates import Authority
from conftest import StartEnvoy
from fake_provider import FakeProvider
from harness import ROOT, Bootstrap, config, provider_entry

NAME = "idp.example.com"


class TlsProvider(FakeProvider):
    """The fake provider behind TLS, under a name of its own."""

    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__()
        self.issuer = f"https://{NAME}"
        plain = self._server.get_request

        def get_request() -> Any:
            connection, address = plain()
            # The handshake is the handler's, so that one that fails holds up nobody.
            tls = context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
            return tls, address

        self._server.get_request = get_request  # type: ignore[method-assign]


def cluster_of_the_readme() -> dict[str, Any]:
    """The cluster that people copy."""
    text = (ROOT / "README.md").read_text()
    (block,) = [b for b in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL) if "transport_socket" in b]
    (cluster,) = yaml.safe_load(block)
    return cluster


@pytest.fixture(scope="module")
def authorities(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Authority, Authority]]:
    directory = tmp_path_factory.mktemp("tls")
    yield Authority(directory, "trusted"), Authority(directory, "stranger")


@pytest.mark.parametrize(
    ("issued_by", "host", "status"),
    [
        ("trusted", NAME, 200),
        ("trusted", "evil.example.com", 503),
        ("trusted", f"{NAME}.evil.example", 503),
        ("trusted", "127.0.0.1", 503),
        ("stranger", NAME, 503),
    ],
    ids=["right", "wrong name", "longer name", "address", "self-made chain"],
)
def test_only_the_provider_itself_is_believed(
    start_envoy: StartEnvoy,
    authorities: tuple[Authority, Authority],
    issued_by: str,
    host: str,
    status: int,
) -> None:
    """OUT-10, INT-04: with the cluster of the README, but for where the provider is and whom it
    is trusted by."""
    trusted, stranger = authorities
    authority = trusted if issued_by == "trusted" else stranger
    with TlsProvider(authority.context(host, f"{issued_by}-{host}")) as provider:

        def adjust(bootstrap: Bootstrap) -> None:
            cluster = copy.deepcopy(cluster_of_the_readme())
            tls = cluster["transport_socket"]["typed_config"]
            assert (cluster["name"], tls["sni"]) == ("idp", NAME)
            cluster["type"] = "STATIC"
            (endpoints,) = cluster["load_assignment"]["endpoints"]
            (endpoint,) = endpoints["lb_endpoints"]
            address = endpoint["endpoint"]["address"]["socket_address"]
            assert address == {"address": NAME, "port_value": 443}
            address |= {"address": "127.0.0.1", "port_value": provider.port}
            validation = tls["common_tls_context"]["validation_context"]
            validation["trusted_ca"] = {"filename": str(trusted.file)}
            bootstrap.clusters[:] = [c for c in bootstrap.clusters if c["name"] != "idp"]
            bootstrap.clusters.append(cluster)

        entry = provider_entry(provider, timeout="2s")
        envoy = start_envoy(config(provider, providers=[entry]), adjust=adjust)
        response = envoy.get("/", token=provider.token())
        assert response.status == status, envoy.log()[-2000:]
        assert bool(provider.requests) == (status == 200), "nothing was said to a stranger"
        if status == 503:
            assert envoy.get("/", token="opaque").status == 503
            assert provider.requests == []
