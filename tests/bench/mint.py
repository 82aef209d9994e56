"""Tokens by the ten thousand, kept in .tools/bench: RSA signatures take half a millisecond each.

They live for ten years, for an issuer that has no network. Its private keys are not kept. DPoP proofs
live for minutes: each run makes its own.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import scene
from cryptography.hazmat.primitives import serialization
from tokens import Key, b64url, claims, compact, segment

ISSUER = "https://issuer.bench.invalid"
AUDIENCE = "https://api.bench.invalid"
ALGORITHMS = ("RS256", "ES256", "PS256", "EdDSA")  # Envoy lends no hand with the last two
DIRECTORY = scene.TOOLS / "bench"

EDITION = 4  # of what is minted; another one makes what is kept useless
TEN_YEARS = 10 * 365 * 24 * 3600

COUNT = 73_728  # the filter's cache holds 56,000: src/filter.rs


@dataclasses.dataclass
class TokenFile:
    """Valid tokens, one a line, all of one length; more than the filter's cache holds.

    They are used in turn, from one measurement to the next: by the time that a token comes again,
    a cache that keeps the latest has lost it.
    """

    algorithm: str
    path: Path
    length: int
    count: int
    offset: int = 0

    def use(self, requests: int, in_flight: int) -> None:
        self.offset += requests + in_flight + 1  # wrk asks for one more, to look at it

    def take(self) -> str:
        with self.path.open() as file:
            for _ in range(self.offset % self.count):
                next(file)
            self.offset += 1
            return next(file).strip()


@dataclasses.dataclass
class Mint:
    """The public keys, and the files of the tokens that they prove."""

    jwks: str
    files: dict[str, TokenFile]
    forgery: Path
    bound: str  # a token that is bound to the key of proofs
    prover: Key

    @property
    def sample(self) -> str:
        """A valid token, always the same."""
        with self.files["RS256"].path.open() as file:
            return next(file).strip()


    def proofs(self, path: Path, uri: str, count: int, made: int, first: int = 0) -> TokenFile:
        """So many proofs for the bound token, each with a `jti` of its own: RFC 9449, section 4.2."""
        jwk = {name: self.prover.jwk()[name] for name in ("kty", "crv", "x", "y")}
        head = {"typ": "dpop+jwt", "alg": "ES256", "jwk": jwk}
        fixed = {"htm": "GET", "htu": uri, "iat": made}
        fixed["ath"] = b64url(hashlib.sha256(self.bound.encode()).digest())
        with path.open("w") as file:
            for number in range(first, first + count):
                proof = compact(head, fixed | {"jti": f"{number:032x}"}, self.prover.sign)
                print(proof, file=file)
        return TokenFile("ES256", path, len(proof), count)


def thumbprint(key: Key) -> str:
    """RFC 7638."""
    members = {name: key.jwk()[name] for name in ("crv", "kty", "x", "y")}
    return b64url(hashlib.sha256(json.dumps(members, separators=(",", ":")).encode()).digest())


def payload(number: int) -> dict[str, Any]:
    """What an access token of RFC 9068 has in it: about 700 characters once RS256 has signed it."""
    return claims(
        ISSUER,
        jti=f"{number:012}",
        sub="248289761001",
        aud=AUDIENCE,
        client_id="s6BhdRkqt3",
        scope="openid profile orders:read",
        iat=int(time.time()) - 60,
        exp=int(time.time()) + TEN_YEARS,
        groups=["staff"],
    )


def open_mint(say: Callable[[str], None]) -> Mint:
    """What an earlier run has minted, or new tokens."""
    index = DIRECTORY / "mint.json"
    if not index.exists() or json.loads(index.read_text())["edition"] != EDITION:
        index.unlink(missing_ok=True)
        DIRECTORY.mkdir(parents=True, exist_ok=True)
        index.write_text(json.dumps(_mint(say)))
    value = json.loads(index.read_text())
    files = {
        algorithm: TokenFile(algorithm, DIRECTORY / f"{algorithm}.tokens", **facts)
        for algorithm, facts in value["files"].items()
    }
    private = serialization.load_pem_private_key(value["prover"].encode(), None)
    prover = Key("ES256", "prover", private)
    return Mint(value["jwks"], files, DIRECTORY / "forgery", value["bound"], prover)


def _mint(say: Callable[[str], None]) -> dict[str, Any]:
    keys = {algorithm: Key.make(algorithm, algorithm) for algorithm in ALGORITHMS}
    files = {}
    for algorithm, key in keys.items():
        say(f"minting {COUNT} tokens with {algorithm}, once")
        with (DIRECTORY / f"{algorithm}.tokens").open("w") as file:
            for number in range(COUNT):
                print(key.token(payload(number)), file=file)
        files[algorithm] = {"length": len(key.token(payload(0))), "count": COUNT}
    (DIRECTORY / "forgery").write_text("\n".join(_forgery(keys["RS256"])))
    jwks = json.dumps({"keys": [key.jwk() for key in keys.values()]})
    prover = Key.make("ES256", "prover")
    bound = keys["ES256"].token(payload(COUNT) | {"cnf": {"jkt": thumbprint(prover)}})
    private = prover.private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    kept = {"bound": bound, "prover": private.decode()}
    return {"edition": EDITION, "jwks": jwks, "files": files} | kept


def _forgery(key: Key) -> tuple[str, str]:
    """A token around twelve digits of `jti`, with the signature of another one."""
    head = {"alg": key.alg, "kid": key.kid, "typ": "at+jwt"}
    members = payload(0)
    del members["jti"]
    first, rest = b'{"jti": "', b'",' + json.dumps(members, separators=(",", ":")).encode()[1:]
    assert len(first) % 3 == 0, "or the digits would not begin with a character of their own"
    return f"{segment(head)}.{b64url(first)}", f"{b64url(rest)}.{b64url(key.sign(b'another'))}"
