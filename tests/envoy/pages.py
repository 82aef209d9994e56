"""The configurations of docs/, as they stand there: what people copy is what is tested."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml
from harness import ROOT


class Page:
    """A page of docs/; its blocks are found by their heading, so that the text may grow."""

    def __init__(self, path: str) -> None:
        self.path: Path = ROOT / "docs" / path
        self.text = self.path.read_text()

    def json(self, *headings: str, index: int = 0, **replace: str) -> dict[str, Any]:
        """A configuration of the filter."""
        return json.loads(self.block("json", headings, index, replace))

    def yaml(self, *headings: str, index: int = 0, **replace: str) -> Any:
        """Somebody else's."""
        return yaml.safe_load(self.block("yaml", headings, index, replace))

    def block(self, language: str, headings: tuple[str, ...], index: int, replace: dict[str, str]) -> str:
        """The block below these headings. `idp="http://…"` puts that in place of https://idp.example.com."""
        text = self.text
        for heading in headings:
            _, found, text = text.partition(f"# {heading}\n")
            assert found, f"{self.path}: no heading {heading}"
        text = re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)[index]
        for host, other in replace.items():
            example = f"https://{host}.example.com"
            assert example in text, f"{self.path}: {example} is not there"
            text = text.replace(example, other)
        return text
