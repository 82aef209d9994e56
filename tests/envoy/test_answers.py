"""Answers of providers as they come over the wire: whole, in pieces, with odd fields and odd ends."""

from __future__ import annotations

import json
from typing import Any

import pytest
from conftest import StartEnvoy
from fake_provider import FakeProvider, Reply
from harness import config, provider_entry

JSON = b"content-type: application/json\r\n"
CLOSE = b"connection: close\r\n"


def chunks(body: bytes, size: int, extension: bytes = b"", trailer: bytes = b"") -> bytes:
    """The body in the chunked coding (RFC 9112, section 7.1)."""
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    sent = b"".join(b"%x%s\r\n%s\r\n" % (len(piece), extension, piece) for piece in pieces)
    return sent + b"0\r\n" + trailer + b"\r\n"


def length(body: bytes) -> bytes:
    return b"content-length: %d\r\n" % len(body)


OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = b"transfer-encoding: chunked\r\n"

FINE = {
    "in chunks of one octet": lambda body: OK + JSON + CHUNKED + CLOSE + b"\r\n" + chunks(body, 1),
    "with chunk extensions": lambda body: OK + JSON + CHUNKED + CLOSE + b"\r\n" + chunks(body, 7, b";a=b"),
    "with trailers": lambda body: OK + JSON + CHUNKED + CLOSE + b"\r\n" + chunks(body, 9, trailer=b"x-sum: 1\r\n"),
    "to the end of the connection": lambda body: OK + JSON + CLOSE + b"\r\n" + body,
    "without a reason": lambda body: b"HTTP/1.1 200 \r\n" + JSON + CLOSE + length(body) + b"\r\n" + body,
    "behind early hints": lambda body: (
        b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n" + OK + JSON + CLOSE + length(body) + b"\r\n" + body
    ),
    "behind a 100": lambda body: (
        b"HTTP/1.1 100 Continue\r\n\r\n" + OK + JSON + CLOSE + length(body) + b"\r\n" + body
    ),
    "content-type twice": lambda body: OK + JSON + JSON + CLOSE + length(body) + b"\r\n" + body,
    "a charset": lambda body: (
        OK + b"Content-Type: Application/JSON;Charset=\"utf-8\"\r\n" + CLOSE + length(body) + b"\r\n" + body
    ),
    "no content-type": lambda body: OK + CLOSE + length(body) + b"\r\n" + body,
    "identity": lambda body: OK + JSON + b"content-encoding: identity\r\n" + CLOSE + length(body) + b"\r\n" + body,
    "white space around": lambda body: (
        OK + JSON + CLOSE + length(body + b"\r\n \t \r\n\n") + b"\r\n" + b"\r\n " + body + b"\t \r\n\n"
    ),
    "many fields": lambda body: (
        OK + JSON + b"".join(b"x-%d: y\r\n" % number for number in range(80)) + CLOSE + length(body) + b"\r\n" + body
    ),
    "cookies": lambda body: OK + JSON + b"set-cookie: a=b\r\nset-cookie: c=d\r\n" + CLOSE + length(body) + b"\r\n" + body,
}
BROKEN = {
    "fewer octets than said": lambda body: OK + JSON + CLOSE + length(body + b"x") + b"\r\n" + body,
    "two lengths": lambda body: OK + JSON + CLOSE + length(body) + length(body[:-1]) + b"\r\n" + body,
    "a chunk that is not ended": lambda body: OK + JSON + CHUNKED + CLOSE + b"\r\n" + chunks(body, 9)[:-5],
    "206": lambda body: b"HTTP/1.1 206 Partial\r\n" + JSON + CLOSE + length(body) + b"\r\n" + body,
    "203": lambda body: b"HTTP/1.1 203 Other\r\n" + JSON + CLOSE + length(body) + b"\r\n" + body,
    "two types": lambda body: OK + JSON + b"content-type: text/html\r\n" + CLOSE + length(body) + b"\r\n" + body,
    "101": lambda body: b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n" + body,
}


ANSWERS: dict[str, dict[str, Any]] = {
    "introspect": {"active": True, "aud": "urn:api:test", "sub": "ann"},
    "userinfo": {"sub": "ann"},
}


@pytest.mark.parametrize("path", ANSWERS)
def test_answers_about_tokens_in_every_form(start_envoy: StartEnvoy, path: str) -> None:
    """What HTTP allows is read; what it doesn't is no answer, and no yes."""
    fake = FakeProvider()
    if path == "introspect":
        entry = provider_entry(fake, validation="introspection")
    else:
        entry = provider_entry(fake, validation="userinfo", introspection=None)
    envoy = start_envoy(config(fake, providers=[entry]), idp=fake.port)
    body = json.dumps(ANSWERS[path]).encode()
    statuses = {}
    for number, (name, form) in enumerate((FINE | BROKEN).items()):
        fake.routes[f"/{path}"] = Reply(raw=form(body))
        statuses[name] = envoy.get("/", token=f"opaque-{number}").status
    assert statuses == dict.fromkeys(FINE, 200) | dict.fromkeys(BROKEN, 503)


def test_key_sets_in_every_form(start_envoy: StartEnvoy) -> None:
    fake = FakeProvider()
    body = json.dumps({"keys": [key.jwk() for key in fake.keys]}).encode()
    forms = {name: form for name, form in (FINE | BROKEN).items() if name != "two types"}
    entries = []
    for number, form in enumerate(forms.values()):
        fake.routes[f"/jwks/{number}"] = Reply(raw=form(body))
        jwks = {"uri": f"{fake.issuer}/jwks/{number}"}
        entry = {"issuer": f"{fake.issuer}/{number}", "name": f"p{number}", "validation": "jwt", "jwks": jwks}
        entries.append(provider_entry(fake, introspection=None) | entry)
    envoy = start_envoy(config(fake, providers=entries), idp=fake.port)
    statuses = {}
    for number, name in enumerate(forms):
        token = fake.token(iss=f"{fake.issuer}/{number}", aud="urn:api:test")
        statuses[name] = envoy.get("/", token=token).status
    assert statuses == {name: 200 if name in FINE else 503 for name in forms}
