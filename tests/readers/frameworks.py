"""Python's readers: each line of standard input is a list of requests, each line of output a list of what they read there.

A request is `{"cookies": [...], "path": ..., "headers": [[name, value], ...]}`; `cookies` are the ways in which servers join several
`Cookie` fields. A character stands for an octet. What was read is `{place: [[readers, pairs], ...]}`: readers that agree
stand together.
"""

from __future__ import annotations

import asyncio
import functools
import http.cookies
import io
import json
import sys
import urllib.parse
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler

import bottle
import django.conf
import falcon
import tornado.httputil
import tornado.web
import webob
import werkzeug.wrappers
from aiohttp import http_parser, test_utils
from aiohttp.web import BaseRequest
from django.core.handlers.wsgi import WSGIRequest
from gunicorn.config import Config as GunicornConfig
from gunicorn.http.parser import RequestParser
from starlette.requests import Request as StarletteRequest

Pairs = Iterable[tuple[str, Any]]
Readers = dict[str, Callable[..., Pairs]]

django.conf.settings.configure(ALLOWED_HOSTS=["*"])
warnings.simplefilter("ignore")
loop = asyncio.new_event_loop()
asyncio.set_event_loop(loop)


def environ(**more: str) -> dict[str, Any]:
    """A WSGI environment, as servers make it."""
    return {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/",
        "QUERY_STRING": "",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": False,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    } | more


def text(octets: str) -> str:
    """What servers that decode UTF-8 make of a header."""
    return octets.encode("latin-1").decode("utf-8", "surrogateescape")


def query_of(path: str) -> str:
    return path.partition("?")[2]


def on_the_wire(headers: Iterable[tuple[str, str]], path: str = "/") -> bytes:
    lines = [f"{name}: {value}\r\n" for name, value in headers]
    return "".join([f"GET {path} HTTP/1.1\r\nhost: localhost\r\n", *lines, "\r\n"]).encode("latin-1")


# ------------------------------------------------------------------------------------------ cookies


def scope(path: str = "/", headers: Iterable[tuple[str, str]] = ()) -> StarletteRequest:
    named = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    query = query_of(path).encode("latin-1")
    return StarletteRequest({"type": "http", "method": "GET", "path": "/", "query_string": query, "headers": named})


def webob_cookies(header: str) -> Pairs:
    return webob.Request(environ(HTTP_COOKIE=header)).cookies.items()


def werkzeug_cookies(header: str) -> Pairs:
    return werkzeug.wrappers.Request(environ(HTTP_COOKIE=header)).cookies.items(multi=True)


def django_cookies(header: str) -> Pairs:
    return WSGIRequest(environ(HTTP_COOKIE=header)).COOKIES.items()


def starlette_cookies(header: str) -> Pairs:
    return scope(headers=[("cookie", header)]).cookies.items()


AIOHTTP = test_utils.make_mocked_request("GET", "/")


def of_aiohttp(path: str, headers: Iterable[tuple[str, str]] = ()) -> BaseRequest:
    """What its own parser makes of the octets, without a connection."""
    parser = http_parser.HttpRequestParser(AIOHTTP.protocol, loop, 2**16)
    ((message, payload),) = parser.feed_data(on_the_wire(headers, path))[0]
    return BaseRequest(message, payload, AIOHTTP.protocol, AIOHTTP.writer, AIOHTTP.task, loop)


def aiohttp_cookies(header: str) -> Pairs:
    return of_aiohttp("/", [("cookie", header)]).cookies.items()


def of_tornado(path: str, header: str | None = None) -> tornado.httputil.HTTPServerRequest:
    headers = tornado.httputil.HTTPHeaders()
    if header is not None:
        headers.add("Cookie", header)
    return tornado.httputil.HTTPServerRequest("GET", path, headers=headers, host="localhost")


def tornado_cookies(header: str) -> Pairs:
    return ((name, morsel.value) for name, morsel in of_tornado("/", header).cookies.items())


def bottle_cookies(header: str) -> Pairs:
    return bottle.BaseRequest(environ(HTTP_COOKIE=header)).cookies.items()


def falcon_cookies(header: str) -> Pairs:
    request = falcon.Request(environ(HTTP_COOKIE=header))
    for name in request.cookies:
        for value in request.get_cookie_values(name) or []:
            yield name, value


def standard_cookies(header: str) -> Pairs:
    return ((name, morsel.value) for name, morsel in http.cookies.SimpleCookie(header).items())


COOKIES: Readers = {
    "WebOb": webob_cookies,
    "Werkzeug": werkzeug_cookies,
    "Django": django_cookies,
    "Starlette": starlette_cookies,
    "aiohttp": aiohttp_cookies,
    "Tornado": tornado_cookies,
    "Bottle": bottle_cookies,
    "Falcon": falcon_cookies,
    "http.cookies": standard_cookies,
}


# ------------------------------------------------------------------------------------------ queries


def webob_query(path: str) -> Pairs:
    return webob.Request(environ(QUERY_STRING=query_of(path))).GET.items()


def werkzeug_query(path: str) -> Pairs:
    return werkzeug.wrappers.Request(environ(QUERY_STRING=query_of(path))).args.items(multi=True)


def django_query(path: str) -> Pairs:
    for name, values in WSGIRequest(environ(QUERY_STRING=query_of(path))).GET.lists():
        for value in values:
            yield name, value


def starlette_query(path: str) -> Pairs:
    return scope(path).query_params.multi_items()


def aiohttp_query(path: str) -> Pairs:
    return of_aiohttp(path).query.items()


def tornado_query(path: str) -> Pairs:
    for name, values in of_tornado(path).arguments.items():
        for value in values:
            yield name, value.decode("utf-8", "replace")


def bottle_query(path: str) -> Pairs:
    return bottle.BaseRequest(environ(QUERY_STRING=query_of(path))).query.allitems()


def falcon_query(path: str) -> Pairs:
    return falcon.Request(environ(QUERY_STRING=query_of(path))).params.items()


def falcon_query_of_lists(path: str) -> Pairs:
    options = falcon.RequestOptions()
    options.auto_parse_qs_csv = True
    return falcon.Request(environ(QUERY_STRING=query_of(path)), options).params.items()


def standard_query(path: str) -> Pairs:
    return urllib.parse.parse_qsl(urllib.parse.urlsplit(text(path)).query, keep_blank_values=True, errors="replace")


def standard_query_of_semicolons(path: str) -> Pairs:
    return urllib.parse.parse_qsl(query_of(path), keep_blank_values=True, separator=";")


QUERIES: Readers = {
    "WebOb": webob_query,
    "Werkzeug": werkzeug_query,
    "Django": django_query,
    "Starlette": starlette_query,
    "aiohttp": aiohttp_query,
    "Tornado": tornado_query,
    "Bottle": bottle_query,
    "Falcon": falcon_query,
    "Falcon, auto_parse_qs_csv": falcon_query_of_lists,
    "urllib.parse": standard_query,
    "urllib.parse, separator=;": standard_query_of_semicolons,
}


# ------------------------------------------------------------------------------------------ headers


def of_environ(found: dict[str, Any]) -> Pairs:
    return ((name.removeprefix("HTTP_"), value) for name, value in found.items() if name.startswith("HTTP_"))


GUNICORN = GunicornConfig()
GUNICORN.set("header_map", "dangerous")


def gunicorn_headers(headers: list[tuple[str, str]]) -> Pairs:
    request = next(RequestParser(GUNICORN, iter([on_the_wire(headers)]), ("127.0.0.1", 1)))
    return ((name.replace("-", "_"), value) for name, value in request.headers)


class Handler(WSGIRequestHandler):
    """wsgiref's handler, without a connection."""

    def __init__(self, octets: bytes) -> None:
        self.rfile = io.BytesIO(octets)
        self.raw_requestline = self.rfile.readline()
        self.client_address = ("127.0.0.1", 1)
        self.server = type("Server", (), {"base_environ": {}})()
        if not self.parse_request():
            raise ValueError(octets)

    def send_error(self, *_: Any, **__: Any) -> None:
        """Nobody is there to be told."""

    def address_string(self) -> str:
        return "localhost"


def wsgiref_headers(headers: list[tuple[str, str]]) -> Pairs:
    return of_environ(Handler(on_the_wire(headers)).get_environ())


def aiohttp_headers(headers: list[tuple[str, str]]) -> Pairs:
    return of_aiohttp("/", headers).headers.items()


def tornado_headers(headers: list[tuple[str, str]]) -> Pairs:
    lines = on_the_wire(headers).decode("latin-1").partition("\r\n")[2]
    return tornado.httputil.HTTPHeaders.parse(lines).get_all()


def starlette_headers(headers: list[tuple[str, str]]) -> Pairs:
    return scope(headers=headers).headers.items()


HEADERS: Readers = {
    "gunicorn, header_map=dangerous": gunicorn_headers,
    "wsgiref": wsgiref_headers,
    "aiohttp": aiohttp_headers,
    "Tornado": tornado_headers,
    "Starlette": starlette_headers,
}


# ------------------------------------------------------------------------------------------ the process

READERS = {"cookie": COOKIES, "query": QUERIES, "header": HEADERS}


@functools.lru_cache(10_000)
def read(place: str, given: str) -> list[Any]:
    """What each of them finds, those together that find the same. One that gives up finds nothing."""
    readers, inputs = READERS[place], json.loads(given)
    found: dict[str, list[str]] = {}
    for name, reader in readers.items():
        pairs: list[Any] = []
        for given in inputs:
            try:
                pairs += [[str(key), value if isinstance(value, str) else json.dumps(value)] for key, value in reader(given)]
            except Exception:  # noqa: BLE001, S112
                continue
        found.setdefault(json.dumps(pairs), []).append(name)
    return [[names, json.loads(pairs)] for pairs, names in found.items()]


def answers() -> Iterator[str]:
    for line in sys.stdin:
        yield json.dumps(
            [
                {
                    "cookie": read("cookie", json.dumps(request["cookies"])),
                    "query": read("query", json.dumps([request["path"]])),
                    "header": read("header", json.dumps([request["headers"]])),
                }
                for request in json.loads(line)
            ],
        )


if __name__ == "__main__":
    for answer in answers():
        print(answer, flush=True)
