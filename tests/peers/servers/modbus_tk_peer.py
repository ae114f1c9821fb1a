"""modbus_tk as a server of registers: TCP, and RTU on a serial line. Runs in the peers' environment."""

from __future__ import annotations

import socket
import struct
import time
from typing import Any

import serial
from modbus_tk import defines, hooks
from modbus_tk.modbus import Databank
from modbus_tk.modbus_rtu import RtuServer
from modbus_tk.modbus_tcp import TcpServer

from tests.peers.servers.control import obey

TABLES = {
    "coil": defines.COILS,
    "discrete": defines.DISCRETE_INPUTS,
    "holding": defines.HOLDING_REGISTERS,
    "input": defines.ANALOG_INPUTS,
}

databank = Databank()
refused: dict[int, int] = {}
running: list[Any] = []


def hold(units: dict[str, dict[str, dict[str, list[int]]]]) -> None:
    for unit, tables in units.items():
        slave = databank.add_slave(int(unit))
        for table, blocks in tables.items():
            for begin, block in blocks.items():
                name = f"{table} {begin}"
                slave.add_block(name, TABLES[table], int(begin), len(block))
                slave.set_values(name, int(begin), block)


def block_of(unit: int, table: str, address: int) -> tuple[Any, str]:
    """modbus_tk asks for the name of the block."""
    slave = databank.get_slave(unit)
    starts = [int(name.split()[1]) for name in slave._blocks if name.startswith(f"{table} ")]
    return slave, f"{table} {max(begin for begin in starts if begin <= address)}"


def start(port: int) -> int:
    server = TcpServer(port=port, address="127.0.0.1", databank=databank)
    server.start()
    running.append(server)
    await_listening(port)
    return port


def await_listening(port: int) -> None:
    """modbus_tk binds its port in a thread of its own and tells nobody."""
    deadline = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def start_serial(device: str, baud: int) -> None:
    server = RtuServer(serial.Serial(device, baud), databank=databank)
    server.start()
    running.append(server)


def stop() -> None:
    while running:
        running.pop().stop()


def put(unit: int, table: str, address: int, values: list[int]) -> None:
    slave, name = block_of(unit, table, address)
    slave.set_values(name, address, values)


def get(unit: int, table: str, address: int, count: int) -> list[int]:
    slave, name = block_of(unit, table, address)
    return list(slave.get_values(name, address, count))


def refuse(function: int, code: int) -> None:
    refused[function] = code


def exception_if_refused(arguments: tuple[Any, bytes]) -> bytes | None:
    function = arguments[1][0]
    code = refused.get(function)
    return struct.pack(">BB", function + 0x80, code) if code else None


if __name__ == "__main__":
    hooks.install_hook("modbus.Slave.handle_request", exception_if_refused)
    obey({
        "hold": hold, "start": start, "start_serial": start_serial, "stop": stop, "put": put, "get": get,
        "refuse": refuse,
    })  # fmt: skip
