"""A real HTTP proxy before a tracking server, which can be told how to fail."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

__all__ = [
    "FaultyProxy",
    "Request",
    "answering",
    "cut",
    "delayed",
    "half_answered",
    "hanging",
    "not_answered",
    "on_path",
    "on_writes",
    "opened_proxy",
]

Fault = Callable[["Request"], None]
# MLflow searches by POST.
_READS = ("/search", "/get-history-bulk", "/get-metric-history-bulk")
_HOP_BY_HOP = {"connection", "transfer-encoding", "content-length", "server", "date"}


class Request(BaseHTTPRequestHandler):
    """One request, and what can be done with it."""

    protocol_version = "HTTP/1.1"
    proxy: FaultyProxy

    def _take(self) -> None:
        self.body = self._read_body()
        with self.proxy.lock:
            self.proxy.asked.append((self.command, urlsplit(self.path).path))
        with suppress(OSError):  # the client has gone
            (self.proxy.fault or Request.forward)(self)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _take  # noqa: N815

    @property
    def is_write(self) -> bool:
        """Whether it would change the record."""
        is_read = self.command in ("GET", "HEAD") or urlsplit(self.path).path.endswith(_READS)
        return not is_read

    def forward(self) -> None:
        """Answer as the server does."""
        self.reply(*self.ask())

    def ask(self) -> tuple[int, dict[str, str], bytes]:
        """What the server answers: status, headers and body."""
        target = urlsplit(self.proxy.target)
        assert target.hostname is not None
        connection = http.client.HTTPConnection(target.hostname, target.port or 80, timeout=60)
        headers = {k: v for k, v in self.headers.items() if k.lower() not in _HOP_BY_HOP}
        headers["Host"] = f"{target.hostname}:{target.port}"
        headers["Content-Length"] = str(len(self.body))
        try:
            connection.request(self.command, self.path, self.body, headers)
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()

    def reply(
        self, status: int, headers: dict[str, str], body: bytes, *, length: int | None = None
    ) -> None:
        """Answer; ``length`` is what is promised, if it is not what is sent."""
        self.send_response(status)
        for name, text in headers.items():
            if name.lower() not in _HOP_BY_HOP:
                self.send_header(name, text)
        promised = str(len(body) if length is None else length)
        if self.command == "HEAD":  # the length of what is not sent
            promised = next(
                (text for name, text in headers.items() if name.lower() == "content-length"), "0"
            )
            body = b""
        self.send_header("Content-Length", promised)
        self.end_headers()
        self.wfile.write(body)

    def _read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - of the base class
        """Say nothing."""


class FaultyProxy:
    """Passes requests on to a server, unless it has a fault.

    Attributes:
        target: the server's URL.
        fault: what to do with each request; None passes them on.
        asked: method and path of every request.
        released: ends what hangs.
    """

    def __init__(self, target: str) -> None:
        self.target = target
        self.fault: Fault | None = None
        self.asked: list[tuple[str, str]] = []
        self.lock = threading.Lock()
        self.released = threading.Event()
        handler = type("_Request", (Request,), {"proxy": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None  # a client that was killed
        self._server.block_on_close = False
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Answer no more: from now on its port is closed."""
        self.released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextmanager
def opened_proxy(target: str, fault: Fault | None = None) -> Iterator[FaultyProxy]:
    """A proxy before a server, for a block."""
    proxy = FaultyProxy(target)
    proxy.fault = fault
    proxy.start()
    try:
        yield proxy
    finally:
        proxy.stop()


def delayed(seconds: float) -> Fault:
    """Each request takes so long."""

    def wait(request: Request) -> None:
        request.proxy.released.wait(seconds)
        request.forward()

    return wait


def hanging(request: Request) -> None:
    """Takes the request, and does not answer until it is released."""
    request.proxy.released.wait()
    request.close_connection = True


def cut(request: Request) -> None:
    """Closes the connection: the server never sees the request."""
    request.close_connection = True


def not_answered(request: Request) -> None:
    """The server does what is asked, but its answer is lost."""
    request.ask()
    request.close_connection = True


def half_answered(request: Request) -> None:
    """The server does what is asked, but its answer ends in the middle."""
    status, headers, body = request.ask()
    request.reply(status, headers, body[: len(body) // 2], length=len(body))
    request.close_connection = True


def answering(status: int, text: str, kind: str = "text/html") -> Fault:
    """Every request gets this answer, and the server sees none."""
    return lambda request: request.reply(status, {"Content-Type": kind}, text.encode())


def on_writes(fault: Fault) -> Fault:
    """Requests that only read are passed on."""
    return lambda request: fault(request) if request.is_write else request.forward()


def on_path(part: str, fault: Fault) -> Fault:
    """Writes to an address with such a part fail; all others are passed on."""

    def choose(request: Request) -> None:
        if request.is_write and part in request.path:
            fault(request)
        else:
            request.forward()

    return choose
