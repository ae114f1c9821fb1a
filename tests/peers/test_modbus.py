"""The contracts kept against Modbus servers that nobody here wrote: modbus-serial, modbus_tk and uModbus."""

from __future__ import annotations

from functools import partial

import pytest

from fieldbus.values import Identity
from tests.fieldbus.contract import LampContract
from tests.fieldbus.contract_registers import RegisterContract
from tests.fieldbus.worlds import RegisterWorld
from tests.peers.peer import ForeignRegisters

pytestmark = [pytest.mark.long, pytest.mark.peers]

SILENT_ABOUT_ITSELF = Identity()
modbus_serial = partial(ForeignRegisters, "modbus_serial_peer.js", Identity("ACME", "Lamps", "3.1"))
modbus_tk = partial(ForeignRegisters, "modbus_tk_peer", SILENT_ABOUT_ITSELF)
umodbus = partial(ForeignRegisters, "umodbus_peer", SILENT_ABOUT_ITSELF)


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
