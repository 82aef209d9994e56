"""Services behind Envoy that see every byte; servers that tests start, and ports for them."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import scene


class RawService:
    """A service that takes connections; what it does with one, each test says."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def serve(self, connection: socket.socket) -> None:
        raise NotImplementedError

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        # Envoy hangs up on what it wants no more of.
        with connection, contextlib.suppress(OSError):
            self.serve(connection)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@contextlib.contextmanager
def server(command: Sequence[str], port: int, **options: Any) -> Iterator[None]:
    """A process that listens at this port, from then on to the end of the block."""
    with subprocess.Popen(command, **options) as process:
        try:
            scene.poll(lambda: listens(port) or process.poll() is not None, f"{command[0]} to listen", 20)
            assert process.poll() is None, f"{command[0]} has not started"
            yield
        finally:
            process.terminate()
