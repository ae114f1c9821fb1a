"""From a cell to a reading of a meter: slot by stamp and cycle, whole units by unit and scale, status by quality. Pure.

Intervals stay intervals and counters stay counters: what a file holds has to be what the meter is.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, tzinfo
from decimal import ROUND_HALF_EVEN
from typing import Final

from cli.importing.readings.amounts import SYMBOLS, Numbers, Unit
from cli.importing.readings.bills import Bill, Bills, ends_of
from cli.importing.readings.channel import Channel
from cli.importing.readings.collect import Collector
from cli.importing.readings.declared import Declared, Missing, Series
from cli.importing.readings.known import Directory, Kind, KnownMeter, Status, Step, parse_step
from cli.importing.readings.stamps import end_of
from domain.errors import InvalidInput

SLOT_MS: Final = 900_000
_VALUES_OF: Final = {
    Kind.COUNTER: "counter", Kind.INTERVAL: "interval", Kind.INSTANT: "state", Kind.STOCK: "state",
}  # fmt: skip
_WHAT: Final = {"counter": "states of a counter", "interval": "amounts of intervals", "state": "states"}


class Taker:
    """Makes readings of what a layout reads, and refuses what is none."""

    def __init__(
        self, declared: Declared, directory: Directory, collector: Collector, numbers: Numbers, tz: tzinfo, hand: bool
    ) -> None:
        self.declared, self.directory, self.collector, self.numbers = declared, directory, collector, numbers
        self._tz, self._hand = tz, hand
        self._channels: dict[tuple[str, str, str, str], Channel | str | None] = {}
        self._skipped: set[str] = set()
        self._bills = Bills()

    # --- which meter ---------------------------------------------------------------------------------------

    def series(self, name: str, column: str, obis: str = "") -> Series | None:
        """What the mapping says of a series: the entry that says the most."""
        best: tuple[int, Series] | None = None
        for one in self.declared.series:
            told = [(one.name, name), (one.column, column), (one.obis, obis)]
            if all(not says or says.casefold() == has.casefold() for says, has in told):
                weight = sum(bool(says) for says, _ in told)
                if best is None or weight > best[0]:
                    best = (weight, one)
        return best[1] if best else None

    def channel(self, name: str, column: str, unit: str, obis: str = "", step: Step | None = None) -> Channel | None:
        """The channel of a series; None for one that is passed over.

        unit: what the file says of the values' unit; step: what it says of their intervals. Raises ValueError with the
        reason for a series that belongs to no meter, or does not fit it. Where the file names no meters there is only
        this one: then what does not fit it is a wrong declaration, and InvalidInput.
        """
        key = (name, column, unit, obis)
        if key not in self._channels:
            if len(self._channels) > 100_000:  # a column of meters that is none
                self._channels.clear()
            try:
                self._channels[key] = self._open(name, column, unit, obis, step)
            except ValueError as error:
                self._channels[key] = str(error)
            except InvalidInput as error:
                if not name:
                    raise
                self._channels[key] = str(error)
        found = self._channels[key]
        if isinstance(found, str):
            raise ValueError(found)
        return found

    def _open(self, name: str, column: str, unit: str, obis: str, step: Step | None) -> Channel | None:
        declared, series = self.declared, self.series(name, column, obis)
        if series and series.skip:
            self.collector.tally.note(f"passed over as declared: {name or column}")
            return None
        wanted = (series.meter if series else "") or name or declared.meter
        if not wanted:
            raise ValueError("no meter is said")
        meter = self.directory.find(wanted, obis if not (series and series.meter) else "")
        self._fits(meter, (series.values if series else "") or declared.values)
        told = (series.unit if series else "") or declared.unit or unit
        if not told:
            raise InvalidInput.of("unit", f"nothing says the unit of {column or name}: declare it")
        opened = Channel(
            meter,
            Unit(told),
            (series.stamp if series else "") or declared.stamp,
            self._step(meter, (series.step if series else "") or declared.step, step),
            Missing(series.missing if series and series.missing is not None else declared.missing),
            {},
        )
        bases = {base for _, base, _ in meter.changes} or {meter.unit}
        if not any(opened.unit.fits(base) for base in bases):
            counted = " or ".join(SYMBOLS.get(base, base) for base in sorted(bases))
            raise InvalidInput.of("unit", f"{meter.id} counts {counted}, which {told} is not")
        if opened.is_interval and not opened.stamp:
            raise InvalidInput.of(
                "stamp", f"{meter.id} has intervals: say whether their times are the start or the end of each"
            )
        return opened

    def _fits(self, meter: KnownMeter, values: str) -> None:
        if meter.kind is Kind.VIRTUAL:
            raise ValueError("is a sum of other meters: nothing is stored for it")
        is_value = _VALUES_OF[meter.kind]
        if values and values != is_value:
            raise InvalidInput.of(
                "values",
                f"{meter.id} takes {_WHAT[is_value]}, and the file is said to hold {_WHAT[values]}: intervals are not"
                " added up, and counters are not taken apart; a meter of the other kind is needed",
            )

    def _step(self, meter: KnownMeter, declared: str, found: Step | None) -> Step | None:
        """The length of a meter's intervals: its own, else what is declared, else what the file shows."""
        if meter.kind is not Kind.INTERVAL:
            return None
        told = parse_step(declared) if declared else None
        if told and meter.step and told is not meter.step:
            raise InvalidInput.of(
                "step", f"{meter.id} has intervals of {meter.step.value}, the file has some of {told.value}"
            )
        step = meter.step or told or found
        if step is None:
            raise InvalidInput.of("step", f"{meter.id} has no reading cycle: say how long its intervals are")
        return step

    # --- which reading -------------------------------------------------------------------------------------

    def cell(self, line: int, channel: Channel, column: str, stamp_ms: int, text: str, status: Status) -> None:
        """Takes a value with the instant that its line says; of bills only `settle` tells where they end."""
        if channel.is_of_bills:
            self._bills.hold(Bill(channel, line, column, stamp_ms, text, status))
            self.collector.held = len(self._bills)
            return
        try:
            is_start = channel.is_interval and channel.stamp == "start"
            end = end_of(stamp_ms, channel.step or Step.QUARTER_HOUR, self._tz) if is_start else stamp_ms
            slot, observed = self._slot(channel, end)
        except ValueError as error:
            self.collector.refuse(line, column, str(error), _at(stamp_ms))
            return
        self.value(line, channel, column, slot, observed, text, status)

    def settle(self) -> Iterator[None]:
        """Takes the amounts that were held until their file is over, one by one."""
        for step, bills in self._bills.take():
            begins = sorted({bill.begin_ms for bill in bills})
            ends = dict(zip(begins, ends_of(begins, step, self._tz), strict=True))
            for bill in bills:
                self._settle(bill, ends[bill.begin_ms])
                yield
        self.collector.held = 0

    def _settle(self, bill: Bill, end: int | str) -> None:
        channel = bill.channel
        if channel.missing.text(bill.text.strip()) or bill.status is Status.GAP:
            self._gap(bill.line, channel, bill.begin_ms)
            return
        try:
            if isinstance(end, str):
                if channel.missing.zero and not self.numbers.parse(bill.text.strip()):
                    self._gap(bill.line, channel, bill.begin_ms)
                    return
                raise ValueError(end)
            slot, observed = self._slot(channel, end)
        except ValueError as error:
            self.collector.refuse(bill.line, bill.column, str(error), _at(bill.begin_ms))
            return
        self.value(bill.line, channel, bill.column, slot, observed, bill.text, bill.status)

    def value(
        self, line: int, channel: Channel, column: str, slot_ms: int, observed_ms: int, text: str, status: Status
    ) -> None:
        """Takes a value for a slot."""
        collector, plain = self.collector, text.strip()
        if status is Status.GAP or channel.missing.text(plain):
            self._gap(line, channel, slot_ms)
            return
        try:
            number = self.numbers.parse(plain)
            if not number and channel.missing.zero:
                self._gap(line, channel, slot_ms)
                return
            if number < 0 and channel.meter.kind is not Kind.INSTANT:
                raise ValueError("must be 0 or more")
            exact = number * channel.multiplier(slot_ms)
            whole = int(exact)
            if whole != exact:
                whole = int(exact.to_integral_value(ROUND_HALF_EVEN))
                collector.tally.rounded += 1
            if abs(whole) >= 1 << 53:
                raise ValueError("is larger than any register")
        except ValueError as error:
            collector.refuse(line, column, str(error), plain)
            return
        collector.add(line, channel.meter, slot_ms, whole, status, observed_ms)

    def _gap(self, line: int, channel: Channel, slot_ms: int) -> None:
        """A slot that is said to have no value. Only what is read by the clock has slots that can be missed."""
        regular = channel.meter.step is not None and channel.meter.step.seconds is not None
        if regular and not self._hand and slot_ms % SLOT_MS == 0:
            self.collector.add(line, channel.meter, slot_ms, 0, Status.GAP)
        else:
            self.collector.tally.missing += 1

    def _slot(self, channel: Channel, end: int) -> tuple[int, int]:
        """The slot of an instant (Unix ms), and when it was observed where that is another one."""
        if end % SLOT_MS == 0 or self._hand:
            if end % 60_000:
                raise ValueError("readings by hand stand on whole minutes")
            return end, 0
        nearest = (end + SLOT_MS // 2) // SLOT_MS * SLOT_MS
        if abs(nearest - end) <= self.declared.tolerance_s * 1000:
            return nearest, 0 if channel.is_interval else end
        raise ValueError("is not on a quarter hour; declare --tolerance or --hand for what is near one")

    def passed_over(self, column: str) -> None:
        """Notes a column that nobody asked for."""
        if column not in self._skipped:
            self._skipped.add(column)
            self.collector.tally.note(f"passed over: {column}")


def _at(instant_ms: int) -> str:
    return datetime.fromtimestamp(instant_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
