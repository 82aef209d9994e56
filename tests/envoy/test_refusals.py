"""One line in Envoy's log for each refusal, as docs/operating.md tells it: what it says, and how many there are of them."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import time
from typing import Any

import pytest
import scene
from clients import Http1, request_bytes
from conftest import StartEnvoy
from fake_provider import FakeProvider
from harness import ROOT, Envoy, config

REQUEST_ID = "0b0fd3d6-4d4c-4bb0-8e0c-b4b8f5ab1ff1"
KEPT = {"preserve_external_request_id": True}
RULES = [{"name": "admin", "match": {"path_prefix": "/admin"}, "require": {"scopes": ["admin"]}}]


def lines(envoy: Envoy, word: str) -> list[str]:
    return [line for line in envoy.log().splitlines() if word in line]


def refuse_three(envoy: Envoy, fake: FakeProvider) -> str:
    """The token of the last."""
    token = fake.token(scope="read")
    assert envoy.get("/missing?access_token=").status in (400, 401)
    assert envoy.get("/old", token=fake.token(exp=1)).status == 401
    assert envoy.get("/admin/x?secret=hunter2", [("x-request-id", REQUEST_ID)], token=token).status == 403
    return token


def test_each_refusal_is_a_line_at_info(start_envoy: StartEnvoy) -> None:
    """LOG-01: with request id, rule and requirement; with no token, no query and no claim."""
    with FakeProvider() as fake:
        envoy = start_envoy(config(fake, rules=RULES), idp=fake.port, log_levels="wasm:info", hcm=KEPT)
        token = refuse_three(envoy, fake)
        last = scene.poll(lambda: lines(envoy, "insufficient_scope"), "the line", 10)
        told = envoy.log()
        assert envoy.get("/fine", token=fake.token()).status == 200
    (line,) = last
    assert "[info]" in line
    assert f"GET /admin/x [x-request-id {REQUEST_ID}]: denied with 403: insufficient_scope (rules[0] admin, " in line
    assert line.endswith(": rules[0].require.scopes is not fulfilled")
    assert len(lines(envoy, "denied with")) == 3
    assert "hunter2" not in told and not any(part in told for part in token.split("."))
    assert not lines(envoy, "/fine"), "what passes is not told at this level"


def test_the_command_of_the_page_takes_json_out_of_the_log(start_envoy: StartEnvoy) -> None:
    (command,) = re.findall(r"^sed -n .+ envoy\.log$", (ROOT / "docs/operating.md").read_text(), re.M)
    with FakeProvider() as fake:
        settings = config(fake, rules=RULES, refusal_log="json")
        envoy = start_envoy(settings, idp=fake.port, log_levels="wasm:info", hcm=KEPT)
        refuse_three(envoy, fake)
        scene.poll(lambda: lines(envoy, "insufficient_scope"), "the line", 10)
        log = envoy.log()
    command = command.replace(" envoy.log", "")
    taken = subprocess.run(["sh", "-c", command], input=log, capture_output=True, text=True, check=True)
    told = [json.loads(line) for line in taken.stdout.splitlines()]
    assert [line["reason"] for line in told] == ["missing_token", "expired", "insufficient_scope"]
    assert told[-1] == {
        "event": "oidc_denied",
        "request_id": REQUEST_ID,
        "method": "GET",
        "path": "/admin/x",
        "status": 403,
        "reason": "insufficient_scope",
        "provider": told[-1]["provider"],
        "rule": "rules[0] admin",
        "requirement": "rules[0].require.scopes is not fulfilled",
    }


@pytest.mark.parametrize(("settings", "levels"), [({"refusal_log": "none"}, "wasm:info"), ({}, "wasm:warning")])
def test_it_can_be_silent(start_envoy: StartEnvoy, settings: dict[str, Any], levels: str) -> None:
    with FakeProvider() as fake:
        envoy = start_envoy(config(fake, rules=RULES, **settings), idp=fake.port, log_levels=levels)
        # The filter asks the host for its level after some seconds only; Envoy itself lets no line of it pass.
        refuse_three(envoy, fake)
        time.sleep(1)
        assert not lines(envoy, "denied")


def ask(client: Http1, path: str, *headers: tuple[str, str]) -> int:
    client.send(request_bytes(path, headers))
    return client.receive().status


def test_a_flood_silences_nobody_and_is_counted(start_envoy: StartEnvoy) -> None:
    """Thousands of requests without a token, at many paths; meanwhile somebody's token has expired."""
    with FakeProvider() as fake:
        envoy = start_envoy(config(fake), workers=1, idp=fake.port, log_levels="wasm:info")
        old, sent, asked = fake.token(exp=1), 0, 0
        begin = time.monotonic()
        with envoy.http1() as client:
            for number in itertools.count():
                assert ask(client, f"/flood/{number}") == 401
                sent += 1
                if time.monotonic() - begin > 1.2 * (asked + 1):
                    assert ask(client, f"/mine/{number}", ("Authorization", f"Bearer {old}")) == 401
                    asked += 1
                if time.monotonic() - begin > 4:
                    break
        seconds = time.monotonic() - begin

        def told() -> int:
            counts = [re.search(r"(?:before it, |missing_token: )(\d+) ", line) for line in lines(envoy, "missing_token")]
            return len(lines(envoy, "/flood/")) + sum(int(count[1]) for count in counts if count)

        assert sent > 200, "or this is no flood"
        scene.poll(lambda: told() == sent, "the count of what was held back", 40)
        flood = lines(envoy, "/flood/")
    # Four a second, of which the first and the last are parts.
    assert 0 < len(flood) <= 4 * (seconds + 2)
    assert len(lines(envoy, "/mine/")) == asked, "another reason has a ration of its own"


def test_a_client_takes_anothers_line_for_a_moment_only(start_envoy: StartEnvoy) -> None:
    """Where Envoy is at the edge, and knows who asks: the same reason, the same path."""
    edge = {"use_remote_address": True, "xff_num_trusted_hops": 1}
    with FakeProvider() as fake:
        envoy = start_envoy(config(fake), workers=1, idp=fake.port, log_levels="wasm:info", hcm=edge)
        begin = time.monotonic()
        with envoy.http1() as client:
            for number in itertools.count():
                # The flood varies what it can.
                flood = ("X-Forwarded-For", "203.0.113.1"), ("X-Envoy-External-Address", f"198.51.100.{number % 250}")
                assert ask(client, f"/flood/{number}", *flood) == 401
                if number % 20 == 0:
                    assert ask(client, f"/mine/{number}", ("X-Forwarded-For", "203.0.113.2")) == 401
                if number % 200 == 0 and time.monotonic() - begin > 3 and lines(envoy, "/mine/"):
                    break
                assert time.monotonic() - begin < 20, "not heard for so long"
        seconds = time.monotonic() - begin
        assert 0 < len(lines(envoy, "/flood/")) <= seconds + 2, "one lot of four"
