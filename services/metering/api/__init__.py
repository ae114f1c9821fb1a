"""Metering's gRPC methods: request in, domain call in one transaction, answer out. A file per kind of method."""

from lichtbuch.metering.v1 import metering_pb2_grpc
from services.metering.api.comparison import CompareCalls
from services.metering.api.consumption import ConsumptionCalls
from services.metering.api.deliveries import DeliveryCalls
from services.metering.api.dismounting import DismountCalls
from services.metering.api.edits import EditCalls
from services.metering.api.exchange import ExchangeCalls
from services.metering.api.findings import FindingCalls
from services.metering.api.ingest import IngestCalls
from services.metering.api.installing import InstallCalls
from services.metering.api.load import LoadCalls
from services.metering.api.meters import MeterCalls
from services.metering.api.readings import ReadingCalls
from services.metering.api.validation import ValidationCalls
from services.metering.api.values import ValueCalls
from services.metering.api.weather import WeatherCalls


class MeteringServicer(
    MeterCalls,
    InstallCalls,
    ExchangeCalls,
    DismountCalls,
    IngestCalls,
    ReadingCalls,
    EditCalls,
    ValidationCalls,
    ConsumptionCalls,
    ValueCalls,
    LoadCalls,
    CompareCalls,
    DeliveryCalls,
    FindingCalls,
    WeatherCalls,
    metering_pb2_grpc.MeteringServiceServicer,
):
    """All methods of lichtbuch.metering.v1.MeteringService."""
