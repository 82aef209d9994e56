"""PHP's readers: php-cgi behind FastCGI, as a web server uses it. What they are asked, and how they answer: frameworks.py."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SCRIPT = Path(__file__).with_suffix(".php")
SETTINGS = {"PHP": (), "PHP, arg_separator.input=;&": ("-d", "arg_separator.input=;&")}

BEGIN, END, PARAMS, STDIN, STDOUT = 1, 3, 4, 5, 6


class Php:
    """One php-cgi, and a connection to it."""

    def __init__(self, folder: Path, options: tuple[str, ...]) -> None:
        path = folder / "socket"
        environment = os.environ | {"PHP_FCGI_MAX_REQUESTS": "0"}
        self.process = subprocess.Popen(["php-cgi", "-n", *options, "-b", str(path)], env=environment)
        for _ in range(500):
            with contextlib.suppress(OSError):
                self.socket = socket.socket(socket.AF_UNIX)
                self.socket.connect(str(path))
                break
            self.socket.close()
            time.sleep(0.02)
        self.stream = self.socket.makefile("rb")

    def ask(self, **variables: str) -> Any:
        fixed = {"SCRIPT_FILENAME": str(SCRIPT), "REQUEST_METHOD": "GET", "REDIRECT_STATUS": "200"}
        content = b"".join(pair(name, value) for name, value in (fixed | variables).items())
        records = [record(BEGIN, struct.pack("!HB5x", 1, 1)), record(PARAMS, content), record(PARAMS, b""), record(STDIN, b"")]
        self.socket.sendall(b"".join(records))
        said = b""
        while True:
            kind, length, padding = struct.unpack("!xB2xHBx", self.stream.read(8))
            body = self.stream.read(length + padding)[:length]
            if kind == STDOUT:
                said += body
            if kind == END:
                return json.loads(said.partition(b"\r\n\r\n")[2])

    def close(self) -> None:
        self.stream.close()
        self.socket.close()
        self.process.terminate()
        self.process.wait()


def record(kind: int, content: bytes) -> bytes:
    return struct.pack("!BBHHBx", 1, kind, 1, len(content), 0) + content


def pair(name: str, value: str) -> bytes:
    def length(octets: bytes) -> bytes:
        return bytes([len(octets)]) if len(octets) < 128 else struct.pack("!I", len(octets) | 1 << 31)

    octets = name.encode("latin-1"), value.encode("latin-1")
    return b"".join(map(length, octets)) + b"".join(octets)


def variables(request: Any, cookie: str) -> dict[str, str]:
    """As nginx hands them on: of a header's name only letters and hyphens are changed."""
    headers = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in request["headers"]}
    return headers | {"QUERY_STRING": request["path"].partition("?")[2], "HTTP_COOKIE": cookie}


def read(interpreters: dict[str, Php], request: Any) -> dict[str, Any]:
    found: dict[str, list[Any]] = {"cookie": [], "query": [], "header": []}
    for name, php in interpreters.items():
        all_cookies: list[Any] = []
        for cookie in request["cookies"] or [""]:
            said = php.ask(**variables(request, cookie))
            all_cookies += said["cookie"]
        found["cookie"].append([[name], all_cookies])
        found["query"] += [[[name], said["query"]], [[f"{name}, parse_str"], said["parsed"]]]
        found["header"].append([[name], said["header"]])
    return found


def answers(interpreters: dict[str, Php]) -> Iterator[str]:
    for line in sys.stdin:
        yield json.dumps([read(interpreters, request) for request in json.loads(line)])


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        interpreters = {}
        for index, (name, options) in enumerate(SETTINGS.items()):
            own = Path(folder) / str(index)
            own.mkdir()
            interpreters[name] = Php(own, options)
            stack.callback(interpreters[name].close)
        for answer in answers(interpreters):
            print(answer, flush=True)


if __name__ == "__main__":
    main()
