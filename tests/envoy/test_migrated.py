"""What `oidc-filter migrate jwt_authn` makes, beside the original in one Envoy: nothing passes here that the original refuses.

The shapes are those that gateways write: several providers of one issuer, for audiences; requirements within
requirements; conditions that do not carry over.
"""

from __future__ import annotations

import copy
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import StartEnvoy
from harness import Bootstrap, Envoy
from tokens import Key, claims

SHOP, PARTNER = "https://shop.example.com", "https://partner.example.com"
KEY, OTHER = Key.make(kid="k1"), Key.make(kid="k1")
KEYS = {"inline_string": json.dumps({"keys": [KEY.jwk()]})}
PLACES = {"from_headers": [{"name": "Authorization", "value_prefix": "Bearer "}], "from_cookies": ["session"]}


def any_of(*requirements: dict[str, Any]) -> dict[str, Any]:
    return {"requires_any": {"requirements": list(requirements)}}


THEIRS = {
    "@type": "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
    "providers": {
        "shop": {"issuer": SHOP, "audiences": ["shop"], "local_jwks": KEYS, **PLACES},
        "again": {"issuer": SHOP, "audiences": ["shop"], "local_jwks": KEYS, **PLACES},
        "admin": {"issuer": SHOP, "audiences": ["admin"], "local_jwks": KEYS, "forward_payload_header": "x-payload", **PLACES},
        "partner": {"issuer": PARTNER, "audiences": ["shop"], "local_jwks": KEYS, "from_headers": [{"name": "x-partner"}]},
    },
    "rules": [
        {"match": {"path": "/healthz"}},
        {"match": {"prefix": "/public/"}},
        {"match": {"prefix": "/Quiet", "case_sensitive": False}, "requires": {"provider_name": "shop"}},
        {"match": {"path_separated_prefix": "/admin"}, "requires": {"provider_name": "admin"}},
        {"match": {"prefix": "/both"}, "requires": any_of({"provider_name": "shop"}, {"provider_name": "admin"})},
        {"match": {"prefix": "/nested"}, "requires": any_of(any_of({"provider_name": "partner"}, {"provider_name": "shop"}), {"allow_missing": {}})},
        {"match": {"prefix": "/other"}, "requires": {"provider_and_audiences": {"provider_name": "shop", "audiences": ["other"]}}},
        {"match": {"safe_regex": {"regex": "/v[0-9]+/open"}}},
        {"match": {"prefix": "/asked", "query_parameters": [{"name": "open", "present_match": True}]}},
        {"match": {"prefix": "/"}, "requires": any_of({"provider_name": "again"}, {"provider_name": "partner"})},
    ],
}
PATHS = [
    "/", "/healthz", "/healthz/", "/healthzx", "/public", "/public/", "/public/a", "/publicx", "/quiet", "/QUIET/a", "/admin", "/admin/a",
    "/adminx", "/both", "/bothx", "/nested/a", "/other/a", "/v1/open", "/v1/openx", "/vx/open", "/asked?open", "/asked", "/a/../admin",
]


def tokens() -> dict[str, str]:
    made = {f"{issuer}, {audience}": KEY.token(claims(issuer, aud=audience)) for issuer in (SHOP, PARTNER) for audience in ("shop", "admin", "other")}
    made |= {"no audience": KEY.token(claims(SHOP, aud=None)), "expired": KEY.token(claims(SHOP, aud="shop", iat=1, exp=2))}
    return made | {"forged": OTHER.token(claims(SHOP, aud="shop")), "nobody's": KEY.token(claims("https://x.example.com", aud="shop"))}


@pytest.fixture(scope="module")
def both(start_shared_envoy: StartEnvoy, command: Path) -> Envoy:
    text = yaml.safe_dump(THEIRS)
    made = subprocess.run([command, "migrate", "jwt_authn", "-", "--json"], input=text, capture_output=True, text=True, check=True)
    migration = json.loads(made.stdout)
    assert not [note for note in migration["notes"] if "does not take this yet" in note], migration["notes"]
    assert any("x-payload" in note for note in migration["widened"]), migration["widened"]

    def adjust(bootstrap: Bootstrap) -> None:
        listener = copy.deepcopy(bootstrap.listener) | {"name": "theirs"}
        hcm = listener["filter_chains"][0]["filters"][0]["typed_config"]
        hcm["http_filters"] = [{"name": "envoy.filters.http.jwt_authn", "typed_config": THEIRS}, hcm["http_filters"][-1]]
        bootstrap.value["static_resources"]["listeners"].append(listener)

    return start_shared_envoy(migration["configuration"], adjust=adjust)


@pytest.mark.parametrize("path", PATHS)
def test_nothing_passes_that_jwt_authn_refuses(both: Envoy, path: str) -> None:
    """With each token in each place; and something passes, so that the shapes are what they are."""
    asked = [("none", [])] + [
        (f"{name} in {header}", [(header, f"{before}{token}")])
        for name, token in tokens().items()
        for header, before in (("authorization", "Bearer "), ("cookie", "session="), ("x-partner", ""))
    ]
    passed = []
    for name, headers in asked:
        ours, theirs = (door.get(path, headers).status == 200 for door in (both, both.door("theirs")))
        assert theirs or not ours, name
        passed.append(ours)
    is_open = path in ("/healthz", "/public/", "/public/a", "/v1/open")
    assert all(passed) if is_open else not all(passed)
    assert any(passed)
