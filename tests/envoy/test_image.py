"""`make image`: a real registry takes the image, and gives the module back by the rules of Istio and Envoy Gateway."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import re
import shutil
import subprocess
import tarfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import scene
import yaml
from harness import ROOT
from services import free_port, listens

MODULE = ROOT / "target/wasm32-wasip1/release/oidc_filter.wasm"
REGISTRY, SKOPEO = shutil.which("docker-registry"), shutil.which("skopeo")
OCI = "application/vnd.oci.image"

needs_registry = pytest.mark.skipif(
    REGISTRY is None or SKOPEO is None, reason="no registry is installed (Debian: docker-registry, skopeo)"
)


def sha256(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def lay_out(folder: Path) -> dict[str, str]:
    """The digests that it prints, by their names."""
    made = subprocess.run([ROOT / "scripts/image", folder], check=True, capture_output=True, text=True)
    return dict(line.split() for line in made.stdout.splitlines())


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


class Registry:
    """Debian's docker-registry with an empty store."""

    def __init__(self, directory: Path) -> None:
        assert REGISTRY
        port = free_port()
        self.host = f"127.0.0.1:{port}"
        configuration = directory / "registry.yaml"
        settings = {
            "version": 0.1,
            "storage": {"filesystem": {"rootdirectory": str(directory / "store")}},
            "http": {"addr": self.host},
        }
        configuration.write_text(yaml.safe_dump(settings))
        with (directory / "registry.log").open("w") as log:
            self.process = subprocess.Popen([REGISTRY, "serve", configuration], stdout=log, stderr=log)
        scene.poll(lambda: listens(port), "the registry", 20)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()

    def get(self, path: str, accept: str = "*/*") -> tuple[bytes, str, str]:
        """A body, with its type, and the digest that the registry gives it."""
        request = urllib.request.Request(f"http://{self.host}/v2/{path}", headers={"Accept": accept})
        with urllib.request.urlopen(request, timeout=10) as response:
            headers = response.headers
            return response.read(), headers["Content-Type"], headers["Docker-Content-Digest"]


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    running = Registry(tmp_path)
    try:
        yield running
    finally:
        running.stop()


def fetch(registry: Registry, name: str, reference: str) -> tuple[str, bytes]:
    """The digest that is compared with the pinned one, and the module.

    The rules are those of pkg/wasm/imagefetcher.go of Istio, which Envoy Gateway has taken over. Older releases of Istio want
    exactly one layer, later ones look at the last.
    """
    manifests = [f"{OCI}.manifest.v1+json", f"{OCI}.index.v1+json", "application/vnd.docker.distribution.manifest.v2+json"]
    manifest, kind, digest = registry.get(f"{name}/manifests/{reference}", ", ".join(manifests))
    assert kind == manifests[0], "an index has another digest than the manifest that is in force"
    assert digest == sha256(manifest)
    told = json.loads(manifest)
    (layer,) = told["layers"]
    assert layer["mediaType"] == f"{OCI}.layer.v1.tar+gzip"
    archive = blob(registry, name, layer)
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(archive))) as files:
        (member,) = files.getmembers()
        assert (member.name, member.isfile()) == ("plugin.wasm", True)
        file = files.extractfile(member)
        assert file is not None
        module = file.read()
    assert len(module) < 256 << 20
    config = json.loads(blob(registry, name, told["config"]))
    assert (config["os"], config["architecture"]) == ("linux", "amd64")
    assert config["rootfs"] == {"type": "layers", "diff_ids": [sha256(gzip.decompress(archive))]}
    return digest, module


def blob(registry: Registry, name: str, described: dict[str, Any]) -> bytes:
    content, _, _ = registry.get(f"{name}/blobs/{described['digest']}")
    assert (sha256(content), len(content)) == (described["digest"], described["size"])
    return content


def test_the_module_is_as_light_as_it_was() -> None:
    """What an image weighs, in kB. `scripts/arrange` takes off 40 of them, and the linker's option for short numbers 14."""
    assert len(gzip.compress(MODULE.read_bytes(), 9)) / 1000 < 655


@needs_registry
def test_a_registry_gives_the_module_back(registry: Registry, tmp_path: Path) -> None:
    """By the line of docs/install.md, with the digests that were printed."""
    digests = lay_out(tmp_path / "image")
    (line,) = re.findall(r"^skopeo copy .+$", (ROOT / "docs/install.md").read_text(), re.M)
    line = line.replace("target/image", str(tmp_path / "image")).replace("registry.example.com", registry.host)
    assert SKOPEO
    command = [SKOPEO, *line.split()[1:], "--dest-tls-verify=false"]
    copied = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert copied.returncode == 0, copied.stderr
    for reference in ("0.1.0", digests["image"]):  # by its tag, and pinned
        digest, module = fetch(registry, "oidc-filter", reference)
        assert module == MODULE.read_bytes()
        assert {"image": digest, "module": sha256(module)} == digests


def test_one_module_gives_one_image(tmp_path: Path) -> None:
    assert lay_out(tmp_path / "a") == lay_out(tmp_path / "b") == lay_out(tmp_path / "a")
    one, other = files_of(tmp_path / "a"), files_of(tmp_path / "b")
    assert one == other and len(one) == 5


def test_a_folder_of_something_else_stays(tmp_path: Path) -> None:
    (tmp_path / "precious").touch()
    refused = subprocess.run([ROOT / "scripts/image", tmp_path], capture_output=True, text=True)
    assert refused.returncode == 1 and "holds no image" in refused.stderr
    assert (tmp_path / "precious").exists()


def test_the_other_module_has_an_image_of_its_own(tmp_path: Path) -> None:
    """What `make image-lists` does, with another module."""
    other = tmp_path / "oidc_filter_lists.wasm"
    other.write_bytes(b"another module")
    made = subprocess.run(
        [ROOT / "scripts/image", tmp_path / "lists", other], check=True, capture_output=True, text=True
    )
    digests = dict(line.split() for line in made.stdout.splitlines())
    assert digests["module"] == sha256(b"another module")
    (described,) = json.loads((tmp_path / "lists/index.json").read_text())["manifests"]
    manifest = json.loads((tmp_path / "lists/blobs" / described["digest"].replace(":", "/")).read_text())
    assert manifest["annotations"]["org.opencontainers.image.title"] == "oidc-filter-lists"
    assert digests["image"] == described["digest"] != lay_out(tmp_path / "plain")["image"]
