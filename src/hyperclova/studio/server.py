"""Runs Studio as a program: takes the port, says where it is, leaves nothing behind."""

import asyncio
import contextlib
import errno
import logging
import signal
import socket
from collections.abc import Callable, Iterator
from types import FrameType

import uvicorn

from hyperclova.errors import UserError
from hyperclova.studio.app import create_app
from hyperclova.studio.service import Studio
from hyperclova.studio.settings import Settings

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_BACKLOG = 2048


def serve(settings: Settings, announce: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM; ``announce`` is called once with the address to open.

    Raises:
        UserError: the port is taken, the host is not ours, or model or database cannot be opened.
    """
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    listener = _listen(settings.host, settings.port)
    with contextlib.closing(listener):
        app = create_app(settings)
        studio: Studio = app.state.studio
        studio.open()  # here, so that what the user can put right is told in one line
        configuration = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=1,
        )
        address = _address(settings.host, listener)
        server = _Server(configuration, studio, lambda: announce(address))
        asyncio.run(server.serve(sockets=[listener]))


class _Server(uvicorn.Server):
    """uvicorn, which stops the engine first: streams end at once instead of being waited for."""

    def __init__(
        self, config: uvicorn.Config, studio: Studio, announce: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self._studio = studio
        self._announce = announce

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._announce()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        stopping = asyncio.create_task(self._studio.engine.stop())
        await super().shutdown(sockets)
        await stopping

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        # uvicorn raises the signal again once it has stopped; being asked to stop is no failure.
        previous = {number: signal.signal(number, self.handle_exit) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.force_exit = self.should_exit  # asked a second time: wait for nobody
        self.should_exit = True


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (socket.gaierror, OverflowError) as error:
        raise UserError(
            f"--host {host} --port {port} is no address of this machine: {error}"
        ) from None
    listener = socket.socket(family, kind, protocol)
    try:
        # Lets a Studio that was just stopped start again on the same port at once.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise UserError(
                f"port {port} on {host} is in use, perhaps by another Studio: "
                "stop that program or choose another port with --port"
            ) from None
        raise UserError(f"cannot listen on {host} port {port}: {error.strerror}") from None
    listener.setblocking(False)
    return listener


def _address(host: str, listener: socket.socket) -> str:
    port = listener.getsockname()[1]
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, host)
    return f"http://{f'[{shown}]' if ':' in shown and not shown.startswith('[') else shown}:{port}"
