"""The contracts kept against Modbus servers that nobody here wrote: modbus-serial, modbus_tk and uModbus.

On TCP, on TLS as Node.js ends it, as RTU on a serial line, and as RTU through a transparent serial server.
"""

from __future__ import annotations

from functools import partial

import pytest

from fieldbus.values import Identity
from tests.fieldbus.contract import LAMPS, LampContract, World, fieldbus_for, nothing_there, points_of, reading
from tests.fieldbus.contract_registers import RegisterContract
from tests.fieldbus.worlds import RegisterWorld
from tests.peers.peer import ForeignRegisters, SecuredRegisters, SerialRegisters, TunnelledRegisters

pytestmark = [pytest.mark.long, pytest.mark.peers]

SILENT_ABOUT_ITSELF = Identity()
modbus_serial = partial(ForeignRegisters, "modbus_serial_peer.js", Identity("ACME", "Lamps", "3.1"))
modbus_tk = partial(ForeignRegisters, "modbus_tk_peer", SILENT_ABOUT_ITSELF)
umodbus = partial(ForeignRegisters, "umodbus_peer", SILENT_ABOUT_ITSELF)

modbus_serial_tls = partial(SecuredRegisters, "modbus_serial_peer.js", Identity("ACME", "Lamps", "3.1"))
modbus_tk_line = partial(SerialRegisters, "modbus_tk_peer", SILENT_ABOUT_ITSELF)
modbus_tk_tunnel = partial(TunnelledRegisters, "modbus_tk_peer", SILENT_ABOUT_ITSELF)
umodbus_line = partial(SerialRegisters, "umodbus_peer", SILENT_ABOUT_ITSELF)


class TestLampsOnModbusSerial(LampContract):
    make_world = partial(RegisterWorld, modbus_serial)


class TestLampsOnModbusTk(LampContract):
    make_world = partial(RegisterWorld, modbus_tk)


class TestLampsOnUmodbus(LampContract):
    make_world = partial(RegisterWorld, umodbus)


class TestRegistersOnModbusSerial(RegisterContract):
    make_server = modbus_serial


class TestRegistersOnModbusTk(RegisterContract):
    make_server = modbus_tk


class TestRegistersOnUmodbus(RegisterContract):
    make_server = umodbus


class TestLampsOnModbusTkOnASerialLine(LampContract):
    make_world = partial(RegisterWorld, modbus_tk_line)

    async def test_two_clients_do_not_get_each_others_answers(self, world: World) -> None:
        """A serial line has one master: the second one is told so, and has the line when the first one leaves."""
        first, second = fieldbus_for(world), fieldbus_for(world)
        try:
            points = points_of(world, range(LAMPS))
            assert (await first.open(world.url, world.profile).read(points)).complete
            waiting = second.open(world.url, world.profile)
            assert nothing_there(await waiting.read(points))
            assert "another program is using it" in waiting.health().last_error
            await first.close()
            await reading(waiting, points, lambda batch: batch.complete)
        finally:
            await first.close()
            await second.close()


class TestRegistersOnModbusTkOnASerialLine(RegisterContract):
    make_server = modbus_tk_line


class TestRegistersOnUmodbusOnASerialLine(RegisterContract):
    make_server = umodbus_line


class TestRegistersOnModbusTkThroughASerialServer(RegisterContract):
    make_server = modbus_tk_tunnel


class TestRegistersOnModbusSerialOnTls(RegisterContract):
    make_server = modbus_serial_tls
