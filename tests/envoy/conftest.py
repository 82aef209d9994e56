"""Fixtures. Processes that tests can share live for the whole run: that is what makes it fast."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_provider import FakeProvider
from harness import POOL, ROOT, Envoy, Provider, Upstream, config
from xds import Xds

StartEnvoy = Callable[..., Envoy]

# Whose tests take longest, that no worker is left alone with one of them at the end.
FIRST = ["scene", "changing", "cli", "assertion", "migrate", "security_traps", "host_hazards", "protocol", "opaque", "dpop", "chaos"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    order = {f"test_{name}.py": place for place, name in enumerate(FIRST)}
    items.sort(key=lambda item: order.get(item.path.name, len(FIRST)))


@pytest.fixture(scope="session")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    """The provider that all tests share. Its faults end with the test that made them."""
    with Provider(tmp_path_factory.mktemp("provider")) as running:
        yield running


@pytest.fixture(scope="session")
def command() -> Path:
    """The command, as the native tests build it: in another way, all crates would be built anew."""
    build = ["cargo", "test", "--quiet", "--locked", "--no-run", "--test", "cli"]
    subprocess.run(build, cwd=ROOT, check=True)
    target = os.environ.get("CARGO_TARGET_DIR", str(ROOT / "target"))
    return Path(target) / "debug/oidc-filter"


@pytest.fixture(autouse=True)
def no_fault_survives(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "provider" in request.fixturenames:
        request.getfixturevalue("provider").clear()


@pytest.fixture(scope="session", autouse=True)
def no_host_survives() -> Iterator[None]:
    yield
    POOL.close()


@pytest.fixture
def own_provider(tmp_path: Path) -> Iterator[Provider]:
    """A provider of one's own, for tests that rotate keys or count requests exactly."""
    with Provider(tmp_path) as running:
        yield running


@pytest.fixture
def fake() -> Iterator[FakeProvider]:
    """A provider that can misbehave; `start_envoy(config(fake), idp=fake.port)`."""
    with FakeProvider() as running:
        yield running


@pytest.fixture
def xds(tmp_path: Path) -> Xds:
    """For `start_envoy(…, adjust=xds.take_over)`."""
    return Xds(tmp_path)


@pytest.fixture(scope="session")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upstream]:
    with Upstream(tmp_path_factory.mktemp("upstream")) as running:
        yield running


def _starter(provider: Provider, upstream: Upstream, stack: contextlib.ExitStack) -> StartEnvoy:
    def start(filter_config: Any, *, idp: int = provider.port, own_process: bool = False, **options: Any) -> Envoy:
        port = upstream.h2_port if options.get("http2_upstream") else upstream.port
        clusters = {"idp": idp, "upstream": port} | options.pop("clusters", {})
        pool = None if own_process else POOL
        return stack.enter_context(Envoy(filter_config, clusters, pool=pool, **options))

    return start


@pytest.fixture
def start_envoy(provider: Provider, upstream: Upstream) -> Iterator[StartEnvoy]:
    """Starts an Envoy that ends with the test: `start_envoy(config(provider), workers=2, …)`.

    `idp` is the provider's port; all other options are those of `Envoy`. Tests take turns at running Envoys: `hosts.py`
    says why, and what stays of a test. With `own_process`, one is started for this test.
    """
    with contextlib.ExitStack() as stack:
        yield _starter(provider, upstream, stack)


@pytest.fixture(scope="module")
def start_shared_envoy(provider: Provider, upstream: Upstream) -> Iterator[StartEnvoy]:
    """The same for a module: for a fixture of one's own with `scope="module"`."""
    with contextlib.ExitStack() as stack:
        yield _starter(provider, upstream, stack)


@pytest.fixture(scope="session")
def envoy(provider: Provider, upstream: Upstream) -> Iterator[Envoy]:
    """One Envoy for all tests that need no configuration but the default one."""
    claim_headers = [{"header": "x-user", "claim": "sub"}]
    with contextlib.ExitStack() as stack:
        yield _starter(provider, upstream, stack)(config(provider, claim_headers=claim_headers))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    call: pytest.CallInfo[None],
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Adds the last words of every Envoy that was running to the report of a failed test."""
    report = yield
    if report.failed and call.when == "call":
        for running in Envoy.live:
            tail = "\n".join(running.log().splitlines()[-40:])
            report.sections.append((f"Envoy at port {running.port}", tail))
    return report
