"""Tells each cell of a table the name of its column, which a phone shows before it: `site.css`."""

from __future__ import annotations

import html
import re

TABLE = re.compile(r"<table>.*?</table>", re.S)
HEAD = re.compile(r"<th\b[^>]*>(.*?)</th>", re.S)
ROW = re.compile(r"<tr>.*?</tr>", re.S)
CELL = re.compile(r"<td\b")
MARKUP = re.compile(r"<[^>]+>")


def on_page_content(content: str, **_: object) -> str:
    """Called by MkDocs with what it has made of a page's Markdown."""
    return TABLE.sub(lambda table: named(table.group()), content)


def named(table: str) -> str:
    names = [html.unescape(MARKUP.sub("", name)) for name in HEAD.findall(table)]

    def row(match: re.Match[str]) -> str:
        left = iter(names)
        return CELL.sub(lambda _: f'<td data-column="{html.escape(next(left, ""))}"', match.group())

    return ROW.sub(row, table)
