"""Who answers on a Modbus line: unit by unit, with identity, SunSpec model and the profiles that may fit.

Only reads: one holding register, function 0x2B/0x0E, the SunSpec marker, and the points by which a profile is known.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from cli.field.addressing import with_query, with_unit
from cli.field.display import Row
from cli.field.guess import by_maker_or_values, by_product
from cli.field.registers import parse_registers, read_registers, reading_profile, register_rows
from domain.errors import LichtbuchError
from fieldbus.device import Device
from fieldbus.values import DeviceHealth, Identity, ValueBatch

if TYPE_CHECKING:
    from fieldbus.client import Fieldbus

_PROBE: Final = parse_registers("holding:0")
_SUNSPEC_BASES: Final = (40000, 50000, 0)
_SUNSPEC_MARKER: Final = "SunS"
_SUNSPEC_PROFILE: Final = "sunspec-meter"
_SUNSPEC_END: Final = 0xFFFF
_SUNSPEC_COMMON: Final = 1
_MOST_MODELS: Final = 32
_LAST_REGISTER: Final = 65_535


@dataclass
class Found:
    """What is known of one unit."""

    unit: int
    bauds: str = ""  # of a serial line
    identity: Identity = field(default_factory=Identity)
    models: list[int] = field(default_factory=list)  # SunSpec
    profiles: list[str] = field(default_factory=list)
    why: str = ""  # why these profiles
    note: str = ""

    def row(self) -> Row:
        """For a table or a document."""
        return {
            "unit": self.unit,
            "bauds": self.bauds,
            "vendor": self.identity.vendor,
            "product": self.identity.product,
            "revision": self.identity.revision,
            "profiles": self.profiles,
            "why": self.why,
            "note": self.note,
        }


class LineDown(Exception):
    """The line itself does not stand: asking other units is of no use."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence


async def scan_units(
    open_line: Callable[[], Fieldbus],
    url: str,
    units: Sequence[int],
    *,
    settings: Sequence[dict[str, str | int | None]],
    guess: bool,
    progress: Callable[[int, int], None],
) -> AsyncIterator[Found]:
    """Everyone who answers. `settings` are those of a serial line to try, `progress` is told units asked and left.

    Raises LineDown when no connection can be made.
    """
    total = len(units) * len(settings)
    asked = settings_tried = 0
    useless: LineDown | None = None
    for setting in settings:
        # Another speed is another connection, and the first one has to be given up before.
        fieldbus = open_line()
        spoken = with_query(url, **setting)
        try:
            for unit in units:
                progress(asked, total)
                asked += 1
                found = await _ask(fieldbus, with_unit(spoken, unit), unit, guess=guess)
                if found is not None:
                    found.bauds = " ".join(str(value) for value in setting.values() if value is not None)
                    yield found
        except LineDown as down:
            if len(settings) == 1:
                raise
            useless = down  # an adapter may not know one speed, and the next one well
        else:
            settings_tried += 1
        finally:
            await fieldbus.close()
    if useless is not None and not settings_tried:
        raise useless


async def _ask(fieldbus: Fieldbus, url: str, unit: int, *, guess: bool) -> Found | None:
    device = fieldbus.open(url, reading_profile(_PROBE))
    try:
        await device.read(tuple(reading_profile(_PROBE).device_points))
        health = device.health()
        if not _answered(health):
            if health.counters.requests == 0:
                raise LineDown(health.last_error)
            return None
        found = Found(unit)
        try:
            found.identity = await device.identify()
        except LichtbuchError as error:
            found.note = f"answers, but not to the question for its name ({error})"
        if found.identity == Identity() and not found.note:
            found.note = "answers, but gives no name"
    finally:
        await device.close()
    if guess:
        await _guess(fieldbus, url, found)
    return found


def _answered(health: DeviceHealth) -> bool:
    """Whether the unit itself said anything; a gateway's word that it is absent does not count."""
    return (
        health.counters.answers > 0
        and "exception 0A" not in health.last_error
        and "exception 0B" not in health.last_error
    )


async def _guess(fieldbus: Fieldbus, url: str, found: Found) -> None:
    if named := by_product(found.identity):
        found.profiles, found.why = named, "by its name"
        return
    base = await _sunspec_base(fieldbus, url)
    if base is not None:
        found.models, texts = await _sunspec_models(fieldbus, url, base)
        if found.identity == Identity():
            found.identity, found.note = texts, ""
        found.profiles = [_SUNSPEC_PROFILE]
        found.why = f"SunSpec at {base}, models {', '.join(map(str, found.models))}"
        return
    found.profiles, found.why = await by_maker_or_values(fieldbus, url, found.identity)


async def _sunspec_base(fieldbus: Fieldbus, url: str) -> int | None:
    for base in _SUNSPEC_BASES:
        rows = await _read(fieldbus, url, f"holding:{base}-{base + 1}:string")
        if rows[0]["value"] == _SUNSPEC_MARKER:
            return base
    return None


async def _sunspec_models(fieldbus: Fieldbus, url: str, base: int) -> tuple[list[int], Identity]:
    """The chain of models: each begins with its id and its length (SunSpec Information Model Specification 4.2)."""
    models: list[int] = []
    identity = Identity()
    address = base + 2
    for _ in range(_MOST_MODELS):
        number, length = (row["value"] for row in await _read(fieldbus, url, f"holding:{address}-{address + 1}"))
        if number is None or length is None or number == _SUNSPEC_END:
            break
        models.append(number)
        if number == _SUNSPEC_COMMON:
            identity = await _sunspec_identity(fieldbus, url, address)
        address += 2 + length
        if address > 0xFFFE:
            break
    return models, identity


async def _sunspec_identity(fieldbus: Fieldbus, url: str, address: int) -> Identity:
    """Manufacturer, model and version of the common model: 16, 16 and 8 registers. Nothing where the chain has led to
    the end of the registers, which only one that is none does."""
    fields = ((2, 16), (18, 16), (42, 8))
    if address + sum(fields[-1]) - 1 > _LAST_REGISTER:
        return Identity()
    texts = []
    for offset, length in fields:
        first = address + offset
        rows = await _read(fieldbus, url, f"holding:{first}-{first + length - 1}:string")
        texts.append(str(rows[0]["value"] or ""))
    return Identity(*texts)


async def _read(fieldbus: Fieldbus, url: str, registers: str) -> list[Row]:
    values = parse_registers(registers)
    device: Device = fieldbus.open(url, reading_profile(values))
    try:
        batch: ValueBatch = await read_registers(device, values)
    finally:
        await device.close()
    return register_rows(values, batch)
