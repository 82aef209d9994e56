"""Whose code a module holds: the size of its functions, by crate and, for the filter's own, by module.

It goes by the `name` section, which `strip = "none"` leaves in, and by Rust's v0 mangling, in which
the crate that a function was written in comes first, and then the types that it was made for.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

CUSTOM, IMPORTS, CODE = 0, 2, 10
FUNCTION_NAMES = 1
CRATE = re.compile(r"C(?:s[0-9A-Za-z]*_)?(\d+)_?([A-Za-z_]\w*)")
SEGMENT = re.compile(r"(\d+)_?([A-Za-z_]\w*)")
OURS = re.compile(r"11oidc_filter(\d+)_?([A-Za-z_]\w*)")
STANDARD_LIBRARY = ("alloc", "core", "hashbrown", "std")


class Reader:
    """Bytes with a place in them: https://webassembly.github.io/spec/core/binary."""

    def __init__(self, data: bytes, at: int = 0, end: int | None = None) -> None:
        self.data, self.at, self.end = data, at, len(data) if end is None else end

    def byte(self) -> int:
        self.at += 1
        return self.data[self.at - 1]

    def number(self) -> int:
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    def part(self) -> Reader:
        """What follows its own length."""
        size = self.number()
        self.at += size
        return Reader(self.data, self.at - size, self.at)

    def text(self) -> str:
        part = self.part()
        return self.data[part.at : part.end].decode()


def sections(data: bytes) -> list[tuple[int, Reader]]:
    reader, found = Reader(data, 8), []
    while reader.at < reader.end:
        found.append((reader.byte(), reader.part()))
    return found


def imported_functions(section: Reader) -> int:
    count = 0
    for _ in range(section.number()):
        section.text(), section.text()
        kind = section.byte()
        if kind != 0:
            raise ValueError("a module that imports more than functions")
        section.number()
        count += 1
    return count


def function_names(section: Reader) -> dict[int, str]:
    if section.text() != "name":
        return {}
    while section.at < section.end:
        kind, names = section.byte(), section.part()
        if kind == FUNCTION_NAMES:
            return {names.number(): names.text() for _ in range(names.number())}
    return {}


def owner(name: str) -> tuple[str, str]:
    """The crate and the module in it."""
    found = CRATE.search(name) if name.startswith("_R") else None
    if not found:
        return "no crate's", ""
    size = int(found[1])
    crate, rest = found[2][:size], SEGMENT.match(found[2][size:])
    # What the standard library does with a type or a function of the filter is made for it, and for nobody else.
    if crate in STANDARD_LIBRARY and (ours := OURS.search(name)):
        return "oidc_filter", ours[2][: int(ours[1])]
    return crate, rest[2][: int(rest[1])] if rest else ""


def parts(module: Path) -> dict[str, dict[str, int]]:
    """Bytes of code by crate, and by module of the filter; and what else is in the module."""
    data = module.read_bytes()
    first, sizes, names, rest = 0, [], {}, 0
    for kind, section in sections(data):
        if kind == IMPORTS:
            first = imported_functions(section)
        elif kind == CODE:
            functions = [section.part() for _ in range(section.number())]
            sizes = [function.end - function.at for function in functions]
        elif kind == CUSTOM:
            names |= function_names(section)
        else:
            rest += section.end - section.at
    crates, own = Counter({"data, tables": rest}), Counter()
    for number, size in enumerate(sizes, first):
        crate, within = owner(names.get(number, ""))
        crates[crate] += size
        if crate == "oidc_filter":
            own[within] += size
    return {"crates": dict(crates), "own": dict(own)}
