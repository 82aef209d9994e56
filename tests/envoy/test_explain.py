"""The tables of tests/cli/tables, played twice: by the command, and by a real Envoy with the module.

What `explain` and `test` say of a request is what Envoy then does: the verdict and its word, the status, what is written for the service and
for the client, and what is taken away.
"""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import itertools
import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from certificates import Authority
from clients import Response, request_bytes
from conftest import StartEnvoy
from fake_provider import FakeProvider, Reply, Request
from harness import ROOT, Envoy, Provider
from test_security_tls import TlsProvider
from tokens import AUDIENCE, Key, b64url

TABLES = sorted((ROOT / "tests/cli/tables").glob("*.yaml"))


@dataclasses.dataclass
class Case:
    """A request of a table with a token that is there, and what stands at the URLs for it."""

    table: Path
    number: int
    id: str
    written: dict[str, Any]
    config: dict[str, Any]
    method: str
    host: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes
    answers: dict[str, Any]

    def message(self) -> bytes:
        return request_bytes(self.target, [("Host", self.host), *self.headers], self.method, self.body)


class World(FakeProvider):
    """All providers of all tables, by the hosts that they are called at."""

    def __init__(self) -> None:
        self.key = Key.make("ES256", "made-of-claims")
        self.rsa = Key.make("RS256", "made-of-claims")
        self.at: dict[str, Any] = {}  # by URL
        self.about: dict[tuple[str, str], Any] = {}  # by URL and token
        super().__init__(self.key, self.rsa)

    def answer(self, request: Request, connection: Any) -> None:
        url = f"https://{request.header('host')}{request.path}"
        token = request.form.get("token") or (request.header("authorization") or "").removeprefix("Bearer ")
        written = self.about.get((url, token), self.at.get(url, {"status": 404}))
        connection.sendall(reply(written).encode())

    def cases(self, path: Path) -> list[Case]:
        table = yaml.safe_load(path.read_text())
        config = table["configuration"]
        shared = self.documents(config) | table.get("answers", {})
        self.at |= shared
        return [self.case(path, number, test, config, shared) for number, test in enumerate(table["tests"])]

    def documents(self, config: dict[str, Any]) -> dict[str, Any]:
        issuer, given = provider(config)
        keys = {"keys": [self.key.jwk(), self.rsa.jwk()]}
        ends = {"jwks_uri": "jwks", "introspection_endpoint": "introspect", "userinfo_endpoint": "userinfo"}
        metadata = {"issuer": issuer} | {name: f"{issuer}/{end}" for name, end in ends.items()}
        places = {f"{issuer}/.well-known/openid-configuration": metadata, f"{issuer}/jwks": keys}
        return places | ({given["jwks"]["uri"]: keys} if "jwks" in given else {})

    def case(self, path: Path, number: int, test: dict[str, Any], config: dict, shared: dict) -> Case:
        written = copy.deepcopy(test)
        own = dict(written.pop("answers", {}))
        if "dpop" in written:
            self.bind(config, written, own)
        elif "claims" in written:
            written["token"] = self.token(config, written, own)
        token = written.get("token")
        self.about |= {(url, token): answer for url, answer in own.items()}
        method, _, url = written["request"].rpartition(" ")
        host, target = "localhost", url
        if "://" in url:
            host, _, rest = url.partition("://")[2].partition("/")
            target = f"/{rest}"
        headers = [(name, value) for name, values in written.get("headers", {}).items() for value in listed(values)]
        headers += placed(config, token, "DPoP" if "dpop" in test else "Bearer") if token else []
        body = json.dumps(written["body"]).encode() if "body" in written else b""
        id = f"{path.stem}-{number}"
        headers.append(("x-case", id))
        return Case(path, number, id, written, config, method or "GET", host, target, headers, body, shared | own)

    def bind(self, config: dict[str, Any], written: dict[str, Any], own: dict[str, Any]) -> None:
        """A token that is bound to a key, and the proof for this request (RFC 9449, section 4.2)."""
        changes, key = written.pop("dpop"), Key.make("ES256", "owner")
        jwk = key.jwk(alg=None, kid=None, use=None)
        thumbprint = hashlib.sha256(json.dumps(jwk, sort_keys=True, separators=(",", ":")).encode()).digest()
        written["claims"] = {"cnf": {"jkt": b64url(thumbprint)}} | written["claims"]
        written["token"] = self.token(config, written, own)
        method, _, url = written["request"].rpartition(" ")
        said = {"jti": str(next(NUMBERS)), "htm": method, "htu": url.partition("?")[0], "iat": int(time.time())}
        said["ath"] = b64url(hashlib.sha256(written["token"].encode()).digest())
        said |= changes if isinstance(changes, dict) else {}
        proof = key.token(said, {"typ": "dpop+jwt", "kid": None, "jwk": jwk})
        written["headers"] = written.get("headers", {}) | {"DPoP": proof}

    def token(self, config: dict[str, Any], written: dict[str, Any], own: dict[str, Any]) -> str:
        """Made of what every good token says, and of the claims of the case."""
        issuer, given = provider(config)
        now = int(time.time())
        good = {"iss": issuer, "aud": given.get("audiences", [None])[0], "sub": "test", "client_id": "test"}
        good |= {"jti": "1", "iat": now - 60, "exp": now + 3600} | written.pop("claims")
        claims = {name: value for name, value in good.items() if value is not None}
        header = written.pop("header", {})
        if given.get("validation", "userinfo") in ("introspection", "userinfo"):
            token = f"opaque-{next(NUMBERS)}"
            own[f"{issuer}/introspect"] = {"active": True} | claims
            own[f"{issuer}/userinfo"] = claims
            return token
        key = self.rsa if given.get("algorithms") == ["RS256"] else self.key
        return key.token(claims, {"typ": given.get("token_type", "at+jwt")} | header)


NUMBERS = itertools.count()


def provider(config: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    if "provider" in config:
        return config["provider"], {}
    (given,) = config["providers"]
    return given["issuer"], given


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def placed(config: dict[str, Any], token: str, scheme: str) -> list[tuple[str, str]]:
    """A token in the first place where the configuration looks for one."""
    source = config.get("access_token", [{"location": "header", "key": "authorization"}])[0]
    if source["location"] == "cookie":
        return [("cookie", f"{source['key']}={token}")]
    return [(source["key"], f"{scheme} {token}")]


def reply(written: Any) -> Reply:
    if set(written) <= {"status", "body"} and "status" in written:
        return Reply(written["status"])
    return Reply.json(written)


@pytest.fixture(scope="module")
def world() -> Any:
    with World() as running:
        yield running


@pytest.fixture(scope="module")
def cases(world: World) -> list[Case]:
    return [case for path in TABLES for case in world.cases(path)]


@pytest.fixture(scope="module")
def envoy(start_shared_envoy: StartEnvoy, world: World, cases: list[Case]) -> Envoy:
    configs = {case.table.stem: case.config for case in cases}
    fields = {"case": "%REQ(X-CASE)%", "reason": "%FILTER_STATE(wasm.oidc.reason:PLAIN)%"}
    first = next(iter(configs.values()))
    # The compact form has no place for a cluster: it is called as the host is.
    clusters = {"told.example.com": world.port}
    return start_shared_envoy(first, idp=world.port, clusters=clusters, listeners=configs, log_fields=fields)


def run(command: Path, *arguments: Any) -> tuple[int, Any]:
    ended = subprocess.run([command, *arguments], capture_output=True, text=True)
    assert ended.returncode in (0, 1), ended.stderr
    return ended.returncode, json.loads(ended.stdout)


def explained(command: Path, case: Case, directory: Path) -> dict[str, Any]:
    config, request = directory / "config.json", directory / "request.http"
    config.write_text(json.dumps(case.config))
    request.write_bytes(case.message())
    arguments = ["explain", config, "--json", "--request", request]
    for number, (url, answer) in enumerate(case.answers.items()):
        there: Any = reply(answer).status
        if there == 200:
            there = directory / f"answer-{number}.json"
            there.write_text(json.dumps(answer))
        arguments += ["--answer", f"{url}={there}"]
    code, story = run(command, *arguments)
    assert code == 0, story["calls"]
    token = case.written.get("token")
    assert not token or token not in json.dumps(story), "the token itself is shown"
    return story


def judged(command: Path, path: Path, cases: list[Case], directory: Path) -> list[dict[str, Any]]:
    """What `test` says of a whole table with these tokens: that all is as the table expects."""
    tests = [case.written | {"answers": case.answers} for case in cases]
    for test, case in zip(tests, cases, strict=True):
        test["headers"] = dict(test.get("headers", {})) | {"x-case": case.id}
    concrete = directory / path.name
    concrete.write_text(yaml.safe_dump({"configuration": cases[0].config, "tests": tests}))
    code, outcome = run(command, "test", "--json", concrete)
    assert code == 0, [test for test in outcome["tests"] if not test["passed"]]
    return outcome["tests"]


def same_as_envoy(case: Case, story: dict[str, Any], response: Response, log: dict[str, Any]) -> None:
    for name, value in story["client"]["headers"]:
        # How long to wait grows with the time that a provider is down.
        assert value in response.all(name) or name == "retry-after", (name, value, response.headers)
    if story["service"] is None:
        assert response.status == story["status"]
        assert log["details"] == story["client"]["response_code_details"]
        assert response.header("x-envoy-upstream-service-time") is None
        assert not story["client"]["body"] or response.body.decode() == story["client"]["body"]
        return
    assert response.status == 200
    assert (log["result"], log["reason"]) == (story["result"], story["reason"]), story
    seen = response.seen
    for name, value in story["service"]["written"]:
        found = [seen.path] if name == ":path" else seen.all(name)
        assert value.replace("(the token)", case.written.get("token", "")) in found, (name, seen.headers)
    for name in story["service"]["removed"]:
        assert not seen.all(name), (name, seen.headers)
    for name in story["service"]["unchanged"]:
        assert seen.all(name), (name, seen.headers)


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.stem)
def test_explain_and_test_say_what_envoy_does(
    command: Path, envoy: Envoy, cases: list[Case], path: Path, tmp_path: Path
) -> None:
    of_table = [case for case in cases if case.table == path]
    verdicts = judged(command, path, of_table, tmp_path)
    door = envoy.door(path.stem)
    responses = [door.raw(case.message()) for case in of_table]
    for case, verdict, response in zip(of_table, verdicts, responses, strict=True):
        story = explained(command, case, tmp_path)
        fields = ("result", "reason", "status", "rule", "provider")
        assert {field: story[field] for field in fields} == {field: verdict[field] for field in fields}
        (log,) = envoy.access_log(case=case.id)
        same_as_envoy(case, story, response, log)


def test_there_are_enough(cases: list[Case]) -> None:
    assert len(cases) >= 60
    expected = json.dumps([case.written["expect"] for case in cases])
    assert all(f'"{word}"' in expected for word in ("allowed", "bypassed", "denied", "stripped"))


# ------------------------------------------------------------------------- providers that are asked


def asked(
    command: Path,
    folder: Path,
    issuer: str,
    audience: str,
    token: str,
    **environment: str,
) -> subprocess.CompletedProcess[str]:
    configuration = folder / "live.yaml"
    provider = {"issuer": issuer, "cluster": "idp", "audiences": [audience], "validation": "jwt"}
    configuration.write_text(yaml.safe_dump({"providers": [provider]}))
    # Settings of a user who trusts everybody are not read.
    (folder / ".curlrc").write_text("insecure\n")
    arguments = [command, "explain", configuration, "--live", "--token", "-"]
    environment = {**os.environ, "HOME": str(folder), **environment}
    return subprocess.run(arguments, input=token, capture_output=True, text=True, env=environment)


def test_a_real_provider_is_asked(command: Path, tmp_path: Path, provider: Provider) -> None:
    told = asked(command, tmp_path, provider.issuer, "urn:api:rs256", provider.token())
    assert told.returncode == 0 and "\nallowed\n" in told.stdout, told.stdout + told.stderr


def test_who_answers_is_checked(command: Path, tmp_path: Path) -> None:
    authority = Authority(tmp_path, "authority")
    with TlsProvider(authority.context("127.0.0.1", "provider")) as fake:
        fake.issuer = f"https://127.0.0.1:{fake.port}"
        told = asked(command, tmp_path, fake.issuer, AUDIENCE, fake.token())
        assert told.returncode == 1 and "curl: (60)" in told.stdout, told.stdout
        assert not fake.requests, "nothing is said to a stranger"
        known = {"CURL_CA_BUNDLE": str(authority.file)}
        told = asked(command, tmp_path, fake.issuer, AUDIENCE, fake.token(), **known)
        assert told.returncode == 0 and "\nallowed\n" in told.stdout, told.stdout
