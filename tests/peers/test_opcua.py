"""The contract kept against OPC UA servers that nobody here wrote: node-opcua and the legacy `opcua` package."""

from __future__ import annotations

import pytest

from fieldbus.device import Device
from fieldbus.values import Identity, WriteOutcome
from tests.fieldbus.contract import LAMPS, LampContract, World, points_of, reading, truth_of
from tests.fieldbus.worlds import NodeWorld
from tests.peers.nodes import NodeOpcua, SecuredNodeOpcua
from tests.peers.peer import ForeignNodes

pytestmark = [pytest.mark.long, pytest.mark.peers]


def legacy_opcua() -> ForeignNodes:
    return ForeignNodes("legacy_opcua_peer", Identity("ACME", "Lamps", "0.98"), LAMPS)


class TestLampsOnTheLegacyOpcua(LampContract):
    @staticmethod
    def make_world() -> NodeWorld:
        return NodeWorld(legacy_opcua)

    async def test_a_command_to_a_lamp_that_is_not_there_is_refused_with_a_reason(
        self, world: World, lamps: Device
    ) -> None:
        """This server trips over a write to a node that it does not have and never answers: nobody can know."""
        (absent,) = await lamps.write([(world.absent, 500)])
        assert absent.outcome is WriteOutcome.UNKNOWN
        assert absent.reason
        batch = await reading(lamps, points_of(world, [0]), lambda batch: batch.complete)
        assert batch.values.tolist() == truth_of(world, [0])


class TestLampsOnNodeOpcua(LampContract):
    @staticmethod
    def make_world() -> NodeWorld:
        return NodeWorld(NodeOpcua)


class TestLampsOnSecuredNodeOpcua(LampContract):
    """The same signed, encrypted and logged in."""

    @staticmethod
    def make_world() -> NodeWorld:
        return NodeWorld(SecuredNodeOpcua)
