"""uModbus as a server of registers: TCP, and RTU on a serial line. Runs in the peers' environment."""

from __future__ import annotations

import socket
import socketserver
import threading
from typing import Any

import serial
from umodbus import conf
from umodbus.exceptions import ModbusError
from umodbus.server.serial import get_server as serial_server
from umodbus.server.serial.rtu import RTUServer
from umodbus.server.tcp import RequestHandler, get_server

from tests.peers.servers.control import obey

READS = {1: "coil", 2: "discrete", 3: "holding", 4: "input"}
WRITES = {5: "coil", 15: "coil", 6: "holding", 16: "holding"}

held: dict[tuple[int, str], dict[int, int]] = {}
refused: dict[int, int] = {}


class Refused(ModbusError):  # type: ignore[misc]  # of a library that is not in our environment
    def __init__(self, code: int) -> None:
        self.error_code = code


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, *arguments: Any) -> None:
        self.connections: list[socket.socket] = []
        super().__init__(*arguments)

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections.append(request)
        super().process_request(request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is no error."""


running: list[Server] = []


def route(server: Any) -> None:
    for (unit, table), values in held.items():
        addresses = list(values)
        for function, read_table in READS.items():
            if read_table == table:
                server.route([unit], [function], addresses)(reader(values))
        for function, write_table in WRITES.items():
            if write_table == table:
                server.route([unit], [function], addresses)(writer(values))


def reader(values: dict[int, int]) -> Any:
    def read(slave_id: int, function_code: int, address: int) -> int:
        if code := refused.get(function_code):
            raise Refused(code)
        return values[address]

    return read


def writer(values: dict[int, int]) -> Any:
    def write(slave_id: int, function_code: int, address: int, value: int) -> None:
        if code := refused.get(function_code):
            raise Refused(code)
        values[address] = value

    return write


def hold(units: dict[str, dict[str, dict[str, list[int]]]]) -> None:
    conf.SIGNED_VALUES = False
    for unit, tables in units.items():
        for table, blocks in tables.items():
            values = held.setdefault((int(unit), table), {})
            for start, block in blocks.items():
                values.update(enumerate(block, int(start)))


def start(port: int) -> int:
    server = get_server(Server, ("127.0.0.1", port), RequestHandler)
    route(server)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    running.append(server)
    return int(server.server_address[1])


def start_serial(device: str, baud: int) -> None:
    server = serial_server(RTUServer, serial.Serial(device, baud))
    route(server)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()


def stop() -> None:
    while running:
        server = running.pop()
        server.shutdown()
        server.server_close()
        for connection in server.connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue


def put(unit: int, table: str, address: int, values: list[int]) -> None:
    held[unit, table].update(enumerate(values, address))


def get(unit: int, table: str, address: int, count: int) -> list[int]:
    return [held[unit, table][place] for place in range(address, address + count)]


def refuse(function: int, code: int) -> None:
    refused[function] = code


if __name__ == "__main__":
    obey({
        "hold": hold, "start": start, "start_serial": start_serial, "stop": stop, "put": put, "get": get,
        "refuse": refuse,
    })  # fmt: skip
