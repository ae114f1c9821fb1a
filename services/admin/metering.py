"""What pages ask and do about meters, readings and findings of one municipality. One call, one answer.

Raises errors of domain/errors.py. Not here: how often it is asked (town.py, asked.py), the overview (asking.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from google.protobuf.timestamp_pb2 import Timestamp

from domain.errors import FailedPrecondition, InvalidInput, NotFound
from domain.night import QUARTER_HOUR_S, floor_slot, local_instant
from lichtbuch.metering.v1 import metering_pb2
from servicekit.clock import Clock
from servicekit.convert import timestamp_to_proto, unix_ms
from services.admin import consumption
from services.admin.clients import Clients, all_pages
from services.admin.consumption import Compared, Consumption, Delivered, Load, Losses, Values
from services.admin.findings import FindingNow, finding_from_proto
from services.admin.meters import MeterItem, coverage_by_meter, meter_from_proto, with_housings
from services.admin.periods import Period, Span
from services.admin.planning import NOBODY, would
from services.admin.readings import Reading, ReadingNow, Trial, last_before, readings_from_proto, trial_from_proto

COVERED_DAYS: Final = 7
"""So many days back the list tells how well a meter was read."""
FINDINGS_PAGE: Final = 1_000
LOOK_BACK_DAYS: Final = 800
"""The last reading before an instant is looked for so far back: meters that are read once a year are found."""
QUESTION_DEADLINE_S: Final = 30.0
"""Years of quarter hours take their time."""
_AMOUNTS: Final = (
    metering_pb2.READING_KIND_COUNTER,
    metering_pb2.READING_KIND_INTERVAL,
    metering_pb2.READING_KIND_STOCK,
    metering_pb2.READING_KIND_VIRTUAL,
)
"""Kinds of meters of which there is a consumption."""


def has_amounts(kind: int) -> bool:
    """True for meters of which there is a consumption; a kind that is not stated is a counter."""
    return not kind or kind in _AMOUNTS


@dataclass(frozen=True, slots=True)
class Fill:
    """What an estimation would store, or has stored: how many readings, and gaps that it leaves."""

    count: int
    unfilled: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Comparing:
    """What a comparison is asked for beside its period."""

    weather: str = ""
    base_share_permille: int = 0
    as_energy: bool = False


@dataclass(frozen=True, slots=True)
class Covered:
    """What readings say of a period: coverage in per mille, and amounts in whole units where there are such; by name of
    the meter."""

    coverages: dict[str, int]
    amounts: dict[str, int]


async def covered_and_counted(
    stub: Any, parent: str, counted: Sequence[str], sensed: Sequence[str], start: datetime, end: datetime
) -> Covered:
    """One question about all meters that count something, one about all sensors: figures, no readings."""
    first, last = timestamp_to_proto(start), timestamp_to_proto(end)
    coverages, amounts = dict[str, int](), dict[str, int]()
    with suppress(InvalidInput, FailedPrecondition):  # nothing to work out yet; the rest is shown all the same
        if counted:
            request = metering_pb2.QueryConsumptionRequest(
                parent=parent, meters=counted, start_time=first, end_time=last,
                step=metering_pb2.STEP_TOTAL, without_evidence=True,
            )  # fmt: skip
            found = await stub.QueryConsumption(request, timeout=QUESTION_DEADLINE_S)
            coverages |= coverage_by_meter(found)
            for index, amount in zip(found.meter_indexes, found.amounts, strict=False):
                amounts[found.meters[index]] = amounts.get(found.meters[index], 0) + amount
    with suppress(InvalidInput, FailedPrecondition):
        if sensed:
            answer = await stub.QueryValues(
                metering_pb2.QueryValuesRequest(
                    parent=parent, meters=sensed, start_time=first, end_time=last, step=metering_pb2.STEP_TOTAL
                ),
                timeout=QUESTION_DEADLINE_S,
            )
            coverages |= dict.fromkeys(sensed, 0)
            for index, coverage in zip(answer.meter_indexes, answer.coverages_permille, strict=False):
                coverages[answer.meters[index]] = coverage
    return Covered(coverages, amounts)


class Metering:
    """The questions about one municipality, by its name."""

    def __init__(self, name: str, clients: Clients, clock: Clock) -> None:
        self.name, self._clients, self._clock = name, clients, clock

    # --- meters --------------------------------------------------------------------------------------------------

    async def meters(self) -> tuple[MeterItem, ...]:
        """All."""
        request = metering_pb2.ListMetersRequest(parent=self.name)
        found = await all_pages(self._clients.metering.ListMeters, request, "meters")
        return with_housings(map(meter_from_proto, found))

    async def install(self, wanted: metering_pb2.InstallMeterRequest) -> None:
        """Records when a meter was hung up and what its registers showed; the same request id again changes nothing."""
        await self._clients.metering.InstallMeter(wanted)

    async def coverages(self, meters: tuple[MeterItem, ...]) -> dict[str, int]:
        """Share in per mille of the last days that readings cover, by name; of sensors too."""
        end = floor_slot(self._clock.now(), QUARTER_HOUR_S)
        counted = [each.name for each in meters if not each.is_sensor]
        sensed = [each.name for each in meters if each.is_sensor]
        stub, start = self._clients.metering, end - timedelta(days=COVERED_DAYS)
        return (await covered_and_counted(stub, self.name, counted, sensed, start, end)).coverages

    # --- figures of one meter ------------------------------------------------------------------------------------

    async def consumption(self, meter: MeterItem, period: Period, tz: ZoneInfo, *, as_energy: bool) -> Consumption:
        """What was used, by the steps of a period, up to now."""
        start, end = self._until(period, tz)
        request = metering_pb2.QueryConsumptionRequest(
            parent=self.name, meters=[meter.name], start_time=start, end_time=end,
            step=period.step, as_energy=as_energy, without_evidence=True,
        )  # fmt: skip
        answer = await self._clients.metering.QueryConsumption(request, timeout=QUESTION_DEADLINE_S)
        return consumption.consumption_from_proto(answer, meter.unit)

    async def load(self, meter: MeterItem, period: Period, tz: ZoneInfo) -> Load | None:
        """Peak and base load."""
        start, end = self._until(period, tz)
        request = metering_pb2.QueryLoadRequest(
            parent=self.name, meters=[meter.name], start_time=start, end_time=end
        )  # fmt: skip
        return consumption.load_from_proto(await self._clients.metering.QueryLoad(request, timeout=QUESTION_DEADLINE_S))

    async def comparison(self, meter: MeterItem, period: Period, tz: ZoneInfo, asked: Comparing) -> Compared | None:
        """The days of a period that are over beside the same days of the year before; None where none is over yet."""
        days = period.whole_days(self._clock.now(), tz)
        if days is None:
            return None
        start, end = (timestamp_to_proto(local_instant(day, time(0), tz)) for day in days)
        request = metering_pb2.CompareConsumptionRequest(
            parent=self.name, meters=[meter.name], start_time=start, end_time=end,
            weather=asked.weather, base_share_permille=asked.base_share_permille, as_energy=asked.as_energy,
        )  # fmt: skip
        answer = await self._clients.metering.CompareConsumption(request, timeout=QUESTION_DEADLINE_S)
        return consumption.compared_from_proto(answer)

    async def stations(self) -> tuple[str, ...]:
        """Weather stations that there are: told to who asks for one that there is not."""
        now = self._clock.now()
        request = metering_pb2.QueryDegreeDaysRequest(
            parent=self.name, weather=NOBODY, start_time=timestamp_to_proto(now - timedelta(days=2)),
            end_time=timestamp_to_proto(now), step=metering_pb2.STEP_TOTAL,
        )  # fmt: skip
        with suppress(InvalidInput, FailedPrecondition, NotFound):
            return tuple((await self._clients.metering.QueryDegreeDays(request)).stations)
        return ()

    async def losses(self, meter: MeterItem, period: Period, tz: ZoneInfo) -> Losses:
        """A main meter beside the sum of its sub-meters."""
        start, end = self._until(period, tz)
        step = metering_pb2.STEP_TOTAL if period.span is Span.DAY else period.step
        request = metering_pb2.QueryLossesRequest(name=meter.name, start_time=start, end_time=end, step=step)
        answer = await self._clients.metering.QueryLosses(request, timeout=QUESTION_DEADLINE_S)
        return consumption.losses_from_proto(answer)

    async def values(self, meter: MeterItem, period: Period, tz: ZoneInfo) -> Values:
        """What a sensor said, or what lay in a store."""
        start, end = self._until(period, tz)
        request = metering_pb2.QueryValuesRequest(
            parent=self.name, meters=[meter.name], start_time=start, end_time=end,
            step=period.step,
        )  # fmt: skip
        answer = await self._clients.metering.QueryValues(request, timeout=QUESTION_DEADLINE_S)
        return consumption.values_from_proto(answer, meter.unit, meter.scale_exponent)

    # --- readings ------------------------------------------------------------------------------------------------

    async def readings(self, meter: MeterItem, start: datetime, end: datetime) -> tuple[ReadingNow, ...]:
        """Readings from an instant until before another, with all that stood there before."""
        first, last = timestamp_to_proto(start), timestamp_to_proto(end)
        request = metering_pb2.ListReadingsRequest(
            parent=self.name, meters=[meter.name], start_time=first, end_time=last, all_revisions=True
        )
        return readings_from_proto((await self._clients.metering.ListReadings(request)).readings)

    async def last_reading(self, meter: MeterItem, at: datetime) -> Reading | None:
        """The last reading before an instant: the newest, unless that is later; then it is looked for."""
        if meter.latest_slot is None:
            return None
        if meter.latest_slot < at and meter.latest_value is not None:
            return Reading(meter.latest_slot, meter.latest_value, 0, 0, "", "", "", None)
        for days in (2, 40, LOOK_BACK_DAYS):
            found = last_before(await self.readings(meter, at - timedelta(days=days), at), at)
            if found is not None:
                return found
        return None

    async def bring(self, meter: MeterItem, at: datetime, value: int, *, dry_run: bool) -> Trial:
        """A reading by hand, or what the service would say to it. The same one again changes nothing."""
        columns = metering_pb2.ReadingColumns(
            meters=[meter.name], meter_indexes=[0], slots_unix_ms=[unix_ms(at)], values=[value],
            statuses=[metering_pb2.READING_STATUS_HAND],
        )  # fmt: skip
        request = metering_pb2.IngestReadingsRequest(parent=self.name, readings=columns, source="hand", dry_run=dry_run)
        return trial_from_proto(await self._clients.metering.IngestReadings(request))

    async def edit(self, meter: MeterItem, seen: Reading, value: int | None, reason: str, request_id: str) -> None:
        """Puts a reading right, or says that it is none (None); not where somebody else was quicker."""
        gap = value is None
        request = metering_pb2.EditReadingsRequest(
            name=meter.name, slots_unix_ms=[unix_ms(seen.slot)], values=[0 if value is None else value],
            status=metering_pb2.READING_STATUS_GAP if gap else metering_pb2.READING_STATUS_EDITED,
            seen_revisions=[seen.revision], reason=reason, request_id=request_id,
        )  # fmt: skip
        await self._clients.metering.EditReadings(request)

    async def estimate(
        self, meter: MeterItem, start: datetime, end: datetime, method: int, reason: str, request_id: str
    ) -> Fill:
        """Fills gaps; without a request id it is only said what would be filled."""
        request = metering_pb2.EstimateReadingsRequest(
            name=meter.name, start_time=timestamp_to_proto(start), end_time=timestamp_to_proto(end),
            method=metering_pb2.EstimationMethod.ValueType(method), reason=reason, dry_run=not request_id,
            request_id=request_id,
        )  # fmt: skip
        answer = await self._clients.metering.EstimateReadings(request, timeout=QUESTION_DEADLINE_S)
        return Fill(len(answer.readings.values), tuple(answer.unfilled))

    # --- deliveries ----------------------------------------------------------------------------------------------

    async def deliveries(self, meter: MeterItem) -> tuple[Delivered, ...]:
        """All, the newest first."""
        request = metering_pb2.ListDeliveriesRequest(parent=meter.name)
        found = await all_pages(self._clients.metering.ListDeliveries, request, "deliveries", 1_000)
        return tuple(consumption.newest_first(map(consumption.delivery_from_proto, found)))

    async def deliver(self, meter: MeterItem, delivery: metering_pb2.Delivery, request_id: str) -> None:
        """Records a delivery; the same request id again records no second one."""
        request = metering_pb2.RecordDeliveryRequest(parent=meter.name, delivery=delivery, request_id=request_id)
        await self._clients.metering.RecordDelivery(request)

    async def withdraw(self, delivery: str, reason: str) -> None:
        """Takes back a delivery that was recorded by mistake."""
        await self._clients.metering.WithdrawDelivery(
            metering_pb2.WithdrawDeliveryRequest(name=delivery, reason=reason)
        )

    # --- findings ------------------------------------------------------------------------------------------------

    async def findings(self) -> tuple[FindingNow, ...]:
        """Those that stand."""
        return await self._findings(with_past=False)

    async def all_findings(self) -> tuple[FindingNow, ...]:
        """Those of the past too."""
        return await self._findings(with_past=True)

    async def _findings(self, *, with_past: bool) -> tuple[FindingNow, ...]:
        request = metering_pb2.ListFindingsRequest(parent=self.name, with_past=with_past)
        found = await all_pages(self._clients.metering.ListFindings, request, "findings", FINDINGS_PAGE)
        return tuple(map(finding_from_proto, found))

    async def acknowledge(self, finding: FindingNow, note: str) -> None:
        """Says that this person knows of it. Raises Conflict where it has changed since it was seen."""
        request = metering_pb2.AcknowledgeFindingRequest(name=finding.name, note=note, etag=finding.etag)
        await self._clients.metering.AcknowledgeFinding(request)

    async def close(self, finding: FindingNow, note: str) -> None:
        """Says that it was dealt with, or is none. Raises Conflict where it has changed since it was seen."""
        request = metering_pb2.CloseFindingRequest(name=finding.name, note=note, etag=finding.etag)
        await self._clients.metering.CloseFinding(request)

    # --- who may -------------------------------------------------------------------------------------------------

    async def may_read_in(self) -> bool:
        """Whether the server would let this person enter readings."""
        request = metering_pb2.IngestReadingsRequest(
            parent=self.name, readings=metering_pb2.ReadingColumns(meters=[self._none]), source="hand", dry_run=True
        )
        return await would(self._clients.metering.IngestReadings(request))

    async def may_install(self) -> bool:
        """Whether the server would let this person say when meters were hung up."""
        at = timestamp_to_proto(self._clock.now())
        request = metering_pb2.InstallMeterRequest(name=self._none, installed_at=at)
        return await would(self._clients.metering.InstallMeter(request))

    async def may_edit(self) -> bool:
        """Whether the server would let this person put readings right."""
        request = metering_pb2.EditReadingsRequest(name=self._none, slots_unix_ms=[0], values=[0], reason=NOBODY)
        return await would(self._clients.metering.EditReadings(request))

    async def may_deliver(self) -> bool:
        """Whether the server would let this person record deliveries."""
        delivery = metering_pb2.Delivery(delivered_at=timestamp_to_proto(self._clock.now()), amount=1)
        request = metering_pb2.RecordDeliveryRequest(parent=self._none, delivery=delivery)
        return await would(self._clients.metering.RecordDelivery(request))

    async def may_withdraw(self) -> bool:
        """Whether the server would let this person take deliveries back."""
        request = metering_pb2.WithdrawDeliveryRequest(name=f"{self._none}/deliveries/{NOBODY}", reason=NOBODY)
        return await would(self._clients.metering.WithdrawDelivery(request))

    async def may_close(self) -> bool:
        """Whether the server would let this person acknowledge and close findings."""
        request = metering_pb2.CloseFindingRequest(name=f"{self.name}/findings/{NOBODY}", note=NOBODY)
        return await would(self._clients.metering.CloseFinding(request))

    def _until(self, period: Period, tz: ZoneInfo) -> tuple[Timestamp, Timestamp]:
        start, end = period.until(self._clock.now(), tz)
        return timestamp_to_proto(start), timestamp_to_proto(end)

    @property
    def _none(self) -> str:
        return f"{self.name}/meters/{NOBODY}"
