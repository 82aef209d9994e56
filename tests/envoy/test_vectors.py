"""The published vectors again, in a real Envoy: whoever does the arithmetic, the verdict is the same.

tests/vectors.rs holds the module's own code to them. Here the same files go to Envoy's BoringSSL, by
the way that a token takes in the filter, and to the module's code once more, now as WebAssembly. What
is expected, with every exception to a published result, is what tests/vectors.rs expects.
"""

from __future__ import annotations

import base64
import dataclasses
import json
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from clients import request_bytes
from conftest import StartEnvoy
from harness import KINDS, ROOT, Bootstrap, Envoy, Provider, config

MODULE = ROOT / "target/wasm32-wasip1/release/examples/vectors_filter.wasm"

HOST = {"RS256", "RS384", "RS512", "ES256", "ES384", "ES512"}  # what Envoy can verify
ASYMMETRIC = sorted({"EdDSA", "PS256", "PS384", "PS512"} | HOST)


@dataclasses.dataclass
class Vector:
    name: str
    question: dict[str, Any]
    is_valid: bool


@pytest.fixture(scope="module")
def examiner(start_shared_envoy: StartEnvoy) -> Envoy:
    """An Envoy whose filter answers with its verdict about the vectors in a request's body."""

    def adjust(bootstrap: Bootstrap) -> None:
        bootstrap.wasm["vm_config"]["code"] = {"local": {"filename": str(MODULE)}}
        bootstrap.listener["per_connection_buffer_limit_bytes"] = BATCH_BYTES * 2

    assert MODULE.exists(), "scripts/wasm --example vectors_filter"
    return start_shared_envoy({}, adjust=adjust)


def examine(examiner: Envoy, vectors: Sequence[Vector]) -> tuple[int, int, int]:
    """Holds both backends to every vector; how many there are, are valid, and got to Envoy."""
    valid = asked = 0
    for batch in batches(vectors):
        body = json.dumps([vector.question for vector in batch]).encode()
        headers = [("content-type", "application/json")]
        answer = examiner.raw(request_bytes("/", headers, "POST", body))
        assert answer.status == 200, answer
        assert set(answer.json()["trusted"]) == HOST
        for vector, verdict in zip(batch, answer.json()["verdicts"], strict=True):
            assert verdict["host"] == verdict["wasm"] == vector.is_valid, (vector.name, verdict)
            valid += vector.is_valid
            asked += verdict["asked"]
    return len(vectors), valid, asked


def batches(vectors: Sequence[Vector]) -> Iterator[list[Vector]]:
    """Lists whose JSON fits into what Envoy buffers of a request."""
    batch: list[Vector] = []
    size = 0
    for vector in vectors:
        size += (length := len(json.dumps(vector.question)))
        if size > BATCH_BYTES:
            yield batch
            batch, size = [], length
        batch.append(vector)
    yield batch


BATCH_BYTES = 512 * 1024


def read(file: str) -> list[dict[str, Any]]:
    return json.loads((ROOT / f"tests/vectors/{file}.json").read_text())


# ---------------------------------------------------------------------------------------- tokens


def token(name: str, jwt: str, keys: list[dict[str, Any]], is_valid: bool) -> Vector:
    """With keys as an operator would have them: secrets only in a set of their own, inline."""
    inline = all(key.get("kty") == "oct" for key in keys)
    return Vector(
        name, {"token": jwt, "jwks": json.dumps({"keys": keys}), "inline": inline}, is_valid
    )


def test_wycheproof_json_web_signatures(examiner: Envoy) -> None:
    cases = read("wycheproof/jws")
    vectors = [token(c["id"], c["jws"], c["keys"], c["expected"] == "valid") for c in cases]
    assert examine(examiner, vectors) == (476, 53, 254)


def test_the_tokens_of_the_rfcs(examiner: Envoy) -> None:
    cases = read("rfc/tokens")
    vectors = [
        token(c["id"], c["token"], [c.get("jwk") or {}], c["signature_verifies"] is True)
        for c in cases
    ]
    for case in read("cookbook/tokens"):
        if jwt := case["output"].get("compact"):
            is_valid = case["id"] in COOKBOOK
            vectors.append(token(case["id"], jwt, [case.get("key") or {}], is_valid))
    assert examine(examiner, vectors) == (33, 14, 7)


COOKBOOK = {
    "curve25519/jws",
    "jws/4_1.rsa_v15_signature",
    "jws/4_2.rsa-pss_signature",
    "jws/4_3.ecdsa_signature",
    "jws/4_4.hmac-sha2_integrity_protection",
}


def test_jwt_verify_lib(examiner: Envoy) -> None:
    """What Envoy's own JWT filter takes, with BoringSSL as well."""
    vectors = [
        Vector(
            case["id"],
            {"token": case["jwt"], "jwks": case["jwks"], "inline": True},
            case["envoy_status"] == "Ok" and not case["id"].endswith(REFUSED_HERE),
        )
        for case in read("jwt_verify_lib/verify")
    ]
    assert examine(examiner, vectors) == (28, 15, 10)


# A key set with a trailing comma: see tests/vectors.rs.
REFUSED_HERE = (
    "hmac_test-JwtTextNoKid",
    "hmac_test-JwtTextNoKidLongExp",
    "hmac_test-JwtHS256TextWithCorrectKid",
    "hmac_test-JwtHS384TextWithCorrectKid",
    "hmac_test-JwtHS512TextWithCorrectKid",
)


# ------------------------------------------------------------------------------------- primitives


def primitives(file: str) -> list[Vector]:
    vectors = []
    for group in read(f"wycheproof/{file}"):
        # A group of parameters that JOSE cannot express must verify under none of the algorithms.
        is_named = group["alg"] in ASYMMETRIC or group["alg"].startswith("HS")
        algorithms = [group["alg"]] if is_named else ASYMMETRIC
        for case in group["tests"]:
            is_valid = is_named and case["result"] == "valid" and fits_jose(group)
            if case.get("comment") == "s_len changed to 32" and group.get("sLen") == 0:
                is_valid = True  # made to be wrong where no salt is expected: right for PS256
            question = {
                "key": group.get("key") or secret_key(case["key"]),
                "inline": "key" not in group,
                "algs": algorithms,
                "msg": case["msg"],
                "sig": case["sig"],
            }
            vectors.append(Vector(f"{file} {case['tcId']}", question, is_valid))
    return vectors


def fits_jose(group: dict[str, Any]) -> bool:
    """RFC 7518: a salt as long as the hash, one hash for all, a whole tag, a key no shorter."""
    bits = int(group["alg"][2:]) if group["alg"] != "EdDSA" else 0
    return (
        int(group.get("mgfSha", bits)) == bits
        and group.get("keySize", bits) >= bits
        and group.get("tagSize", bits) >= bits
        and group.get("sLen", bits // 8) * 8 == bits
    )


def secret_key(hexadecimal: str) -> dict[str, str]:
    k = base64.urlsafe_b64encode(bytes.fromhex(hexadecimal)).rstrip(b"=").decode()
    return {"kty": "oct", "k": k}


@pytest.mark.parametrize(
    ("file", "run", "valid", "asked"),
    [
        # ECDSA signatures of a wrong length, or with a number out of range, never get to the host.
        ("ecdsa_secp256r1_sha256_p1363", 262, 173, 191),
        ("ecdsa_secp384r1_sha384_p1363", 280, 193, 211),
        ("ecdsa_secp521r1_sha512_p1363", 318, 231, 249),
        ("rsa_signature_2048_sha256", 259, 9, 259),
        ("rsa_signature_2048_sha384", 258, 7, 258),
        ("rsa_signature_2048_sha512", 259, 8, 259),
        ("rsa_signature_3072_sha256", 259, 8, 259),
        ("rsa_signature_3072_sha384", 259, 7, 259),
        ("rsa_signature_3072_sha512", 260, 8, 260),
        ("rsa_signature_4096_sha256", 258, 7, 258),
        ("rsa_signature_4096_sha384", 259, 7, 259),
        ("rsa_signature_4096_sha512", 259, 7, 259),
        ("rsa_signature_8192_sha256", 258, 7, 258),
        # Not for Envoy, but for the module as it is built for Envoy.
        ("ed25519", 151, 88, 0),
        ("hmac_sha256", 174, 30, 0),
        ("hmac_sha512", 174, 30, 0),
        ("rsa_pss_2048_sha256_mgf1_0", 103, 1, 0),
        ("rsa_pss_2048_sha256_mgf1_32", 108, 63, 0),
        ("rsa_pss_4096_sha512_mgf1_64", 179, 132, 0),
        # Parameters that JOSE doesn't have are tried as RS256, RS384 and RS512, too.
        ("rsa_pss_misc", 150, 3, 60),
    ],
)
def test_wycheproof_primitives(
    examiner: Envoy, file: str, run: int, valid: int, asked: int
) -> None:
    assert examine(examiner, primitives(file)) == (run, valid, asked)


# ----------------------------------------------------------------------------------- the filter


def test_the_filter_has_envoy_verify_what_it_can(
    start_envoy: StartEnvoy, provider: Provider
) -> None:
    envoy = start_envoy(config(provider))
    backends = {}
    for kind in KINDS:
        assert envoy.get("/", token=provider.token(kind)).status == 200
        name = "EdDSA" if kind == "eddsa" else kind.upper()
        for backend in ("host", "wasm"):
            if envoy.metric("oidc_verifications_total", alg=name, backend=backend) == 1:
                backends.setdefault(name, []).append(backend)
    expected = ("RS256", "PS256", "ES256", "ES384", "ES512", "EdDSA")
    assert backends == {name: ["host" if name in HOST else "wasm"] for name in expected}
