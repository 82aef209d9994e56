"""Tokens that no provider would issue: own keys, and any header, payload and signature bytes."""

from __future__ import annotations

import base64
import dataclasses
import hmac
import json
import time
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

AUDIENCE = "urn:api:test"

CURVES: dict[str, ec.EllipticCurve] = {
    "ES256": ec.SECP256R1(),
    "ES384": ec.SECP384R1(),
    "ES512": ec.SECP521R1(),
}
DIGESTS: dict[str, hashes.HashAlgorithm] = {
    "256": hashes.SHA256(),
    "384": hashes.SHA384(),
    "512": hashes.SHA512(),
}
CURVE_NAMES = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}


def b64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def b64url_uint(number: int, length: int | None = None) -> str:
    return b64url(number.to_bytes(length or (number.bit_length() + 7) // 8, "big"))


def segment(part: bytes | Mapping[str, Any]) -> str:
    """A segment of a token: bytes as they are, for malformed JSON; a mapping as compact JSON."""
    if not isinstance(part, bytes):
        part = json.dumps(part, separators=(",", ":")).encode()
    return b64url(part)


def compact(
    header: bytes | Mapping[str, Any],
    payload: bytes | Mapping[str, Any],
    sign: Callable[[bytes], bytes] = lambda _: b"",
) -> str:
    """RFC 7515 section 7.1; without `sign`, the signature is empty, as with `alg: none`."""
    signing_input = f"{segment(header)}.{segment(payload)}"
    return f"{signing_input}.{b64url(sign(signing_input.encode()))}"


@cache
def _rsa(bits: int, slot: str) -> rsa.RSAPrivateKey:
    """RSA keys take long to make: one for each size and purpose, for the whole run."""
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


@dataclasses.dataclass(frozen=True)
class Key:
    """A private key for one algorithm. Equal arguments to `make` may give the same RSA key."""

    alg: str
    kid: str
    private: Any

    @classmethod
    def make(cls, alg: str = "ES256", kid: str = "k1", bits: int = 2048) -> Key:
        if alg in CURVES:
            return cls(alg, kid, ec.generate_private_key(CURVES[alg]))
        if alg == "EdDSA":
            return cls(alg, kid, ed25519.Ed25519PrivateKey.generate())
        if alg.startswith("HS"):
            return cls(alg, kid, kid.encode().ljust(64, b"."))
        return cls(alg, kid, _rsa(bits, kid))

    def jwk(self, **changes: Any) -> dict[str, Any]:
        """The public key (for HS*, the secret). A change to None takes a member out."""
        jwk = {"alg": self.alg, "kid": self.kid, "use": "sig", **self._material(), **changes}
        return {name: value for name, value in jwk.items() if value is not None}

    def _material(self) -> dict[str, str]:
        if self.alg.startswith("HS"):
            return {"kty": "oct", "k": b64url(self.private)}
        public = self.private.public_key()
        if self.alg in CURVES:
            numbers, size = public.public_numbers(), (public.key_size + 7) // 8
            x, y = b64url_uint(numbers.x, size), b64url_uint(numbers.y, size)
            return {"kty": "EC", "crv": CURVE_NAMES[self.alg], "x": x, "y": y}
        if self.alg == "EdDSA":
            return {"kty": "OKP", "crv": "Ed25519", "x": b64url(public.public_bytes_raw())}
        numbers = public.public_numbers()
        return {"kty": "RSA", "n": b64url_uint(numbers.n), "e": b64url_uint(numbers.e)}

    def sign(self, data: bytes) -> bytes:
        """A JWS signature (RFC 7518 section 3): ECDSA as r || s, not as DER."""
        if self.alg == "EdDSA":
            return self.private.sign(data)
        digest = DIGESTS[self.alg[2:]]
        match self.alg[:2]:
            case "HS":
                return hmac.digest(self.private, data, digest.name)
            case "ES":
                r, s = decode_dss_signature(self.private.sign(data, ec.ECDSA(digest)))
                size = (self.private.key_size + 7) // 8
                return r.to_bytes(size, "big") + s.to_bytes(size, "big")
            case "RS":
                return self.private.sign(data, padding.PKCS1v15(), digest)
        pss = padding.PSS(padding.MGF1(digest), padding.PSS.DIGEST_LENGTH)
        return self.private.sign(data, pss, digest)

    def token(
        self, payload: bytes | Mapping[str, Any], header: Mapping[str, Any] | None = None
    ) -> str:
        """A token that is valid as far as its signature goes. A header of None is taken out."""
        members = {"alg": self.alg, "kid": self.kid, "typ": "at+jwt", **(header or {})}
        members = {name: value for name, value in members.items() if value is not None}
        return compact(members, payload, self.sign)


def claims(issuer: str, **changes: Any) -> dict[str, Any]:
    """Claims that pass, but for `changes`; a change to None takes the claim out."""
    now = int(time.time())
    standard = {
        "iss": issuer,
        "sub": "alice",
        "aud": AUDIENCE,
        "client_id": "test",
        "scope": "api:read",
        "iat": now,
        "exp": now + 600,
    }
    return {name: value for name, value in (standard | changes).items() if value is not None}


def parts(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and payload of a token, unverified, for a look at what a provider made."""
    header, payload, _ = (base64.urlsafe_b64decode(part + "==") for part in token.split("."))
    return json.loads(header), json.loads(payload)
