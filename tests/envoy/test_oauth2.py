"""Envoy's own `oauth2` filter before ours: a browser logs in at a real provider, and the service gets no token of it."""

from __future__ import annotations

import urllib.parse
from pathlib import Path
from typing import Any

import pytest
from clients import Response
from conftest import StartEnvoy
from envoy_filters import http_filter
from harness import Bootstrap, Envoy, Provider, Upstream
from pages import Page

CALLBACK = "http://127.0.0.1:9999/callback"  # what the provider knows of its client
PAGE = Page("migrate/authservice.md")


def oauth2(provider: Provider, directory: Path) -> dict[str, Any]:
    secrets = {"token": "web-secret", "hmac": "0123456789abcdef0123456789abcdef"}

    def secret(name: str) -> dict[str, Any]:
        file = directory / f"{name}.yaml"
        kind = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"
        file.write_text(
            f'resources:\n- "@type": {kind}\n  name: {name}\n'
            f"  generic_secret: {{secret: {{inline_string: {secrets[name]}}}}}\n"
        )
        return {"name": name, "sds_config": {"path_config_source": {"path": str(file)}}}

    return http_filter(
        "oauth2",
        "oauth2.v3.OAuth2",
        config={
            "token_endpoint": {"cluster": "idp", "uri": f"{provider.issuer}/token", "timeout": "5s"},
            "authorization_endpoint": f"{provider.issuer}/auth",
            "redirect_uri": CALLBACK,
            "redirect_path_matcher": {"path": {"exact": "/callback"}},
            "signout_path": {"path": {"exact": "/signout"}},
            "forward_bearer_token": True,
            "auth_scopes": ["openid", "profile", "email"],
            "auth_type": "BASIC_AUTH",
            "credentials": {
                "client_id": "web",
                "token_secret": secret("token"),
                "hmac_secret": secret("hmac"),
            },
        },
    )


def name_node(bootstrap: Bootstrap) -> None:
    """Envoy reads secrets from files only with a name of its own."""
    bootstrap.value["node"] = {"id": "envoy", "cluster": "envoy"}


class Browser:
    """Keeps the cookies of one site."""

    def __init__(self, envoy: Envoy) -> None:
        self.envoy = envoy
        self.cookies: dict[str, str] = {"theme": "dark"}

    def get(self, path: str) -> Response:
        cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        response = self.envoy.get(path, [("Cookie", cookie), ("Accept", "text/html")])
        for line in response.all("set-cookie"):
            name, _, value = line.split(";")[0].partition("=")
            self.cookies[name] = value
        return response

    def log_in(self, provider: Provider) -> None:
        asked = self.get("/things")
        assert asked.status == 302, asked
        target = (asked.header("location") or "").removeprefix(provider.issuer)
        landed = urllib.parse.urlsplit(provider._log_in(target, "alice", CALLBACK))
        back = self.get(f"{landed.path}?{landed.query}")
        assert back.status == 302, back


@pytest.mark.parametrize("removes", [True, False])
def test_a_session_of_oauth2_is_not_the_services(
    start_envoy: StartEnvoy, provider: Provider, upstream: Upstream, tmp_path: Path, removes: bool
) -> None:
    """EXT-13."""
    settings = PAGE.json("Envoy's `oauth2` filter before this one", idp=provider.issuer)
    settings["providers"][0]["cluster"] = "idp"
    settings["rules"] = [{"match": {"path_prefix": "/open"}, "bypass": True}]
    listed = settings["remove"]["cookie"] if removes else settings.pop("remove")["cookie"]
    envoy = start_envoy(settings, before=[oauth2(provider, tmp_path)], adjust=name_node)
    browser = Browser(envoy)
    browser.log_in(provider)
    for path in ("/things", "/open/a"):
        response = browser.get(path)
        assert response.status == 200, response
        assert response.seen.header("x-user") == ("alice" if path == "/things" else None)
        sent = {pair.partition("=")[0] for pair in (response.seen.header("cookie") or "").split("; ")}
        if removes:
            assert sent == {"theme"}
        else:
            # What the page says of `oauth2`: if this changes, the list may.
            assert "BearerToken" in sent and sent - {"theme"} <= set(listed)
    assert browser.get("/things").seen.header("authorization") is None
