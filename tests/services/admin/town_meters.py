"""Figures of the small town of tests: what the contract says follows from readings in memory (town_book.py).

Counters are straight lines between usable readings; what lies between readings further apart than the meter's cycle, or
next to an estimate, is estimated. Sums, figures and comparisons are worked out from that.
"""

from datetime import UTC
from itertools import pairwise
from typing import Any

from domain.errors import FailedPrecondition, InvalidInput
from lichtbuch.metering.v1 import metering_pb2
from servicekit.convert import unix_ms
from tests.services.admin.town_book import CYCLES_MS, ESTIMATED, QUARTER_MS, slots_of, steps_of
from tests.services.admin.town_readings import ReadingCalls


class MeterCalls(ReadingCalls):
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
        start, end = slots_of(request)
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
        start, end = slots_of(request)
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
        start, end = slots_of(request)
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
                if powers[-1] > 0:
                    figures.load_factor_permille = sum(powers) * 1000 // (len(powers) * powers[-1])
            else:
                figures.refusal = "the meter is read too seldom for a profile"
            answer.figures.append(figures)
        return answer

    async def QueryLosses(
        self, request: metering_pb2.QueryLossesRequest, context: Any
    ) -> metering_pb2.QueryLossesResponse:
        """The main meter beside its sub-meters."""
        start, end = slots_of(request)
        main = self._meter(request.name)
        subs = [each for each in self._town.meters if each.main_meter == request.name]
        if not subs:
            raise FailedPrecondition.of("name", "no meter measures behind it")
        tolerance = main.loss_tolerance_permille or 30
        answer = metering_pb2.QueryLossesResponse(
            sub_meters=[each.name for each in subs], unit=main.unit, tolerance_permille=tolerance
        )
        for begin, until in steps_of(request.step, start, end):
            amount, guessed, covered = self._amount(main, begin, until)
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
            answer.estimated_amounts.append(guessed + sum(part[1] for part in parts))
            answer.verdicts.append(verdict)
            answer.coverages_permille.append(coverage)
        return answer

    async def CompareConsumption(
        self, request: metering_pb2.CompareConsumptionRequest, context: Any
    ) -> metering_pb2.CompareConsumptionResponse:
        """The same days of the year before; with a station, as if they had been a tenth colder."""
        start, end = slots_of(request)
        year = 365 * 96 * QUARTER_MS
        answer = metering_pb2.CompareConsumptionResponse()
        answer.reference_start_time.FromMilliseconds(start - year)
        answer.reference_end_time.FromMilliseconds(end - year)
        for name in request.meters:
            meter = self._meter(name)
            amount, guessed, covered = self._amount(meter, start, end)
            then, then_guessed, then_covered = self._amount(meter, start - year, end - year)
            unit: Any = meter.unit
            if request.as_energy and meter.gas_factors:
                held, unit = meter.gas_factors[-1], metering_pb2.UNIT_WH
                amount, then = (each * held.calorific_value_wh_per_m3 // 1000 for each in (amount, then))
            one = metering_pb2.Comparison(
                meter=name, unit=unit, amount=amount, estimated_amount=guessed,
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
                one.milli_amount_per_degree_day = amount * 1000 // 330
                if then:
                    one.reference_milli_amount_per_degree_day = then * 1000 // 300
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
