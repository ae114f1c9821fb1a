"""Readings of the small town of tests, as MeteringService takes and tells them: by hand, edited, estimated."""

from itertools import pairwise
from typing import Any

from domain.errors import Conflict
from lichtbuch.metering.v1 import metering_pb2
from servicekit.context import current_caller
from servicekit.convert import timestamp_to_proto, unix_ms
from tests.services.admin.town_book import ESTIMATED, LARGEST_STEP, QUARTER_MS, Stored, slots_of
from tests.services.admin.town_installations import InstallCalls


class ReadingCalls(InstallCalls):
    """What MeteringService says of readings."""

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
        meter, (start, end) = self._meter(request.name), slots_of(request)
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
