"""What the end-to-end tests stand on: a real Envoy, a real provider, an upstream that tells all.

The Envoy under test runs envoy/minimal.yaml, the configuration that people read first, with the
filter's configuration replaced and ports chosen by the system, so that tests can run side by side:

    def test_a_token_passes(start_envoy, provider):
        envoy = start_envoy(config(provider, claim_headers=[{"header": "x-user", "claim": "sub"}]))
        response = envoy.get("/orders", token=provider.token("es256"))
        assert response.status == 200
        assert response.seen.all("x-user") == ["svc"]
        assert envoy.access_log(path="/orders")[0]["result"] == "allowed"
"""

from __future__ import annotations

import base64
import contextlib
import copy
import functools
import hashlib
import http.client
import itertools
import json
import re
import secrets
import shutil
import subprocess
import tempfile
import urllib.parse
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import scene  # envoy/scene.py: the processes are those of the demo
import yaml
from clients import Http1, Http2, RawHeaders, Response, exchange, request_bytes
from hosts import Pool, Refused

ROOT = scene.ROOT

KINDS = ("rs256", "ps256", "es256", "es384", "es512", "eddsa")  # of JWT
HABITS = ("audlist", "nokid", "notyp", "scp", "long")  # other vendors' ways; see provider.mjs

IDENTITY = {"claim_headers": [{"header": "x-user", "claim": "sub"}]}  # whom a token is about, for the upstream

ACCESS_LOG = {
    "method": "%REQ(:METHOD)%",
    "path": "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%",
    "status": "%RESPONSE_CODE%",
    "details": "%RESPONSE_CODE_DETAILS%",
    "flags": "%RESPONSE_FLAGS%",
    "result": "%FILTER_STATE(wasm.oidc.result:PLAIN)%",
    "metadata": "%DYNAMIC_METADATA(oidc)%",
}


# ------------------------------------------------------------------------------------- provider


class Provider:
    """envoy/provider/provider.mjs, running, and its control port."""

    def __init__(self, directory: Path) -> None:
        self.process = scene.start_provider(directory / "provider.log")
        self.issuer: str = self.process.facts["issuer"]
        self.port: int = self.process.facts["port"]
        self._control: int = self.process.facts["control"]

    def __enter__(self) -> Provider:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.stop()

    def token(
        self,
        kind: str | None = "rs256",
        scope: str | None = "api:read",
        client: str = "svc",
        ttl: int | None = None,
        secret: str = "svc-secret",
        certificate: str | None = None,
    ) -> str:
        """A client-credentials token for `urn:api:<kind>`; None is opaque and without audience.

        A negative `ttl` makes a JWT that expired so many seconds ago. `certificate` is that of the
        client's connection, in DER and base64.
        """
        form = {"grant_type": "client_credentials", "scope": scope, "ttl": ttl}
        form["resource"] = kind and f"urn:api:{kind}"
        more = {"X-Client-Certificate": certificate} if certificate else {}
        return self._form("/token", form, client, secret, more)["access_token"]

    def user_token(
        self,
        login: str = "alice",
        scope: str = "openid profile email groups",
        kind: str | None = None,
    ) -> str:
        """A user's token, by the authorization code flow with PKCE and the login pages.

        Without `kind` it is opaque and works at userinfo; with it, it is for `urn:api:<kind>`.
        """
        callback = "http://127.0.0.1:9999/callback"
        verifier = secrets.token_urlsafe(32)
        challenge = hashlib.sha256(verifier.encode()).digest()
        resource = {"resource": f"urn:api:{kind}"} if kind else {}
        query = {
            "client_id": "web",
            "response_type": "code",
            "redirect_uri": callback,
            "scope": scope,
            "code_challenge_method": "S256",
            "code_challenge": base64.urlsafe_b64encode(challenge).rstrip(b"=").decode(),
            **resource,
        }
        landed = self._log_in(f"/auth?{urllib.parse.urlencode(query)}", login, callback)
        form = {
            "grant_type": "authorization_code",
            "code": urllib.parse.parse_qs(urllib.parse.urlsplit(landed).query)["code"][0],
            "redirect_uri": callback,
            "code_verifier": verifier,
            **resource,
        }
        return self._form("/token", form, "web", "web-secret")["access_token"]

    def _log_in(self, target: str, login: str, callback: str) -> str:
        """Follows redirects and submits the pages for login and consent until the callback."""
        cookies: dict[str, str] = {}
        method, body = "GET", ""
        for _ in range(12):
            headers = {"Cookie": "; ".join(f"{k}={v}" for k, v in cookies.items())}
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            answer, page = self._http(self.port, method, target, body, headers)
            for line in answer.headers.get_all("Set-Cookie") or []:
                name, _, value = line.split(";")[0].partition("=")
                cookies[name] = value
            if location := answer.headers.get("Location"):
                if location.startswith(callback):
                    return location
                method, body, target = "GET", "", urllib.parse.urljoin(target, location)
                continue
            prompt = re.search(r'name="prompt" value="(\w+)"', page)
            assert prompt, f"neither a redirect nor a form: {answer.status} {page[:400]}"
            form = {"prompt": prompt[1], "login": login, "password": "any"}
            method, body = "POST", urllib.parse.urlencode(form)
            target = re.findall(r'action="([^"]+)"', page)[0]
        raise AssertionError("the login never came to its end")

    def introspect(self, token: str, client: str = "rs") -> dict[str, Any]:
        return self._form("/token/introspection", {"token": token}, client, "rs-secret")

    def revoke(self, token: str, client: str = "svc", secret: str = "svc-secret") -> None:
        """Ends an opaque token; the provider keeps no record of JWTs and cannot."""
        self._form("/token/revocation", {"token": token}, client, secret)

    def rotate(self, mode: str = "swap") -> dict[str, list[str]]:
        """`publish`, `activate`, `retire`, or `swap` all at once. Gives kids: signing, published.

        Use it on `own_provider`: other tests' Envoys hold keys of the shared one.
        """
        return self.control("POST", "/rotate", {"mode": mode})

    def fault(self, path: str, **fault: Any) -> None:
        """Until the test ends: `count=1, status=…, delay=ms, reset=True, headers={}, body=""`."""
        self.control("POST", "/fault", {"path": path, **fault})

    def clear(self) -> None:
        self.control("POST", "/clear")

    def counters(self, reset: bool = False) -> dict[str, int]:
        """Requests by "METHOD path". With `reset`, counting starts again."""
        return self.control("POST" if reset else "GET", "/counters")

    def control(self, method: str, path: str, value: Any = None) -> Any:
        body = json.dumps(value) if value is not None else ""
        answer, text = self._http(self._control, method, path, body, {})
        assert answer.status == 200, text
        return json.loads(text)

    def _form(
        self,
        path: str,
        form: Mapping[str, Any],
        client: str,
        secret: str,
        more: Mapping[str, str] = {},
    ) -> dict[str, Any]:
        given = {name: value for name, value in form.items() if value is not None}
        # RFC 6749 section 2.3.1: both are form-encoded before they go into Basic.
        pair = f"{urllib.parse.quote_plus(client)}:{urllib.parse.quote_plus(secret)}"
        headers = {
            "Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}",
            "Content-Type": "application/x-www-form-urlencoded",
            **more,
        }
        body = urllib.parse.urlencode(given)
        answer, text = self._http(self.port, "POST", path, body, headers)
        assert answer.status == 200, f"{path}: {answer.status} {text}"
        return json.loads(text or "{}")

    @staticmethod
    def _http(
        port: int, method: str, target: str, body: str, headers: Mapping[str, str]
    ) -> tuple[http.client.HTTPResponse, str]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        try:
            connection.request(method, target, body.encode(), dict(headers))
            answer = connection.getresponse()
            return answer, answer.read().decode()
        finally:
            connection.close()


class Upstream:
    """envoy/upstream.mjs, running. What it got is in `Response.seen`."""

    def __init__(self, directory: Path) -> None:
        self.process = scene.start_upstream(directory / "upstream.log")
        self.port: int = self.process.facts["port"]
        self.h2_port: int = self.process.facts["h2"]

    def __enter__(self) -> Upstream:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.stop()


# ----------------------------------------------------------------------- filter configuration


def config(provider: Any, **changes: Any) -> dict[str, Any]:
    """The full form, with one provider that takes every kind of token; `changes` at top level.

    `provider` is anything with an issuer: a `Provider` or a `FakeProvider`. To change the
    provider's entry: `config(p, providers=[provider_entry(p, timeout="1s")])`.
    """
    return {"providers": [provider_entry(provider)]} | changes


def provider_entry(provider: Any, **changes: Any) -> dict[str, Any]:
    """One of `providers[]`. A change to None takes a field out."""
    entry = {
        "issuer": provider.issuer,
        "cluster": "idp",
        "audiences": [f"urn:api:{kind}" for kind in (*KINDS, *HABITS, "opaque", "test")],
        "introspection": {"client_id": "rs", "client_secret": "rs-secret"},
    } | changes
    return {name: value for name, value in entry.items() if value is not None}


# ---------------------------------------------------------------------------------------- Envoy

POOL = Pool()  # the hosts of this run; conftest.py stops them


@functools.cache
def envoy_release() -> tuple[int, int]:
    """Of the Envoy under test: (1, 40)."""
    said = subprocess.run([scene.envoy_binary(), "--version"], capture_output=True, text=True, check=True).stdout
    major, minor = re.search(r"/(\d+)\.(\d+)\.\d+/", said).groups()
    return int(major), int(minor)


class Bootstrap:
    """A configuration as a value, with ports to choose and the parts that tests change in reach.

    No other one of this run has its `number`, with which its `vm_id` ends.
    """

    _numbers = itertools.count(1)

    def __init__(self, name: str = "minimal") -> None:
        self.value: dict[str, Any] = yaml.safe_load((ROOT / f"envoy/{name}.yaml").read_text())
        resources = self.value["static_resources"]
        (self.listener,) = resources["listeners"]
        self.listener["address"]["socket_address"] |= {"address": "127.0.0.1", "port_value": 0}
        self.value["admin"]["address"]["socket_address"]["port_value"] = 0
        (network_filter,) = self.listener["filter_chains"][0]["filters"]
        self.hcm: dict[str, Any] = network_filter["typed_config"]
        self.http_filters: list[dict[str, Any]] = self.hcm["http_filters"]
        self.wasm: dict[str, Any] = self.http_filters[0]["typed_config"]["config"]
        self.clusters: list[dict[str, Any]] = resources["clusters"]
        self.number = next(self._numbers)
        self.wasm["vm_config"]["vm_id"] += f"-{self.number}"
        self.in_files: list[dict[str, Any]] = []  # filters that Envoy reads from elsewhere: xds.py

    def configure(self, filter_config: Mapping[str, Any] | str | bytes, struct: bool) -> None:
        """As JSON text in a StringValue; with `struct`, inline as YAML; bytes in a BytesValue."""
        kind, value = "StringValue", filter_config
        if isinstance(filter_config, bytes):
            kind, value = "BytesValue", base64.b64encode(filter_config).decode()
        elif not isinstance(filter_config, str):
            kind, value = ("Struct", filter_config) if struct else (kind, json.dumps(filter_config))
        value = copy.deepcopy(value)
        self.wasm["configuration"] = {"@type": f"type.googleapis.com/google.protobuf.{kind}"}
        self.wasm["configuration"]["value"] = value

    def take_module(self, name: str) -> None:
        """Another module that was built beside the filter."""
        self.wasm["vm_config"]["code"] = {"local": {"filename": str(scene.MODULE.with_name(name))}}

    def cluster(self, name: str, port: int, http2: bool = False) -> None:
        """A cluster at a port of 127.0.0.1, in place of one of that name if there is one."""
        self.clusters[:] = [cluster for cluster in self.clusters if cluster["name"] != name]
        address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
        endpoints = [{"lb_endpoints": [{"endpoint": {"address": address}}]}]
        cluster: dict[str, Any] = {
            "name": name,
            "type": "STATIC",
            "connect_timeout": "2s",
            "load_assignment": {"cluster_name": name, "endpoints": endpoints},
        }
        if http2:
            options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
            cluster["typed_extension_protocol_options"] = {
                options: {
                    "@type": f"type.googleapis.com/{options}",
                    "explicit_http_config": {"http2_protocol_options": {}},
                }
            }
        self.clusters.append(cluster)

    def add_listener(self, name: str, filter_config: Any, struct: bool) -> None:
        """A copy of the first listener as it is now, with the filter in another configuration."""
        first, first_name = self.wasm["configuration"], self.listener["name"]
        self.configure(filter_config, struct)
        self.listener["name"] = name
        self.value["static_resources"]["listeners"].append(copy.deepcopy(self.listener))
        self.wasm["configuration"], self.listener["name"] = first, first_name

    def insert(self, before: Iterable[dict], after: Iterable[dict]) -> None:
        """HTTP filters before and behind the wasm filter."""
        self.http_filters[1:1] = after
        self.http_filters[0:0] = before

    def log_access(self, path: Path, fields: Mapping[str, str]) -> None:
        kind = "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog"
        log = {"@type": kind, "path": str(path), "log_format": {"json_format": dict(fields)}}
        self.hcm["access_log"] = [{"name": "file", "typed_config": log}]

    def text(self) -> str:
        # JSON is YAML. Written by json, no string is mistaken for a number or a date.
        return json.dumps(self.value, indent=1)


class Door:
    """One listener of an Envoy, and requests to it."""

    def __init__(self, port: int) -> None:
        self.port = port

    def get(
        self,
        path: str | bytes = "/",
        headers: RawHeaders = (),
        token: str | None = None,
        method: str = "GET",
        body: bytes = b"",
    ) -> Response:
        """One HTTP/1.1 request, with exactly these headers; `token` goes in as Bearer."""
        pairs = [*headers]
        if token is not None:
            pairs.append(("Authorization", f"Bearer {token}"))
        return self.raw(request_bytes(path, pairs, method, body), head=method == "HEAD")

    def raw(self, data: bytes, head: bool = False) -> Response:
        """These bytes on a connection of their own, and what comes back."""
        return exchange(self.port, data, head)

    def http1(self) -> Http1:
        return Http1(self.port)

    def http2(self) -> Http2:
        return Http2(self.port)


class Envoy(Door):
    """A real Envoy with the module, from construction to the end of the `with` block.

    `filter_config`   the filter's configuration: a mapping, or text or bytes as they are
    `struct`          hand a mapping over as a protobuf Struct instead of JSON text
    `listeners`       more listeners, name -> configuration of the filter; see `door`
    `clusters`        more clusters, name -> port on 127.0.0.1, e.g. `{"idp": fake.port}`
    `before`, `after` HTTP filters around the wasm filter
    `env`             the VM's environment variables, for `${NAME}`
    `process_env`     those of Envoy itself
    `hcm`, `wasm`     members to change in the connection manager and the wasm plugin
    `routes`          in place of the one route that leads everything to the upstream
    `http2_upstream`  HTTP/2 to the upstream, for trailers and gRPC
    `log_fields`      more fields of the access log, as Envoy format strings
    `adjust`          is called with the finished `Bootstrap`, for all else
    `pool`            where a running Envoy may be had, unless only a process of its own will do
    """

    live: list[Envoy] = []  # conftest shows their logs when a test fails

    def __init__(
        self,
        filter_config: Mapping[str, Any] | str | bytes,
        clusters: Mapping[str, int],
        *,
        struct: bool = False,
        listeners: Mapping[str, Mapping[str, Any]] | None = None,
        workers: int = 1,
        before: Sequence[dict] = (),
        after: Sequence[dict] = (),
        env: Mapping[str, str] | None = None,
        process_env: Mapping[str, str] | None = None,
        hcm: Mapping[str, Any] | None = None,
        wasm: Mapping[str, Any] | None = None,
        routes: Sequence[dict] | None = None,
        http2_upstream: bool = False,
        log_fields: Mapping[str, str] | None = None,
        log_levels: str = "wasm:debug",
        adjust: Callable[[Bootstrap], None] | None = None,
        pool: Pool | None = None,
    ) -> None:
        if not scene.MODULE.exists():
            raise scene.SceneError(f"{scene.MODULE} is not there; this gets it: make wasm")
        self.directory = Path(tempfile.mkdtemp(prefix="oidc-filter-envoy-"))
        self._access_log = self.directory / "access.log"
        bootstrap = Bootstrap()
        bootstrap.configure(filter_config, struct)
        for name, port in clusters.items():
            bootstrap.cluster(name, port, http2=http2_upstream and name == "upstream")
        if env:
            bootstrap.wasm["vm_config"]["environment_variables"] = {"key_values": dict(env)}
        bootstrap.insert(before, after)
        bootstrap.log_access(self._access_log, ACCESS_LOG | dict(log_fields or {}))
        bootstrap.wasm |= wasm or {}
        bootstrap.hcm |= hcm or {}
        if routes is not None:
            bootstrap.hcm["route_config"]["virtual_hosts"][0]["routes"] = list(routes)
        for name, other_config in (listeners or {}).items():
            bootstrap.add_listener(name, other_config, struct)
        if adjust:
            adjust(bootstrap)
        self.bootstrap = bootstrap
        self._loan = None
        try:
            if pool is not None and not process_env:
                # Of what a host refuses, a process of its own tells more: it does not start.
                with contextlib.suppress(Refused):
                    self._loan = pool.lend(bootstrap, workers, log_levels)
            self._process = self._loan.host.process if self._loan else scene.EnvoyProcess(
                bootstrap.text(), self.directory, workers, process_env, log_levels
            )
        except BaseException:
            shutil.rmtree(self.directory)
            raise
        self._ports = self._process.ports()
        super().__init__(self._ports["enforce"])
        Envoy.live.append(self)

    def __enter__(self) -> Envoy:
        return self

    def __exit__(self, *_: object) -> None:
        Envoy.live.remove(self)
        try:
            if self._loan:
                self._loan.end()
            else:
                self._process.stop()
        finally:
            shutil.rmtree(self.directory)

    @property
    def process(self) -> scene.EnvoyProcess:
        assert not self._loan, "this process is others', too: start_envoy(…, own_process=True)"
        return self._process

    def door(self, name: str) -> Door:
        """One of `listeners`; the first one, which the Envoy itself stands for, is `enforce`."""
        return Door(self._ports[name])

    # What it tells

    def admin(self, path: str, method: str = "GET") -> str:
        """One call of the admin interface. What changes the process needs one of its own."""
        process = self._process if method == "GET" else self.process
        return process.admin(path, method)

    def log(self) -> str:
        return self._loan.host.log() if self._loan else self._process.output()

    def access_log(self, count: int = 1, **fields: Any) -> list[dict[str, Any]]:
        """At least `count` entries with these fields; waits for them, as they come late."""

        def entries() -> list[dict[str, Any]]:
            if not self._access_log.exists():
                return []
            # Not by splitlines, which ends lines at characters that JSON may hold.
            *lines, _unfinished = self._access_log.read_text().split("\n")
            all_entries = [json.loads(line) for line in lines]
            return [e for e in all_entries if all(e.get(k) == v for k, v in fields.items())]

        def enough() -> list[dict[str, Any]]:
            found = entries()
            return found if len(found) >= count else []

        return scene.poll(enough, f"{count} access log entries with {fields}", 5)

    def stats(self, pattern: str = "") -> dict[str, int]:
        """Counters and gauges by name, those that match a regular expression."""
        query = urllib.parse.urlencode({"format": "json", "filter": pattern})
        stats = json.loads(self.admin(f"/stats?{query}"))["stats"]
        return {stat["name"]: stat["value"] for stat in stats if "name" in stat}

    def metric(self, name: str, **labels: str) -> float:
        """The sum over all samples of a Prometheus metric with these labels; 0 without any."""
        total = 0.0
        for line in self.admin("/stats/prometheus").splitlines():
            found = re.fullmatch(rf"{name}(?:\{{(.*)\}})? (\S+)", line)
            if found:
                have = dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', found[1] or ""))
                if labels.items() <= have.items():
                    total += float(found[2])
        return total


def no_crash(envoy: Envoy) -> bool:
    """Whether no virtual machine has met its end: Envoy tells when one traps, and makes anew."""
    trapped = re.search(r"Function: proxy_\w+ failed|panicked|\[critical\]", envoy.log())
    return not trapped and not sum(envoy.stats("vm_reload").values())


def validate(bootstrap: Bootstrap | Path) -> subprocess.CompletedProcess[str]:
    """`envoy --mode validate` as an operator runs it; `returncode`, and all it says in `stdout`."""
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        if isinstance(bootstrap, Bootstrap):
            file.write(bootstrap.text())
            file.flush()
        path = file.name if isinstance(bootstrap, Bootstrap) else str(bootstrap)
        command = [scene.envoy_binary(), "--mode", "validate", "--disable-hot-restart"]
        return subprocess.run(
            [*command, "--log-level", "warning", "--config-path", path],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=180,
        )


def validate_config(
    filter_config: Mapping[str, Any] | str | bytes,
    struct: bool = False,
    env: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Whether a running Envoy takes a configuration of the filter, and what it says if it does not, as of `validate`."""
    bootstrap = Bootstrap()
    bootstrap.configure(filter_config, struct)
    if env:
        bootstrap.wasm["vm_config"]["environment_variables"] = {"key_values": dict(env)}
    try:
        loan = POOL.lend(bootstrap, workers=1, log_levels="wasm:warning")
    except Refused as refused:
        return subprocess.CompletedProcess((), 1, stdout=str(refused))
    assert loan, "a host takes in what differs from the plain bootstrap in the filter's configuration alone"
    try:
        return subprocess.CompletedProcess((), 0, stdout=loan.host.log())
    finally:
        loan.end()
