"""The line between one client and a PostgreSQL server: a test cuts it for that client alone, loudly or silently."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from sqlalchemy import make_url

from tests.support.tcp import TcpServer


class DatabaseCable(TcpServer):
    """Passes on what comes. Cut, connections end and new ones are refused, or nothing comes through any more."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._to = make_url(url)
        self._whole = asyncio.Event()
        self._whole.set()
        self._silent = False

    @property
    def url(self) -> str:
        """The database through this line."""
        through = self._to.set(host="127.0.0.1", port=self.port, query={})
        return through.render_as_string(hide_password=False)

    def cut(self, *, silent: bool) -> None:
        """From now on nothing comes through."""
        self._silent = silent
        self._whole.clear()
        if not silent:
            for task in list(self._tasks):
                task.cancel()

    def mend(self) -> None:
        """All is well again."""
        self._whole.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until it ends."""
        if not self._whole.is_set() and not self._silent:
            return
        await self._whole.wait()
        there, here = await self._connect()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pass(reader, here))
                group.create_task(self._pass(there, writer))
        except* (OSError, EOFError):
            pass
        finally:
            here.close()

    async def _pass(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while data := await source.read(65536):
            await self._whole.wait()
            target.write(data)
            await target.drain()
        raise EOFError

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        folder = self._to.query.get("host", "")
        port = self._to.port or 5432
        if isinstance(folder, str) and folder.startswith("/"):
            with suppress(FileNotFoundError):
                return await asyncio.open_unix_connection(f"{folder}/.s.PGSQL.{port}")
        return await asyncio.open_connection(self._to.host or "127.0.0.1", port)
