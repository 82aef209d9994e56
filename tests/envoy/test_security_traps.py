"""A crash of the module lets nobody in: each of its callbacks in turn is made to trap.

The module is the real one, but for one function, which is replaced by the instruction `unreachable`:
that is what a panic ends in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import scene
from clients import Response
from conftest import StartEnvoy
from fake_provider import FakeProvider, Reply
from harness import IDENTITY, Bootstrap, Envoy, config, no_crash
from test_dpop import Owner, bound

STARTING = ["proxy_on_context_create", "proxy_on_vm_start", "proxy_on_configure"]
SERVING = [
    "proxy_on_tick",
    "proxy_on_http_call_response",
    "proxy_on_request_headers",
    "proxy_on_request_body",
    "proxy_on_request_trailers",
    "proxy_on_response_headers",
    "proxy_on_delete",
]
TRAP = b"\x03\x00\x00\x0b"  # a body of three bytes: no locals, unreachable, end


# ------------------------------------------------------------------------------ the broken module


def unsigned(data: bytes, at: int) -> tuple[int, int]:
    """A number of the binary format (LEB128) and where it ends."""
    number = shift = 0
    while True:
        byte = data[at]
        number |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if not byte & 0x80:
            return number, at


def encoded(number: int) -> bytes:
    out = b""
    while number > 0x7F:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


def sections(module: bytes) -> Iterator[tuple[int, bytes]]:
    at = 8  # behind the magic number and the version
    while at < len(module):
        kind = module[at]
        size, at = unsigned(module, at + 1)
        yield kind, module[at : at + size]
        at += size


def exports(section: bytes) -> dict[str, int]:
    """The exported functions' numbers."""
    count, at = unsigned(section, 0)
    found = {}
    for _ in range(count):
        length, at = unsigned(section, at)
        name, kind = section[at : at + length].decode(), section[at + length]
        number, at = unsigned(section, at + length + 1)
        if kind == 0:
            found[name] = number
    return found


def imported_functions(section: bytes) -> int:
    """All imports of a proxy-wasm module are functions."""
    count, at = unsigned(section, 0)
    for _ in range(count):
        for _ in range(2):  # of whom, and what
            length, at = unsigned(section, at)
            at += length
        assert section[at] == 0, "a function"
        _, at = unsigned(section, at + 1)
    return count


def trapping(module: bytes, name: str) -> bytes:
    """The module with a trap in place of the exported function of this name."""
    of = dict(sections(module))
    wanted = exports(of[7])[name] - imported_functions(of[2])
    code = of[10]
    count, at = unsigned(code, 0)
    bodies = encoded(count)
    for number in range(count):
        size, start = unsigned(code, at)
        bodies += TRAP if number == wanted else code[at : start + size]
        at = start + size
    broken = module[:8]
    for kind, content in sections(module):
        content = bodies if kind == 10 else content
        broken += bytes([kind]) + encoded(len(content)) + content
    return broken


def with_module(path: Path, name: str) -> Callable[[Bootstrap], None]:
    """For `adjust`: the module with a trap, written to `path`."""
    path.write_bytes(trapping(scene.MODULE.read_bytes(), name))

    def adjust(bootstrap: Bootstrap) -> None:
        assert bootstrap.wasm["failure_policy"] == "FAIL_RELOAD", "as it is shipped"
        bootstrap.wasm["vm_config"]["code"] = {"local": {"filename": str(path)}}

    return adjust


def test_envoy_finds_no_callback_that_does_nothing() -> None:
    """Each that it finds it calls, for each request. `scripts/wasm-ld` leaves the others out."""
    exported = exports(dict(sections(scene.MODULE.read_bytes()))[7])
    entry_points = {"_initialize", "proxy_abi_version_0_2_1", "proxy_on_memory_allocate"}
    assert set(exported) == entry_points | {*STARTING, *SERVING}


# --------------------------------------------------------------------------------------- traffic


@pytest.fixture(scope="module")
def idp() -> Iterator[FakeProvider]:
    """Slow enough that requests have to wait for it."""
    with FakeProvider() as fake:
        known = {"active": True, "sub": "alice", "aud": "urn:api:test"}
        fake.routes["/introspect"] = lambda request: Reply.json(
            known if request.form["token"].startswith("good") else {"active": False}, delay=0.1
        )
        yield fake


def visit(envoy: Envoy, path: str, token: str | None) -> None:
    """In every shape that leads to a callback: without a body, with one, with trailers."""
    headers = [("x-user", "admin")] + ([("authorization", f"Bearer {token}")] if token else [])
    shapes = [
        {},
        {"method": "POST", "body": b"x" * 100},
        {"method": "POST", "body": b"x", "trailers": [("x-user", "admin"), ("x-sum", "1")]},
    ]
    for shape in shapes:
        try:
            with envoy.http2() as connection:
                connection.request(path, headers, **shape)
        except (ConnectionError, TimeoutError):
            pass  # how it ends is for the access log to say


@pytest.mark.parametrize("callback", SERVING)
def test_a_trap_lets_nobody_in(
    start_envoy: StartEnvoy, idp: FakeProvider, tmp_path: Path, callback: str
) -> None:
    """WSM-01, WSM-03."""
    envoy = start_envoy(
        config(idp, **IDENTITY),
        idp=idp.port,
        adjust=with_module(tmp_path / "broken.wasm", callback),
        http2_upstream=True,
        log_fields={"upstream": "%UPSTREAM_HOST%", "user": "%REQ(X-USER)%"},
    )
    forged = idp.token({"kid": "nobody"})
    for round_ in range(2):
        visit(envoy, "/nobody", None)
        visit(envoy, "/bad", f"bad-{round_}")
        visit(envoy, "/forged", forged)
        visit(envoy, "/waits", f"good-{round_}")
        visit(envoy, "/good", idp.token())
    entries = envoy.access_log(count=20)
    for entry in entries:
        if entry["path"] not in ("/good", "/waits"):
            assert entry["upstream"] is None, f"{callback} let {entry} in"
        elif entry["upstream"] is not None:
            assert entry["user"] == "alice", f"{callback} let {entry} in"
    assert not no_crash(envoy), f"{callback} was never called"
    if callback == "proxy_on_request_headers":
        assert {entry["status"] for entry in entries} == {503}


@pytest.mark.parametrize("callback", STARTING)
def test_a_trap_at_the_start_is_no_start(
    start_envoy: StartEnvoy, idp: FakeProvider, tmp_path: Path, callback: str
) -> None:
    """WSM-01, WSM-04."""
    try:
        envoy = start_envoy(
            config(idp), idp=idp.port, adjust=with_module(tmp_path / "broken.wasm", callback)
        )
    except scene.SceneError:
        return  # Envoy tries a configuration out before it takes it
    assert {envoy.get("/", token=token).status for token in (None, idp.token())} == {503}


def test_it_is_the_policy_that_keeps_the_door_shut(
    start_envoy: StartEnvoy, idp: FakeProvider, tmp_path: Path
) -> None:
    """WSM-03: Or the tests above would prove nothing."""
    broken = with_module(tmp_path / "broken.wasm", "proxy_on_request_headers")

    def adjust(bootstrap: Bootstrap) -> None:
        broken(bootstrap)
        bootstrap.wasm["failure_policy"] = "FAIL_OPEN"

    envoy = start_envoy(config(idp), idp=idp.port, adjust=adjust)
    statuses = {envoy.get("/").status for _ in range(4)}
    assert 200 in statuses, "this is what FAIL_OPEN means"


def test_after_a_trap_a_new_machine_serves(
    start_envoy: StartEnvoy, idp: FakeProvider, tmp_path: Path
) -> None:
    """WSM-01."""
    envoy = start_envoy(
        config(idp, **IDENTITY),
        idp=idp.port,
        adjust=with_module(tmp_path / "broken.wasm", "proxy_on_request_trailers"),
        http2_upstream=True,
    )

    def get(token: str | None) -> Response:
        return envoy.get("/", [("x-user", "admin")], token)

    assert get(idp.token()).seen.all("x-user") == ["alice"]
    with envoy.http2() as connection:
        headers = [("authorization", f"Bearer {idp.token()}")]
        trailers = [("x-sum", "1")]
        response = connection.request("/", headers, method="POST", body=b"x", trailers=trailers)
        assert response.status != 200 or response.reset
    assert not no_crash(envoy)
    scene.poll(lambda: get(idp.token()).status == 200, "a new machine", 15)
    assert get(idp.token()).seen.all("x-user") == ["alice"]
    assert get(None).status == 401


def test_a_spent_proof_stays_spent_after_a_trap(
    start_envoy: StartEnvoy, idp: FakeProvider, tmp_path: Path
) -> None:
    """DPP-13, DPP-16, WSM-01: what proofs were spent, and by which secret nonces are known, is the process's.

    There is one worker, so that no machine is left that could remember.
    """
    envoy = start_envoy(
        bound(idp, nonce="required"),
        idp=idp.port,
        adjust=with_module(tmp_path / "broken.wasm", "proxy_on_request_trailers"),
        http2_upstream=True,
    )
    owner = Owner(idp)
    nonce = owner.get(envoy, owner.proof()).header("dpop-nonce")
    spent = [owner.proof(nonce=nonce) for _ in range(20)]
    assert [owner.get(envoy, proof).status for proof in spent] == [200] * len(spent)
    proof = owner.proof(method="POST", nonce=nonce)
    headers = [(name.lower(), value) for name, value in owner.headers(proof)]
    with envoy.http2() as connection:
        response = connection.request("/", headers, method="POST", body=b"x", trailers=[("x-sum", "1")])
        assert response.status != 200 or response.reset
    assert not no_crash(envoy)
    scene.poll(lambda: envoy.get("/", token=idp.token()).status == 200, "a new machine", 15)
    reloaded = envoy.stats(r"vm_reload_success")
    assert sum(reloaded.values()) == 1, reloaded
    answers = [owner.get(envoy, proof) for proof in spent]
    assert {(answer.status, answer.json()["error"]) for answer in answers} == {(401, "invalid_dpop_proof")}
    assert owner.get(envoy, owner.proof(nonce=nonce)).status == 200, "a nonce of before"


def test_who_waits_when_the_machine_traps_is_refused(
    start_envoy: StartEnvoy, fake: FakeProvider, tmp_path: Path
) -> None:
    """WSM-01, WSM-03: an exchange, a source, an authorizer or a body is waited for: nobody passes, and nobody waits for ever."""
    ways = {
        "exchange": {"token_exchange": {"endpoint": f"{fake.issuer}/slow", "cluster": "idp", "client_id": "c", "client_secret": "s", "audience": "a"}},
        "source": {"enrich": {"uri": f"{fake.issuer}/slow", "cluster": "idp", "claims": ["tier"]}},
        "authorizer": {"external_authorization": {"uri": f"{fake.issuer}/slow", "cluster": "idp"}},
        "body": {"mcp": {"resource": "https://test.example/body", "default": {"scopes": ["admin"]}}},
    }  # fmt: skip
    made = {"access_token": "made", "token_type": "Bearer", "issued_token_type": "urn:ietf:params:oauth:token-type:access_token"}
    fake.routes["/slow"] = Reply.json(made | {"tier": "gold"}, delay=1)
    rules = [{"match": {"path_prefix": f"/{way}"}} | policy for way, policy in ways.items()]
    envoy = start_envoy(
        config(fake, rules=rules, forward=False, **IDENTITY),
        idp=fake.port,
        adjust=with_module(tmp_path / "broken.wasm", "proxy_on_request_trailers"),
        http2_upstream=True,
        hcm={"stream_idle_timeout": "3s"},
    )
    token = fake.token(aud=["urn:api:test", "https://test.example/body"])
    headers = [("authorization", f"Bearer {token}"), ("content-type", "application/json"), ("x-user", "admin")]
    with envoy.http2() as waiting, envoy.http2() as trap:
        assert waiting.request("/", headers).status == 200
        streams = {
            way: waiting.start(f"/{way}", headers, method="POST", body=b'{"jsonrpc":"2.0",', end=way != "body")
            for way in ways
        }
        scene.poll(lambda: fake.count("/slow") == 3, "the calls", 5)
        assert trap.request("/", headers, method="POST", body=b"x", trailers=[("x-sum", "1")]).status == 503
        assert {way: waiting.receive(stream).status for way, stream in streams.items()} == dict.fromkeys(ways, 503)
    assert not no_crash(envoy)
