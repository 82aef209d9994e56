"""docs/changing.md: what happens on a running Envoy under load while its configuration, keys and secrets change."""

from __future__ import annotations

import base64
import dataclasses
import itertools
import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import scene
import yaml
from clients import Http1, request_bytes
from conftest import StartEnvoy
from fake_provider import FakeProvider, Reply, Request
from harness import Bootstrap, Envoy, Provider, config, envoy_release, provider_entry, validate
from pages import Page
from tokens import Key
from xds import Ecds, Xds

BOTH_WAYS = pytest.mark.parametrize("way", [Xds, Ecds], ids=["lds", "ecds"])


def by(header: str, **changes: Any) -> dict[str, Any]:
    """Configurations are told apart by the header that the service gets."""
    return {"claim_headers": [{"header": header, "claim": "sub"}]} | changes


@dataclasses.dataclass
class Sample:
    sent: float
    took: float
    kind: str
    status: int
    headers: frozenset[str]


class Load:
    """Requests without a pause, on connections that last: with each kind of token in turn."""

    def __init__(self, envoy: Envoy, connections: int = 4, **kinds: Callable[[], str | None]) -> None:
        self.envoy, self.kinds = envoy, kinds
        self.samples: list[Sample] = []
        self.cut = 0
        self._over = threading.Event()
        self._counts = [0] * connections
        self._threads = [threading.Thread(target=self._run, args=[index]) for index in range(connections)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        # Whatever worker a connection has come to, it has answered each kind, and has what it needs for that.
        scene.poll(lambda: min(self._counts) > max(4, len(self.kinds)), "load", 60)
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _run(self, index: int) -> None:
        client: Http1 | None = None
        for kind in itertools.cycle(self.kinds):
            if self._over.is_set():
                break
            token = self.kinds[kind]()
            credentials = [("Authorization", f"Bearer {token}")] if token else []
            client = client or self.envoy.http1()
            begin = time.monotonic()
            try:
                client.send(request_bytes("/", credentials))
                response = client.receive()
            except OSError:  # a connection that was idle, and is drained
                self.cut += 1
                client.socket.close()
                client = None
                continue
            headers = frozenset(name for name, _ in response.seen.headers) if response.status == 200 else frozenset()
            self.samples.append(Sample(begin, time.monotonic() - begin, kind, response.status, headers))
            self._counts[index] += 1
            if response.header("connection") == "close":
                client.socket.close()
                client = None
            time.sleep(0.002)
        if client:
            client.socket.close()

    def of(self, kind: str, since: float = 0) -> list[Sample]:
        return [sample for sample in self.samples if sample.kind == kind and sample.sent >= since]

    def statuses(self, kind: str, since: float = 0) -> set[int]:
        found = {sample.status for sample in self.of(kind, since)}
        assert found, f"nothing was asked with {kind}"
        return found

    def told(self, header: str) -> Callable[[], bool]:
        """Whether the last answers come from a configuration that writes this header."""
        return lambda: all(header in sample.headers for sample in [s for s in self.samples if s.status == 200][-40:])


def note(what: str, **measured: float) -> None:
    """For whoever writes docs/changing.md anew: CHANGING_NOTES names a file."""
    if path := os.environ.get("CHANGING_NOTES"):
        with open(path, "a") as file:
            file.write(f"{what}: {json.dumps({name: round(value, 3) for name, value in measured.items()})}\n")


def measured(load: Load, kind: str, published: float, header: str) -> dict[str, float]:
    """Of a change at `published`, to a configuration that writes this header."""
    good = [sample for sample in load.of(kind) if sample.status == 200]
    new = [sample.sent + sample.took for sample in good if header in sample.headers]
    old = [sample.sent for sample in good if header not in sample.headers and sample.sent > published]
    return {
        "requests": len(load.samples),
        "first_new_s": min(new) - published,
        "last_old_s": max(old, default=published) - published,
        "slowest_s": max(sample.took for sample in load.of(kind, published)),
        "cut": load.cut,
    }


@BOTH_WAYS
def test_a_change_costs_no_request(start_envoy: StartEnvoy, tmp_path: Path, way: type[Xds]) -> None:
    """Another header for the service, on two workers. Whoever has no token never gets in."""
    xds = way(tmp_path)
    with FakeProvider() as fake:
        envoy = start_envoy(config(fake, **by("x-old")), idp=fake.port, workers=2, adjust=xds.take_over)
        token = fake.token()
        with Load(envoy, good=lambda: token, none=lambda: None) as load:
            scene.poll(lambda: fake.count("/jwks") >= 3, "the keys of both workers and of the main thread", 20)
            asked, published = fake.count("/jwks"), time.monotonic()
            xds.publish(config(fake, **by("x-new")))
            scene.poll(load.told("x-new"), "the new configuration on every connection", 20)
            scene.poll(lambda: fake.count("/jwks") >= asked + 3, "the keys of the new filters", 20)
        assert load.statuses("good") == {200} and load.statuses("none") == {401}
        # At the end of the drain time, Envoy closes what is left of the old connections, a request on it or not.
        assert load.cut <= (4 if way is Xds else 0)
        # Each worker, and the main thread, has a filter that knows nothing yet.
        assert fake.count("/jwks") - asked == 3
        note(f"change by {way.__name__}", **measured(load, "good", published, "x-new"))
        # Never both, never neither.
        assert all(len({"x-old", "x-new"} & sample.headers) == 1 for sample in load.of("good"))


def test_a_connection_keeps_its_configuration_until_it_is_drained(start_envoy: StartEnvoy, tmp_path: Path) -> None:
    """By LDS; by ECDS, the next request on the same connection is under the new one."""
    with FakeProvider() as fake:
        token = ("Authorization", f"Bearer {fake.token()}")

        def ask(client: Http1) -> set[str]:
            client.send(request_bytes("/", [token]))
            return {name for name, _ in client.receive().seen.headers} & {"x-old", "x-new"}

        for way, later in (Xds, {"x-old"}), (Ecds, {"x-new"}):
            directory = tmp_path / way.__name__
            directory.mkdir()
            xds = way(directory)
            envoy = start_envoy(config(fake, **by("x-old")), idp=fake.port, workers=1, adjust=xds.take_over)
            with envoy.http1() as client:
                assert ask(client) == {"x-old"}
                xds.publish(config(fake, **by("x-new")))

                def new_ones() -> bool:
                    with envoy.http1() as other:
                        return ask(other) == {"x-new"}

                scene.poll(new_ones, "the new configuration", 10)
                assert ask(client) == later, way.__name__


@BOTH_WAYS
def test_a_change_while_the_provider_is_down(start_envoy: StartEnvoy, tmp_path: Path, way: type[Xds]) -> None:
    """The new filter has no keys, and can fetch none: 503. With `jwks.inline` it has."""
    xds = way(tmp_path)
    with FakeProvider() as fake:
        keys = {"keys": [key.jwk() for key in fake.keys]}
        plain, inline = provider_entry(fake), provider_entry(fake, jwks={"inline": keys, "uri": f"{fake.issuer}/jwks"})
        envoy = start_envoy(config(fake, **by("x-old")), idp=fake.port, workers=2, adjust=xds.take_over)
        token = fake.token()
        with Load(envoy, good=lambda: token, none=lambda: None) as load:
            fake.routes["/jwks"] = fake.routes["/.well-known/openid-configuration"] = Reply(503)
            time.sleep(0.5)
            assert load.statuses("good") == {200}, "what is at hand serves"
            xds.publish(config(fake, providers=[inline], **by("x-inline")))
            scene.poll(load.told("x-inline"), "the configuration with keys", 20)
            assert load.statuses("good") == {200}, "and needs nobody"
            xds.publish(config(fake, providers=[plain], **by("x-new")))
            scene.poll(lambda: load.samples[-1].status == 503 or load.samples[-2].status == 503, "refusals", 20)
            back = time.monotonic()
            for path in ("/jwks", "/.well-known/openid-configuration"):
                del fake.routes[path]
            fake.routes |= {
                "/jwks": Reply.json(keys),
                "/.well-known/openid-configuration": Reply.json(fake.metadata()),
            }
            scene.poll(load.told("x-new"), "the keys", 40)
            recovered = time.monotonic() - back
        assert load.statuses("good") == {200, 503}
        assert load.statuses("none") == {401}, "the missing token is the client's fault, whoever is down"
        note(f"provider down, by {way.__name__}", recovered_s=recovered)


@BOTH_WAYS
def test_a_second_provider_costs_the_first_nothing(start_envoy: StartEnvoy, tmp_path: Path, way: type[Xds]) -> None:
    xds = way(tmp_path)
    with FakeProvider() as one, FakeProvider() as other:
        second = provider_entry(other, name="other", cluster="other")
        envoy = start_envoy(
            config(one, **by("x-old")), idp=one.port, clusters={"other": other.port}, workers=2, adjust=xds.take_over
        )
        first_token, second_token = one.token(), other.token()
        with Load(envoy, first=lambda: first_token, second=lambda: second_token) as load:
            assert load.statuses("second") == {401}
            published = time.monotonic()
            xds.publish(config(one, providers=[provider_entry(one), second], **by("x-new")))
            scene.poll(load.told("x-new"), "the new configuration", 20)
            in_force = time.monotonic()
            time.sleep(0.3)
        assert load.statuses("first") == {200} and load.statuses("second", in_force) == {200}
        note(f"second provider by {way.__name__}", **measured(load, "first", published, "x-new"))


def test_a_change_ends_the_trust_in_withdrawn_keys(start_envoy: StartEnvoy, tmp_path: Path) -> None:
    """A key of the old filter is none of the new one."""
    xds = Ecds(tmp_path)
    with FakeProvider(Key.make(kid="old")) as fake:
        envoy = start_envoy(config(fake, **by("x-old")), idp=fake.port, workers=1, adjust=xds.take_over)
        stolen = fake.token()
        assert envoy.get("/", token=stolen).status == 200
        fake.keys = [Key.make(kid="new")]
        assert envoy.get("/", token=stolen).status == 200, "the set is kept"
        xds.publish(config(fake, **by("x-new")))
        scene.poll(lambda: envoy.get("/", token=stolen).status == 401, "the new filter", 10)
        assert envoy.get("/", token=fake.token()).status == 200


def test_keys_are_rotated_without_a_refusal(start_envoy: StartEnvoy, own_provider: Provider) -> None:
    """Published, then signed with, then withdrawn when the last token of the old one has expired."""
    cooled = provider_entry(own_provider, jwks={"cooldown": "1s"})
    envoy = start_envoy(config(own_provider, providers=[cooled]), idp=own_provider.port, workers=2)
    newest = own_provider.token("es256")

    def current() -> str:
        return newest

    old = newest
    with Load(envoy, connections=2, old=lambda: old, current=current) as load:
        own_provider.rotate("publish")
        time.sleep(0.3)
        own_provider.rotate("activate")
        newest = own_provider.token("es256")
        activated = time.monotonic()
        time.sleep(1)
        assert load.statuses("old") == load.statuses("current") == {200}
        own_provider.rotate("retire")
        time.sleep(0.5)
        assert load.statuses("current") == {200}
        # A withdrawn key is trusted as long as the set that it stands in is kept (`cache`).
        assert load.statuses("old") == {200}
    note("keys", slowest_s=max(sample.took for sample in load.of("current", activated)), requests=len(load.samples))


class Client:
    """What the provider knows of the filter as its client: the secrets that it takes at the moment."""

    def __init__(self, fake: FakeProvider, *secrets: str) -> None:
        self.secrets = set(secrets)
        self._answer = fake._introspect
        fake.routes["/introspect"] = self

    def __call__(self, request: Request) -> Reply:
        pair = base64.b64decode((request.header("authorization") or "").removeprefix("Basic ")).decode()
        return self._answer(request) if pair.partition(":")[2] in self.secrets else Reply(401)


def asking(fake: FakeProvider, secret: str) -> dict[str, Any]:
    """Each token is asked about each time, so that a wrong secret shows."""
    endpoint = {"client_id": "rs", "client_secret": secret, "cache": 0, "negative_cache": 0}
    return provider_entry(fake, validation="introspection", introspection=endpoint)


@BOTH_WAYS
def test_a_secret_is_rotated_without_a_refusal(start_envoy: StartEnvoy, tmp_path: Path, way: type[Xds]) -> None:
    """The provider takes both for a while."""
    xds = way(tmp_path)
    with FakeProvider() as fake:
        client = Client(fake, "old-secret")
        fake.active["opaque"] = {"aud": "urn:api:test", "sub": "svc"}
        envoy = start_envoy(
            config(fake, providers=[asking(fake, "old-secret")], **by("x-old")),
            idp=fake.port,
            workers=2,
            adjust=xds.take_over,
        )
        with Load(envoy, connections=2, good=lambda: "opaque", bad=lambda: "unknown") as load:
            client.secrets = {"old-secret", "new-secret"}
            published = time.monotonic()
            xds.publish(config(fake, providers=[asking(fake, "new-secret")], **by("x-new")))
            scene.poll(load.told("x-new"), "the new secret", 20)
            client.secrets = {"new-secret"}
            time.sleep(0.5)
        assert load.statuses("good") == {200} and load.statuses("bad") == {401}
        note(f"secret by {way.__name__}", **measured(load, "good", published, "x-new"))


def test_a_secret_that_the_provider_has_forgotten(start_envoy: StartEnvoy) -> None:
    with FakeProvider() as fake:
        Client(fake, "new-secret")
        fake.active["opaque"] = {"aud": "urn:api:test", "sub": "svc"}
        envoy = start_envoy(config(fake, providers=[asking(fake, "old-secret")]), idp=fake.port)
        response = envoy.get("/", token="opaque")
        assert (response.status, response.json()["error"]) == (503, "provider_unavailable")


def test_a_secret_of_the_environment_changes_with_it(start_envoy: StartEnvoy, tmp_path: Path) -> None:
    """`environment_variables` in the file: Envoy starts other virtual machines for the new value, before 1.39 for another `vm_id`."""
    xds = Xds(tmp_path)
    with FakeProvider() as fake:
        client = Client(fake, "old-secret")
        fake.active["opaque"] = {"aud": "urn:api:test", "sub": "svc"}
        provider = asking(fake, "${SECRET}")
        envoy = start_envoy(
            config(fake, providers=[provider], **by("x-old")),
            idp=fake.port,
            workers=1,
            adjust=xds.take_over,
            env={"SECRET": "old-secret"},
        )
        with Load(envoy, connections=1, good=lambda: "opaque") as load:
            client.secrets = {"old-secret", "new-secret"}
            vm_config = envoy.bootstrap.wasm["vm_config"]
            vm_config["environment_variables"] = {"key_values": {"SECRET": "new-secret"}}
            if envoy_release() < (1, 39):
                vm_config["vm_id"] += "-new-secret"
            xds.publish(config(fake, providers=[provider], **by("x-new")))
            scene.poll(load.told("x-new"), "the new configuration", 20)
            client.secrets = {"new-secret"}
            time.sleep(0.5)
        assert load.statuses("good") == {200}


@BOTH_WAYS
def test_a_candidate_is_tried_in_shadow_then_put_in_force(
    start_envoy: StartEnvoy, tmp_path: Path, way: type[Xds]
) -> None:
    """It refuses nobody until it is in force, and says before whom it will refuse."""
    xds = way(tmp_path)
    candidate = {"require": {"scopes": ["write"]}}
    with FakeProvider() as fake:
        envoy = start_envoy(config(fake, **by("x-old")), idp=fake.port, workers=2, adjust=xds.take_over)
        reader, writer = fake.token(scope="read"), fake.token(scope="read write")
        with Load(envoy, reader=lambda: reader, writer=lambda: writer) as load:
            xds.publish(config(fake, shadow=candidate, **by("x-shadow")))
            scene.poll(load.told("x-shadow"), "the shadow", 20)
            time.sleep(0.5)
            assert load.statuses("reader") == load.statuses("writer") == {200}

            def told(**labels: str) -> float:
                return envoy.metric("oidc_shadow_requests_total", **labels)

            scene.poll(lambda: told(result="denied", reason="insufficient_scope") > 0, "the count", 20)
            assert told(result="allowed") > 0
            xds.publish(config(fake, **candidate, **by("x-force")))
            scene.poll(load.told("x-force"), "the candidate in force", 20)
            in_force = time.monotonic()
            time.sleep(0.3)
        assert load.statuses("reader", in_force) == {403}, "as the shadow has said"
        assert load.statuses("writer") == {200}


@BOTH_WAYS
def test_what_is_refused_changes_nothing(start_envoy: StartEnvoy, tmp_path: Path, way: type[Xds]) -> None:
    """A field that is misspelt: Envoy keeps what it has, and says so."""
    xds = way(tmp_path)
    rejected = {Xds: r"listener_manager\.lds\.update_rejected", Ecds: r"extension_config_discovery.*\.config_fail"}[way]
    with FakeProvider() as fake:
        envoy = start_envoy(config(fake, **by("x-old")), idp=fake.port, workers=2, adjust=xds.take_over)
        token = fake.token()
        with Load(envoy, good=lambda: token, none=lambda: None) as load:
            xds.publish(config(fake, audiances=["a"], **by("x-new")))
            scene.poll(lambda: sum(envoy.stats(rejected).values()), "the refusal of the update", 20)
            time.sleep(0.3)
            assert load.told("x-old")()
        assert "audiances: unknown field" in envoy.log()
        assert load.statuses("good") == {200} and load.statuses("none") == {401}


@BOTH_WAYS
def test_a_rollback_is_the_old_file(start_envoy: StartEnvoy, tmp_path: Path, way: type[Xds]) -> None:
    """A wrong audience is no mistake that Envoy can see: everybody is refused, until the old file is back."""
    xds = way(tmp_path)
    with FakeProvider() as fake:
        good = config(fake, **by("x-old"))
        envoy = start_envoy(good, idp=fake.port, workers=2, adjust=xds.take_over)
        token = fake.token()
        with Load(envoy, good=lambda: token, none=lambda: None) as load:
            before = xds.file.read_text()
            xds.publish(config(fake, providers=[provider_entry(fake, audiences=["urn:api:tset"])]))
            scene.poll(lambda: {s.status for s in load.of("good")[-40:]} == {401}, "the mistake", 20)
            back = time.monotonic()
            new = xds.file.with_suffix(".back")
            new.write_text(before)
            new.rename(xds.file)
            scene.poll(lambda: {s.status for s in load.of("good")[-40:]} == {200}, "the old configuration", 20)
        assert load.statuses("none") == {401}
        refused = [sample.sent for sample in load.of("good", back) if sample.status == 401]
        note(f"rollback by {way.__name__}", last_refusal_s=max(refused, default=back) - back)


def test_the_files_of_the_page_are_those(start_envoy: StartEnvoy, tmp_path: Path) -> None:
    """And one that is written in place of being moved there isn't noticed."""
    page, file = Page("changing.md"), tmp_path / "filters.yaml"
    with FakeProvider() as fake:

        def written(header: str) -> str:
            text = page.block("yaml", ("Two files that Envoy watches",), 1, {"idp": fake.issuer})
            text = text.replace("/etc/envoy/oidc_filter.wasm", "target/wasm32-wasip1/release/oidc_filter.wasm")
            assert "x-user" in text and "https://api.example.com" in text
            return text.replace("https://api.example.com", "urn:api:test").replace("x-user", header)

        def take_over(bootstrap: Bootstrap) -> None:
            bootstrap.hcm["http_filters"] = page.yaml("Two files that Envoy watches")["http_filters"]
            source = bootstrap.hcm["http_filters"][0]["config_discovery"]["config_source"]
            source["path_config_source"]["path"] = str(file)
            bootstrap.value["node"] = yaml.safe_load("{ id: edge, cluster: edge }")

        file.write_text(written("x-old"))
        envoy = start_envoy(config(fake), idp=fake.port, adjust=take_over)

        def seen() -> set[str]:
            return {name for name, _ in envoy.get("/", token=fake.token()).seen.headers} & {"x-old", "x-new"}

        assert seen() == {"x-old"}
        file.write_text(written("x-new"))
        time.sleep(1)
        assert seen() == {"x-old"}
        (tmp_path / "new.yaml").write_text(written("x-new"))
        (tmp_path / "new.yaml").rename(file)
        scene.poll(lambda: seen() == {"x-new"}, "the file that was moved", 10)


def test_a_changed_cluster_ends_the_calls_to_it(start_envoy: StartEnvoy, tmp_path: Path) -> None:
    """Whoever waits for one is answered at once, and nobody else notices."""
    file = tmp_path / "clusters.json"
    kind = {"@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster"}
    version = itertools.count()
    clusters: list[dict[str, Any]] = []

    def publish(**changes: Any) -> None:
        resources = [kind | cluster | changes for cluster in clusters]
        new = file.with_suffix(".new")
        new.write_text(json.dumps({"version_info": str(next(version)), "resources": resources}))
        new.rename(file)

    def take_over(bootstrap: Bootstrap) -> None:
        clusters.extend(cluster for cluster in bootstrap.clusters if cluster["name"] == "idp")
        bootstrap.clusters[:] = [cluster for cluster in bootstrap.clusters if cluster["name"] != "idp"]
        source = {"path_config_source": {"path": str(file)}, "resource_api_version": "V3"}
        bootstrap.value["dynamic_resources"] = {"cds_config": source}
        bootstrap.value["node"] = {"id": "test", "cluster": "test"}
        publish()

    with FakeProvider() as fake:
        active = Reply.json({"active": True, "aud": "urn:api:test", "sub": "ann"})
        fake.routes["/introspect"] = active
        entry = provider_entry(fake, validation="introspection", timeout="20s")
        settings = config(fake, providers=[entry])
        envoy = start_envoy(settings, idp=fake.port, adjust=take_over, own_process=True)
        scene.poll(lambda: envoy.get("/", token="known").status == 200, "the cluster", 10)
        fake.routes["/introspect"] = dataclasses.replace(active, delay=8)
        answers: list[tuple[int, float]] = []

        def wait() -> None:
            begin = time.monotonic()
            answers.append((envoy.get("/", token="new").status, time.monotonic() - begin))

        waiting = threading.Thread(target=wait)
        waiting.start()
        scene.poll(lambda: fake.count("/introspect") == 2, "the call", 5)
        publish(connect_timeout="3s")
        waiting.join()
        ((status, took),) = answers
        assert status == 503 and took < 7, "not when the call has ended, but when the cluster has"
        assert envoy.get("/", token="known").status == 200
        fake.routes["/introspect"] = active
        assert envoy.get("/", token="new").status == 200


# ------------------------------------------------------------------------------ what validate can't see


def test_validate_sees_no_cluster_and_no_file(tmp_path: Path, start_envoy: StartEnvoy) -> None:
    """`--mode validate` reads the configuration of the filter that stands in the bootstrap, and nothing that it names."""
    with FakeProvider() as fake:

        def of(settings: Any, xds: Xds | None = None) -> Any:
            bootstrap = Bootstrap()
            bootstrap.configure(settings, struct=True)
            if xds:
                xds.take_over(bootstrap)
            return validate(bootstrap)

        misspelt = config(fake, audiances=["a"])
        lost = config(fake, providers=[provider_entry(fake, cluster="ipd")])
        wrong = config(fake, providers=[provider_entry(fake, introspection={"client_id": "rs", "client_secret": "?"})])
        refused = of(misspelt)
        assert refused.returncode != 0 and "audiances: unknown field" in refused.stdout
        unseen = Bootstrap()
        unseen.configure(lost, struct=True)
        unseen.add_listener("wrong", wrong, struct=True)
        assert validate(unseen).returncode == 0
        for way in (Xds, Ecds):
            directory = tmp_path / way.__name__
            directory.mkdir()
            assert of(misspelt, way(directory)).returncode == 0, way.__name__
        # What it is like then.
        envoy = start_envoy(lost, idp=fake.port)
        response = envoy.get("/", token=fake.token())
        assert (response.status, response.json()["error"]) == (503, "provider_unavailable")
        assert "ipd" in envoy.log()
