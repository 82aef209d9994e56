"""Running Envoys that tests take turns at.

To start an Envoy costs some seconds of a processor: V8 compiles the module, two megabytes of it, anew in each process.
Within one process it keeps what it has compiled for as long as a virtual machine runs it. So a `Host` is an Envoy
without listeners and clusters, in which one virtual machine, the keeper's, runs from the start to the end. A test gets
the host for itself alone. Its clusters and listeners come and go as files that Envoy watches (CDS and LDS), which takes
a tenth of a second.

No test may pass because of what another one has left. A host is lent again only if nothing is left of the last test: no
listener, no cluster, no virtual machine, and no metric, of which Envoy's and the filter's go with whom they belong to.
Counters of the process begin at 0 again. Shared data have a `vm_id` that no other test has. When in doubt, the host is
stopped, and the next test pays for another one.
"""

from __future__ import annotations

import copy
import itertools
import json
import re
import shutil
import tempfile
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import scene

if TYPE_CHECKING:
    from harness import Bootstrap

NODE = {"id": "test", "cluster": "test"}
KEEPER = "module-keeper"
KINDS = {
    "listeners": "type.googleapis.com/envoy.config.listener.v3.Listener",
    "clusters": "type.googleapis.com/envoy.config.cluster.v3.Cluster",
}
SERVICES = {"listeners": "listener_manager.lds", "clusters": "cluster_manager.cds"}
CLEAN_SECONDS = 10.0

# What Envoy goes on counting: how many there are, of which none may be left, and what its own client has done.
ALIVE = {"lua.lua_vm_count"}
OF_THE_PROCESS = "http.async-client."

# With this the keeper has no keys to fetch, and no metric.
IDLE = {
    "providers": [
        {
            "issuer": "https://keeper.example",
            "cluster": "nowhere",
            "audiences": ["nobody"],
            "validation": "introspection",
            "introspection": {"endpoint": "https://keeper.example/", "client_id": "k", "client_secret": "k"},
        }
    ]
}


class Refused(Exception):
    """Envoy has refused a listener or a cluster; with what it said."""


Resources = Sequence[Mapping[str, Any]]


class Host:
    """One Envoy process, lent to one test at a time."""

    def __init__(self, plain: Mapping[str, Any], module: str, workers: int) -> None:
        """`plain` is the bootstrap that tests begin with; of it, what is neither listener nor cluster stays."""
        self.module, self.workers = module, workers
        self.directory = Path(tempfile.mkdtemp(prefix="oidc-filter-host-"))
        self._version = itertools.count()
        self._publish("listeners", [])
        self._publish("clusters", [])
        try:
            self.process = scene.EnvoyProcess(
                json.dumps(self._bootstrap(plain)), self.directory, workers, drain_seconds=0
            )
            self._names, self._machines = frozenset(self.stats()), self._running()
        except BaseException:
            shutil.rmtree(self.directory)
            raise
        self._begin = 0

    def lend(self, listeners: Resources, clusters: Resources, log_levels: str) -> None:
        """Takes them in, and comes back when they serve."""
        self._begin = self.process.log.stat().st_size
        self.process.admin("/logging?level=warning", "POST")
        levels = urllib.parse.urlencode({"paths": log_levels})
        self.process.admin(f"/logging?{levels}", "POST")
        self.process.admin("/reset_counters", "POST")
        self._put("clusters", clusters)
        self._put("listeners", listeners)
        names = {listener["name"] for listener in listeners}
        self.process.wait_for(lambda: names <= self.process.ports().keys(), "its listeners served")

    def take_back(self) -> bool:
        """Whether nothing is left of whom it was lent to, so that it may be lent again."""
        if not self.process.running():
            raise scene.SceneError(f"Envoy came to an end by itself:\n{self.log()[-2000:]}")
        self.process.admin("/reset_counters", "POST")  # a refusal was counted, too
        self._put("listeners", [])
        self._put("clusters", [])
        try:
            scene.poll(lambda: not self.left(), "a clean host", CLEAN_SECONDS)
        except scene.SceneError:
            return False
        return True

    def left(self) -> set[str]:
        """What is there of the last loan."""
        new = {name: value for name, value in self.stats().items() if name not in self._names}
        left = {name for name, value in new.items() if value or name not in ALIVE}
        left = {name for name in left if not name.startswith(OF_THE_PROCESS)} | self.process.ports().keys()
        return left | {"a virtual machine"} if self._running() != self._machines else left

    def stop(self) -> None:
        self.process.stop()
        shutil.rmtree(self.directory)

    def log(self) -> str:
        """Since it was lent."""
        with self.process.log.open("rb") as file:
            file.seek(self._begin)
            return file.read().decode(errors="replace")

    def stats(self, pattern: str = "") -> dict[str, Any]:
        query = urllib.parse.urlencode({"format": "json", "filter": pattern})
        stats = json.loads(self.process.admin(f"/stats?{query}"))["stats"]
        return {stat["name"]: stat["value"] for stat in stats if "name" in stat}

    def _running(self) -> int:
        """Virtual machines."""
        name = "wasm.envoy.wasm.runtime.v8.active"
        return self.stats(f"^{re.escape(name)}$")[name]

    def _bootstrap(self, plain: Mapping[str, Any]) -> dict[str, Any]:
        value = {name: copy.deepcopy(part) for name, part in plain.items() if name != "static_resources"}

        def source(name: str) -> dict[str, Any]:
            path = {"path": str(self.directory / f"{name}.json")}
            return {"path_config_source": path, "resource_api_version": "V3"}

        plugin = {
            "name": KEEPER,
            "vm_config": {
                "vm_id": KEEPER,
                "runtime": "envoy.wasm.runtime.v8",
                "code": {"local": {"filename": self.module}},
            },
            "configuration": {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": json.dumps(IDLE)},
        }
        kind = "type.googleapis.com/envoy.extensions.wasm.v3.WasmService"
        keeper = {"@type": kind, "singleton": True, "config": plugin}
        value["node"] = NODE
        value["bootstrap_extensions"] = [{"name": KEEPER, "typed_config": keeper}]
        value["dynamic_resources"] = {"lds_config": source("listeners"), "cds_config": source("clusters")}
        # Tests that sum up what they find must not find the keeper.
        value["stats_config"]["stats_matcher"] = {"exclusion_list": {"patterns": [{"contains": KEEPER}]}}
        return value

    def _publish(self, name: str, resources: Resources) -> str:
        """Replaces the file in one step, which is what Envoy watches for; gives the version."""
        file, version = self.directory / f"{name}.json", str(next(self._version))
        found = [{"@type": KINDS[name], **resource} for resource in resources]
        new = file.with_suffix(".new")
        new.write_text(json.dumps({"version_info": version, "resources": found}))
        new.rename(file)
        return version

    def _put(self, name: str, resources: Resources) -> None:
        """The same, and waits until Envoy has taken it."""
        service, version = SERVICES[name], self._publish(name, resources)

        def answered() -> bool:
            told = self.stats(rf"^{re.escape(service)}\.(version_text|update_rejected)$")
            if told[f"{service}.update_rejected"]:
                raise Refused(self.log())
            return told[f"{service}.version_text"] == version

        self.process.wait_for(answered, f"it took the {name}")


class Loan:
    """What a test has of a host, until it gives it back."""

    def __init__(self, pool: Pool, host: Host) -> None:
        self.pool, self.host = pool, host

    def end(self) -> None:
        self.pool.take_back(self.host)


class Pool:
    """The hosts of one run of tests. Those that nobody has wait for the next test that they fit."""

    def __init__(self) -> None:
        self._idle: list[Host] = []
        self.started = 0

    def lend(self, bootstrap: Bootstrap, workers: int, log_levels: str) -> Loan | None:
        """A host with all of this bootstrap; None if only a process of its own can have that.

        Raises `Refused`.
        """
        plain = type(bootstrap)().value
        module = fits(bootstrap, plain)
        if module is None:
            return None
        fitting = [host for host in self._idle if (host.module, host.workers) == (module, workers)]
        if fitting:
            host = fitting[-1]
            self._idle.remove(host)
        else:
            host = Host(plain, module, workers)
            self.started += 1
        resources = bootstrap.value["static_resources"]
        try:
            host.lend(resources["listeners"], resources["clusters"], log_levels)
        except BaseException:
            self.take_back(host)
            raise
        return Loan(self, host)

    def take_back(self, host: Host) -> None:
        clean = False
        try:
            clean = host.take_back()
        finally:
            if clean:
                self._idle.append(host)
            else:
                host.stop()

    def close(self) -> None:
        while self._idle:
            self._idle.pop().stop()


def fits(bootstrap: Bootstrap, plain: Mapping[str, Any]) -> str | None:
    """The module of a bootstrap that a host can take in: it differs from the plain one in listeners and clusters alone.

    Virtual machines share memory with those of equal `vm_id`: each must have one that is this bootstrap's own.
    """

    def rest(value: Mapping[str, Any]) -> dict[str, Any]:
        return {name: part for name, part in value.items() if name != "static_resources"}

    if rest(bootstrap.value) not in (rest(plain), {**rest(plain), "node": NODE}):
        return None
    resources = bootstrap.value["static_resources"]
    if resources.keys() != KINDS.keys() or not all(listener.get("name") for listener in resources["listeners"]):
        return None
    machines = list(vm_configs([resources["listeners"], bootstrap.in_files]))
    modules = {machine.get("code", {}).get("local", {}).get("filename", "") for machine in machines}
    if len(modules) != 1 or not all(machine.get("vm_id", "").endswith(f"-{bootstrap.number}") for machine in machines):
        return None
    (module,) = modules
    path = scene.ROOT / module
    # What is built beside the filter is no module of one test alone.
    return str(path) if path.parent == scene.MODULE.parent else None


def vm_configs(value: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, dict):
        if "vm_config" in value:
            yield value["vm_config"]
        for member in value.values():
            yield from vm_configs(member)
    elif isinstance(value, list):
        for element in value:
            yield from vm_configs(element)
