"""The filter and the readers as programs that answer a line of JSON with a line of JSON."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from mutations import Headers

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
# Where the Makefile has installed the packages.
INSTALLED = Path(os.environ.get("READERS", ROOT / ".tools/readers"))
FILTER = Path(os.environ.get("READERS_FILTER", ROOT / "target/debug/examples/readers_filter"))

Pairs = list[list[str]]
# Place -> reader -> what it found there.
Report = dict[str, dict[str, Pairs]]


class Program:
    """One of them, running."""

    def __init__(self, command: Sequence[str], **options: Any) -> None:
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8", **options)

    def say(self, question: Any) -> None:
        assert self.process.stdin
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()

    def hear(self) -> Any:
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.process.args} has ended")
        return json.loads(line)

    def ask(self, question: Any) -> Any:
        self.say(question)
        return self.hear()

    def close(self) -> None:
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe
            pipe.close()
        self.process.wait(20)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of a request: a word, and what leaves the filter if anything does."""

    result: str
    headers: tuple[tuple[str, str], ...] = ()

    def as_told(self, asked: Headers) -> Outcome:
        """What leaves a proxy that asked, as Envoy's `ext_authz` does what the answer tells."""
        if self.result != "confirmed":
            return self
        said = dict(self.headers)
        gone = {*said.pop("x-envoy-auth-headers-to-remove", "").split(","), *said}
        return Outcome(self.result, (*(pair for pair in asked if pair[0] not in gone), *said.items()))


class Filter(Program):
    """The filter, and a token that it takes."""

    def __init__(self) -> None:
        super().__init__([str(FILTER)])
        greeting = self.hear()
        self.keys: list[Any] = greeting["keys"]
        self.token: str = greeting["token"]

    def configure(self, configuration: Any) -> int:
        answer = self.ask(configuration)
        assert isinstance(answer, int), answer
        return answer

    def send(self, requests: Iterable[tuple[int, Headers]]) -> list[Outcome]:
        answers = self.ask([{"filter": index, "headers": headers} for index, headers in requests])
        return [
            Outcome(answer["result"], tuple((name, value) for name, value in answer.get("headers", ())))
            for answer in answers
        ]


def request_as_read(headers: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """A request for readers, who get several `Cookie` fields as one or another server joins them."""
    headers = [*headers]
    fields = [value for name, value in headers if name == "cookie"]
    joined = [] if not fields else [*dict.fromkeys(["; ".join(fields), ", ".join(fields), ",".join(fields), fields[0], fields[-1]])]
    path = next(value for name, value in headers if name == ":path")
    others = [[name, value] for name, value in headers if name[0] != ":" and name != "cookie"]
    return {"cookies": joined, "path": path, "headers": others}


class Readers:
    """All readers that can be had here."""

    def __init__(self, names: Iterable[str]) -> None:
        commands = {
            "Python": (INSTALLED / "venv/bin/python", "frameworks.py"),
            "Node": ("node", "packages.mjs", INSTALLED, *names),
            "Ruby": ("ruby", "-W0", "rack.rb"),
            "Perl": ("perl", "cgi.pl"),
            "PHP": (sys.executable, "php.py"),
        }
        # What must be there, and what to install on Debian.
        needs = {
            "Ruby": (["ruby", "-e", 'require "rack"'], "ruby-rack"),
            "Perl": (["perl", "-MCGI", "-e", "1"], "libcgi-pm-perl"),
            "PHP": (["php-cgi", "-n", "--version"], "php-cgi"),
        }
        self.left_out = {language: package for language, (probe, package) in needs.items() if not works(probe)}
        self.programs = {
            language: Program([*map(str, command)], cwd=HERE)
            for language, command in commands.items()
            if language not in self.left_out
        }

    def read(self, requests: Sequence[Iterable[tuple[str, str]]], only: str | None = None) -> list[Report]:
        """What each reader finds in each of the requests; with `only`, those that run in one language."""
        questions = [request_as_read(headers) for headers in requests]
        languages = [language for language in self.programs if only in (None, language)]
        programs = [self.programs[language] for language in languages]
        for program in programs:
            program.say(questions)
        reports: list[Report] = [{"cookie": {}, "query": {}, "header": {}} for _ in questions]
        for language, program in zip(languages, programs, strict=True):
            for report, answer in zip(reports, program.hear(), strict=True):
                for place, groups in answer.items():
                    for names, pairs in groups:
                        report[place].update((f"{language}: {name}", pairs) for name in names)
        return reports

    def close(self) -> None:
        for program in self.programs.values():
            program.close()


def read_by_envoy(headers: Iterable[tuple[str, str]]) -> dict[str, Pairs]:
    """What a route can be chosen by (`QueryParamsMulti::parseQueryString`, `parseCookies`): nothing is decoded."""
    headers = [*headers]
    path = next(value for name, value in headers if name == ":path")
    cookies = ";".join(value for name, value in headers if name == "cookie")
    return {"query": pairs_of(path.partition("?")[2], "&"), "cookie": pairs_of(cookies, ";")}


def pairs_of(text: str, separator: str) -> Pairs:
    pairs = (pair.partition("=") for pair in text.split(separator))
    return [[name.strip(" \t"), value.strip(" \t")] for name, _, value in pairs]


def works(probe: Sequence[str]) -> bool:
    return shutil.which(probe[0]) is not None and subprocess.run(probe, capture_output=True, check=False).returncode == 0
