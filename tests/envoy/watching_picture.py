"""The picture in docs/watching.md: what the dashboard's queries gave while a real Envoy had three eventful minutes.

Run by `make watching-picture`, from the root of the repository. A real Prometheus scrapes Envoy each second, and is asked each query
of examples/watching/dashboard.json afterwards: the curves are its answers, drawn in the dashboard's order. Grafana is not run.
"""

from __future__ import annotations

import dataclasses
import html
import itertools
import json
import math
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from fake_provider import FakeProvider, Reply
from harness import ROOT, Envoy, Upstream, config, provider_entry
from test_watching import PROMETHEUS, WATCHING, Prometheus
from tokens import Key, claims

SECONDS = 180
OUTAGE = (60, 100)  # the provider's introspection answers 503
ROTATION = 130  # new keys in place of the old ones
PER_SECOND = 40

WIDTH, PANEL_WIDTH, PANEL_HEIGHT, GAP = 960, 470, 214, 20
COLOURS = ["#1d9e6c", "#d1495b", "#3b76d6", "#e09f1f", "#8157c9", "#16909b", "#9a6a3a", "#77828f"]
TEXT, FAINT = "#22272e", "#6a737d"


def main() -> None:
    if PROMETHEUS is None:
        sys.exit("watching_picture: Prometheus is not installed (Debian: prometheus)")
    with tempfile.TemporaryDirectory() as folder, FakeProvider() as fake, Upstream(Path(folder)) as upstream:
        introspection = {"endpoint": [f"{fake.issuer}/introspect", f"{fake.issuer}/other"], "client_id": "rs", "client_secret": "s", "cache": 0}
        settings = config(
            fake,
            providers=[provider_entry(fake, name="idp", introspection=introspection, jwks={"cooldown": "1s"})],
            shadow={"require": {"scopes": ["orders"]}},
            rules=[{"match": {"path_prefix": "/open"}, "bypass": True}],
        )
        with Envoy(settings, {"idp": fake.port, "upstream": upstream.port}, log_levels="wasm:error") as envoy:
            prometheus = Prometheus(Path(folder), envoy.process.admin_address, "prometheus.yaml")
            try:
                # A window of the rate must have passed before the first point.
                send(envoy, fake, 15, outage=None, rotation=None)
                begin = time.time()
                sent = send(envoy, fake, SECONDS, OUTAGE, ROTATION)
                panels = [Panel.of(panel, prometheus, begin) for panel in json.loads((WATCHING / "dashboard.json").read_text())["panels"]]
            finally:
                prometheus.stop()
    (ROOT / "docs/watching.svg").write_text(picture(panels))
    print(f"docs/watching.svg: {sent} requests in {SECONDS} s")


def send(envoy: Envoy, fake: FakeProvider, seconds: float, outage: tuple[int, int] | None, rotation: int | None) -> int:
    """Requests of people with good tokens, old ones, none; of services with opaque ones; of forgers."""
    chance = random.Random(0)
    fake.active["opaque"] = {"aud": "urn:api:test", "sub": "svc", "iss": fake.issuer, "scope": "orders"}
    answers = fake.routes["/introspect"]
    people = [fake.token(sub=f"user-{number}", scope=number % 3 and "orders" or "read") for number in range(20)]
    begin, is_rotated = time.monotonic(), False
    for sent in itertools.count():
        due = sent / PER_SECOND
        if due >= seconds:
            return sent
        time.sleep(max(0.0, begin + due - time.monotonic()))
        is_out = outage is not None and outage[0] <= due < outage[1]
        fake.routes["/introspect"] = fake.routes["/other"] = (lambda _: Reply(503)) if is_out else answers
        if rotation is not None and due >= rotation and not is_rotated:
            is_rotated = True
            fake.keys[:] = [Key.make(kid="k2"), Key.make(kid="k3")]
        if chance.random() < 0.02:  # somebody logs in anew
            people[chance.randrange(len(people))] = fake.token(sub=f"user-{sent}", scope="orders")
        kinds = {"person": 60, "opaque": 15, "expired": 8, "none": 5, "forged": 3, "open": 9}
        (kind,) = chance.choices(list(kinds), list(kinds.values()))
        if kind == "open":
            envoy.get("/open")
            continue
        token = {
            "person": lambda: chance.choice(people),
            "opaque": lambda: "opaque",
            "expired": lambda: fake.token(exp=1),
            "forged": lambda: Key.make(kid=fake.keys[0].kid).token(claims(fake.issuer)),
            "none": lambda: None,
        }[kind]()
        envoy.get("/orders", token=token)
    raise AssertionError


@dataclasses.dataclass
class Panel:
    title: str
    unit: str
    series: list[tuple[str, list[tuple[float, float]]]]

    @classmethod
    def of(cls, panel: dict[str, Any], prometheus: Prometheus, begin: float) -> Panel:
        (target,) = panel["targets"]
        query = target["expr"].replace("$__rate_interval", "10s")
        times = {"start": str(begin), "end": str(begin + SECONDS), "step": "2"}
        series = []
        for found in prometheus.ask("/api/v1/query_range", query=query, **times)["result"]:
            name = target["legendFormat"]
            for label, value in found["metric"].items():
                name = name.replace("{{" + label + "}}", value)
            points = [(float(at) - begin, float(value)) for at, value in found["values"]]
            series.append((name, [point for point in points if not math.isnan(point[1])]))
        if not any(points for _, points in series):
            sys.exit(f"watching_picture: nothing came of {panel['title']}: {query}")
        series.sort(key=lambda named: -max(value for _, value in named[1]))
        return cls(panel["title"], panel["fieldConfig"]["defaults"]["unit"], series)

    def draw(self, x: int, y: int) -> list[str]:
        left, top, right = x + 52, y + 36, x + PANEL_WIDTH - 14
        legend = lines_of_legend([name for name, _ in self.series], right - x - 14)
        bottom = y + PANEL_HEIGHT - 26 - 16 * len(legend)
        highest = max(value for _, points in self.series for _, value in points)
        step = nice(highest / 4)
        top_value = step * max(1, math.ceil(highest / step - 1e-9))
        across = lambda seconds: left + (right - left) * seconds / SECONDS  # noqa: E731
        up = lambda value: bottom - (bottom - top) * value / top_value  # noqa: E731
        lines = [
            f'<rect x="{x}" y="{y}" width="{PANEL_WIDTH}" height="{PANEL_HEIGHT}" rx="6" fill="#fff" stroke="#d0d7de"/>',
            text(x + 14, y + 22, self.title, weight="600"),
            f'<rect x="{across(OUTAGE[0]):.1f}" y="{top}" width="{across(OUTAGE[1]) - across(OUTAGE[0]):.1f}" height="{bottom - top}" fill="#d1495b" opacity="0.09"/>',
            f'<path d="M{across(ROTATION):.1f} {top}V{bottom}" stroke="{FAINT}" stroke-dasharray="3 3"/>',
        ]
        for number in range(round(top_value / step) + 1):
            at = up(number * step)
            lines.append(f'<path d="M{left} {at:.1f}H{right}" stroke="#e4e8ec"/>')
            lines.append(text(left - 6, at + 4, self.said(number * step), anchor="end", fill=FAINT))
        for minute in range(SECONDS // 60 + 1):
            anchor = "end" if minute * 60 == SECONDS else "middle"
            lines.append(text(across(60 * minute), bottom + 15, f"{minute} min", anchor=anchor, fill=FAINT))
        for (_, points), colour in reversed(list(zip(self.series, itertools.cycle(COLOURS)))):
            path = "L".join(f"{across(seconds):.1f} {up(value):.1f}" for seconds, value in points)
            if path:
                lines.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="1.8" stroke-linejoin="round"/>')
        colours = itertools.cycle(COLOURS)
        for row, names in enumerate(legend):
            at = x + 14.0
            for name in names:
                baseline = bottom + 34 + 16 * row
                lines.append(f'<rect x="{at:.0f}" y="{baseline - 8}" width="9" height="9" rx="2" fill="{next(colours)}"/>')
                lines.append(text(at + 13, baseline, name))
                at += width_of(name)
        return lines

    def said(self, value: float) -> str:
        if self.unit == "percentunit":
            return f"{value * 100:g} %"
        suffix = {"s": " s", "reqps": "/s", "ops": "/s"}.get(self.unit, "")
        return f"{value:g}{suffix}"


def width_of(name: str) -> float:
    return 13 + 6.1 * len(name) + 14


def lines_of_legend(names: list[str], width: float) -> list[list[str]]:
    rows: list[list[str]] = [[]]
    for name in names:
        if rows[-1] and sum(map(width_of, rows[-1])) + width_of(name) > width:
            rows.append([])
        rows[-1].append(name)
    return rows


def nice(step: float) -> float:
    """The next of 1, 2, 5, 10, ..."""
    if step <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(step))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= step - 1e-12)


def text(x: float, y: float, words: str, anchor: str = "start", fill: str = TEXT, weight: str = "400") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{fill}" font-weight="{weight}">{html.escape(words)}</text>'


def picture(panels: list[Panel]) -> str:
    rows = math.ceil(len(panels) / 2)
    height = rows * (PANEL_HEIGHT + GAP) - GAP
    lines: list[str] = []
    for number, panel in enumerate(panels):
        lines += panel.draw((number % 2) * (PANEL_WIDTH + GAP), (number // 2) * (PANEL_HEIGHT + GAP))
    body = "\n".join(lines)
    style = "font-family=\"system-ui, 'DejaVu Sans', sans-serif\" font-size=\"11\""
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" {style}>\n<title>The dashboard\'s queries over three minutes</title>\n{body}\n</svg>\n'


if __name__ == "__main__":
    main()
