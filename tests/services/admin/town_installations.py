"""Installations in the small town of tests, as MeteringService takes and refuses them: of housings with registers."""

from datetime import UTC
from typing import TYPE_CHECKING, Any

from domain.errors import FailedPrecondition, InvalidInput, Violation
from lichtbuch.metering.v1 import metering_pb2
from servicekit.context import current_caller
from servicekit.convert import unix_ms
from services.metering.slot import slot_text
from tests.services.admin.town_stores import StoreCalls

if TYPE_CHECKING:
    from tests.services.admin.town_services import Town

COUNTER = metering_pb2.READING_KIND_COUNTER


class InstallCalls(StoreCalls):
    """What MeteringService says of installations."""

    _town: "Town"

    async def InstallMeter(self, request: metering_pb2.InstallMeterRequest, context: Any) -> metering_pb2.Meter:
        """Gives the first lives of a housing their begin; refuses what contradicts readings."""
        meter, book = self._meter(request.name), self._town.book
        if request.request_id and request.request_id in book.requests:
            return meter
        if meter.device:
            raise FailedPrecondition.of("name", f"it sits in the housing of {meter.device}: install that")
        told = {one.meter: place for place, one in enumerate(request.registers)}
        housed = [each for each in self._town.meters if each.device == meter.name]
        missing = [each.name for each in housed if each.kind == COUNTER and each.name not in told]
        if missing:
            raise InvalidInput.of("registers", f"the first reading is missing of {', '.join(missing)}")
        if meter.kind == COUNTER and not request.HasField("first_reading"):
            raise InvalidInput.of(
                "first_reading", "what the counter showed as it was hung up is missing; a new one shows 0"
            )
        firsts = [(meter, "", request.first_reading if request.HasField("first_reading") else None)]
        firsts += [
            (each, f"registers[{told[each.name]}].", request.registers[told[each.name]].first_reading)
            for each in housed
            if each.name in told
        ]
        at = unix_ms(request.installed_at.ToDatetime(tzinfo=UTC))
        wrong = [one for each, under, first in firsts for one in self._wrong(each, under, at, first)]
        if wrong:
            raise InvalidInput(violations=wrong)
        for each, _, first in firsts:
            each.installed_at.CopyFrom(request.installed_at)
            each.ClearField("first_reading")
            if first is not None:
                each.first_reading = first
            if each.lives:
                each.lives[0].installed_at.CopyFrom(request.installed_at)
                each.lives[0].first_reading = first or 0
        book.requests[request.request_id] = request
        self._town.calls.append(f"InstallMeter {current_caller().subject}")
        return meter

    def _wrong(self, meter: metering_pb2.Meter, under: str, at: int, first: int | None) -> list[Violation]:
        """What was read next goes on from it."""
        if len(meter.lives) > 1 and at >= unix_ms(meter.lives[0].removed_at.ToDatetime(tzinfo=UTC)):
            end = slot_text(unix_ms(meter.lives[0].removed_at.ToDatetime(tzinfo=UTC)))
            reason = f"that register was taken down, or gave way to another, at {end}"
            return [Violation(f"{under}installed_at", reason)]
        held = self._town.book.usable(meter.name)
        if held and held[0][0] < at:
            reason = f"readings count from {slot_text(held[0][0])} on: it hung there then"
            return [Violation(f"{under}installed_at", reason)]
        if first is not None and held and len(meter.lives) < 2 and held[0][1].value < first:
            reason = f"{first} is more than the {held[0][1].value} read at {slot_text(held[0][0])}"
            return [Violation(f"{under}first_reading", reason)]
        return []
