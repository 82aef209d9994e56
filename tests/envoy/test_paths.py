"""Paths that a service may read in another way than the filter: held against what Python makes of
them, on a real Envoy, which normalises paths before any filter sees them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from clients import request_bytes
from conftest import StartEnvoy
from fake_provider import FakeProvider
from harness import Envoy, config
from tokens import Key

RECIPE = "(?i)/admin([/.].*)?"
"""The pattern of docs/configuration.md for services that don't tell upper case from lower."""

SEPARATORS = set("/\\.;%?#:")

BEST_FITS = "¥₩´¿\u037e։٪⁄∕∖∶"
"""What Microsoft's bestfit874 to bestfit1258 make one of these signs of, beside what NFKC does."""

UNSEEN = "\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200e\u200f\u202a\u202e\u2060\u2066\u3164\ufeff\uffa0\U000e0041"

RAW = {"normalize_path": False, "merge_slashes": False, "path_with_escaped_slashes_action": "KEEP_UNCHANGED"}


@pytest.fixture(scope="module")
def fake() -> Any:
    with FakeProvider(Key.make()) as running:
        yield running


def rules() -> list[dict[str, Any]]:
    return [
        {"match": {"path_pattern": RECIPE}, "require": {"scopes": ["admin"]}},
        {"match": {"path_prefix": "/v1/users"}, "require": {"scopes": ["admin"]}},
        {"match": {"path_prefix": "/caf\xe9"}, "require": {"scopes": ["admin"]}},
        {"match": {"path_prefix": "/public"}, "allow_missing": True},
    ]


@pytest.fixture(scope="module", params=["normalised", "raw"])
def envoy(request: Any, start_shared_envoy: StartEnvoy, fake: FakeProvider) -> Envoy:
    hcm = RAW if request.param == "raw" else {}
    return start_shared_envoy(config(fake, rules=rules()), idp=fake.port, hcm=hcm)


def statuses(envoy: Envoy, fake: FakeProvider, paths: list[str]) -> Iterator[tuple[str, int]]:
    """What a token without the scope gets for each path."""
    bearer = [("authorization", f"Bearer {fake.token(scope='x')}")]
    with envoy.http2() as connection:
        for path in paths:
            yield path, connection.request(quote(path, safe="/:%()"), bearer).status


def readings(character: str) -> set[str]:
    """What routers that forgive compare: letters in one case, and compatibility forms."""
    wide = unicodedata.normalize("NFKC", character)
    forms = {character, wide, character.upper(), character.lower(), character.casefold()}
    return forms | {wide.upper(), wide.casefold(), character.upper().lower()}


def test_the_recipe_holds_for_whatever_python_takes_for_it(envoy: Envoy, fake: FakeProvider) -> None:
    """ATK-05: each character of the BMP in the place of each letter of `admin`, and behind it."""
    pattern = re.compile(RECIPE)
    taken = []
    for code in [*range(0x80, 0xD800), *range(0xE000, 0x10000)]:
        character = chr(code)
        forms = readings(character)
        if not any(form and form.isascii() for form in forms) and not pattern.fullmatch(f"/adm{character}n"):
            continue
        for place in range(1, 7):
            before, after = "/admin"[:place], "/admin"[place + 1 :]
            if any(pattern.fullmatch(before + form + after) for form in forms):
                taken.append(before + character + after)
    by_re = [path for path in taken if pattern.fullmatch(path)]
    assert {"/adm\u0131n", "/adm\u0130n"} <= set(by_re), "Python's own folding"
    assert len(taken) > 50
    taken += [f"{path}/users" for path in by_re] + [path.upper() for path in by_re]
    for path, status in statuses(envoy, fake, taken):
        assert status in (400, 403), ascii(path)


def test_what_looks_like_a_sign_or_is_not_seen_is_ambiguous(envoy: Envoy, fake: FakeProvider) -> None:
    """ATK-18."""
    odd = {*BEST_FITS, *UNSEEN}
    for code in [*range(0x80, 0xD800), *range(0xE000, 0x20000)]:
        character = chr(code)
        forms = unicodedata.normalize("NFKC", character) + unicodedata.normalize("NFKD", character)
        if SEPARATORS & set(forms) or unicodedata.category(character) in ("Cc", "Zs", "Zl", "Zp"):
            odd.add(character)
    assert len(odd) > 100
    paths = [path for one in sorted(odd) for path in (f"/admin{one}", f"/ad{one}min", f"/public/{one}a")]
    for path, status in statuses(envoy, fake, paths):
        assert status == 400, ascii(path)
    # What people write is left alone.
    honest = ["/stra\xdfe", "/kullan\u0131c\u0131", "/na\xefve", "/\u65e5\u672c\u8a9e", "/\u2764\ufe0f", "/m\xb2"]
    for path, status in statuses(envoy, fake, honest):
        assert status == 200, ascii(path)


def test_spellings_of_a_path_beyond_ascii(envoy: Envoy, fake: FakeProvider) -> None:
    """ATK-18."""
    bearer = [("authorization", f"Bearer {fake.token(scope='x')}")]
    for path in ("/caf%E9", "/caf%C3%A9", "/caf%c3%a9/x", "/cafe%CC%81", "/cafe%CC%81/x", "/caf%u00e9"):
        assert envoy.get(path, bearer).status in (400, 403), path
    assert envoy.get("/na%C3%AFve", bearer).status == 200


def test_a_verb_behind_a_colon_belongs_to_its_resource(envoy: Envoy, fake: FakeProvider) -> None:
    """ATK-18."""
    plain, admin = fake.token(scope="x"), fake.token(scope="admin")
    for path in ("/v1/users:batchDelete", "/v1/users%3AbatchDelete", "/v1/users(7)", "/v1/users:x/y"):
        assert envoy.get(path, token=plain).status == 403, path
        assert envoy.get(path, token=admin).status == 200, path
    assert envoy.get("/v1/other:x", token=plain).status == 200


@pytest.mark.parametrize("escape", ["%09", "%0a", "%0D", "%00", "%1f", "%7f", "%2509", "%u0009", "%c0%89"])
def test_controls_in_a_path(envoy: Envoy, fake: FakeProvider, escape: str) -> None:
    """ATK-04: Python's `urlsplit`, as every WHATWG URL parser, drops tabs and line breaks
    wherever they stand."""
    assert urlsplit("/ad\tmin").path == "/admin"
    bearer = [("authorization", f"Bearer {fake.token(scope='admin')}")]
    for path in (f"/ad{escape}min", f"/x/.{escape}./admin", f"/public/.{escape}./admin", f"/public/a{escape}"):
        for headers in ([], bearer):
            assert envoy.raw(request_bytes(path, headers)).status == 400, path


def test_an_ambiguous_path_falls_under_no_weaker_rule(envoy: Envoy, fake: FakeProvider) -> None:
    """ATK-04: whatever of a path Envoy has left to be read in two ways."""
    bearer = [("authorization", f"Bearer {fake.token(scope='x')}")]
    assert envoy.get("/public/a").status == 200
    for path in ("/public/a;b", "/public/a%20", "/public/%ff", "/public/a%253b", "/public/%e2%80%a6"):
        for headers in ([], bearer):
            assert envoy.raw(request_bytes(path, headers)).status == 400, path
    for path in ("/public/a%2fb", "/public/a%5cb", "/public//a", "/public/./a", "/public/%61", "/public/..%2fadmin", "/public/../admin", "/public/..;/admin"):
        response = envoy.raw(request_bytes(path))
        # Where Envoy has normalised it, it is another path; 307 is its own answer to an escaped slash.
        assert response.status in (307, 400, 401) or response.seen.path in ("/public/a", "/public/a/b"), f"{path} {response}"
