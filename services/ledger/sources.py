"""What the ledger asks of lighting and metering, over gRPC: inventory for terms, measured energy for entries.

Answers become the pure types of terms, metered and levels. Errors of the other side come as our own, by servicekit's
client.
"""

import re
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, TypeVar

from domain.errors import Corrupted, FailedPrecondition, Unavailable
from domain.names import ResourceName
from domain.night import QUARTER_HOUR_S, unix_ms
from lichtbuch.lighting.v1 import control_pb2, inventory_pb2, lighting_pb2, lighting_pb2_grpc
from lichtbuch.metering.v1 import metering_pb2, metering_pb2_grpc
from servicekit.convert import timestamp_from_proto, timestamp_to_proto
from services.ledger.assess import Inputs, LevelInputs, MeteredInputs
from services.ledger.levels import Levels
from services.ledger.metered import USABLE, Consumption, Readings
from services.ledger.terms import LightingTerms, Method, Terms

if TYPE_CHECKING:
    from lichtbuch.lighting.v1.lighting_pb2_grpc import LightingServiceAsyncStub
    from lichtbuch.metering.v1.metering_pb2_grpc import MeteringServiceAsyncStub

_SLOT: Final = timedelta(seconds=QUARTER_HOUR_S)
_REACH: Final = timedelta(days=31)
"""How far before and after a period a reading is looked for that encloses it."""
_PAGE: Final = 5000
_READINGS_PAGE: Final = 50_000
_HASH: Final = re.compile(r"[0-9a-f]{64}")
_ATTEMPTS: Final = 3
_TIMEOUT_S: Final = 30.0
_MEASURED: Final = 1

Item = TypeVar("Item")
Row = tuple[int, int, int, int, int, int, int]
"""Meter, slot, revision, value, status, observed at, time source: in the order they are sorted by."""


class Sources:
    """Lighting and metering as the ledger sees them. The channels are servicekit's."""

    def __init__(self, lighting: Any, metering: Any) -> None:
        self._lighting: LightingServiceAsyncStub = lighting_pb2_grpc.LightingServiceStub(lighting)
        self._metering: MeteringServiceAsyncStub = metering_pb2_grpc.MeteringServiceStub(metering)

    async def cabinets(self, parent: str) -> list[inventory_pb2.Cabinet]:
        """The cabinets of a municipality."""

        async def fetch(token: str) -> tuple[Iterable[inventory_pb2.Cabinet], str]:
            request = lighting_pb2.ListCabinetsRequest(parent=parent, page_size=_PAGE, page_token=token)
            answer = await self._lighting.ListCabinets(request, timeout=_TIMEOUT_S)
            return answer.cabinets, answer.next_page_token

        return await _all(fetch)

    async def luminaires(self, parent: str, cabinets: Collection[str]) -> list[inventory_pb2.Luminaire]:
        """The luminaires of some cabinets, by name."""

        async def fetch(token: str) -> tuple[Iterable[inventory_pb2.Luminaire], str]:
            request = lighting_pb2.ListLuminairesRequest(parent=parent, page_size=_PAGE, page_token=token)
            answer = await self._lighting.ListLuminaires(request, timeout=_TIMEOUT_S)
            return [each for each in answer.luminaires if each.cabinet in cabinets], answer.next_page_token

        return await _all(fetch)

    async def models(self, parent: str) -> dict[str, inventory_pb2.LuminaireModel]:
        """The luminaire models of a municipality, by name."""

        async def fetch(token: str) -> tuple[Iterable[inventory_pb2.LuminaireModel], str]:
            request = lighting_pb2.ListLuminaireModelsRequest(parent=parent, page_size=_PAGE, page_token=token)
            answer = await self._lighting.ListLuminaireModels(request, timeout=_TIMEOUT_S)
            return answer.luminaire_models, answer.next_page_token

        return {model.name: model for model in await _all(fetch)}

    async def meters(self, parent: str) -> dict[str, metering_pb2.Meter]:
        """The meters of a municipality, by name."""

        async def fetch(token: str) -> tuple[Iterable[metering_pb2.Meter], str]:
            request = metering_pb2.ListMetersRequest(parent=parent, page_size=_PAGE, page_token=token)
            answer = await self._metering.ListMeters(request, timeout=_TIMEOUT_S)
            return answer.meters, answer.next_page_token

        return {meter.name: meter for meter in await _all(fetch)}

    async def inputs(self, terms: Terms, parent: str, start: datetime, end: datetime) -> Inputs:
        """What was measured in a period. `parent` is the name of the municipality today."""
        if terms.method is Method.OPTION_A and isinstance(terms.baseline, LightingTerms):
            return LevelInputs(await self._levels(terms.baseline, parent, start, end))
        registers = await self._registers(terms, parent, start, end)
        # A late reading may arrive between the two questions: then the answers do not belong together.
        for _ in range(_ATTEMPTS):
            before = await self._consumption(terms, parent, start, end, registers)
            readings = await self._readings(terms, parent, start, end)
            after = await self._consumption(terms, parent, start, end, registers)
            if before == after:
                return MeteredInputs(after, readings)
        raise Unavailable("readings of the period keep arriving", 5.0)

    async def _registers(self, terms: Terms, parent: str, start: datetime, end: datetime) -> tuple[int, ...]:
        """How many registers each meter had in the period."""
        known = await self.meters(parent)
        names = [name_under(parent, meter.name) for meter in terms.meters]
        return tuple(_registers_in(known[name].lives, start, end) if name in known else 0 for name in names)

    async def _consumption(
        self, terms: Terms, parent: str, start: datetime, end: datetime, registers: tuple[int, ...]
    ) -> Consumption:
        places = {name_under(parent, meter.name): place for place, meter in enumerate(terms.meters)}
        request = metering_pb2.QueryConsumptionRequest(
            parent=parent,
            meters=list(places),
            start_time=timestamp_to_proto(start),
            end_time=timestamp_to_proto(end),
            step=metering_pb2.STEP_TOTAL,
        )
        answer = await self._metering.QueryConsumption(request, timeout=_TIMEOUT_S)
        amounts, estimated, coverages = ([0] * len(places) for _ in range(3))
        columns = (answer.meter_indexes, answer.amounts, answer.estimated_amounts, answer.coverages_permille)
        if len({len(column) for column in columns}) != 1 or not set(answer.meters) <= set(places):
            raise Corrupted("metering answered columns that do not belong together")
        for index, amount, doubtful, coverage in zip(*columns, strict=True):
            place = places[answer.meters[index]]
            amounts[place] += amount
            estimated[place] += doubtful
            coverages[place] = coverage
        return Consumption(
            start=start,
            end=end,
            amounts_wh=tuple(amounts),
            estimated_wh=tuple(estimated),
            coverages_permille=tuple(coverages),
            registers=registers,
            evidence_hash=_checked_hash(answer.evidence_hash, "metering"),
        )

    async def _readings(self, terms: Terms, parent: str, start: datetime, end: datetime) -> Readings:
        """The readings of the slots from start to end, both included, and the nearest usable ones around them."""
        names = [name_under(parent, meter.name) for meter in terms.meters]
        rows = await self._list_readings(parent, names, names, start, end + _SLOT)
        at_start, at_end = _usable_at(rows, start), _usable_at(rows, end)
        no_start = [name for place, name in enumerate(names) if place not in at_start]
        no_end = [name for place, name in enumerate(names) if place not in at_end]
        if no_start:
            around = await self._list_readings(parent, names, no_start, start - _REACH, start)
            rows += _nearest(around, last=True)
        if no_end:
            around = await self._list_readings(parent, names, no_end, end + _SLOT, end + _REACH)
            rows += _nearest(around, last=False)
        columns = list(zip(*sorted(set(rows)), strict=True)) or [()] * 7
        meters, slots, revisions, values, statuses, observed, sources = columns
        return Readings(meters, slots, values, statuses, observed, sources, revisions)

    async def _list_readings(
        self, parent: str, names: Sequence[str], wanted: Sequence[str], start: datetime, end: datetime
    ) -> list[Row]:
        places = {name: place for place, name in enumerate(names)}

        async def fetch(token: str) -> tuple[Iterable[Row], str]:
            request = metering_pb2.ListReadingsRequest(
                parent=parent,
                meters=wanted,
                start_time=timestamp_to_proto(start),
                end_time=timestamp_to_proto(end),
                page_size=_READINGS_PAGE,
                page_token=token,
            )
            answer = await self._metering.ListReadings(request, timeout=_TIMEOUT_S)
            return _rows(answer.readings, places), answer.next_page_token

        return await _all(fetch)

    async def _levels(self, terms: LightingTerms, parent: str, start: datetime, end: datetime) -> Levels:
        request = lighting_pb2.ComputeEnergyRequest(
            parent=parent,
            cabinets=[name_under(parent, cabinet) for cabinet in terms.cabinets],
            start_time=timestamp_to_proto(start),
            end_time=timestamp_to_proto(end),
        )
        answer = await self._lighting.ComputeEnergy(request, timeout=_TIMEOUT_S)
        return _levels_from_proto(answer, terms, start, end)


def name_under(parent: str, name: str) -> str:
    """A frozen name under the name that its municipality bears today."""
    parts = ResourceName.parse(name).parts[1:]
    return "/".join([parent, *(f"{kind}/{identifier}" for kind, identifier in parts)])


def _levels_from_proto(
    answer: lighting_pb2.ComputeEnergyResponse, terms: LightingTerms, start: datetime, end: datetime
) -> Levels:
    """The energies of frozen luminaires. What was put up since is no part of the measure and is left out."""
    energies: control_pb2.LuminaireEnergyColumns = answer.energies
    places = {uid: place for place, uid in enumerate(terms.inventory.uids)}
    rows = sorted(
        (places[uid], energy, lit, known, estimated)
        for uid, energy, lit, known, estimated in zip(
            energies.uids,
            energies.energies_mwh,
            energies.lit_seconds,
            energies.known_seconds,
            energies.estimated,
            strict=True,
        )
        if uid in places
    )
    indexes, energies_mwh, lit_s, known_s, estimated = list(zip(*rows, strict=True)) or [()] * 5
    evidence_hash = _checked_hash(answer.evidence_hash, "lighting")
    return Levels(start, end, indexes, energies_mwh, lit_s, known_s, estimated, evidence_hash)


def _rows(columns: metering_pb2.ReadingColumns, places: dict[str, int]) -> list[Row]:
    count = len(columns.meter_indexes)

    def filled(column: Sequence[int], otherwise: Sequence[int]) -> Sequence[int]:
        return column if len(column) == count else otherwise

    slots = columns.slots_unix_ms
    observed = filled(columns.observed_at_unix_ms, slots)
    return [
        (places[columns.meters[meter]], slot, revision, value, status, seen or slot, source)
        for meter, slot, revision, value, status, seen, source in zip(
            columns.meter_indexes,
            slots,
            filled(columns.revisions, [0] * count),
            columns.values,
            filled(columns.statuses, [_MEASURED] * count),
            observed,
            filled(columns.time_sources, [0] * count),
            strict=True,
        )
    ]


def _registers_in(lives: Iterable[metering_pb2.RegisterLife], start: datetime, end: datetime) -> int:
    """Register lives that share time with a period."""
    found = 0
    for life in lives:
        begun = not life.HasField("installed_at") or timestamp_from_proto(life.installed_at) < end
        over = life.HasField("removed_at") and timestamp_from_proto(life.removed_at) <= start
        found += begun and not over
    return found


def _usable_at(rows: Sequence[Row], instant: datetime) -> set[int]:
    """Meters with a usable reading at an instant."""
    at_ms = unix_ms(instant)
    return {row[0] for row in rows if row[1] == at_ms and row[4] in USABLE}


def _nearest(rows: Sequence[Row], *, last: bool) -> list[Row]:
    """Per meter every revision of the last or first slot with a usable reading."""
    found: dict[int, int] = {}
    for row in sorted(rows, reverse=not last):
        if row[4] in USABLE:
            found[row[0]] = row[1]
    return [row for row in rows if found.get(row[0]) == row[1]]


async def _all(fetch: Callable[[str], Awaitable[tuple[Iterable[Item], str]]]) -> list[Item]:
    """Every item of a list that comes in pages."""
    items, token = list[Item](), ""
    while True:
        page, token = await fetch(token)
        items.extend(page)
        if not token:
            return items


def _checked_hash(text: str, service: str) -> str:
    if not text:
        # The figures stay when readings are deleted after their retention; what they rest on cannot be shown any more.
        raise FailedPrecondition(f"{service} no longer has everything that its figures of the period rest on")
    if not _HASH.fullmatch(text):
        raise Corrupted(f"{service} answered no hash of what its figures rest on")
    return text
