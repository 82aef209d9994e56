"""What the module is made of: nothing of the machine that built it, and what its bill says."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from harness import ROOT

RELEASE = ROOT / "target" / "wasm32-wasip1" / "release"
MODULE = RELEASE / "oidc_filter.wasm"


def sbom() -> str:
    command = [ROOT / "scripts/sbom"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def bill() -> dict[str, Any]:
    return json.loads(sbom())


def test_the_module_names_no_place_of_the_machine_that_built_it() -> None:
    """Or two machines would build two modules."""
    module = MODULE.read_bytes()
    sources = set(re.findall(rb"/(?:crates|rustc)/[\w./-]+\.rs", module))
    assert len(sources) > 20, "or this would prove nothing"
    for place in (ROOT, ROOT.resolve(), os.environ["HOME"], ".tools/debian", ".cargo/registry"):
        # As a folder: `/root` alone is a part of MCP's `notifications/roots/list_changed`, too.
        assert os.fsencode(f"{place}/") not in module, place


def test_the_bill_is_the_same_each_time(bill: dict[str, Any]) -> None:
    assert json.loads(sbom()) == bill
    assert "timestamp" not in bill["metadata"]


def test_the_bill_is_that_of_this_module(bill: dict[str, Any]) -> None:
    (digest,) = bill["metadata"]["component"]["hashes"]
    assert digest == {"alg": "SHA-256", "content": hashlib.sha256(MODULE.read_bytes()).hexdigest()}
    (std,) = (part for part in bill["components"] if part["name"] == "std")
    assert std["version"] == (RELEASE / "oidc_filter.toolchain").read_text().split()[1]


def test_the_bill_lists_what_is_linked_and_nothing_else(bill: dict[str, Any]) -> None:
    lock = (ROOT / "Cargo.lock").read_text()
    crates = {part["name"]: part for part in bill["components"] if part["name"] != "std"}
    for name, part in crates.items():
        (digest,) = part["hashes"]
        entry = f'name = "{name}"\nversion = "{part["version"]}"\n'
        assert entry in lock and f'checksum = "{digest["content"]}"' in lock.split(entry)[1][:200]
        assert part["licenses"][0]["expression"]
    # Each crate whose sources the module names is there.
    named = re.findall(rb"/crates/[^/]+/([\w-]+?)-\d[\w.+-]*/", MODULE.read_bytes())
    assert {name.decode() for name in named} <= set(crates)
    manifest = (ROOT / "Cargo.toml").read_text().split("[dependencies]\n")[1].split("\n[")[0]
    direct = set(re.findall(r"^([\w-]+) = ", manifest, re.M))
    assert len(direct) > 10 and direct <= set(crates)
    # What only builds it is not.
    assert not {"proc-macro2", "syn", "autocfg", "semver", "rustc_version"} & set(crates)
    assert all(name in lock for name in ("proc-macro2", "autocfg"))


def test_the_bill_hangs_together(bill: dict[str, Any]) -> None:
    own = bill["metadata"]["component"]["bom-ref"]
    refs = [part["bom-ref"] for part in bill["components"]]
    assert len(set(refs)) == len(refs)
    uses = {entry["ref"]: entry["dependsOn"] for entry in bill["dependencies"]}
    reached, waiting = set(), [own]
    while waiting:
        if (ref := waiting.pop()) not in reached:
            reached.add(ref)
            waiting.extend(uses.get(ref, []))
    assert reached == {own, *refs}


def test_every_exception_of_the_audit_says_why() -> None:
    lines = (ROOT / ".deny.toml").read_text().splitlines()
    excepted = [index for index, line in enumerate(lines) if re.match(r'\s+"RUSTSEC-', line)]
    assert excepted
    assert all(lines[index - 1].strip().startswith("#") for index in excepted)
    rejected = [line for line in lines if line.strip().startswith("{ crate =")]
    assert all("reason = " in line for line in rejected)


# -------------------------------------------------------------------------------- the public forge


def workflow(name: str) -> dict[str, Any]:
    return yaml.safe_load((ROOT / ".github/workflows" / f"{name}.yml").read_text())


def steps(name: str) -> list[dict[str, Any]]:
    return [step for job in workflow(name)["jobs"].values() for step in job["steps"]]


@pytest.mark.parametrize("name", ["ci", "release"])
def test_the_workflows_run_targets_that_the_makefile_has(name: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    scripts = "\n".join(step.get("run", "") for step in steps(name))
    called = " ".join(re.findall(r"^make ([a-z -]+)$", scripts, re.M)).split()
    assert {"lint", "test"} <= set(called) <= targets
    assert len(re.findall(r"\bmake ", scripts)) == len(re.findall(r"^make ", scripts, re.M))


@pytest.mark.parametrize("name", ["ci", "release"])
def test_the_workflows_may_do_no_more_than_they_must(name: str) -> None:
    assert workflow(name)["permissions"] == {"contents": "read"}
    checkouts = [step for step in steps(name) if "checkout" in step.get("uses", "")]
    assert all(step["with"]["persist-credentials"] is False for step in checkouts) and checkouts
    # What a stranger can write, such as a title or a branch's name, must not become a part of a script.
    assert not [step for step in steps(name) if "${{" in step.get("run", "")]


# Each stands for a program that a release calls, and writes down how. `make` makes what the target of this name would.
STANDS_FOR = """#!/bin/bash
set -euo pipefail
name=$(basename "$0")
echo "$name $*" >>"$CALLS"
here=target/wasm32-wasip1/release
mkdir -p $here target/release
image() { "$ROOT/scripts/image" "$1" "$2" >/dev/null; }
case $name in
make)
    for target; do
        case $target in
        wasm-lists) echo lists >$here/oidc_filter_lists.wasm ;;
        test) echo plain >$here/oidc_filter.wasm ;;
        sbom) echo '{}' >$here/oidc_filter.cdx.json ;;
        cli) echo command >target/release/oidc-filter ;;
        image) image target/image $here/oidc_filter.wasm ;;
        image-lists) image target/image-lists $here/oidc_filter_lists.wasm ;;
        esac
    done
    ;;
cosign)
    if [ "$1" = sign-blob ]; then
        [ "$3" = --bundle ] && [ -f "$5" ] && echo signed >"$4"
    fi
    ;;
skopeo)
    if [ "$1" = login ]; then [ "$(cat)" = token ]; else [ -f "${3#oci:}/index.json" ]; fi
    ;;
gh)
    ls dist >"$CALLS.published"
    ;;
esac
"""


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """A folder in which every step of a release has run, with the calls that it made in `calls`."""
    work, programs = tmp_path / "work", tmp_path / "bin"
    (work / "docs/schema").mkdir(parents=True)
    programs.mkdir()
    schema = ROOT / "docs/schema/oidc-filter.schema.json"
    (work / "docs/schema" / schema.name).write_bytes(schema.read_bytes())
    manifest = (ROOT / "Cargo.toml").read_text()
    (work / "Cargo.toml").write_text(manifest)
    for name in ("make", "cosign", "skopeo", "gh", "sudo", "rustup"):
        (programs / name).write_text(STANDS_FOR)
        (programs / name).chmod(0o755)
    (version,) = re.findall(r'^version = "(.+)"', manifest, re.M)
    environment = {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "CALLS": str(work / "calls"),
        "ROOT": str(ROOT),
        "IMAGE": "ghcr.io/owner/repository",
        "GH_TOKEN": "token",
        "GITHUB_ACTOR": "actor",
        "VERSION": f"v{version}",
    }
    for step in steps("release"):
        if "run" in step:
            command = ["bash", "-eo", "pipefail", "-c", step["run"]]
            ended = subprocess.run(command, cwd=work, env=environment, capture_output=True, text=True)
            assert ended.returncode == 0, (step, ended.stderr)
            if "Compare the tag" in step.get("name", ""):
                other = subprocess.run(command, cwd=work, env=environment | {"VERSION": "v9.9.9"})
                assert other.returncode == 1, "a tag of another version must end it"
    return work


def test_a_release_has_checksums_that_hold(release: Path) -> None:
    dist = release / "dist"
    subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=dist, check=True)
    listed = {line.split()[1] for line in (dist / "SHA256SUMS").read_text().splitlines()}
    assert {"oidc_filter.wasm", "oidc_filter_lists.wasm", "oidc-filter-x86_64-linux"} <= listed
    files = listed | {"SHA256SUMS"}
    published = (release / "calls.published").read_text().split()
    assert sorted(published) == sorted(files | {f"{name}.sigstore.json" for name in files})
    notes = (release / "notes.md").read_text()
    assert "| oidc_filter.wasm | 6 |" in notes and "| oidc_filter_lists.wasm | 6 |" in notes


def test_a_release_pushes_and_signs_both_images(release: Path) -> None:
    """By the digests that stand in their layouts, copied by the line of the page."""
    calls = (release / "calls").read_text().splitlines()
    (version,) = re.findall(r'^version = "(.+)"', (ROOT / "Cargo.toml").read_text(), re.M)
    for kind in ("", "-lists"):
        (described,) = json.loads((release / f"target/image{kind}/index.json").read_text())["manifests"]
        image = f"ghcr.io/owner/repository{kind}"
        copied = f"skopeo copy --preserve-digests oci:target/image{kind} docker://{image}:{version}"
        signed = f"cosign sign --yes {image}@{described['digest']}"
        assert calls.index(copied) < calls.index(signed)
        assert f"`{image}@{described['digest']}`" in (release / "notes.md").read_text()
    assert not [line for line in calls if "token" in line.split()], "a secret is no argument"
    assert calls[-1].startswith("gh release create v")
