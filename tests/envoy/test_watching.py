"""examples/watching: a real Prometheus scrapes a real Envoy under load, and every query of the
dashboard and of the alerts finds what it asks for."""

from __future__ import annotations

import itertools
import json
import re
import shutil
import socket
import subprocess
import time
import urllib.parse
import urllib.request
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h2.config
import h2.connection
import h2.events
import pytest
import scene
import yaml
from conftest import StartEnvoy
from fake_provider import FakeProvider, Reply
from harness import ROOT, Bootstrap, Envoy, config, envoy_release, provider_entry
from pages import Page
from services import RawService, free_port
from tokens import Key, claims

WATCHING = ROOT / "examples/watching"
PROMETHEUS, PROMTOOL = shutil.which("prometheus"), shutil.which("promtool")

needs_prometheus = pytest.mark.skipif(
    PROMETHEUS is None or PROMTOOL is None, reason="Prometheus is not installed (Debian: prometheus)"
)


def queries() -> list[tuple[str, str]]:
    panels = json.loads((WATCHING / "dashboard.json").read_text())["panels"]
    found = [(panel["title"], target["expr"]) for panel in panels for target in panel["targets"]]
    rules = yaml.safe_load((WATCHING / "alerts.yaml").read_text())["groups"][0]["rules"]
    # An alert compares: what it compares must be there.
    alerts = [(rule["alert"], re.split(r" (?:>|==) ", rule["expr"].strip())[0]) for rule in rules]
    return found + alerts


def test_rules_and_configuration_are_sound() -> None:
    """The alerts fire when they should, and are silent on a good day."""
    if PROMTOOL is None:
        pytest.skip("promtool is not installed (Debian: prometheus)")
    for command in (
        ["check", "rules", "alerts.yaml"],
        ["check", "config", "prometheus.yaml"],
        ["check", "config", "prometheus-names.yaml"],
        ["test", "rules", "alerts.test.yaml"],
    ):
        result = subprocess.run([PROMTOOL, *command], cwd=WATCHING, capture_output=True, text=True)
        assert result.returncode == 0, result.stdout + result.stderr


def test_every_metric_is_documented() -> None:
    """What the dashboard asks for stands in docs/operating.md, with the labels that it asks by."""
    page = (ROOT / "docs/operating.md").read_text()
    documented: dict[str, set[str]] = {}
    for name, labels in re.findall(r"^\| `(oidc_\w+)\{([a-z,]+)\}` \|", page, re.M):
        documented.setdefault(name, set()).update(labels.split(","))
    documented.setdefault("oidc_jwks_keys", set()).add("provider")
    for title, query in queries():
        names = re.findall(r"oidc_\w+", query)
        assert names, title
        for name in names:
            assert name in documented or re.search(rf"`{name}\{{", page), (title, name)
        if by := re.search(r"by \(([a-z, ]+)\)", query):
            assert set(by[1].split(", ")) <= documented[names[0]], (title, by[1])


def test_the_picture_of_the_page_is_one_of_this_dashboard() -> None:
    """And what draws it draws what it is given: each series, each name, within its panel."""
    from watching_picture import SECONDS, Panel, picture  # which takes Prometheus from here

    titles = [panel["title"] for panel in json.loads((WATCHING / "dashboard.json").read_text())["panels"]]
    drawn = ElementTree.parse(ROOT / "docs/watching.svg")
    assert [found for found in texts(drawn.getroot()) if found in titles] == titles
    series = [(f"series <{number}>", [(0.0, 0.0), (float(SECONDS), number / 3)]) for number in range(9)]
    again = ElementTree.fromstring(picture([Panel("one", "reqps", series), Panel("two", "percentunit", [("all", [(0.0, 0.0)])])]))
    assert {"one", "two", "all", *(name for name, _ in series)} <= set(texts(again))
    for place in again.iter():
        for name in ("x", "y"):
            assert 0 <= float(place.get(name, 0)) <= 960


def texts(svg: ElementTree.Element) -> list[str]:
    return [element.text or "" for element in svg.iter() if element.tag.endswith("}text")]


class Prometheus:
    def __init__(self, directory: Path, admin: str, configuration: str) -> None:
        self.port = free_port()
        text = yaml.safe_load((WATCHING / configuration).read_text())
        text["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        text["scrape_configs"][0]["static_configs"] = [{"targets": [admin]}]
        shutil.copy(WATCHING / "alerts.yaml", directory)
        (directory / "prometheus.yaml").write_text(yaml.safe_dump(text))
        self.log = (directory / "log").open("w")
        assert PROMETHEUS
        self.process = subprocess.Popen(
            [
                PROMETHEUS,
                f"--config.file={directory}/prometheus.yaml",
                f"--storage.tsdb.path={directory}/data",
                f"--web.listen-address=127.0.0.1:{self.port}",
            ],
            stdout=self.log,
            stderr=self.log,
        )

    def ask(self, path: str, **parameters: str) -> Any:
        url = f"http://127.0.0.1:{self.port}{path}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=5) as response:
            return json.load(response)["data"]

    def series(self, query: str) -> list[dict[str, Any]]:
        return self.ask("/api/v1/query", query=query)["result"]

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()
        self.log.close()


@pytest.fixture
def watched(
    start_envoy: StartEnvoy, request: pytest.FixtureRequest
) -> Iterator[tuple[Envoy, FakeProvider, str]]:
    with FakeProvider() as fake:
        endpoints = {
            "endpoint": [f"{fake.issuer}/introspect", f"{fake.issuer}/other"],
            "client_id": "rs",
            "client_secret": "rs-secret",
            "cache": 0,
            "negative_cache": 0,
        }
        provider = provider_entry(fake, introspection=endpoints)
        settings = config(
            fake,
            providers=[provider],
            shadow={"require": {"scopes": ["nobody-has-this"]}},
            rules=[{"match": {"path_prefix": "/open"}, "bypass": True}],
        )

        def adjust(bootstrap: Bootstrap) -> None:
            if request.param == "prometheus-names.yaml":
                del bootstrap.value["stats_config"]

        # Prometheus asks the process for all that it counts.
        envoy = start_envoy(settings, clusters={"idp": fake.port}, adjust=adjust, own_process=True)
        yield envoy, fake, request.param


@needs_prometheus
@pytest.mark.parametrize("watched", ["prometheus.yaml", "prometheus-names.yaml"], indirect=True)
def test_a_real_prometheus_finds_every_series(
    watched: tuple[Envoy, FakeProvider, str], tmp_path: Path
) -> None:
    """With labels by Envoy's `stats_tags`, and by Prometheus where the bootstrap is Istio's."""
    envoy, fake, configuration = watched
    prometheus = Prometheus(tmp_path, envoy.process.admin_address, configuration)
    try:
        forged = Key.make(kid=fake.keys[0].kid).token(claims(fake.issuer))
        kinds = [fake.token(), "opaque", "worthless", None, fake.token(exp=1), forged]
        tokens = itertools.cycle(kinds)
        fake.active["opaque"] = {"aud": "urn:api:test", "sub": "svc", "iss": fake.issuer}
        begin = time.monotonic()
        sent = 0
        while time.monotonic() - begin < 12:
            if time.monotonic() - begin > 6:  # half an outage: only introspection fails
                fake.routes["/introspect"] = lambda _: Reply(503)
            for _ in range(2 * len(kinds)):
                envoy.get("/a", token=next(tokens))
                sent += 1
            envoy.get("/open")
            time.sleep(0.1)
        scene.poll(lambda: prometheus.series("oidc_jwks_age_seconds"), "the age of the keys", 15)
        missing = []
        for title, query in queries():
            series = prometheus.series(query.replace("$__rate_interval", "10s").replace("[5m]", "[10s]"))
            good = [sample for sample in series if sample["value"][1] != "NaN"]
            if not good:
                missing.append(f"{title}: {query}")
        assert not missing, "\n".join(missing)
        # What Prometheus has counted is what was sent.
        (total,) = prometheus.series('sum(oidc_requests_total{reason="missing_token"})')
        assert abs(float(total["value"][1]) - sent / len(kinds)) <= 32 + sent / 10
        rules = prometheus.ask("/api/v1/rules")["groups"][0]["rules"]
        assert [rule["name"] for rule in rules if rule["health"] == "err"] == []
    finally:
        prometheus.stop()


def test_the_access_log_of_the_page_tells_the_decision(
    start_envoy: StartEnvoy, tmp_path: Path
) -> None:
    log = Page("watching.md").yaml("Access log")
    file = tmp_path / "told.log"
    log["name"] = "envoy.access_loggers.file"
    log["typed_config"] |= {
        "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
        "path": str(file),
    }
    with FakeProvider() as fake:
        envoy = start_envoy(
            config(fake),
            clusters={"idp": fake.port},
            adjust=lambda bootstrap: bootstrap.hcm["access_log"].append(log),
        )
        assert envoy.get("/good?token=secret", token=fake.token()).status == 200
        assert envoy.get("/old", token=fake.token(exp=1)).status == 401
        lines = scene.poll(
            lambda: [json.loads(line) for line in file.read_text().splitlines()][1:] and file.read_text(),
            "two lines",
            15,
        )
    good, old = (json.loads(line) for line in lines.splitlines())
    assert (good["path"], good["status"], good["result"]) == ("/good", 200, "allowed")
    assert (old["path"], old["status"], old["details"]) == ("/old", 401, "oidc_denied{expired}")
    assert "secret" not in lines


class Collector(RawService):
    """A gRPC service that takes whatever is exported. Text stands in protobuf as it is: that is enough to look for some."""

    def __init__(self) -> None:
        super().__init__()
        self.received: dict[str, bytes] = {}

    def serve(self, connection: socket.socket) -> None:
        settings = h2.config.H2Configuration(client_side=False, header_encoding="utf-8")
        h2_connection = h2.connection.H2Connection(settings)
        h2_connection.initiate_connection()
        connection.sendall(h2_connection.data_to_send())
        paths: dict[int, str] = {}
        while data := connection.recv(1 << 16):
            for event in h2_connection.receive_data(data):
                match event:
                    case h2.events.RequestReceived():
                        paths[event.stream_id] = dict(event.headers)[":path"]
                        head = [(":status", "200"), ("content-type", "application/grpc")]
                        h2_connection.send_headers(event.stream_id, head)
                    case h2.events.DataReceived():
                        path = paths[event.stream_id]
                        self.received[path] = self.received.get(path, b"") + event.data
                        h2_connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                    case h2.events.StreamEnded():
                        h2_connection.send_data(event.stream_id, bytes(5))  # an empty message
                        h2_connection.send_headers(event.stream_id, [("grpc-status", "0")], end_stream=True)
            connection.sendall(h2_connection.data_to_send())


EXPORT = "/opentelemetry.proto.collector.{0}.v1.{1}Service/Export"


@pytest.mark.parametrize("service", [("logs", "Logs"), ("trace", "Trace")], ids=["logs", "traces"])
def test_opentelemetry_of_the_page_tells_the_decision(start_envoy: StartEnvoy, service: tuple[str, str]) -> None:
    if envoy_release() < (1, 37) and service[0] == "trace":
        pytest.skip("custom tags had no `value`")
    page, collector = Page("watching.md"), Collector()
    path = EXPORT.format(*service)

    def adjust(bootstrap: Bootstrap) -> None:
        if service[0] == "logs":
            bootstrap.hcm["access_log"].append(page.yaml("As OpenTelemetry"))
        else:
            bootstrap.hcm["tracing"] = page.yaml("Traces")
        cluster = page.yaml("Traces", index=1)
        (endpoint,) = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"]
        endpoint["endpoint"]["address"]["socket_address"] = {"address": "127.0.0.1", "port_value": collector.port}
        bootstrap.clusters.append(cluster)

    with FakeProvider() as fake:
        envoy = start_envoy(config(fake), clusters={"idp": fake.port}, adjust=adjust)
        good, old = fake.token(), fake.token(exp=1)
        assert envoy.get("/good?token=hunter2", token=good).status == 200
        assert envoy.get("/old", token=old).status == 401
        words = (b"oidc_denied{expired}", b"oidc.result", b"allowed")

        def told() -> bytes:
            received = collector.received.get(path, b"")
            return received if all(word in received for word in words) else b""

        received = scene.poll(told, "what is exported", 20)
    collector.close()
    assert b"/good" in received and b"/old" in received
    secrets = [part.encode() for token in (good, old) for part in token.split(".")]
    assert not any(secret in received for secret in secrets)
    if service[0] == "logs":  # Envoy's tracer notes the whole URL of its own accord
        assert b"hunter2" not in received
