"""What `oidc-filter render` and `lint` write, as Envoy and the schemas of Istio, Envoy Gateway and SARIF read it."""

from __future__ import annotations

import json
import re
import subprocess
import urllib.parse
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import scene
import yaml
from harness import ROOT, validate

SCHEMAS = Path(__file__).parent / "schemas"
GOOD = sorted((ROOT / "tests/cli/good").iterdir())
TARGETS = ["istio", "traffic-extension", "envoy-gateway"]


def rendered(command: Path, target: str, file: Path, *options: str) -> str:
    arguments = [command, "render", target, file, *options]
    return subprocess.run(arguments, capture_output=True, text=True, check=True).stdout


def schema(document: dict[str, Any]) -> Path:
    group, version = document["apiVersion"].split("/")
    return SCHEMAS / f"{document['kind'].lower()}_{group}_{version}.json"


def errors(document: dict[str, Any]) -> list[str]:
    validator = jsonschema.Draft7Validator(json.loads(schema(document).read_text()))
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(document)]


@pytest.mark.parametrize("file", GOOD, ids=lambda file: file.stem)
def test_envoy_accepts_what_is_rendered(
    command: Path, tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RS_SECRET", "secret")
    text = rendered(command, "envoy", file, "--module", str(scene.MODULE))
    path = tmp_path / "envoy.yaml"
    path.write_text(text)
    result = validate(path)
    assert result.returncode == 0, result.stdout
    assert "deprecated" not in result.stdout.lower(), result.stdout


def test_the_labels_are_those_that_the_documents_name(command: Path) -> None:
    named = re.findall(r"^\| `oidc_\w+\{([a-z,]+)\}` \|", (ROOT / "docs/operating.md").read_text(), re.M)
    bootstrap = yaml.safe_load(rendered(command, "envoy", GOOD[0]))
    tags = bootstrap["stats_config"]["stats_tags"]
    assert {tag["tag_name"] for tag in tags} == set(",".join(named).split(","))
    proxy = list(yaml.safe_load_all(rendered(command, "envoy-gateway", GOOD[0])))[-1]
    assert proxy["kind"] == "EnvoyProxy"
    assert yaml.safe_load(proxy["spec"]["bootstrap"]["value"])["stats_config"]["stats_tags"] == tags


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("file", GOOD, ids=lambda file: file.stem)
def test_manifests_follow_their_schemas(command: Path, file: Path, target: str) -> None:
    """All but EnvoyProxy, whose schema is a megabyte; of that, only `bootstrap` is written."""
    documents = list(yaml.safe_load_all(rendered(command, target, file)))
    judged = [document for document in documents if document["kind"] != "EnvoyProxy"]
    assert judged
    for document in judged:
        assert errors(document) == [], document["kind"]


def test_a_misspelt_field_would_be_noticed(command: Path) -> None:
    """Or the test above would prove nothing."""
    for document in yaml.safe_load_all(rendered(command, "traffic-extension", GOOD[0])):
        document["spec"]["frobnicate"] = True
        assert errors(document), document["kind"]


def test_reports_follow_the_schema_of_sarif(command: Path, tmp_path: Path) -> None:
    """Findings of every level, in files with every kind of name, and none at all."""
    schema = json.loads((SCHEMAS / "sarif-2.1.0.json").read_text())
    schema["additionalProperties"] = False
    validator = jsonschema.Draft7Validator(schema, format_checker=jsonschema.FormatChecker())
    faulty = tmp_path / "a b[1]:c%#é.yaml"
    faulty.write_text("providers:\n  - issuer: http://idp.example.com\n    any_audience: true\n    audience: é\n")
    empty = tmp_path / "empty.json"
    empty.write_text("")
    base = sorted((ROOT / "tests/cli/base").iterdir())
    levels: set[str] = set()
    for files in [[GOOD[0]], [faulty], [empty], base, [faulty, *GOOD], [ROOT / "envoy/minimal.yaml"], [ROOT / "README.md"]]:
        ended = subprocess.run([command, "lint", "--format", "sarif", *files], capture_output=True, text=True, check=False)
        assert ended.returncode in (0, 1), ended.stderr
        report = json.loads(ended.stdout)
        problems = [f"{error.json_path}: {error.message}" for error in validator.iter_errors(report)]
        assert problems == [], files
        (run,) = report["runs"]
        rules = {rule["id"] for rule in run["tool"]["driver"]["rules"]}
        assert {result["ruleId"] for result in run["results"]} == rules, files
        levels |= {result["level"] for result in run["results"]}
        for result in run["results"]:
            uri = result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
            assert Path(urllib.parse.unquote(uri)) in files, uri
    assert levels == {"error", "warning", "note"}
    # The schema tells: a level that SARIF has not.
    report["runs"][0]["results"][0]["level"] = "fatal"
    assert list(validator.iter_errors(report))


def test_the_schema_of_the_configuration_is_one() -> None:
    """It is a schema of draft 7, and another reader of schemas takes and refuses by it what ours does."""
    document = json.loads((ROOT / "docs/schema/oidc-filter.schema.json").read_text())
    jsonschema.Draft7Validator.check_schema(document)
    validator = jsonschema.Draft7Validator(document)
    for file in GOOD:
        assert [error.message for error in validator.iter_errors(yaml.safe_load(file.read_text()))] == [], file
    wrong = {"providers": {"issuer": "https://idp.example.com", "audience": "a"}}
    assert list(validator.iter_errors(wrong))
