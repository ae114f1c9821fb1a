"""The small HTTP server beside gRPC: /metrics for Prometheus, /healthz for whatever asks over HTTP. Nothing else.

It reads a request line and headers of bounded size, answers and closes. It carries no data of the domain.
"""

import asyncio
import json
from collections.abc import Callable
from typing import Final

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.exposition import choose_encoder

_TIMEOUT_S: Final = 5.0
_MAX_HEAD_BYTES: Final = 16 * 1024
_MAX_CONNECTIONS: Final = 50


class StatusServer:
    """Serves /metrics and /healthz."""

    def __init__(
        self,
        serving: Callable[[], bool],
        problems: Callable[[], dict[str, str]],
        registry: CollectorRegistry = REGISTRY,
    ) -> None:
        self._serving, self._problems, self._registry = serving, problems, registry
        self._server: asyncio.Server | None = None
        self._open = 0

    async def start(self, host: str, port: int) -> int:
        """Listens; returns the port. Raises OSError."""
        self._server = await asyncio.start_server(self._connected, host, port, limit=_MAX_HEAD_BYTES)
        chosen: int = self._server.sockets[0].getsockname()[1]
        return chosen

    async def stop(self) -> None:
        """Stops listening."""
        if self._server is not None:
            self._server.close()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        try:
            if self._open > _MAX_CONNECTIONS:
                return
            async with asyncio.timeout(_TIMEOUT_S):
                head = await reader.readuntil(b"\r\n\r\n")
                await self._answer(head, writer)
        except (TimeoutError, ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            self._open -= 1
            writer.close()

    async def _answer(self, head: bytes, writer: asyncio.StreamWriter) -> None:
        line, *header_lines = head.decode("latin-1").split("\r\n")
        headers = {key.strip().lower(): value.strip() for key, _, value in (h.partition(":") for h in header_lines)}
        method, _, rest = line.partition(" ")
        path = rest.partition(" ")[0].partition("?")[0]
        status, content_type, body = "404 Not Found", "text/plain; charset=utf-8", b"/metrics or /healthz\n"
        if method not in ("GET", "HEAD"):
            status, body = "405 Method Not Allowed", b"GET is all there is\n"
        elif path == "/metrics":
            encoder, content_type = choose_encoder(headers.get("accept", ""))
            status, body = "200 OK", await asyncio.to_thread(encoder, self._registry)
        elif path == "/healthz":
            status = "200 OK" if self._serving() else "503 Service Unavailable"
            content_type = "application/json"
            body = json.dumps({"serving": self._serving(), "problems": self._problems()}).encode() + b"\n"
        writer.write(
            f"HTTP/1.1 {status}\r\ncontent-type: {content_type}\r\ncontent-length: {len(body)}\r\n"
            "cache-control: no-store\r\nconnection: close\r\n\r\n".encode("latin-1")
        )
        if method != "HEAD":
            writer.write(body)
        await writer.drain()
