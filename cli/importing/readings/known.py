"""What an import has to know of the town's meters: kind, unit, scale, cycle, and by which names files call them.

Pure: the service's messages are turned into these by who asks for them. The numbers of the enumerations are those of
the contract.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Final

from domain.errors import InvalidInput


class Kind(IntEnum):
    """What the values of a meter are."""

    COUNTER = 1
    INTERVAL = 2
    INSTANT = 3
    STOCK = 4
    VIRTUAL = 5


class Status(IntEnum):
    """What kind of reading it is."""

    MEASURED = 1
    GAP = 2
    DOUBTFUL = 3
    HAND = 4
    ESTIMATED = 5
    EDITED = 6
    SUBSTITUTED = 7


class Step(Enum):
    """Length of an interval, as options and mappings write it. Days, months and years are the town's own."""

    QUARTER_HOUR = "15m"
    HALF_HOUR = "30m"
    HOUR = "1h"
    DAY = "1d"
    MONTH = "1mo"
    YEAR = "1y"

    @property
    def seconds(self) -> int | None:
        """Its length where that is the same all year."""
        return _SECONDS.get(self)


_SECONDS: Final = {Step.QUARTER_HOUR: 900, Step.HALF_HOUR: 1800, Step.HOUR: 3600}
_SPELLINGS: Final = {"60m": "1h", "hour": "1h", "day": "1d", "month": "1mo", "year": "1y"}


def parse_step(text: str, field: str = "step") -> Step:
    """A step as people write it. Raises InvalidInput."""
    plain = text.strip().casefold().removesuffix("in") if text.strip().casefold().endswith("min") else text.strip()
    plain = _SPELLINGS.get(plain.casefold(), plain.casefold())
    for step in Step:
        if step.value == plain:
            return step
    raise InvalidInput.of(field, f"{text!r} is none of {', '.join(step.value for step in Step)}")


@dataclass(frozen=True, slots=True)
class KnownMeter:
    """A meter of the town. `unit` is the contract's word ("WH", "L", "KG"); values count 10^scale_exponent of it.

    `step` is its reading cycle, None where it is read irregularly. `aliases` are the other names that files may give
    it: serial number, market and metering location. `in_housing_of_another`: it shares them with the meter it sits in,
    and only its OBIS code tells it from that one. `changes` are instants (Unix ms) from which on an exchange brought
    another unit or scale, with these, in order of time.
    """

    name: str
    unit: str = "WH"
    kind: Kind = Kind.COUNTER
    scale_exponent: int = 0
    step: Step | None = Step.QUARTER_HOUR
    obis: str = ""
    aliases: tuple[str, ...] = ()
    changes: tuple[tuple[int, str, int], ...] = ()
    in_housing_of_another: bool = False

    def counts_at(self, slot_ms: int) -> tuple[str, int]:
        """Unit and scale exponent of what hung there then."""
        told = self.unit, self.scale_exponent
        if self.changes:
            told = self.changes[0][1:]
            for since, unit, scale in self.changes:
                if since <= slot_ms:
                    told = unit, scale
        return told

    @property
    def id(self) -> str:
        """The last part of its name."""
        return self.name.rsplit("/", 1)[-1]


class Directory:
    """The town's meters, to be found by what a file calls them."""

    def __init__(self, meters: Iterable[KnownMeter]) -> None:
        self._by_name: dict[str, KnownMeter] = {}
        self._by_alias: defaultdict[str, list[KnownMeter]] = defaultdict(list)
        for meter in meters:
            self._by_name[meter.name] = meter
            for alias in {plain_id(text) for text in meter.aliases if text}:
                self._by_alias[alias].append(meter)
        self._by_id = {meter.id: meter for meter in self._by_name.values()}

    def __len__(self) -> int:
        return len(self._by_name)

    def find(self, text: str, obis: str = "") -> KnownMeter:
        """The meter that a text means: a name, an id, a serial number, a location (with the series' OBIS code).

        Raises ValueError with the reason where there is none, or more than one.
        """
        exact = self._by_name.get(text) or self._by_id.get(text)
        if exact is not None:
            return exact
        found = self._by_alias.get(plain_id(text), [])
        if obis and len(found) > 1:
            found = [meter for meter in found if meter.obis and same_register(meter.obis, obis)]
        elif len(found) > 1:
            found = [meter for meter in found if not meter.in_housing_of_another] or found
        if not found:
            raise ValueError("is no meter of the town")
        if len(found) > 1:
            raise ValueError(f"means {' and '.join(sorted(meter.id for meter in found)[:5])}: say which in a mapping")
        meter = found[0]
        if obis and meter.obis and not same_register(meter.obis, obis):
            raise ValueError(f"has no meter of the town for the register {obis}")
        return meter


def plain_id(text: str) -> str:
    """An identifier without the spaces and the case that people add to it."""
    return "".join(text.split()).casefold()


def same_register(one: str, other: str) -> bool:
    """Whether two OBIS codes mean the same register: "1-1:1.8.0" and "1-1:1.8.0*255" do, "1.8.0" is any channel's."""
    left, right = _register(one), _register(other)
    return left[1] == right[1] and (not left[0] or not right[0] or left[0] == right[0])


def _register(code: str) -> tuple[str, str]:
    plain = plain_id(code).split("*")[0]
    channel, colon, register = plain.rpartition(":")
    return (channel, register) if colon else ("", plain)
