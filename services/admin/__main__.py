"""Starts the web UI: python -m services.admin."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import sys
from collections.abc import Iterator
from typing import Final

import uvicorn

from servicekit.logs import configure_logs, get_logger
from servicekit.settings import load_settings
from services.admin.app import build, listen
from services.admin.settings import AdminSettings

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1
DRAIN_S: Final = 3
MAX_CONNECTIONS: Final = 5_000
MAX_SOCKET_MESSAGE_BYTES: Final = 1024 * 1024
"""Of what browsers send: clicks and what people type."""

_log = get_logger(__name__)


class _Server(uvicorn.Server):
    """An HTTP server that leaves signals to us, so that a SIGTERM ends in exit code 0."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are ours."""
        yield


async def serve(settings: AdminSettings, listener: socket.socket) -> int:
    """Serves until SIGTERM or SIGINT. Returns the exit code."""
    port: int = listener.getsockname()[1]
    admin = build(settings, port)
    config = uvicorn.Config(
        admin.app,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=DRAIN_S,
        limit_concurrency=MAX_CONNECTIONS,
        ws_max_size=MAX_SOCKET_MESSAGE_BYTES,
    )
    server = _Server(config)

    def stop() -> None:
        server.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop)
    _log.info("the web UI listens", address=f"{listener.getsockname()[0]}:{port}", public_url=settings.public_url)
    await server.serve(sockets=[listener])
    return EXIT_OK if server.started else EXIT_FAILED


def main() -> int:
    """Runs until SIGTERM. Returns the exit code: 0 stopped, 1 cannot start, 2 wrong settings."""
    settings = load_settings(AdminSettings)
    configure_logs(settings, settings.service)
    try:
        listener = listen(settings)
    except OSError as error:
        _log.error("the web UI cannot start", reason=str(error), address=settings.admin_listen)
        return EXIT_FAILED
    with contextlib.closing(listener), contextlib.suppress(ImportError):
        import uvloop

        return uvloop.run(serve(settings, listener))
    return asyncio.run(serve(settings, listener))


if __name__ == "__main__":
    sys.exit(main())
