"""MSCONS, the EDIFACT message that German grid operators send readings in: load profiles and counter readings.

Structure as in the message descriptions of BDEW, as far as readings go: UNB (UNH BGM DTM RFF NAD UNS (NAD+DP LOC+172
(RFF+MG DTM (LIN PIA+5 (QTY DTM STS))))... UNT)... UNZ. A quantity stands for the interval from DTM+163 to DTM+164, or
for the instant of DTM+7 or DTM+9; what its own DTM do not say, those of its location do. Every defect is named with the
number of its segment, counted from UNB as 1; what is whole is taken all the same. Months and years between dates are
taken once the file is over: only those beside them show whether the last day is in them.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Final, NamedTuple

from cli.importing.readings.channel import CYCLES, Channel
from cli.importing.readings.collect import Piece
from cli.importing.readings.dated import Dated, DatedAmounts
from cli.importing.readings.declared import Declared
from cli.importing.readings.edifact import BrokenOff, Segment, Segments
from cli.importing.readings.known import Status, Step
from cli.importing.readings.source import open_bytes, scan
from cli.importing.readings.stamps import end_of, instants_of
from cli.importing.readings.taking import Taker
from domain.errors import InvalidInput
from services.metering.cycle import may_last

QUALITIES: Final = {
    "220": Status.MEASURED,   # true value
    "79": Status.MEASURED,    # sum of energy
    "67": Status.ESTIMATED,   # substitute value
    "201": Status.ESTIMATED,  # proposed value
    "187": Status.ESTIMATED,  # forecast value
    "Z18": Status.ESTIMATED,  # provisional value
    "20": Status.GAP,         # value that may not be used
    "Z30": Status.GAP,        # missing value
}  # fmt: skip
"""What the qualifier of a quantity (DE 6063) says of it. What is no true value gives way to one that comes later."""
_DATE: Final = "102"
_DIGITS: Final = {_DATE: 8, "203": 12, "303": 12, "204": 14, "304": 14}
_ELECTRICITY: Final = ("1-",)
_GAS: Final = ("7-",)
_VOLUME: Final = "3."
"""Quantity of IEC 62056-61 for gas: volume as measured."""
_GROUP_TAGS: Final = frozenset({"LOC", "LIN", "NAD", "UNT", "UNZ", "QTY"})
_LENGTHS: Final = {step.seconds: step for step in Step if step.seconds}


def looks_like(head: bytes) -> bool:
    """Whether a file begins as EDIFACT does."""
    return head.lstrip(b"\xef\xbb\xbf \r\n\t").startswith((b"UNA", b"UNB+"))


class MsconsReader:
    """Takes the quantities of the messages of a file."""

    def __init__(self, path: Path, declared: Declared, taker: Taker, tz: tzinfo) -> None:
        self._path, self._declared, self._taker, self._tz = path, declared, taker, tz
        # EDIFACT's character sets UNOA to UNOC are parts of Latin-1.
        scanned = scan(path, declared.encoding)
        self._encoding = "latin-1" if scanned.encoding == "cp1252" else scanned.encoding
        self.size, self.at = scanned.size, 0
        """Bytes of the file, and how many of them have been read."""
        self._message = _Message()
        self._messages = 0
        self._dated = DatedAmounts(tz)

    def pieces(self) -> Iterator[Piece]:
        """All readings, by the piece."""
        collector = self._taker.collector
        with open_bytes(self._path) as raw, io.TextIOWrapper(raw, encoding=self._encoding, newline="") as stream:
            segments = Segments(stream)
            last = 0
            ended = False
            try:
                for segment in segments:
                    collector.tally.lines += 1
                    last = segment.number
                    if last == 1 and segment.tag != "UNB":
                        raise InvalidInput.of("file", f"segment 1 is {segment.tag or 'none'}, not UNB: no interchange")
                    ended = segment.tag == "UNZ"
                    self._take(segment)
                    if collector.full:
                        self.at = raw.tell()
                        yield collector.take()
                self._finish_quantity()
                if not ended:
                    collector.refuse(last, "UNZ", "the file ends without UNZ: it was broken off", "")
            except BrokenOff as error:
                self._finish_quantity()
                collector.refuse(error.number, "", "has no end: the file was broken off", error.text)
        for _ in self._settle():
            if collector.full:
                yield collector.take()
        yield collector.take()

    def _refuse(self, segment: Segment, reason: str, value: str = "") -> None:
        self._taker.collector.refuse(segment.number, segment.tag, reason, value)

    # --- structure -----------------------------------------------------------------------------------------

    def _take(self, segment: Segment) -> None:
        message, tag = self._message, segment.tag
        message.segments += 1
        if tag in _GROUP_TAGS:
            self._finish_quantity()
        match tag:
            case "":
                self._refuse(segment, "is no segment", segment.get(0))
            case "UNB":
                if segment.number != 1:
                    self._refuse(segment, "begins a second interchange: give one file for each")
            case "UNH":
                self._begin_message(segment)
            case "UNT":
                self._end_message(segment)
            case "UNZ":
                self._end_interchange(segment)
            case "NAD" if segment.get(0) == "DP":
                message.begin_location()
            case "LOC" if segment.get(0) == "172":
                message.begin_location(segment.get(1))
            case "RFF" if segment.get(0) == "MG":
                message.serial = segment.get(0, 1)
            case "LIN":
                message.obis = ""
                message.line_times = {}
            case "PIA" if segment.get(0) == "5":
                message.obis = segment.get(1)
            case "QTY":
                self._quantity(segment)
            case "DTM":
                self._time(segment)

    def _begin_message(self, segment: Segment) -> None:
        if self._message.reference is not None:
            self._refuse(segment, "begins although the message before has no UNT", segment.get(0))
        kind = segment.get(1)
        self._message = _Message(segment.get(0), is_readings=kind == "MSCONS", segments=1)
        self._messages += 1
        if kind != "MSCONS":
            self._refuse(segment, "is no MSCONS; the message is passed over", kind)

    def _end_message(self, segment: Segment) -> None:
        message = self._message
        if message.reference is None:
            self._refuse(segment, "ends a message that has not begun")
            return
        if segment.get(0) != str(message.segments):
            self._refuse(segment, f"counts {segment.get(0)} segments, the message has {message.segments}")
        if segment.get(1) != message.reference:
            self._refuse(segment, f"is the end of {segment.get(1)!r}, the message is {message.reference!r}")
        self._message = _Message()

    def _end_interchange(self, segment: Segment) -> None:
        if self._message.reference is not None:
            self._refuse(segment, "ends the interchange although the last message has no UNT")
        if segment.get(0) != str(self._messages):
            self._refuse(segment, f"counts {segment.get(0)} messages, the file has {self._messages}")

    # --- quantities ----------------------------------------------------------------------------------------

    def _time(self, segment: Segment) -> None:
        message = self._message
        qualifier = segment.get(0)
        if qualifier not in ("163", "164", "7", "9"):
            return
        try:
            form = segment.get(0, 2)
            instant = _Instant(self._instant(segment.get(0, 1), form), form == _DATE)
        except ValueError as error:
            self._refuse(segment, str(error), segment.get(0, 1))
            message.broken_time = True
            return
        if message.quantity is not None:
            message.own_times[qualifier] = instant
        elif message.obis:
            message.line_times[qualifier] = instant
        else:
            message.times[qualifier] = instant

    def _quantity(self, segment: Segment) -> None:
        message = self._message
        if not message.is_readings:
            return
        message.quantity = segment
        message.own_times, message.broken_time = {}, False

    def _finish_quantity(self) -> None:
        message = self._message
        segment, message.quantity = message.quantity, None
        if segment is None or message.broken_time:
            return
        try:
            self._reading(message, segment)
        except ValueError as error:
            self._refuse(segment, str(error), segment.get(0, 1))

    def _reading(self, message: _Message, segment: Segment) -> None:
        qualifier, text = segment.get(0), segment.get(0, 1)
        status = self._declared.quality_words.get(qualifier.casefold(), QUALITIES.get(qualifier))
        if status is None:
            raise ValueError(f"has the qualifier {qualifier}, which is none that is known: say what it means")
        name = message.location or message.serial
        if not name:
            raise ValueError("belongs to no location: there is neither LOC+172 nor RFF+MG")
        times = {**message.times, **message.line_times, **message.own_times}
        begin, end = times.get("163"), times.get("164")
        step = _LENGTHS.get((end.ms - begin.ms) // 1000) if begin is not None and end is not None else None
        channel = self._channel(message, name, segment.get(0, 2) or _unit_of(message.obis), step)
        if channel is None:
            self._taker.collector.tally.skipped += 1
            return
        if channel.is_interval:
            if begin is None or end is None:
                raise ValueError("is no interval: DTM+163 or DTM+164 is missing")
            if end.is_date and channel.step in CYCLES:
                after = end_of(end.ms, Step.DAY, self._tz)
                self._dated.hold(
                    message.obis,
                    Dated(channel, channel.step, segment.number, begin.ms, end.ms, after, text, status),
                )
                self._taker.collector.held = len(self._dated)
                return
            slot = end.ms if channel.step is None else self._end(begin.ms, end, channel.step)
        else:
            at = times.get("7", times.get("9", end if begin is None or begin == end else None))
            if at is None:
                raise ValueError("is no state at an instant: DTM+7 and DTM+9 are missing")
            slot = at.ms
        self._value(segment.number, channel, slot, text, status)

    def _value(self, number: int, channel: Channel, slot: int, text: str, status: Status) -> None:
        # ISO 9735 takes point and comma for the same decimal mark, whichever UNA names.
        self._taker.cell(number, channel, "QTY", slot, text.replace(",", "."), status)

    def _settle(self) -> Iterator[None]:
        """Takes the amounts between dates that were held until the file is over, one by one."""
        for one, has_last_day in self._dated.take():
            last = _Instant(one.after_ms if has_last_day else one.end_ms, has_last_day is None)
            try:
                end = self._end(one.begin_ms, last, one.step)
            except ValueError as error:
                self._taker.collector.refuse(one.line, "QTY", str(error), one.text)
            else:
                self._value(one.line, one.channel, end, one.text, one.status)
            yield
        self._taker.collector.held = 0

    def _end(self, begin_ms: int, end: _Instant, step: Step) -> int:
        """Where an interval of a meter that has such steps ends, Unix ms. Bills may last some days more or less; of
        dates alone the last day is in it where that makes the step whole. Raises ValueError for anything else."""
        try:
            whole = end_of(begin_ms, step, self._tz)
        except ValueError:  # a month that begins on the 31st
            whole = None
        if whole is not None and whole in (end.ms, end_of(end.ms, Step.DAY, self._tz) if end.is_date else end.ms):
            return whole
        is_bill = step in CYCLES and may_last(CYCLES[step], end.ms - begin_ms)
        if is_bill and not end.is_date:
            return end.ms
        why = ": dates do not say whether the last day is in it" if is_bill else ""
        raise ValueError(f"is an interval of {(end.ms - begin_ms) // 60000} minutes, not of {step.value}{why}")

    def _channel(self, message: _Message, name: str, unit: str, step: Step | None) -> Channel | None:
        taker, known = self._taker, (name, message.location, message.serial)
        names = [name, *(other for other in known[1:] if other and other != name)]
        for one in names:
            if taker.series(one, "", message.obis) is not None:
                return taker.channel(one, "", unit, message.obis, step)
        reasons = []
        for one in names:
            try:
                return taker.channel(one, "", unit, message.obis, step)
            except ValueError as error:
                reasons.append(f"{one} {error}")
        raise ValueError("; ".join(reasons))

    def _instant(self, text: str, form: str) -> int:
        """A DTM's instant, Unix ms. 303 and 304 have their zone behind the digits; the others are the town's."""
        length = _DIGITS.get(form)
        digits, zone = text[: length or 0], text[length or 0 :]
        if length is None or len(digits) != length or not digits.isdigit():
            raise ValueError(f"is no time of format {form}")
        try:
            local = datetime(*(int(digits[a:b]) for a, b in _FIELDS if b <= length))  # type: ignore[arg-type]  # noqa: DTZ001
        except ValueError:
            raise ValueError("is no time that there is") from None
        if form in ("303", "304"):
            offset = _offset(zone)
            return round((local - offset).replace(tzinfo=UTC).timestamp() * 1000)
        return instants_of(local, self._tz, end=True).first


class _Instant(NamedTuple):
    """A time of a DTM, Unix ms; or the beginning of the day that it names."""

    ms: int
    is_date: bool


_FIELDS: Final = ((0, 4), (4, 6), (6, 8), (8, 10), (10, 12), (12, 14))


def _offset(zone: str) -> timedelta:
    """ "+01" or "+0100" behind the digits, or a word."""
    words = {"UTC": 0, "GMT": 0, "Z": 0, "MEZ": 1, "CET": 1, "MESZ": 2, "CEST": 2}
    if zone.upper() in words:
        return timedelta(hours=words[zone.upper()])
    if len(zone) in (3, 5, 6) and zone[0] in "+-" and zone[1:].replace(":", "").isdigit():
        hours, minutes = int(zone[1:3]), int(zone[3:].replace(":", "") or 0)
        if hours <= 14 and minutes < 60:
            size = timedelta(hours=hours, minutes=minutes)
            return -size if zone[0] == "-" else size
    raise ValueError("has no zone behind its digits, as format 303 has")


def _unit_of(obis: str) -> str:
    """The unit of a quantity that names none: kWh for electricity, cubic metres for the volume of gas.

    Whatever else a gas register counts may be energy, which would be wrong by a factor of eleven: it has to be said.
    """
    if obis.startswith(_ELECTRICITY):
        return "kWh"
    return "m3" if obis.startswith(_GAS) and obis.partition(":")[2].startswith(_VOLUME) else ""


class _Message:
    """Where in a message the reader is."""

    def __init__(self, reference: str | None = None, *, is_readings: bool = False, segments: int = 0) -> None:
        self.reference, self.is_readings, self.segments = reference, is_readings, segments
        self.quantity: Segment | None = None
        self.broken_time = False
        self.own_times: dict[str, _Instant] = {}
        self.begin_location()

    def begin_location(self, location: str = "") -> None:
        """A new metering point: what was said of the one before holds no longer."""
        self.location = location
        self.serial = self.obis = ""
        self.times: dict[str, _Instant] = {}
        self.line_times: dict[str, _Instant] = {}
