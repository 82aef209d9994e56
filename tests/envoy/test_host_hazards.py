"""What makes a bypass or an outage of other wasm filters, row by row: here the filter is safe.

The rows are those of the project's list of hazards of Envoy as a host of proxy-wasm. Rows 3 and 10
are about what Envoy does after a trap, which test_security_traps.py brings about; row 12 is Envoy's
own opinion of wasm.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import scene
from conftest import StartEnvoy
from envoy_filters import UNDERSCORES, hand_off, header_to_metadata
from fake_provider import FakeProvider, Reply
from harness import (
    IDENTITY,
    Bootstrap,
    Door,
    Envoy,
    Provider,
    Upstream,
    config,
    no_crash,
    provider_entry,
    validate,
    validate_config,
)
from xds import Xds

HAND_OFF = {"user_info": [{"location": "metadata", "key": "identity", "claims": ["sub"]}]}
EVERYWHERE = [
    {"location": "header", "key": "Authorization"},
    {"location": "header", "key": "x-token"},
    {"location": "cookie", "key": "token"},
    {"location": "query_string", "key": "token"},
    {"location": "metadata", "metadata_filter": "early", "key": "token"},
]
PREFLIGHT = [
    ("Origin", "https://app.example"),
    ("Access-Control-Request-Method", "POST"),
]
TO_UPSTREAM = r"cluster\.upstream\.upstream_rq_total"
FORGED_HAND_OFF = "Gghmb3JnZXJ5IQ=="  # google.protobuf.Value: the string "forgery!"


@pytest.fixture(scope="module")
def doors(start_shared_envoy: StartEnvoy, provider: Provider) -> Envoy:
    """One Envoy with the filter in every mood. The first listener enforces."""
    common = {**IDENTITY, **HAND_OFF, "access_token": EVERYWHERE}
    early = header_to_metadata("x-early", "early", "token")
    return start_shared_envoy(
        config(provider, **common),
        listeners={
            "strip": config(provider, enforce=False, **common),
            "optional": config(provider, allow_missing=True, **common),
            "preflight": config(provider, allow_preflight=True, **common),
        },
        before=[early],
        after=[hand_off("identity")],
        hcm={
            "common_http_protocol_options": {
                "headers_with_underscores_action": "ALLOW",
                "max_headers_count": 3000,
            },
            "max_request_headers_kb": 2000,
        },
        log_fields={"upstream": "%UPSTREAM_HOST%", "user": "%REQ(X-USER)%"},
    )


# -------------------------------------------------------------- 1: a filter that is not there


BAD_CONFIGURATIONS = {
    "unknown field": ({"audiances": ["a"]}, "audiances: unknown field"),
    "wrong type": ({"enforce": "yes"}, "enforce: expected true or false"),
    "no such variable": ({"realm": "${UNSET}"}, "realm: the environment variable UNSET"),
    "line break in a challenge": ({"realm": "a\r\nx-injected: 1"}, "realm: must be printable"),
}


@pytest.mark.parametrize(("change", "said"), BAD_CONFIGURATIONS.values(), ids=BAD_CONFIGURATIONS)
def test_validate_refuses_a_bad_configuration(
    provider: Provider, change: dict[str, Any], said: str
) -> None:
    """ROW-01, WSM-05."""
    bootstrap = Bootstrap()
    bootstrap.configure(config(provider) | change, struct=False)
    result = validate(bootstrap)
    assert result.returncode != 0
    assert said in result.stdout


@pytest.mark.parametrize("policy", ["FAIL_RELOAD", "FAIL_OPEN"])
def test_envoy_does_not_start_with_a_bad_configuration(
    start_envoy: StartEnvoy, provider: Provider, policy: str
) -> None:
    """ROW-01, WSM-04: not even where the operator has asked for an open door: the canary says
    no."""
    with pytest.raises(scene.SceneError, match="audiances: unknown field"):
        start_envoy(config(provider, audiances=["a"]), wasm={"failure_policy": policy})


def test_every_worker_has_the_filter(start_envoy: StartEnvoy, provider: Provider) -> None:
    """ROW-01."""
    envoy = start_envoy(config(provider), workers=2)

    def both_served() -> bool:
        assert envoy.get("/").status == 401
        served = envoy.stats(r"listener\..*\.worker_\d\.downstream_cx_total")
        return len(served) == 2 and all(served.values())

    scene.poll(both_served, "a request on each worker", 20)


def test_the_safety_net_holds_where_a_route_switches_the_filter_off(
    provider: Provider, upstream: Upstream, tmp_path: Path
) -> None:
    """ROW-01, CFG-07."""
    bootstrap = Bootstrap("safety-net")
    bootstrap.configure(config(provider), struct=True)
    bootstrap.cluster("idp", provider.port)
    bootstrap.cluster("upstream", upstream.port)
    (open_route,) = copy.deepcopy(bootstrap.hcm["route_config"]["virtual_hosts"][0]["routes"])
    kind = "type.googleapis.com/envoy.config.route.v3.FilterConfig"
    open_route["match"] = {"prefix": "/forgotten"}
    name = bootstrap.http_filters[0]["name"]
    open_route["typed_per_filter_config"] = {name: {"@type": kind, "disabled": True}}
    bootstrap.hcm["route_config"]["virtual_hosts"][0]["routes"].insert(0, open_route)
    with scene.EnvoyProcess(bootstrap.text(), tmp_path) as process:
        door = Door(process.ports()["enforce"])
        assert door.get("/forgotten").status == 403
        assert door.get("/forgotten", token=provider.token()).status == 403
        assert door.get("/", token=provider.token()).status == 200


def test_one_filter_s_mark_is_not_the_other_s(provider: Provider, upstream: Upstream, tmp_path: Path) -> None:
    """ATK-07: envoy/safety-net.yaml as it stands: a service calls for a user, and each has a
    filter of its own."""
    bootstrap = Bootstrap("safety-net")
    bootstrap.cluster("idp", provider.port)
    bootstrap.cluster("upstream", upstream.port)
    marks = {f"{name}.{word}": f"%FILTER_STATE(wasm.{name}.{word}:PLAIN)%" for name in ("oidc", "user") for word in ("result", "reason")}
    bootstrap.log_access(tmp_path / "access.log", {"path": "%REQ(:PATH)%", "details": "%RESPONSE_CODE_DETAILS%", **marks})
    kind = "type.googleapis.com/envoy.config.route.v3.FilterConfig"
    routes = bootstrap.hcm["route_config"]["virtual_hosts"][0]["routes"]
    for name in ("user", "oidc"):
        route = copy.deepcopy(routes[-1]) | {"typed_per_filter_config": {name: {"@type": kind, "disabled": True}}}
        routes.insert(0, route | {"match": {"prefix": f"/without-{name}"}})
    text = bootstrap.text().replace("http://127.0.0.1:9000", provider.issuer)
    service, user = provider.token(), provider.token("es256")
    expired = provider.token("es256", ttl=-3600)
    with scene.EnvoyProcess(text, tmp_path) as process:
        door = Door(process.ports()["enforce"])

        def seen(path: str, *headers: tuple[str, str]) -> tuple[int, list[str]]:
            response = door.get(path, [("x-user", "root"), ("x-service", "root"), *headers], token=service)
            return response.status, response.seen.all("x-user") if response.status == 200 else []

        assert seen("/both", ("x-user-token", user)) == (200, ["svc"])
        assert seen("/forged", ("x-user-token", f"{user.rpartition('.')[0]}.{'A' * 86}")) == (200, [])
        assert seen("/expired", ("x-user-token", expired)) == (200, [])
        assert seen("/none") == (200, [])
        # Where one is left out, the other's mark does not stand for it: the client's own x-user gets nowhere.
        assert seen("/without-user") == (403, [])
        assert seen("/without-oidc", ("x-user-token", user)) == (403, [])
        assert door.get("/bad", [("x-user-token", user)], token=provider.token(ttl=-3600)).status == 401
        scene.poll(lambda: (tmp_path / "access.log").read_text().count("\n") == 7, "the access log", 10)
        told = {entry["path"]: entry for entry in map(json.loads, (tmp_path / "access.log").read_text().splitlines())}
    both = {word: told["/both"][word] for word in marks}
    assert both == {"oidc.result": "allowed", "oidc.reason": None, "user.result": "allowed", "user.reason": None}
    forged = [told["/forged"][word] for word in marks]
    assert forged == ["allowed", None, "stripped", "bad_signature"]
    assert [told["/expired"][word] for word in marks] == ["allowed", None, "stripped", "expired"]
    assert told["/bad"]["details"] == "oidc_denied{expired}"
    assert told["/without-user"]["user.result"] is None


def test_instances_are_told_apart(start_envoy: StartEnvoy, provider: Provider) -> None:
    """ATK-07: by the label of a metric, and in response code details. The filter called oidc
    keeps the names that it has had."""
    envoy = start_envoy(config(provider), wasm={"name": "users"}, log_fields={"mark": "%FILTER_STATE(wasm.users.result:PLAIN)%"})
    assert envoy.get("/a").status == 401
    assert envoy.get("/b", token=provider.token("es256")).status == 200
    refused, allowed = envoy.access_log(2)
    assert refused["details"] == "oidc_denied{missing_token};filter=users"
    assert (allowed["mark"], allowed["result"]) == ("allowed", None)
    assert envoy.metric("oidc_requests_total", result="denied", reason="missing_token", provider="none", filter="users") == 1


def test_a_reason_never_outlives_its_verdict(start_envoy: StartEnvoy, fake: FakeProvider) -> None:
    """ATK-07: two filters of one name, which nobody should have: the last verdict stands, and
    what is told with it is its own."""
    strip = config(fake, enforce=False, access_token=[{"location": "header", "key": "x-user-token"}])

    def twice(bootstrap: Bootstrap) -> None:
        first = copy.deepcopy(bootstrap.http_filters[0]) | {"name": "first"}
        kind = "type.googleapis.com/google.protobuf.StringValue"
        first["typed_config"]["config"]["configuration"] = {"@type": kind, "value": json.dumps(strip)}
        bootstrap.http_filters.insert(0, first)

    reason = "%FILTER_STATE(wasm.oidc.reason:PLAIN)%"
    envoy = start_envoy(config(fake), idp=fake.port, adjust=twice, log_fields={"reason": reason})
    assert envoy.get("/", [("x-user-token", "forged")], fake.token()).status == 200
    (entry,) = envoy.access_log(1)
    assert (entry["result"], entry["reason"] or None) == ("allowed", None)
    assert envoy.log().count("give each filter a `name` of its own") == 1


def test_a_bad_update_leaves_the_old_configuration_in_force(
    start_envoy: StartEnvoy, provider: Provider, xds: Xds
) -> None:
    """ROW-01."""
    envoy = start_envoy(config(provider, **IDENTITY), adjust=xds.take_over, workers=2)
    token = provider.token("es256")
    rejected = r"listener_manager\.lds\.update_rejected"

    def enforcing() -> bool:
        seen = envoy.get("/", token=token).seen
        return envoy.get("/").status == 401 and seen.all("x-user") == ["svc"]

    assert enforcing()
    xds.publish(config(provider, audiances=["a"]))
    scene.poll(lambda: sum(envoy.stats(rejected).values()), "the refusal of the update", 10)
    assert "audiances: unknown field" in envoy.log()
    assert all(enforcing() for _ in range(8))
    # And a good one is not held against the bad one before it.
    changed = {"enforce_response_code": 403, **IDENTITY}
    xds.publish(config(provider, **changed))
    scene.poll(lambda: envoy.get("/").status == 403, "the good update", 10)
    assert envoy.get("/", token=token).seen.all("x-user") == ["svc"]


# ------------------------------------------- 2: a body that gets there before the verdict


@pytest.mark.parametrize("good", [False, True], ids=["bad", "good"])
@pytest.mark.parametrize("protocol", ["http1", "http2"])
def test_nothing_reaches_the_upstream_before_the_verdict(
    start_envoy: StartEnvoy, fake: FakeProvider, good: bool, protocol: str
) -> None:
    """ROW-02, HTP-06, HTP-07: not with Envoy's option that lets bodies come while a filter
    still holds the headers."""
    fake.active = {"good": {"sub": "alice", "aud": "urn:api:test"}}
    fake.routes["/introspect"] = slowly(fake, 0.3)
    envoy = start_envoy(
        config(fake, **IDENTITY),
        idp=fake.port,
        wasm={"allow_on_headers_stop_iteration": True},
        http2_upstream=True,
    )
    token = "good" if good else "bad"
    headers = [("authorization", f"Bearer {token}"), ("x-user", "admin")]
    body = b"x" * 10_000
    if protocol == "http1":
        response = envoy.get("/", headers, method="POST", body=body)
    else:
        with envoy.http2() as connection:
            trailers = [("x-sum", "9")]
            response = connection.request(
                "/", headers, method="POST", body=body, trailers=trailers
            )
    reached = sum(envoy.stats(TO_UPSTREAM).values())
    if not good:
        assert (response.status, reached) == (401, 0)
        return
    assert (response.seen.all("x-user"), reached) == (["alice"], 1)
    assert response.seen.body["length"] == len(body)


@pytest.mark.parametrize("allow", [False, True])
def test_forged_trailers_go_though_they_come_before_the_verdict(
    start_envoy: StartEnvoy, fake: FakeProvider, allow: bool
) -> None:
    """ROW-02, HDR-04."""
    fake.active = {"good": {"sub": "alice", "aud": "urn:api:test"}}
    fake.routes["/introspect"] = slowly(fake, 0.3)
    envoy = start_envoy(
        config(fake, **IDENTITY),
        idp=fake.port,
        wasm={"allow_on_headers_stop_iteration": allow},
        http2_upstream=True,
    )
    headers = [("authorization", "Bearer good")]
    trailers = [("x-sum", "9"), ("x-user", "admin")]
    with envoy.http2() as connection:
        response = connection.request("/", headers, method="POST", body=b"x", trailers=trailers)
    assert response.seen.trailers == [("x-sum", "9")]


def slowly(fake: FakeProvider, seconds: float) -> Any:
    """The fake's own answer about a token, late."""

    def answer(request: Any) -> Reply:
        known = fake.active.get(request.form.get("token", ""))
        value = {"active": True, **known} if known else {"active": False}
        return Reply.json(value, delay=seconds)

    return answer


# ----------------------------------------------------- 4: bytes that make other filters crash


HOSTILE = b"\xff\xfe\x80\xc3("
READ_HEADERS = [
    "authorization",
    "x-token",
    "x-early",
    "cookie",
    "origin",
    "access-control-request-method",
    "x-user",
    "x_user",
    "x-oidc-metadata-identity",
    "user-agent",
    "content-type",
    "x-forwarded-for",
    "x-anything",
]


@pytest.mark.parametrize("method", ["GET", "OPTIONS"])
@pytest.mark.parametrize("name", READ_HEADERS)
def test_no_byte_of_a_header_crashes_the_filter(
    doors: Envoy, provider: Provider, name: str, method: str
) -> None:
    """ROW-04, EXT-10."""
    hostile = [HOSTILE, b"Bearer " + HOSTILE, b"token=" + HOSTILE, b"a=" + HOSTILE, b"Bearer\xa0x"]
    for value in hostile:
        headers = [(name, value)]
        for door in (doors, doors.door("strip"), doors.door("preflight")):
            assert door.get("/", headers, method=method).status in (200, 400, 401)
    if name not in ("authorization", "x-token", "x-early", "cookie"):
        good = doors.get("/", [(name, HOSTILE)], token=provider.token("es256"))
        assert good.seen.all("x-user") == ["svc"]
    assert no_crash(doors)


@pytest.mark.parametrize(
    "path",
    [
        b"/\xff?token=\xff",
        b"/?token=%ff%00%0d%0a",
        b"/?%ff=1&tok\xc3n=x",
        b"/%ff%fe",
        b"/?" + b"&" * 5000,
        b"/?" + b"token=;" * 2000,
        b"/?token",
        b"/?=&=&?token=x#token=y",
    ],
    ids=range(8),
)
def test_no_byte_of_a_path_crashes_the_filter(doors: Envoy, path: bytes) -> None:
    """ROW-04, EXT-10."""
    for door in (doors, doors.door("strip"), doors.door("preflight")):
        assert door.get(path).status in (200, 307, 400, 401)
    assert doors.get("/").status == 401
    assert no_crash(doors)


def test_thousands_of_cookies_take_no_time(doors: Envoy, provider: Provider) -> None:
    """ROW-04, EXT-07: in linear time."""
    cookies = "; ".join(f"c{number}={number}" for number in range(10_000))
    response = doors.get("/", [("Cookie", f"{cookies}; token={provider.token('es256')}")])
    assert response.seen.all("x-user") == ["svc"]


# ----------------------------------------------------------------------- 5: response splitting


HOSTILE_TEXT = 'x\r\nx-injected: 1\r\n\r\n<script>"\\\n\x00'


@pytest.fixture
def hostile_provider() -> Iterator[FakeProvider]:
    """Every text that it can choose tries to end a line."""
    with FakeProvider() as fake:
        fake.active = {
            "opaque": {"sub": HOSTILE_TEXT, "aud": "urn:api:test", "name": HOSTILE_TEXT},
            "lacks": {"sub": HOSTILE_TEXT, "aud": HOSTILE_TEXT},
        }
        yield fake


def test_nothing_can_end_a_line_of_an_answer(
    start_envoy: StartEnvoy, hostile_provider: FakeProvider
) -> None:
    """ROW-05, RSP-03, RSP-08."""
    fake = hostile_provider
    envoy = start_envoy(
        config(
            fake,
            claim_headers=[{"header": "x-user", "claim": "sub"}],
            user_info=[
                {"location": "cookie", "key": "identity"},
                {"location": "header", "key": "x-json", "encoding": "json"},
                {"location": "query_string", "key": "identity"},
            ],
            require={"claims": [{"claim": "name"}]},
        ),
        idp=fake.port,
    )
    hostile_header = {"alg": "ES256", "kid": HOSTILE_TEXT}
    tokens = [
        "opaque",
        "lacks",
        fake.token(sub=HOSTILE_TEXT, name=HOSTILE_TEXT),
        fake.token(sub=HOSTILE_TEXT),
        fake.token(iss=HOSTILE_TEXT),
        fake.token(aud=HOSTILE_TEXT, scope=HOSTILE_TEXT),
        fake.token(hostile_header),
        fake.token({"typ": HOSTILE_TEXT}),
    ]
    known = {
        "cache-control",
        "content-length",
        "content-type",
        "date",
        "server",
        "set-cookie",
        "www-authenticate",
        "retry-after",
        "transfer-encoding",
        "connection",
        "x-envoy-upstream-service-time",
    }
    reached = 0
    for token in tokens:
        response = envoy.get("/<script>", token=token)
        assert {name.lower() for name, _ in response.headers} <= known
        assert all("injected" not in value or "%0D%0A" in value or "%5Cr%5Cn" in value
                   for _, value in response.headers)
        if response.status == 200:
            reached += 1
            names = {name.lower() for name, _ in response.seen.headers}
            assert "x-injected" not in names
        else:
            assert "<script" not in response.body.decode()
    assert reached == 2
    assert no_crash(envoy)


@pytest.mark.parametrize(
    "change",
    [
        {"realm": "a\nb"},
        {"realm": 'a"b'},
        {"require": {"scopes": ["a\r\nb"]}},
        {"require": {"scopes_any": ['a"']}},
        {"user_info": [{"location": "cookie", "key": "c", "cookie_options": {"path": "/\r\nx: 1"}}]},
        {"user_info": [{"location": "cookie", "key": "c", "cookie_options": {"domain": "a;b"}}]},
        {"user_info": [{"location": "cookie", "key": "c\r\nx"}]},
        {"claim_headers": [{"header": "x-a\r\nb", "claim": "sub"}]},
        {"claim_headers": [{"header": "x-a", "claim": "sub", "prefix": "a\r\nb"}]},
        {"claim_headers": [{"header": "x-a", "claim": "sub", "separator": "\r\n"}]},
    ],
    ids=range(10),
)
def test_no_configuration_can_end_a_line(provider: Provider, change: dict) -> None:
    """ROW-05."""
    assert validate_config(config(provider, **change)).returncode != 0


# ----------------------------------------------------------- 6: a hand-off that the client forged


@pytest.mark.parametrize(
    "name", ["x-oidc-metadata-identity", "X-OIDC-Metadata-Identity", "x_oidc_metadata_identity"]
)
@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("passes", ["allowed", "stripped", "missing", "optional", "preflight"])
def test_a_forged_hand_off_never_becomes_metadata(
    doors: Envoy, provider: Provider, name: str, times: int, passes: str
) -> None:
    """ROW-06, HDR-01."""
    forged = [(name, FORGED_HAND_OFF)] * times
    path = f"/forged-{passes}-{name}-{times}"
    match passes:
        case "allowed":
            response = doors.get(path, forged, token=provider.token("es256"))
        case "stripped":
            response = doors.door("strip").get(path, forged, token="forged")
        case "missing":
            response = doors.door("strip").get(path, forged)
        case "optional":
            response = doors.door("optional").get(path, forged)
        case _:
            response = doors.door("preflight").get(path, forged + PREFLIGHT, method="OPTIONS")
    assert not [value for key, value in response.seen.headers if "oidc" in key.lower()]
    (entry,) = doors.access_log(path=path)
    assert entry["metadata"] == ({"identity": {"sub": "svc"}} if passes == "allowed" else None)


# ----------------------------------------------------------- 7: headers that come more than once


def test_a_repeated_token_is_never_a_choice(doors: Envoy, provider: Provider) -> None:
    """ROW-07, EXT-01."""
    good = provider.token("es256")
    for pair in [(good, "bad"), ("bad", good), (good, good), ("", good), (good, "")]:
        response = doors.get("/", [("x-token", value) for value in pair])
        assert (response.status, response.json()["error"]) == (400, "invalid_request"), pair


@pytest.mark.parametrize("door", ["enforce", "strip", "optional"])
def test_every_copy_of_an_own_header_goes(
    doors: Envoy, provider: Provider, door: str
) -> None:
    """ROW-07, HDR-03."""
    forged = [("x-user", "admin"), ("x-other", "1"), ("X-User", "root"), ("x_user", "a,b")] * 3
    seen = doors.door(door).get("/", forged, token=provider.token("es256")).seen
    assert seen.all("x-user") == ["svc"]
    assert seen.all("x_user") == []
    assert seen.all("x-other") == ["1"] * 3
    if door != "enforce":
        seen = doors.door(door).get("/", forged).seen
        assert seen.all("x-user") == seen.all("x_user") == []


# --------------------------------------------------- 8: a route that changes after the decision


def route(name: str, user: str | None) -> dict[str, Any]:
    match: dict[str, Any] = {"prefix": "/"}
    if user is not None:
        match["headers"] = [{"name": "x-user", "string_match": {"exact": user}}]
    return {
        "name": name,
        "match": match,
        "route": {"cluster": "upstream"},
        "request_headers_to_add": [{"header": {"key": "x-route", "value": name}}],
    }


def test_routes_follow_the_proved_identity_not_the_sent_one(
    start_envoy: StartEnvoy, fake: FakeProvider
) -> None:
    """ROW-08, HDR-15."""
    routes = [route("admins", "admin"), route("users", "alice"), route("all", None)]
    envoy = start_envoy(
        config(fake, **IDENTITY),
        listeners={"optional": config(fake, allow_missing=True, **IDENTITY)},
        idp=fake.port,
        routes=routes,
    )
    admin = [("x-user", "admin")]
    assert envoy.get("/", admin).status == 401
    assert envoy.get("/", admin, fake.token(sub="alice")).seen.all("x-route") == ["users"]
    assert envoy.get("/", admin, fake.token(sub="bob")).seen.all("x-route") == ["all"]
    assert envoy.get("/", admin, fake.token(sub=None)).seen.all("x-route") == ["all"]
    assert envoy.get("/", (), fake.token(sub="admin")).seen.all("x-route") == ["admins"]
    assert envoy.door("optional").get("/", admin).seen.all("x-route") == ["all"]


def test_a_route_that_vanishes_is_a_404(
    start_envoy: StartEnvoy, fake: FakeProvider
) -> None:
    """ROW-08, HDR-15."""
    envoy = start_envoy(
        config(fake, **IDENTITY), idp=fake.port, routes=[route("admins", "admin")]
    )
    assert envoy.get("/", [("x-user", "admin")], fake.token(sub="bob")).status == 404
    assert envoy.get("/", [("x-user", "admin")]).status == 401
    assert envoy.get("/", (), fake.token(sub="admin")).status == 200


# ------------------------------------------------------- 9: two policies in one virtual machine


def test_two_filters_in_one_vm_share_no_verdict(
    start_envoy: StartEnvoy, fake: FakeProvider
) -> None:
    """ROW-09, ISS-09, WSM-11, CCH-02: Same code, same vm_id, so one virtual machine for each
    worker; different policies."""
    fake.active = {
        "ours": {"sub": "alice", "aud": "urn:api:test"},
        "theirs": {"sub": "alice", "aud": "urn:api:other"},
    }
    with FakeProvider() as stranger:
        theirs = provider_entry(fake, audiences="urn:api:other")
        narrow = {"scopes": ["admin"]}
        envoy = start_envoy(
            config(fake, **IDENTITY),
            listeners={
                "audience": config(fake, providers=[theirs]),
                "scope": config(fake, require=narrow),
                "provider": config(
                    fake, providers=[provider_entry(stranger, cluster="stranger")]
                ),
            },
            idp=fake.port,
            clusters={"stranger": stranger.port},
        )
        jwt, opaque = fake.token(), "ours"
        for _ in range(2):  # the second time, from the caches
            for token in (jwt, opaque):
                assert envoy.get("/", token=token).seen.all("x-user") == ["alice"]
                assert envoy.door("audience").get("/", token=token).status == 401
                assert envoy.door("scope").get("/", token=token).status == 403
                assert envoy.door("provider").get("/", token=token).status == 401
            assert envoy.door("audience").get("/", token="theirs").seen.all("x-user") == []
            assert envoy.get("/", token="theirs").status == 401
        kept = envoy.door("audience").get("/", [("x-user", "me")], "theirs").seen
        assert kept.all("x-user") == ["me"], "it writes no header: it has no business with it"


# --------------------------------------------------------------- 11: an address that clients choose


@pytest.mark.parametrize("trusted", [False, True])
def test_an_address_that_a_client_chose_means_nothing(
    start_envoy: StartEnvoy, provider: Provider, trusted: bool
) -> None:
    """ROW-11."""
    envoy = start_envoy(config(provider), hcm={"use_remote_address": not trusted})
    for address in ("127.0.0.1", "10.0.0.1, 127.0.0.1", "::1", "not an address"):
        assert envoy.get("/", [("X-Forwarded-For", address)]).status == 401
        response = envoy.get("/", [("X-Forwarded-For", address)], provider.token("es256"))
        assert response.status == 200


# ------------------------------------------------- beyond: more headers than the ABI's own bound


@pytest.mark.parametrize("door", ["enforce", "strip", "optional", "preflight"])
@pytest.mark.parametrize(("many", "size"), [(1100, 1), (2500, 1), (20, 60_000)])
def test_no_forgery_hides_among_thousands_of_headers(
    doors: Envoy, provider: Provider, door: str, many: int, size: int
) -> None:
    """The ABI's lists end at 1024 pairs and 1 MiB: what is not seen can't be removed."""
    forged = [("x-user", "admin"), ("x-oidc-metadata-identity", FORGED_HAND_OFF)]
    noise = [(f"a{number}", "x" * size) for number in range(many)]
    for number, token in enumerate((None, provider.token("es256"))):
        path = f"/many-{door}-{many}-{number}"
        headers = forged + noise + forged + PREFLIGHT
        doors.door(door).get(path, headers, token, method="OPTIONS")
        (entry,) = doors.access_log(path=path)
        if entry["upstream"] is None:
            continue  # refused: no token, or Envoy would not have it
        assert entry["user"] == ("svc" if token else None)
        assert entry["metadata"] == ({"identity": {"sub": "svc"}} if token else None)
    assert no_crash(doors)


@pytest.mark.parametrize("many", [3, 100])
def test_forged_trailers_go_however_many_there_are(
    start_envoy: StartEnvoy, provider: Provider, many: int
) -> None:
    """HDR-04."""
    envoy = start_envoy(
        config(provider, **IDENTITY),
        http2_upstream=True,
        hcm={
            "common_http_protocol_options": {
                **UNDERSCORES["common_http_protocol_options"],
                "max_headers_count": 200,
            }
        },
    )
    trailers = [(f"a{number}", "1") for number in range(many)]
    trailers += [("x-user", "admin"), ("x_user", "admin")]
    headers = [("authorization", f"Bearer {provider.token('es256')}")]
    with envoy.http2() as connection:
        response = connection.request("/", headers, method="POST", body=b"x", trailers=trailers)
    assert response.seen.trailers == trailers[:many]
