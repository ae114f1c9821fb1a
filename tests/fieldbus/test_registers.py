"""The contract of registers, kept against pymodbus' server."""

from __future__ import annotations

import pytest

from tests.fieldbus.contract_registers import RegisterContract
from tests.fieldbus.worlds import PymodbusRegisters


@pytest.mark.xdist_group("registers pymodbus")
class TestRegistersOnPymodbus(RegisterContract):
    make_server = PymodbusRegisters
