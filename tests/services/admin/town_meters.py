"""Meters of the small town of tests: readings in memory, and what the contract says follows from them.

Counters are straight lines between usable readings; what lies between readings further apart than the meter's cycle, or
next to an estimate, is estimated. Sums, figures and comparisons are worked out from that.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from domain.errors import Conflict, FailedPrecondition, InvalidInput
from domain.night import local_date, local_instant
from lichtbuch.metering.v1 import metering_pb2
from servicekit.context import current_caller
from servicekit.convert import timestamp_to_proto, unix_ms
from tests.services.admin.town_stores import StoreCalls

if TYPE_CHECKING:
    from tests.services.admin.town_services import Town

QUARTER_MS = 900_000
CYCLES_MS = {
    metering_pb2.READING_CYCLE_QUARTER_HOUR: QUARTER_MS,
    metering_pb2.READING_CYCLE_HOUR: 4 * QUARTER_MS,
    metering_pb2.READING_CYCLE_DAY: 100 * QUARTER_MS,
    metering_pb2.READING_CYCLE_YEAR: 370 * 96 * QUARTER_MS,
}
UNUSABLE = (metering_pb2.READING_STATUS_GAP, metering_pb2.READING_STATUS_DOUBTFUL)
ESTIMATED = metering_pb2.READING_STATUS_ESTIMATED
LARGEST_STEP = 100_000_000
BERLIN = ZoneInfo("Europe/Berlin")


@dataclass
class Stored:
    """One revision of a reading."""

    value: int
    status: int
    source: str = "poll"
    actor: str = "metering"
    reason: str = ""
    stored_at: datetime = datetime(2026, 11, 22, 17, 16, tzinfo=UTC)


@dataclass
class MeterBook:
    """Readings, deliveries and findings."""

    readings: dict[str, dict[int, list[Stored]]] = field(default_factory=dict)
    """By name of the meter and slot; the last revision holds."""
    deliveries: dict[str, metering_pb2.Delivery] = field(default_factory=dict)
    findings: dict[str, metering_pb2.Finding] = field(default_factory=dict)
    requests: dict[str, Any] = field(default_factory=dict)
    largest_steps: dict[str, int] = field(default_factory=dict)
    """What a reading by hand may be above the last one before it is doubted."""

    def put(self, meter: str, at: datetime, value: int, status: int = metering_pb2.READING_STATUS_MEASURED) -> None:
        """Stores a reading as polled."""
        self.readings.setdefault(meter, {})[unix_ms(at)] = [Stored(value, status)]

    def usable(self, meter: str) -> list[tuple[int, Stored]]:
        """What figures rest on, by slot."""
        held = sorted((slot, versions[-1]) for slot, versions in self.readings.get(meter, {}).items())
        return [(slot, each) for slot, each in held if each.status not in UNUSABLE]


def _slots(message: Any) -> tuple[int, int]:
    return unix_ms(message.start_time.ToDatetime(tzinfo=UTC)), unix_ms(message.end_time.ToDatetime(tzinfo=UTC))


def _day(ms: int) -> date:
    return local_date(datetime.fromtimestamp(ms / 1000, UTC), BERLIN)


def _begin(day: date) -> int:
    return unix_ms(local_instant(day, time(0), BERLIN))


def steps_of(step: int, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The steps of a period, cut to it."""
    at = start
    while at < end:
        day = _day(at)
        match step:
            case metering_pb2.STEP_QUARTER_HOUR:
                following = at + QUARTER_MS
            case metering_pb2.STEP_LOCAL_DAY:
                following = _begin(day + timedelta(days=1))
            case metering_pb2.STEP_LOCAL_MONTH:
                following = _begin((day.replace(day=1) + timedelta(days=32)).replace(day=1))
            case metering_pb2.STEP_LOCAL_YEAR:
                following = _begin(date(day.year + 1, 1, 1))
            case metering_pb2.STEP_TOTAL:
                following = end
            case _:
                raise InvalidInput.of("step", "not known here")
        yield at, min(following, end)
        at = following


class MeterCalls(StoreCalls):
    """What MeteringService says of readings beyond the overview."""

    # --- figures -------------------------------------------------------------------------------------------------

    def _amount(self, meter: metering_pb2.Meter, start: int, end: int) -> tuple[int, int, int]:
        """Amount, estimated part, and how many milliseconds are measured."""
        if meter.kind == metering_pb2.READING_KIND_VIRTUAL:
            parts = [(self._amount(self._meter(term.meter), start, end), term.is_subtracted) for term in meter.terms]
            amount = sum(-part[0] if minus else part[0] for part, minus in parts)
            return amount, sum(part[1] for part, _ in parts), min(part[2] for part, _ in parts)
        scale = 10.0**meter.scale_exponent
        cycle = CYCLES_MS.get(meter.reading_cycle, QUARTER_MS)
        held, total, guessed, covered = self._town.book.usable(meter.name), 0.0, 0.0, 0
        for (first, before), (last, after) in pairwise(held):
            overlap = min(last, end) - max(first, start)
            if overlap <= 0:
                continue
            step = after.value - before.value
            if meter.kind == metering_pb2.READING_KIND_STOCK:
                step = before.value + self._delivered(meter.name, first, last) - after.value
            part = step * scale * overlap / (last - first)
            total += part
            if last - first > cycle or ESTIMATED in (before.status, after.status):
                guessed += part
            else:
                covered += overlap
        return round(total), round(guessed), covered

    def _delivered(self, meter: str, start: int, end: int) -> int:
        return sum(
            each.amount
            for each in self._town.book.deliveries.values()
            if each.name.startswith(f"{meter}/")
            and not each.HasField("withdrawn_at")
            and start < unix_ms(each.delivered_at.ToDatetime(tzinfo=UTC)) <= end
        )

    def _consumption(self, request: metering_pb2.QueryConsumptionRequest) -> metering_pb2.QueryConsumptionResponse:
        start, end = _slots(request)
        answer = metering_pb2.QueryConsumptionResponse(meters=request.meters)
        for index, name in enumerate(request.meters):
            meter = self._meter(name)
            if meter.kind == metering_pb2.READING_KIND_INSTANT:
                raise InvalidInput.of(f"meters[{index}]", "a sensor has no consumption")
            energy = request.as_energy and bool(meter.gas_factors)
            answer.units.append(metering_pb2.UNIT_WH if energy else meter.unit)
            yearly = meter.reading_cycle == metering_pb2.READING_CYCLE_YEAR
            if yearly and request.step not in (metering_pb2.STEP_LOCAL_YEAR, metering_pb2.STEP_TOTAL):
                answer.coarse_meter_indexes.append(index)
            for begin, until in steps_of(request.step, start, end):
                amount, guessed, covered = self._amount(meter, begin, until)
                factor = 1.0
                if energy:
                    held = meter.gas_factors[-1]
                    factor = held.calorific_value_wh_per_m3 * held.state_number_e4 / 10_000 / 1000
                answer.meter_indexes.append(index)
                answer.starts_unix_ms.append(begin)
                answer.ends_unix_ms.append(until)
                answer.amounts.append(round(amount * factor))
                answer.estimated_amounts.append(round(guessed * factor))
                answer.coverages_permille.append(covered * 1000 // (until - begin))
        return answer

    async def QueryValues(
        self, request: metering_pb2.QueryValuesRequest, context: Any
    ) -> metering_pb2.QueryValuesResponse:
        """Means of what was read within each step."""
        start, end = _slots(request)
        answer = metering_pb2.QueryValuesResponse(meters=request.meters)
        for index, name in enumerate(request.meters):
            meter = self._meter(name)
            answer.units.append(meter.unit)
            answer.scale_exponents.append(meter.scale_exponent)
            for begin, until in steps_of(request.step, start, end):
                held = [each.value for slot, each in self._town.book.usable(name) if begin <= slot < until]
                if not held:
                    continue
                cycle = CYCLES_MS.get(meter.reading_cycle, QUARTER_MS)
                answer.meter_indexes.append(index)
                answer.starts_unix_ms.append(begin)
                answer.ends_unix_ms.append(until)
                answer.means.append(sum(held) // len(held))
                answer.minima.append(min(held))
                answer.maxima.append(max(held))
                answer.coverages_permille.append(min(1000, len(held) * cycle * 1000 // (until - begin)))
                answer.estimated_permille.append(0)
        return answer

    async def QueryLoad(self, request: metering_pb2.QueryLoadRequest, context: Any) -> metering_pb2.QueryLoadResponse:
        """Figures over the measured quarter hours."""
        start, end = _slots(request)
        answer = metering_pb2.QueryLoadResponse()
        for name in request.meters:
            meter = self._meter(name)
            amount, guessed, covered = self._amount(meter, start, end)
            figures = metering_pb2.LoadFigures(
                meter=name, unit=meter.unit, amount=amount, estimated_amount=guessed,
                coverage_permille=covered * 1000 // (end - start),
            )  # fmt: skip
            held = self._town.book.usable(name)
            loads = [
                ((after.value - before.value) * 4, first)
                for (first, before), (last, after) in pairwise(held)
                if last - first == QUARTER_MS and start <= first < end
            ]
            if loads:
                powers = sorted(power for power, _ in loads)
                figures.resolution_s, figures.peak = 900, powers[-1]
                peak_at = next(first for power, first in loads if power == powers[-1])
                figures.peak_at.FromMilliseconds(peak_at)
                figures.base_load = figures.night_base_load = powers[len(powers) // 20]
                figures.mean = sum(powers) // len(powers)
                figures.full_load_hours = amount // max(1, powers[-1])
            else:
                figures.refusal = "the meter is read too seldom for a profile"
            answer.figures.append(figures)
        return answer

    async def QueryLosses(
        self, request: metering_pb2.QueryLossesRequest, context: Any
    ) -> metering_pb2.QueryLossesResponse:
        """The main meter beside its sub-meters."""
        start, end = _slots(request)
        main = self._meter(request.name)
        subs = [each for each in self._town.meters if each.main_meter == request.name]
        if not subs:
            raise FailedPrecondition.of("name", "no meter measures behind it")
        tolerance = main.loss_tolerance_permille or 30
        answer = metering_pb2.QueryLossesResponse(
            sub_meters=[each.name for each in subs], unit=main.unit, tolerance_permille=tolerance
        )
        for begin, until in steps_of(request.step, start, end):
            amount, _, covered = self._amount(main, begin, until)
            parts = [self._amount(each, begin, until) for each in subs]
            summed = sum(part[0] for part in parts)
            coverage = min(covered, *(part[2] for part in parts)) * 1000 // (until - begin)
            difference = amount - summed
            verdict = metering_pb2.LOSS_VERDICT_WITHIN
            if coverage < 900:
                verdict = metering_pb2.LOSS_VERDICT_UNKNOWN
            elif abs(difference) * 1000 > tolerance * amount:
                verdict = metering_pb2.LOSS_VERDICT_LOSS if difference > 0 else metering_pb2.LOSS_VERDICT_SURPLUS
            answer.starts_unix_ms.append(begin)
            answer.ends_unix_ms.append(until)
            answer.main_amounts.append(amount)
            answer.sub_amounts.append(summed)
            answer.verdicts.append(verdict)
            answer.coverages_permille.append(coverage)
        return answer

    async def CompareConsumption(
        self, request: metering_pb2.CompareConsumptionRequest, context: Any
    ) -> metering_pb2.CompareConsumptionResponse:
        """The same days of the year before; with a station, as if they had been a tenth colder."""
        start, end = _slots(request)
        year = 365 * 96 * QUARTER_MS
        answer = metering_pb2.CompareConsumptionResponse()
        answer.reference_start_time.FromMilliseconds(start - year)
        answer.reference_end_time.FromMilliseconds(end - year)
        for name in request.meters:
            meter = self._meter(name)
            amount, guessed, covered = self._amount(meter, start, end)
            then, then_guessed, then_covered = self._amount(meter, start - year, end - year)
            one = metering_pb2.Comparison(
                meter=name, unit=meter.unit, amount=amount, estimated_amount=guessed,
                coverage_permille=covered * 1000 // (end - start), reference_amount=then,
                reference_estimated_amount=then_guessed,
                reference_coverage_permille=then_covered * 1000 // (end - start),
                is_provisional=end - start < year,
            )  # fmt: skip
            if then:
                one.change_permille = (amount - then) * 1000 // then
            if meter.floor_area_m2:
                one.milli_amount_per_m2 = amount * 1000 // meter.floor_area_m2
            if request.weather:
                one.weather_adjusted_reference_amount = then * 11 // 10
                if then:
                    one.weather_adjusted_change_permille = (amount * 10 - then * 11) * 1000 // (then * 11)
            answer.comparisons.append(one)
        if request.weather:
            days = (end - start) // (96 * QUARTER_MS)
            answer.period_degree_days.degree_days_centi, answer.period_degree_days.days = 33_000, days
            answer.period_degree_days.known_days = days
            answer.reference_degree_days.degree_days_centi, answer.reference_degree_days.days = 30_000, days
            answer.reference_degree_days.known_days = days - 1
        return answer

    async def QueryDegreeDays(
        self, request: metering_pb2.QueryDegreeDaysRequest, context: Any
    ) -> metering_pb2.QueryDegreeDaysResponse:
        """There is one station."""
        return metering_pb2.QueryDegreeDaysResponse(stations=["dwd-00232"])

    # --- readings ------------------------------------------------------------------------------------------------

    def _columns(self, meter: str, start: int, end: int, *, all_revisions: bool) -> metering_pb2.ReadingColumns:
        columns = metering_pb2.ReadingColumns(meters=[meter])
        for slot, versions in sorted(self._town.book.readings.get(meter, {}).items()):
            if not start <= slot < end:
                continue
            for revision, each in enumerate(versions):
                if not all_revisions and each is not versions[-1]:
                    continue
                columns.meter_indexes.append(0)
                columns.slots_unix_ms.append(slot)
                columns.values.append(each.value)
                columns.statuses.append(each.status)  # type: ignore[arg-type]
                columns.revisions.append(revision)
                columns.batch_indexes.append(len(columns.batches))
                columns.batches.add(
                    source=each.source, actor=each.actor, reason=each.reason,
                    stored_at=timestamp_to_proto(each.stored_at),
                )  # fmt: skip
        return columns

    async def IngestReadings(
        self, request: metering_pb2.IngestReadingsRequest, context: Any
    ) -> metering_pb2.IngestReadingsResponse:
        """One reading of one meter: never overwritten; a step back and a giant step are doubted."""
        columns, book = request.readings, self._town.book
        answer = metering_pb2.IngestReadingsResponse()
        meter = self._meter(columns.meters[0])
        slot, value = columns.slots_unix_ms[0], columns.values[0]
        if not request.dry_run:
            self._town.calls.append(f"IngestReadings {current_caller().subject}")
        held = book.readings.setdefault(meter.name, {})
        if slot > unix_ms(self._town.clock.now()) + QUARTER_MS:
            answer.refused, answer.refusals[:] = 1, ["0: the slot is in the future"]
            return answer
        if slot in held:
            if held[slot][-1].value == value:
                answer.unchanged = 1
            else:
                answer.refused, answer.refusals[:] = 1, ["0: another value is stored for that slot"]
            return answer
        before = [(at, each) for at, each in book.usable(meter.name) if at < slot]
        last = before[-1][1].value if before else None
        if last is not None and meter.kind in (0, metering_pb2.READING_KIND_COUNTER):
            rule = ""
            if value < last:
                rule = "negative_step"
            elif value - last > book.largest_steps.get(meter.name, LARGEST_STEP):
                rule = "spike"
            if rule:
                answer.findings.add(meter=meter.name, rule=rule, count=1, detail="the step cannot be", is_doubted=True)
        answer.stored = 1
        if not request.dry_run:
            held[slot] = [
                Stored(
                    value,
                    columns.statuses[0],
                    request.source,
                    current_caller().subject,
                    stored_at=self._town.clock.now(),
                )
            ]
            self._newest(meter)
        return answer

    def _newest(self, meter: metering_pb2.Meter) -> None:
        usable = self._town.book.usable(meter.name)
        if usable:
            meter.latest_value = usable[-1][1].value
            meter.latest_slot.FromMilliseconds(usable[-1][0])

    async def EditReadings(
        self, request: metering_pb2.EditReadingsRequest, context: Any
    ) -> metering_pb2.EditReadingsResponse:
        """A new revision, unless somebody else was quicker."""
        meter, book = self._meter(request.name), self._town.book
        held = book.readings.setdefault(meter.name, {})
        for place, slot in enumerate(request.slots_unix_ms):
            versions = held.setdefault(slot, [])
            if request.seen_revisions and request.seen_revisions[place] != len(versions) - 1:
                raise Conflict("the reading has been edited meanwhile")
            made = Stored(
                request.values[place], request.status or metering_pb2.READING_STATUS_EDITED, "edit",
                current_caller().subject, request.reason, self._town.clock.now(),
            )  # fmt: skip
            versions.append(made)
        self._town.calls.append(f"EditReadings {current_caller().subject}")
        self._newest(meter)
        first, last = min(request.slots_unix_ms), max(request.slots_unix_ms) + 1
        return metering_pb2.EditReadingsResponse(
            readings=self._columns(meter.name, first, last, all_revisions=False), stored=len(request.slots_unix_ms)
        )

    async def EstimateReadings(
        self, request: metering_pb2.EstimateReadingsRequest, context: Any
    ) -> metering_pb2.EstimateReadingsResponse:
        """A straight line through every gap."""
        meter, (start, end) = self._meter(request.name), _slots(request)
        usable = self._town.book.usable(meter.name)
        made: dict[int, int] = {}
        for (first, before), (last, after) in pairwise(usable):
            for slot in range(first + QUARTER_MS, last, QUARTER_MS):
                if start <= slot < end:
                    made[slot] = before.value + (after.value - before.value) * (slot - first) // (last - first)
        answer = metering_pb2.EstimateReadingsResponse()
        answer.readings.meters.append(meter.name)
        for slot, value in made.items():
            answer.readings.slots_unix_ms.append(slot)
            answer.readings.values.append(value)
        if not request.dry_run:
            self._town.calls.append(f"EstimateReadings {current_caller().subject}")
            held = self._town.book.readings[meter.name]
            for slot, value in made.items():
                held.setdefault(slot, []).append(
                    Stored(value, ESTIMATED, "estimate", current_caller().subject, request.reason)
                )
        return answer


def name(identity: str) -> str:
    """A meter's name in the town."""
    return f"municipalities/bad-hersfeld/meters/{identity}"


def _made(identity: str, called: str, medium: Any, unit: Any, **values: Any) -> metering_pb2.Meter:
    values.setdefault("reading_cycle", metering_pb2.READING_CYCLE_QUARTER_HOUR)
    values.setdefault("kind", metering_pb2.READING_KIND_COUNTER)
    return metering_pb2.Meter(name=name(identity), display_name=called, medium=medium, unit=unit, **values)


def metered(town: "Town") -> datetime:
    """A building's meters of most kinds, with days of readings until the last quarter hour, which is returned.

    R-1 is the town hall's main meter with a feed-in register, two sub-meters and a gap of three hours yesterday from
    10:00 local time; G-1 gas, W-1 a water meter of a school that is read by hand, T-1 a temperature, O-1 an oil tank,
    V-1 what the town hall uses.
    """
    now = town.clock.now()
    last = datetime.fromtimestamp(unix_ms(now) // QUARTER_MS * QUARTER_MS / 1000, UTC)
    electricity, wh = metering_pb2.MEDIUM_ELECTRICITY, metering_pb2.UNIT_WH
    life = metering_pb2.RegisterLife(
        uid="1", serial_number="1EMH0001", installed_at=timestamp_to_proto(last - timedelta(days=900)),
        removed_at=timestamp_to_proto(last - timedelta(days=200)), first_reading=0, final_reading=8_000_000,
        unit=wh, obis_code="1-1:1.8.0", transformer_ratio=20,
    )  # fmt: skip
    now_life = metering_pb2.RegisterLife(
        uid="2", serial_number="1EMH0815", installed_at=timestamp_to_proto(last - timedelta(days=200)),
        first_reading=20_000, unit=wh, obis_code="1-1:1.8.0", transformer_ratio=40,
    )  # fmt: skip
    town.meters += [
        _made(
            "R-1", "Strom Rathaus", electricity, wh, building="Rathaus", serial_number="1EMH0815",
            obis_code="1-1:1.8.0", market_location="51238696780", transformer_ratio=40, rollover=4_000_000_000,
            metering_location="DE0001234567890000000000000012345", metering_operator="Stadtwerke",
            purpose=metering_pb2.METER_PURPOSE_BILLING, flow=metering_pb2.FLOW_CONSUMPTION, floor_area_m2=2_000,
            lives=[life, now_life], endpoint="municipalities/bad-hersfeld/endpoints/em-1",
        ),
        _made(
            "R-1-EIN", "Einspeisung", electricity, wh, building="Rathaus", obis_code="1-1:2.8.0", device=name("R-1"),
            flow=metering_pb2.FLOW_FEED_IN,
        ),
        _made("R-2", "Küche", electricity, wh, building="Rathaus", main_meter=name("R-1"), serial_number="K-77"),
        _made("R-3", "Server", electricity, wh, building="Rathaus", main_meter=name("R-1"), serial_number="S-12"),
        _made(
            "V-1", "Rathaus ohne Server", electricity, wh, building="Rathaus", kind=metering_pb2.READING_KIND_VIRTUAL,
            terms=[
                metering_pb2.MeterTerm(meter=name("R-1")),
                metering_pb2.MeterTerm(meter=name("R-3"), is_subtracted=True),
            ],
        ),
        _made(
            "G-1", "Gas Stadthalle", metering_pb2.MEDIUM_GAS, metering_pb2.UNIT_L, building="Stadthalle",
            serial_number="GAS-4711", floor_area_m2=1_500,
            gas_factors=[
                metering_pb2.GasFactor(
                    valid_from="2026-01-01", calorific_value_wh_per_m3=11_350, state_number_e4=9_524
                )
            ],
        ),
        _made(
            "W-1", "Wasser Grundschule", metering_pb2.MEDIUM_WATER, metering_pb2.UNIT_L, building="Grundschule",
            serial_number="8SEN0023", rollover=100_000_000, reading_cycle=metering_pb2.READING_CYCLE_YEAR,
        ),
        _made(
            "T-1", "Sitzungssaal", metering_pb2.MEDIUM_TEMPERATURE, metering_pb2.UNIT_CELSIUS, building="Rathaus",
            kind=metering_pb2.READING_KIND_INSTANT, scale_exponent=-1,
        ),
        _made(
            "O-1", "Heizöl Bauhof", metering_pb2.MEDIUM_OIL, metering_pb2.UNIT_L, building="Bauhof",
            kind=metering_pb2.READING_KIND_STOCK, reading_cycle=metering_pb2.READING_CYCLE_IRREGULAR,
        ),
    ]  # fmt: skip
    book, quarter = town.book, timedelta(minutes=15)
    yesterday = local_instant(local_date(now, BERLIN) - timedelta(days=1), time(10), BERLIN)
    rates = {
        "R-1": (4_000, 9_000),
        "R-1-EIN": (0, 700),
        "R-2": (900, 2_200),
        "R-3": (3_000, 3_000),
        "G-1": (700, 2_600),
    }
    for identity, (night, day) in rates.items():
        value = {"R-1": 12_345_000, "G-1": 55_000_000}.get(identity, 800_000)
        book.put(name(identity), last - 380 * 96 * quarter, value - 40_000 - 380 * 96 * night)
        book.put(name(identity), last - 330 * 96 * quarter, value - 40_000 - 330 * 96 * night)
        for step in range(12 * 96, -1, -1):
            at = last - step * quarter
            gap = identity == "R-1" and yesterday < at < yesterday + timedelta(hours=3)
            book.put(name(identity), at, value, int(metering_pb2.READING_STATUS_GAP if gap else 1))
            value += day if 6 <= at.astimezone(BERLIN).hour < 18 else night
    for step in range(3 * 96, -1, -1):
        at = last - step * quarter
        hour = at.astimezone(BERLIN).hour
        book.put(name("T-1"), at, 185 + (22 if 8 <= hour < 18 else 0) + step % 4)
    hand = int(metering_pb2.READING_STATUS_HAND)
    for days, value in ((1_090, 900_000), (725, 1_240_000), (360, 1_610_500)):
        book.put(name("W-1"), last - timedelta(days=days), value, hand)
    for days, value in ((300, 6_100), (210, 2_300), (120, 5_900), (25, 4_150)):
        book.put(name("O-1"), last - timedelta(days=days), value, hand)
    tank = metering_pb2.Delivery(
        name=f"{name('O-1')}/deliveries/d-1", delivered_at=timestamp_to_proto(last - timedelta(days=150)), amount=5_000,
        cost_cents=487_050, document="LS 2026-118", recorded_by="u-b4408e15",
    )  # fmt: skip
    book.deliveries[tank.name] = tank
    for meter in town.meters:
        usable = book.usable(meter.name)
        if usable:
            meter.latest_value = usable[-1][1].value
            meter.latest_slot.FromMilliseconds(usable[-1][0])
    for key, identity, rule, excess, cents, state in (
        ("f-1", "R-1", "night_base_load_up", 184_000, 5_888, metering_pb2.FINDING_STATE_OPEN),
        ("f-2", "W-1", "water_never_stops", 42_000, 23_940, metering_pb2.FINDING_STATE_OPEN),
        ("f-3", "G-1", "heating_in_warm_weather", 96_000, 9_120, metering_pb2.FINDING_STATE_CLOSED),
    ):
        meter = next(each for each in town.meters if each.name == name(identity))
        book.findings[key] = metering_pb2.Finding(
            name=f"municipalities/bad-hersfeld/findings/{key}", meter=meter.name, unit=meter.unit, rule=rule,
            meter_display_name=meter.display_name, start_time=timestamp_to_proto(last - timedelta(days=9)),
            end_time=timestamp_to_proto(last - timedelta(days=1)), excess_amount=excess, cost_cents=cents, state=state,
            detail="<b>seen</b> on 8 nights", raised_at=timestamp_to_proto(last - timedelta(days=1)),
            coverage_permille=987, etag="1",
        )  # fmt: skip
    town.book.findings = {finding.name: finding for finding in town.book.findings.values()}
    return last
