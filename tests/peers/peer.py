"""Servers of other makes, each in a process and an environment of its own, driven by lines of JSON.

The environments are made by tools/peers.sh; the servers are the scripts beside this file. What a server holds is set
in its own terms.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any

from fieldbus.security import FieldSecurity, TlsSecurity
from fieldbus.values import Identity
from tests.fieldbus.servers import NOON
from tests.fieldbus.worlds import Tables
from tests.peers.serial_pair import SerialPair
from tests.support.certificates import Authority
from tests.support.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = ROOT / ".venv-peers"
READY = ENVIRONMENT / ".ready"
SERVERS = Path(__file__).parent / "servers"


class Peer:
    """A running script. Commands are answered one after the other."""

    def __init__(self, process: asyncio.subprocess.Process, script: str) -> None:
        self._process = process
        self._script = script
        self._lock = asyncio.Lock()

    @classmethod
    async def run(cls, script: str) -> Peer:
        """Start servers/`script`, a Python module or a Node.js script."""
        command = (
            ("node", str(SERVERS / script))
            if script.endswith(".js")
            else (str(ENVIRONMENT / "python" / "bin" / "python"), "-m", f"tests.peers.servers.{script}")
        )
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=ROOT,
            env={**os.environ, "NODE_PATH": str(ENVIRONMENT / "node" / "node_modules")},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        return cls(process, script)

    async def call(self, do: str, **arguments: Any) -> Any:
        """Carry out a command. RuntimeError when the peer cannot or is gone."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        async with self._lock, asyncio.timeout(60):
            self._process.stdin.write(json.dumps({"do": do, **arguments}).encode() + b"\n")
            line = await self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._script} ended with {await self._process.wait()} when asked to {do}")
        answer = json.loads(line)
        if "error" in answer:
            raise RuntimeError(f"{self._script} cannot {do}: {answer['error']}")
        return answer["ok"]

    async def end(self) -> None:
        """The process ends with its input."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            async with asyncio.timeout(5):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()


class ForeignRegisters:
    """A script as a `RegisterServer` on Modbus TCP."""

    scheme = "modbus+tcp"

    def __init__(self, script: str, identity: Identity, units: dict[int, Tables]) -> None:
        self.identity = identity
        self._script = script
        self._units = units
        self._port = 0
        self._peer: Peer | None = None

    @property
    def security(self) -> FieldSecurity | None:
        return None

    @property
    def peer(self) -> Peer:
        assert self._peer is not None, "not started"
        return self._peer

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self._port}"

    @property
    def dead_url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{free_port()}"

    async def start(self) -> None:
        if self._peer is None:
            self._peer = await Peer.run(self._script)
            await self._peer.call("hold", units=self._units)
            self._port = free_port()
        await self.listen()

    async def listen(self) -> None:
        """Open the server's end of the connection."""
        await self.peer.call("start", port=self._port)

    async def stop(self) -> None:
        await self.peer.call("stop")

    async def close(self) -> None:
        await self.peer.end()

    async def put(self, unit: int, table: str, address: int, values: list[int]) -> None:
        await self.peer.call("put", unit=unit, table=table, address=address, values=values)

    async def get(self, unit: int, table: str, address: int, count: int) -> list[int]:
        found: list[int] = await self.peer.call("get", unit=unit, table=table, address=address, count=count)
        return found

    async def refuse(self, function: int, code: int) -> None:
        await self.peer.call("refuse", function=function, code=code)


class SecuredRegisters(ForeignRegisters):
    """The same behind TLS with certificates on both sides (Modbus/TCP Security)."""

    scheme = "modbus+tls"

    def __init__(self, script: str, identity: Identity, units: dict[int, Tables]) -> None:
        super().__init__(script, identity, units)
        self._folder = tempfile.TemporaryDirectory(prefix="lichtbuch-peer-tls-")
        authority = Authority(Path(self._folder.name))
        self._authority = authority.file
        self._server, self._client = authority.issue("server"), authority.issue("client")

    @property
    def security(self) -> FieldSecurity | None:
        entry = TlsSecurity(self._authority, self._client.certificate, self._client.key)
        return FieldSecurity(modbus={f"127.0.0.1:{self._port}": entry})

    async def listen(self) -> None:
        tls = {"key": self._server.key, "cert": self._server.certificate, "ca": self._authority}
        paths = {name: str(path) for name, path in tls.items()}
        await self.peer.call("start", port=self._port, inner=free_port(), tls=paths)

    async def close(self) -> None:
        await super().close()
        self._folder.cleanup()


class SerialRegisters(ForeignRegisters):
    """A script as a `RegisterServer` on a serial line: two pseudo-terminals, as an adapter would join two machines."""

    baud = 19_200

    def __init__(self, script: str, identity: Identity, units: dict[int, Tables]) -> None:
        super().__init__(script, identity, units)
        self._line = SerialPair()

    @property
    def url(self) -> str:
        return f"modbus+rtu://{self._line.near}?baud={self.baud}&parity=N"

    @property
    def dead_url(self) -> str:
        """Nobody is on the line: at the other end of ours there is only this server, as another unit."""
        return f"{self.url}&unit=9"

    async def listen(self) -> None:
        self._line.join()
        await self.peer.call("start_serial", device=self._line.far, baud=self.baud)

    async def close(self) -> None:
        await super().close()
        self._line.close()


class TunnelledRegisters(SerialRegisters):
    """The same line behind a transparent serial server: RTU frames on TCP."""

    def __init__(self, script: str, identity: Identity, units: dict[int, Tables]) -> None:
        super().__init__(script, identity, units)
        self._tunnel: asyncio.Server | None = None

    @property
    def url(self) -> str:
        return f"modbus+rtutcp://127.0.0.1:{self._port}"

    async def listen(self) -> None:
        await super().listen()
        if self._tunnel is None:
            self._tunnel = await asyncio.start_server(self._carry, "127.0.0.1", self._port)

    async def close(self) -> None:
        if self._tunnel is not None:
            self._tunnel.close()
        await super().close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with open(self._line.near, "r+b", buffering=0) as port:  # noqa: ASYNC230 - a pseudo-terminal opens at once
            os.set_blocking(port.fileno(), False)
            loop = asyncio.get_running_loop()
            loop.add_reader(port.fileno(), lambda: writer.write(port.read(4096) or b""))
            try:
                while data := await reader.read(4096):
                    port.write(data)
            finally:
                loop.remove_reader(port.fileno())
                writer.close()


class ForeignNodes:
    """A script as a `NodeServer`."""

    def __init__(self, script: str, identity: Identity, lamps: int, **options: Any) -> None:
        self.identity = identity
        self.port = 0
        self._script = script
        self._options = {"lamps": lamps, **options}
        self._peer: Peer | None = None

    @property
    def security(self) -> FieldSecurity | None:
        return None

    @property
    def peer(self) -> Peer:
        assert self._peer is not None, "not started"
        return self._peer

    @property
    def url(self) -> str:
        return f"opc.tcp://127.0.0.1:{self.port}/lamps"

    async def start(self) -> None:
        if self._peer is None:
            self._peer = await Peer.run(self._script)
            self.port = free_port()
        await self._peer.call("start", port=self.port, **self._options)

    async def stop(self) -> None:
        await self.peer.call("stop")

    async def close(self) -> None:
        await self.peer.end()

    async def put(
        self, lamp: int, variable: str, value: Any, *, status: int = 0, source_time: datetime | None = None
    ) -> None:
        await self.peer.call(
            "put",
            lamp=lamp,
            variable=variable,
            value="NaN" if isinstance(value, float) and math.isnan(value) else value,
            status=status,
            source_time_ms=round((source_time or NOON).timestamp() * 1000),
        )

    async def get(self, lamp: int, variable: str) -> Any:
        return await self.peer.call("get", lamp=lamp, variable=variable)
