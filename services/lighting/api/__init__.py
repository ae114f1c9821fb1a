"""Lighting's gRPC methods: request in, domain call in one transaction, answer out. A file per theme."""

from lichtbuch.lighting.v1 import lighting_pb2_grpc
from services.lighting.api.calls import Parts
from services.lighting.api.commissioning import CommissioningCalls
from services.lighting.api.faults import FaultCalls
from services.lighting.api.gears import GearCalls
from services.lighting.api.importing import ImportCalls
from services.lighting.api.inventory import InventoryCalls
from services.lighting.api.loads import LoadCalls
from services.lighting.api.orders import OrderCalls
from services.lighting.api.sensors import SensorCalls
from services.lighting.api.states import StateCalls
from services.lighting.api.versions import VersionCalls
from services.lighting.api.waivers import WaiverCalls

__all__ = ["LightingServicer", "Parts"]


class LightingServicer(
    CommissioningCalls,
    FaultCalls,
    GearCalls,
    SensorCalls,
    InventoryCalls,
    ImportCalls,
    LoadCalls,
    OrderCalls,
    StateCalls,
    VersionCalls,
    WaiverCalls,
    lighting_pb2_grpc.LightingServiceServicer,
):
    """All methods of lichtbuch.lighting.v1.LightingService."""
