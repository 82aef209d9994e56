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
    called = re.findall(r"^make ([a-z-]+)", scripts, re.M)
    assert {"lint", "test"} <= set(called) <= targets


@pytest.mark.parametrize("name", ["ci", "release"])
def test_the_workflows_may_do_no_more_than_they_must(name: str) -> None:
    assert workflow(name)["permissions"] == {"contents": "read"}
    checkouts = [step for step in steps(name) if "checkout" in step.get("uses", "")]
    assert all(step["with"]["persist-credentials"] is False for step in checkouts) and checkouts
    # What a stranger can write, such as a title or a branch's name, must not become a part of a script.
    assert not [step for step in steps(name) if "${{" in step.get("run", "")]


def test_a_release_has_checksums_that_hold(tmp_path: Path) -> None:
    (gather,) = (step["run"] for step in steps("release") if step.get("name") == "Gather the files")
    built = tmp_path / "work" / MODULE.relative_to(ROOT).parent
    built.mkdir(parents=True)
    (built / "oidc_filter.wasm").write_bytes(MODULE.read_bytes())
    (built / "oidc_filter.cdx.json").write_text(sbom())
    for other in ("target/release/oidc-filter", "docs/schema/oidc-filter.schema.json"):
        (tmp_path / "work" / other).parent.mkdir(parents=True)
        (tmp_path / "work" / other).write_text(other)
    subprocess.run(["bash", "-euc", gather], cwd=tmp_path / "work", check=True)
    subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=tmp_path / "work/dist", check=True)
    dist = tmp_path / "work/dist"
    listed = {line.split()[1] for line in (dist / "SHA256SUMS").read_text().splitlines()}
    assert listed == {file.name for file in dist.iterdir()} - {"SHA256SUMS"}
    assert f"| {MODULE.stat().st_size} |" in (tmp_path / "work/notes.md").read_text()
