"""A small HTTP server that answers as it is told, for dialects and failures of other servers."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Object = dict[str, Any]


class Dialect:
    """Scripts what a server says, and remembers what it was asked."""

    def __init__(self, *models: str, owner: str = "somebody") -> None:
        self.address = ""
        self.asked: list[Object] = []
        """Bodies of the requests for completions, tokens and embeddings, with ``path``."""
        self.authorization: str | None = None
        self.models = models or ("model",)
        self.owner = owner
        self.answer: Callable[[Object, Speaker], None] = lambda body, speaker: speaker.json({})


class Speaker:
    """The side of one connection that answers."""

    def __init__(self, handler: BaseHTTPRequestHandler) -> None:
        self._handler = handler

    def json(self, body: Any, status: int = 200, **headers: str) -> None:
        self.raw(json.dumps(body).encode(), "application/json", status, **headers)

    def raw(self, data: bytes, kind: str, status: int = 200, **headers: str) -> None:
        handler = self._handler
        handler.send_response(status)
        handler.send_header("content-type", kind)
        handler.send_header("content-length", str(len(data)))
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(data)

    def events(self, *events: Object | str, cut: bool = False) -> None:
        """A stream of events; ``cut`` closes the connection where more was announced."""
        handler = self._handler
        texts = [item if isinstance(item, str) else json.dumps(item) for item in events]
        data = "".join(f"data: {text}\r\n\r\n" for text in texts).encode()
        handler.send_response(200)
        handler.send_header("content-type", "text/event-stream; charset=utf-8")
        handler.send_header("content-length", str(len(data) + (100 if cut else 0)))
        handler.end_headers()
        handler.wfile.write(data)
        handler.wfile.flush()
        if cut:
            handler.close_connection = True


@contextmanager
def speaking(dialect: Dialect) -> Iterator[Dialect]:
    """Serve ``dialect`` on a free port."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            dialect.authorization = self.headers["authorization"]
            data = [
                {"id": name, "object": "model", "created": 7, "owned_by": dialect.owner}
                for name in dialect.models
            ]
            Speaker(self).json({"object": "list", "data": data})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            dialect.asked.append({**body, "path": self.path})
            dialect.answer(body, Speaker(self))

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    dialect.address = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield dialect
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
