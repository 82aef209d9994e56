"""HTTP clients that hide nothing: what a test says is what goes over the wire, byte for byte.

Ordinary client libraries join duplicate headers, refuse malformed ones and repair the rest, and
those are the very things that an attacker sends.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import json
import socket
import ssl
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import h2.config
import h2.connection
import h2.events

TIMEOUT = 20.0
Headers = Sequence[tuple[str, str]]
RawHeaders = Iterable[tuple[str | bytes, str | bytes]]
T = TypeVar("T")


class Named:
    """Look-up in a list of header pairs; the list itself keeps order and duplicates."""

    headers: list[tuple[str, str]]

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def header(self, name: str) -> str | None:
        """The one value; a test that means "the first of several" says so with `all`."""
        values = self.all(name)
        assert len(values) <= 1, f"{name} is there {len(values)} times: {values}"
        return values[0] if values else None


@dataclasses.dataclass
class Seen(Named):
    """What the upstream got."""

    method: str
    path: str
    headers: list[tuple[str, str]]
    body: dict[str, Any]
    trailers: list[tuple[str, str]]
    protocol: str


@dataclasses.dataclass
class Response(Named):
    """An answer. Bytes of headers are read as Latin-1, so that none is lost."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes = b""
    trailers: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    reset: bool = False  # HTTP/2: the stream was cut off before its end

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def seen(self) -> Seen:
        """What the upstream got, if the request came that far: it answers with it."""
        assert self.header("x-envoy-upstream-service-time") is not None, f"never got there: {self}"
        fields = self.json()
        for pairs in ("headers", "trailers"):
            fields[pairs] = [(name, value) for name, value in fields[pairs]]
        return Seen(**fields)


# -------------------------------------------------------------------------------------- HTTP/1.1


class Http1:
    """One connection. `send` takes exact bytes; `receive` reads one response."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), TIMEOUT)
        self._buffer = b""

    def __enter__(self) -> Http1:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def read(self, length: int) -> bytes:
        """Exactly so many bytes, e.g. of a WebSocket after its 101."""
        while len(self._buffer) < length:
            self._more()
        data, self._buffer = self._buffer[:length], self._buffer[length:]
        return data

    def closed(self) -> bool:
        """Has the peer closed, with nothing more to read?"""
        try:
            self._more()
        except ConnectionError:
            return True
        return False

    def receive(self, head: bool = False) -> Response:
        """The next final response; 1xx other than 101 are passed over. `head`: it has no body."""
        while True:
            status_line, *lines = self._until(b"\r\n\r\n").decode("latin-1").split("\r\n")
            status = int(status_line.split(" ")[1])
            if status >= 200 or status == 101:
                break
        headers = [(name, value.strip()) for name, _, value in (x.partition(":") for x in lines)]
        response = Response(status, headers)
        if head or status in (101, 204, 304):
            return response
        if response.header("transfer-encoding") == "chunked":
            response.body = self._chunks()
        elif (length := response.header("content-length")) is not None:
            response.body = self.read(int(length))
        else:
            response.body = self._rest()
        return response

    def _chunks(self) -> bytes:
        body = b""
        while size := int(self._until(b"\r\n").split(b";")[0], 16):
            body += self.read(size)
            self.read(2)
        while self._until(b"\r\n"):
            pass  # trailers
        return body

    def _rest(self) -> bytes:
        try:
            while True:
                self._more()
        except ConnectionError:
            data, self._buffer = self._buffer, b""
            return data

    def _until(self, mark: bytes) -> bytes:
        while mark not in self._buffer:
            self._more()
        data, _, self._buffer = self._buffer.partition(mark)
        return data

    def _more(self) -> None:
        data = self.socket.recv(1 << 16)
        if not data:
            raise ConnectionError(f"closed by the peer after {self._buffer[:200]!r}")
        self._buffer += data


def request_bytes(
    path: str | bytes = "/",
    headers: RawHeaders = (),
    method: str = "GET",
    body: bytes = b"",
) -> bytes:
    """A request as HTTP/1.1 bytes. Only Host, and Content-Length for a body, are added."""

    def raw(text: str | bytes) -> bytes:
        return text if isinstance(text, bytes) else text.encode("latin-1")

    pairs = [(raw(name), raw(value)) for name, value in headers]
    names = {name.lower() for name, _ in pairs}
    if b"host" not in names:
        pairs.insert(0, (b"Host", b"test.example"))
    if body and not names & {b"content-length", b"transfer-encoding"}:
        pairs.append((b"Content-Length", str(len(body)).encode()))
    lines = [b"%s %s HTTP/1.1" % (method.encode(), raw(path))]
    lines += [name + b": " + value for name, value in pairs]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def exchange(port: int, data: bytes, head: bool = False) -> Response:
    """One request on a connection of its own."""
    with Http1(port) as connection:
        connection.send(data)
        return connection.receive(head)


# ---------------------------------------------------------------------------------------- HTTP/2


class Http2:
    """One connection, without TLS unless `context` is given. Streams run side by side: `start` several, then `receive`."""

    def __init__(self, port: int, context: ssl.SSLContext | None = None) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), TIMEOUT)
        if context is not None:
            self.socket = context.wrap_socket(self.socket)
        # Nothing is put right on the way out: malformed requests are among the things to test.
        self._h2 = h2.connection.H2Connection(
            h2.config.H2Configuration(
                header_encoding=None,
                normalize_outbound_headers=False,
                validate_outbound_headers=False,
            )
        )
        self._responses: dict[int, Response] = {}
        self._ended: set[int] = set()
        self._farewell: int | None = None
        self._h2.initiate_connection()
        self._flush()

    def __enter__(self) -> Http2:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def start(
        self,
        path: str | bytes = "/",
        headers: RawHeaders = (),
        method: str = "GET",
        body: bytes = b"",
        trailers: Headers = (),
        end: bool = True,
    ) -> int:
        """Sends a request and gives its stream. `end=False` leaves it open, as for an upload.

        A header may come several times, as cookie crumbs do; pseudo-headers may be overridden.
        """
        pseudo = {":method": method, ":scheme": "http", ":path": path}
        pseudo[":authority"] = "test.example"
        pseudo |= {name: value for name, value in headers if name[:1] == ":"}
        fields = [*pseudo.items(), *(pair for pair in headers if pair[0][:1] != ":")]
        stream = self._h2.get_next_available_stream_id()
        self._responses[stream] = Response(0, [])
        self._h2.send_headers(stream, fields, end_stream=end and not body and not trailers)
        if body:
            self.send(stream, body, end=end and not trailers)
        if trailers:
            self._h2.send_headers(stream, trailers, end_stream=True)
        self._flush()
        return stream

    def send(self, stream: int, data: bytes, end: bool = False) -> None:
        """More of a body, in pieces that flow control allows."""
        while data:
            room = self._h2.local_flow_control_window(stream)
            size = min(len(data), room, self._h2.max_outbound_frame_size)
            if size <= 0:
                self._read()
                continue
            self._h2.send_data(stream, data[:size], end_stream=end and size == len(data))
            self._flush()
            data = data[size:]

    def reset(self, stream: int) -> None:
        """Goes away in the middle, as a client does whose user closes the window."""
        self._h2.reset_stream(stream)
        self._flush()

    def receive(self, stream: int) -> Response:
        while stream not in self._ended:
            self._read()
        return self._responses[stream]

    def head(self, stream: int) -> Response:
        """As soon as its headers are there: a tunnel has no end."""
        while not self._responses[stream].status and stream not in self._ended:
            self._read()
        return self._responses[stream]

    def request(self, path: str | bytes = "/", headers: RawHeaders = (), **more: Any) -> Response:
        return self.receive(self.start(path, headers, **more))

    def _flush(self) -> None:
        self.socket.sendall(self._h2.data_to_send())

    def _read(self) -> None:
        # What came before a farewell counts: who is answered early may still have been talking.
        if self._farewell is not None:
            raise ConnectionError(f"GOAWAY {self._farewell}")
        data = self.socket.recv(1 << 16)
        if not data:
            raise ConnectionError("closed by the peer")
        for event in self._h2.receive_data(data):
            self._handle(event)
        self._flush()

    def _handle(self, event: h2.events.Event) -> None:
        match event:
            case h2.events.ResponseReceived(stream_id=stream, headers=headers):
                (_, status), *self._responses[stream].headers = _text(headers)
                self._responses[stream].status = int(status)
            case h2.events.DataReceived(stream_id=stream, data=data):
                self._responses[stream].body += data
                self._h2.acknowledge_received_data(event.flow_controlled_length, stream)
            case h2.events.TrailersReceived(stream_id=stream, headers=headers):
                self._responses[stream].trailers = _text(headers)
            case h2.events.StreamEnded(stream_id=stream):
                self._ended.add(stream)
            case h2.events.StreamReset(stream_id=stream):
                self._responses[stream].reset = True
                self._ended.add(stream)
            case h2.events.ConnectionTerminated(error_code=code):
                self._farewell = code


def _text(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]


# ------------------------------------------------------------------------------------------ all


def together(count: int, call: Callable[[int], T]) -> list[T]:
    """`call(0)`, `call(1)`, … all at the same time, each in a thread; the results in order."""
    with concurrent.futures.ThreadPoolExecutor(count) as pool:
        return list(pool.map(call, range(count)))
