"""Lighting and metering as the ledger sees them: small and honest, over real gRPC, all they know in plain lists."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import grpc

from domain.canonical import canonical_hash
from domain.intervals import Curve, Life
from domain.night import night_bounds, nights_between, unix_ms
from domain.sun import sun_events
from lichtbuch.lighting.v1 import control_pb2, inventory_pb2, lighting_pb2, lighting_pb2_grpc
from lichtbuch.metering.v1 import metering_pb2, metering_pb2_grpc
from lichtbuch.type.v1.types_pb2 import Position
from servicekit.client import ServiceChannel, connect
from servicekit.convert import timestamp_from_proto, timestamp_to_proto
from tests.services.ledger.helpers import BERLIN, TOWN
from tests.support.running import HERSFELD

MEASURED, GAP, DOUBTFUL = 1, 2, 3
SLOT = timedelta(minutes=15)


class Lighting(lighting_pb2_grpc.LightingServiceServicer):
    """A town of cabinets with equal luminaires, which burn from sunset to sunrise at 10 W."""

    def __init__(self) -> None:
        self.cabinets: list[inventory_pb2.Cabinet] = []
        self.luminaires: list[inventory_pb2.Luminaire] = []
        self.models: list[inventory_pb2.LuminaireModel] = []
        self.dimmed_w = 10.0
        self.unknown_s: dict[str, int] = {}
        self.calls: list[str] = []
        self.page = 3
        """Small on purpose: whoever forgets the page token misses most of the town."""

    def build(self, cabinets: int = 2, each: int = 4) -> None:
        """Puts up a town."""
        self.models = [
            inventory_pb2.LuminaireModel(name=f"{TOWN}/luminaireModels/led-30", uid="30" * 16, rated_power_w=30.0)
        ]
        for c in range(1, cabinets + 1):
            self.cabinets.append(inventory_pb2.Cabinet(name=f"{TOWN}/cabinets/C-{c}", uid=f"{c:032x}"))
            for n in range(each):
                self.luminaires.append(
                    inventory_pb2.Luminaire(
                        name=f"{TOWN}/luminaires/L-{c}-{n}",
                        uid=f"{c:016x}{n:016x}",
                        cabinet=f"{TOWN}/cabinets/C-{c}",
                        model=f"{TOWN}/luminaireModels/led-30",
                        position=Position(latitude_deg=50.87 + n / 1000, longitude_deg=9.71),
                        previous=inventory_pb2.PreviousOperation(
                            lamp_power_w=70.0, ballast_power_w=13.0, half_night=n == 0
                        ),
                    )
                )

    async def ListCabinets(
        self, request: lighting_pb2.ListCabinetsRequest, context: Any
    ) -> lighting_pb2.ListCabinetsResponse:
        """Cabinets by name."""
        page, token = _page(self.cabinets, request.page_token, self.page)
        return lighting_pb2.ListCabinetsResponse(cabinets=page, next_page_token=token)

    async def ListLuminaires(
        self, request: lighting_pb2.ListLuminairesRequest, context: Any
    ) -> lighting_pb2.ListLuminairesResponse:
        """Luminaires by name."""
        page, token = _page(self.luminaires, request.page_token, self.page)
        return lighting_pb2.ListLuminairesResponse(luminaires=page, next_page_token=token)

    async def ListLuminaireModels(
        self, request: lighting_pb2.ListLuminaireModelsRequest, context: Any
    ) -> lighting_pb2.ListLuminaireModelsResponse:
        """Models by name."""
        page, token = _page(self.models, request.page_token, self.page)
        return lighting_pb2.ListLuminaireModelsResponse(luminaire_models=page, next_page_token=token)

    async def ComputeEnergy(
        self, request: lighting_pb2.ComputeEnergyRequest, context: Any
    ) -> lighting_pb2.ComputeEnergyResponse:
        """10 W from sunset to sunrise."""
        self.calls.append("ComputeEnergy")
        start, end = timestamp_from_proto(request.start_time), timestamp_from_proto(request.end_time)
        lit_s = 0
        for night in nights_between(start, end, BERLIN):
            dark = sun_events(HERSFELD.latitude_deg, HERSFELD.longitude_deg, night).dark()
            assert dark is not None
            lit_s += round((dark[1] - dark[0]).total_seconds())
        columns = control_pb2.LuminaireEnergyColumns()
        for luminaire in self.luminaires:
            if luminaire.cabinet in request.cabinets:
                columns.names.append(luminaire.name)
                columns.uids.append(luminaire.uid)
                columns.energies_mwh.append(round(lit_s * self.dimmed_w * 1000 / 3600))
                columns.lit_seconds.append(lit_s)
                known = round((end - start).total_seconds()) - self.unknown_s.get(luminaire.uid, 0)
                columns.known_seconds.append(known)
                columns.estimated.append(False)
        facts = [list(columns.uids), list(columns.energies_mwh), list(columns.known_seconds)]
        return lighting_pb2.ComputeEnergyResponse(energies=columns, evidence_hash=canonical_hash(facts))


class Metering(metering_pb2_grpc.MeteringServiceServicer):
    """Meters with their readings by slot: (counter, status)."""

    def __init__(self) -> None:
        self.meters: dict[str, metering_pb2.Meter] = {}
        self.readings: dict[str, dict[datetime, tuple[int, int]]] = {}
        self.away = False
        self.retired = False
        """True where readings of the period were deleted after their retention: figures without a hash."""
        self.calls: list[str] = []
        self.meanwhile: list[tuple[str, datetime, int]] = []
        """Readings that arrive between two questions, one per question."""
        self.exchanges: dict[str, tuple[datetime, int]] = {}
        self.page = 50

    def add(self, meter_id: str, *, cabinet: str = "", unit: int = metering_pb2.UNIT_WH) -> str:
        """A meter. Answers its name."""
        name = f"{TOWN}/meters/{meter_id}"
        self.meters[name] = metering_pb2.Meter(
            name=name,
            uid=canonical_hash(name)[:32],
            unit=unit,  # type: ignore[arg-type]
            cabinet=f"{TOWN}/cabinets/{cabinet}" if cabinet else "",
            lives=[metering_pb2.RegisterLife(uid=canonical_hash([name, 1])[:32])],
        )
        self.readings[name] = {}
        return name

    def count(self, name: str, start: datetime, end: datetime, energy_wh: int, first: int = 1_000) -> None:
        """Readings of every slot from start to end, both included, between which so much was counted."""
        slots = int((end - start) / SLOT)
        for n in range(slots + 1):
            self.readings[name][start + n * SLOT] = (first + energy_wh * n // slots, MEASURED)

    def lose(self, name: str, start: datetime, end: datetime, status: int | None = None) -> None:
        """Loses the readings from start to before end, or marks them."""
        for slot in [slot for slot in self.readings[name] if start <= slot < end]:
            if status is None:
                del self.readings[name][slot]
            else:
                self.readings[name][slot] = (self.readings[name][slot][0], status)

    def exchange(self, name: str, instant: datetime, lost_wh: int) -> None:
        """Exchanges a meter: the new one begins so much higher."""
        life = self.meters[name].lives[-1]
        life.removed_at.CopyFrom(timestamp_to_proto(instant))
        self.meters[name].lives.add(uid=canonical_hash([name, 2])[:32], installed_at=timestamp_to_proto(instant))
        for slot, (value, status) in self.readings[name].items():
            if slot >= instant:
                self.readings[name][slot] = (value + lost_wh, status)
        self.exchanges[name] = (instant, lost_wh)

    async def ListMeters(
        self, request: metering_pb2.ListMetersRequest, context: Any
    ) -> metering_pb2.ListMetersResponse:
        """Meters by name."""
        page, token = _page(list(self.meters.values()), request.page_token, 2)
        return metering_pb2.ListMetersResponse(meters=page, next_page_token=token)

    async def ListReadings(
        self, request: metering_pb2.ListReadingsRequest, context: Any
    ) -> metering_pb2.ListReadingsResponse:
        """Readings by slot and meter."""
        await self._check(request.meters, context)
        start, end = timestamp_from_proto(request.start_time), timestamp_from_proto(request.end_time)
        rows = sorted(
            (slot, number, value, status)
            for number, name in enumerate(request.meters)
            for slot, (value, status) in self.readings[name].items()
            if start <= slot < end
        )
        page, token = _page(rows, request.page_token, self.page)
        columns = metering_pb2.ReadingColumns(meters=request.meters)
        for slot, meter, value, status in page:
            columns.meter_indexes.append(meter)
            columns.slots_unix_ms.append(unix_ms(slot))
            columns.values.append(value)
            columns.statuses.append(status)
            columns.revisions.append(0)
        return metering_pb2.ListReadingsResponse(readings=columns, next_page_token=token)

    async def QueryConsumption(
        self, request: metering_pb2.QueryConsumptionRequest, context: Any
    ) -> metering_pb2.QueryConsumptionResponse:
        """Consumption of the whole period, by the counters' curve."""
        self.calls.append("QueryConsumption")
        if self.away:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "metering is away")
        await self._check(request.meters, context)
        if self.meanwhile:
            name, slot, value = self.meanwhile.pop(0)
            self.readings[name][slot] = (value, MEASURED)
        start, end = timestamp_from_proto(request.start_time), timestamp_from_proto(request.end_time)
        answer = metering_pb2.QueryConsumptionResponse(meters=request.meters)
        used: list[Any] = []
        for index, name in enumerate(request.meters):
            good = sorted((slot, v) for slot, (v, status) in self.readings[name].items() if status == MEASURED)
            used.append([[unix_ms(slot), value] for slot, value in good if start <= slot <= end])
            found = Curve([Life.of(good)]).consumption([unix_ms(start), unix_ms(end)])
            answer.meter_indexes.append(index)
            answer.starts_unix_ms.append(unix_ms(start))
            answer.ends_unix_ms.append(unix_ms(end))
            instant, jump_wh = self.exchanges.get(name, (end, 0))
            answer.amounts.append(int(found.amount[0]) - (jump_wh if start < instant < end else 0))
            answer.estimated_amounts.append(int(found.estimated_amount[0]))
            answer.coverages_permille.append(int(found.coverage_permille()[0]))
        answer.evidence_hash = "" if self.retired else canonical_hash(used)
        return answer

    async def _check(self, names: Sequence[str], context: Any) -> None:
        for name in names:
            if name not in self.meters:
                await context.abort(grpc.StatusCode.NOT_FOUND, f"{name} does not exist")


@dataclass
class Neighbours:
    """Both services behind one real server."""

    lighting: Lighting = field(default_factory=Lighting)
    metering: Metering = field(default_factory=Metering)
    target: str = ""

    def town(self, nights: Sequence[datetime]) -> tuple[list[str], list[str]]:
        """A town of two metered cabinets whose meters count in the nights that begin at these noons.

        Answers the names of cabinets and meters.
        """
        self.lighting.build()
        meters = [self.metering.add(f"M-{n}", cabinet=f"C-{n}") for n in (1, 2)]
        for number, meter in enumerate(meters):
            counter, energy_wh = 1_000, 1_600 + 100 * number
            for noon in sorted(nights):
                start, end = night_bounds(noon.astimezone(BERLIN).date(), BERLIN)
                self.metering.count(meter, start, end, energy_wh, counter)
                counter += energy_wh
        return [cabinet.name for cabinet in self.lighting.cabinets], meters


@asynccontextmanager
async def running_neighbours() -> AsyncIterator[Neighbours]:
    """Lighting and metering that listen."""
    neighbours = Neighbours()
    server = grpc.aio.server()
    lighting_pb2_grpc.add_LightingServiceServicer_to_server(neighbours.lighting, server)
    metering_pb2_grpc.add_MeteringServiceServicer_to_server(neighbours.metering, server)
    neighbours.target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    try:
        yield neighbours
    finally:
        await server.stop(0)


def channel_to(neighbours: Neighbours) -> ServiceChannel:
    """A channel to both."""
    return connect(neighbours.target, deadline_s=30.0)


def _page(items: Sequence[Any], token: str, size: int) -> tuple[list[Any], str]:
    begin = int(token or 0)
    return list(items[begin : begin + size]), str(begin + size) if begin + size < len(items) else ""
