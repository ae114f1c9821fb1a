"""The contract of a device, kept against pymodbus' and asyncua's servers and against both sides of our simulator."""

from __future__ import annotations

import pytest

from tests.fieldbus.contract import LampContract
from tests.fieldbus.simulator_world import IntesisWorld, SimulatedNodesWorld
from tests.fieldbus.worlds import AsyncuaNodes, NodeWorld, PymodbusRegisters, RegisterWorld

# Each world is started once, so its tests stay together.


@pytest.mark.xdist_group("contract pymodbus")
class TestLampsOnPymodbus(LampContract):
    @staticmethod
    def make_world() -> RegisterWorld:
        return RegisterWorld(PymodbusRegisters)


@pytest.mark.xdist_group("contract asyncua")
class TestLampsOnAsyncua(LampContract):
    @staticmethod
    def make_world() -> NodeWorld:
        return NodeWorld(AsyncuaNodes)


@pytest.mark.xdist_group("contract simulated Intesis")
class TestLampsOnTheSimulatedIntesis(LampContract):
    make_world = IntesisWorld


@pytest.mark.xdist_group("contract simulated nodes")
class TestLampsOnTheSimulatedNodes(LampContract):
    make_world = SimulatedNodesWorld
