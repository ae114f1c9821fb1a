"""Numbers, energies, money and instants as people read them, in German and English. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Final
from zoneinfo import ZoneInfo

_MARKS: Final = {"de": (".", ","), "en": (",", ".")}
_WEEKDAYS: Final = {
    "de": ("Mo", "Di", "Mi", "Do", "Fr", "Sa", "So"),
    "en": ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"),
}

_ZONES: Final = {"CET": "MEZ", "CEST": "MESZ"}


class Formats:
    """How one language writes what has a unit; instants are shown in one time zone."""

    def __init__(self, language: str, tz: ZoneInfo) -> None:
        self.language, self.tz = language, tz
        self._thousands, self._point = _MARKS.get(language, _MARKS["en"])

    def number(self, value: int | float | Decimal, digits: int = 0) -> str:
        """A number, rounded half up, with a true minus sign."""
        rounded = Decimal(str(value)).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP)
        text = f"{abs(rounded):,.{digits}f}".replace(",", "\0").replace(".", self._point).replace("\0", self._thousands)
        return f"−{text}" if rounded < 0 else text

    def percent(self, permille: int) -> str:
        """A level; unknown is a dash."""
        if permille < 0:
            return "–"
        return f"{self.number(Decimal(permille) / 10, 1 if permille % 10 else 0)} %"

    def energy(self, wh: int) -> str:
        """Energy in the unit that makes it readable: kWh, from 10 MWh on MWh."""
        kwh = Decimal(wh) / 1000
        if abs(kwh) >= 10_000:
            return f"{self.number(kwh / 1000, 1)} MWh"
        return f"{self.number(kwh, 0 if abs(kwh) >= 100 else 1 if abs(kwh) >= 10 else 2)} kWh"

    def money(self, eur: Decimal) -> str:
        """An amount in euros."""
        return f"{self.number(eur, 2)} €" if self.language == "de" else f"€{self.number(eur, 2)}".replace("€−", "−€")

    def mass(self, grams: int) -> str:
        """Emissions: kilograms, from ten tonnes on tonnes."""
        kilograms = Decimal(grams) / 1000
        if abs(kilograms) >= 10_000:
            return f"{self.number(kilograms / 1000, 1)} t"
        return f"{self.number(kilograms, 0 if abs(kilograms) >= 10 else 1)} kg"

    def local(self, instant: datetime) -> datetime:
        """An instant on the town's clocks."""
        return instant.astimezone(self.tz)

    def clock(self, instant: datetime) -> str:
        """Time of day."""
        return f"{self.local(instant):%H:%M}"

    def day(self, day: date) -> str:
        """A day without its year."""
        weekday = _WEEKDAYS.get(self.language, _WEEKDAYS["en"])[day.weekday()]
        return f"{weekday} {day.day}.{day.month}." if self.language == "de" else f"{weekday} {day:%d/%m}"

    def date_and_time(self, instant: datetime) -> str:
        """Day and time of day."""
        local = self.local(instant)
        return f"{self.day(local.date())} {local:%H:%M}"

    def long_date(self, instant: datetime) -> str:
        """Day with its year."""
        local = self.local(instant)
        pattern = f"{local.day}.{local.month}.{local.year}" if self.language == "de" else f"{local:%d/%m/%Y}"
        return f"{_WEEKDAYS.get(self.language, _WEEKDAYS['en'])[local.weekday()]} {pattern}"

    def day_with_year(self, day: date) -> str:
        """A day with its year, without the weekday."""
        return f"{day.day}.{day.month}.{day.year}" if self.language == "de" else f"{day:%d/%m/%Y}"

    def zoned(self, instant: datetime) -> str:
        """Day with its year, time of day, and the zone that it is told in."""
        local = self.local(instant)
        return f"{self.long_date(instant)}, {local:%H:%M} {self.zone_name(instant)}"

    def zone_name(self, instant: datetime) -> str:
        """The zone's short name at an instant, as people of the language write it."""
        name = self.local(instant).tzname() or ""
        return _ZONES.get(name, name) if self.language == "de" else name

    def span(self, seconds: int) -> str:
        """How long something lasted, in the largest unit that leaves it readable."""
        for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
            if seconds >= 2 * size:
                return f"{self.number(seconds // size)} {unit}"
        return f"{self.number(max(0, seconds))} s"

    def listed(self, words: Sequence[str]) -> str:
        """Words in a row."""
        return ", ".join(words)
