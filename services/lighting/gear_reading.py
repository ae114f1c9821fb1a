"""What drivers of one gateway say of themselves, and its lines of gear without an address: read in the turn of the
gateway's worker, a few at a time, so that commands go before it.

Only drivers that answered control's last reading are asked, and only points that the gateway's profile names; a
connection that counts its bytes is left alone. Not here: what follows from it (swapped.py, gear_keeper.py).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np

from fieldbus.profile import Profile
from fieldbus.values import PointAddress, Quality, ValueBatch
from services.lighting.abilities import line_of
from services.lighting.columns import Flags, Rows
from services.lighting.field import Link
from services.lighting.gear_board import LinesSeen, Stray
from services.lighting.ground import Ground
from services.lighting.state import Power
from services.lighting.swapped import Reading

HOURS: Final = "burning_hours"
LEVELS: Final = ("level_power_on", "level_communication_loss")
IDENTITY: Final = "gear_identity"
FAILURE: Final = "gear_failure"
CONFLICT: Final = "address_conflict"
UNADDRESSED: Final = "gears_unaddressed"
_AT_ONCE: Final = 16


@dataclass(slots=True)
class Round:
    """What one visit at a gateway found. asked: whether it could be asked at all. readings: by uid of the luminaire."""

    asked: bool = False
    in_control: bool = False
    rollover_s: int = 0
    readings: dict[str, Reading] = field(default_factory=dict)
    lines: LinesSeen | None = None


async def visit(ground: Ground, link: Link, gateway_uid: str, found: Round, *, gears: bool) -> None:
    """Fills a round: the lines, and what each driver says where `gears`."""
    columns = ground.columns
    gateway = next((row for row, g in enumerate(columns.inventory.gateways) if g.uid == gateway_uid), -1)
    if gateway < 0 or link.is_counted or link.over_budget or link.problem:
        return
    rows = columns.rows_by_gateway[gateway]
    rows = rows[ground.supply_of(rows) != Power.OFF]
    following = ground.following
    answers = (following.silent[rows] == 0) & ~following.gear_failure[rows] & (ground.signs.lamp_read_ms[rows] > 0)
    if not answers.any():
        return  # by day, or a gateway that is away: nobody to ask
    found.asked, found.in_control = True, link.may_write
    found.rollover_s = rollover_s(link.profile)
    found.lines = await _lines(ground, link, rows, answers)
    if not gears:
        return
    shared = (found.lines.conflicts if found.lines is not None else None) or frozenset()
    mine = [row for row in rows[answers].tolist() if columns.uids[row] not in shared]
    for first in range(0, len(mine), _AT_ONCE):
        await ground.calm.wait()
        if ground.retired:
            return
        await _drivers(ground, link, mine[first : first + _AT_ONCE], found)


def rollover_s(profile: Profile) -> int:
    """Largest number of the counter of burning hours plus one, in seconds; 0 where it does not roll over."""
    binding = profile.points.get(HOURS)
    place = None if binding is None else binding.modbus
    if binding is None or place is None or place.format.kind != "u" or place.format.size > 4:
        return 0
    return round(float(2 ** (8 * place.format.size)) * binding.conversion.scale)


async def _drivers(ground: Ground, link: Link, rows: list[int], found: Round) -> None:
    columns = ground.columns
    points = tuple(
        PointAddress(name, address)
        for name in (FAILURE, HOURS, *LEVELS, IDENTITY)
        for address in columns.address[rows].tolist()
        if _has(link.profile, name, address)
    )
    if not points:
        return
    batch = await link.read(points)
    if batch is None:
        return
    values, texts, at_ms = _good(batch)
    for row in rows:
        address = int(columns.address[row])
        place = {name: PointAddress(name, address) for name in (FAILURE, HOURS, *LEVELS, IDENTITY)}
        if values.get(place[FAILURE]):
            continue
        hours = values.get(place[HOURS])
        levels = [values.get(place[name]) for name in LEVELS]
        instants = [at_ms[point] for point in place.values() if point in at_ms]
        if not instants:
            continue
        found.readings[columns.uids[row]] = Reading(
            at_ms=at_ms.get(place[HOURS], min(instants)),
            hours_s=None if hours is None else round(hours),
            power_on_permille=None if levels[0] is None else round(levels[0]),
            communication_loss_permille=None if levels[1] is None else round(levels[1]),
            identity=texts.get(place[IDENTITY]),
        )


async def _lines(ground: Ground, link: Link, rows: Rows, answers: Flags) -> LinesSeen | None:
    """What lines say; None where the gateway has no word for it, or did not answer."""
    columns, profile = ground.columns, link.profile
    lines = line_of(columns.address[rows])
    asked = [n for n in np.unique(lines).tolist() if _has(profile, UNADDRESSED, n)]
    shared = [row for row in rows.tolist() if _has(profile, CONFLICT, int(columns.address[row]))]
    points = (
        *(PointAddress(UNADDRESSED, n) for n in asked),
        *(PointAddress(CONFLICT, int(columns.address[row])) for row in shared),
    )
    batch = await link.read(points) if points else None
    if batch is None or ground.retired:
        return None
    values, _, at_ms = _good(batch)
    if not values:
        return None
    strays: dict[int, Stray] = {}
    for line in asked:
        count = values.get(PointAddress(UNADDRESSED, line))
        if count is not None:
            silent = rows[(lines == line) & ~answers]
            strays[line] = Stray(round(count), columns.uids[int(silent[0])] if silent.size == 1 else "")
    known = [row for row in shared if PointAddress(CONFLICT, int(columns.address[row])) in values]
    conflicts = frozenset(
        columns.uids[row] for row in known if values[PointAddress(CONFLICT, int(columns.address[row]))]
    )
    return LinesSeen(max(at_ms.values()), strays or None, conflicts if known else None)


def _has(profile: Profile, name: str, index: int) -> bool:
    """Whether a product can be asked for a point of this number."""
    if not profile.readable(name):
        return False
    limits = profile.points[name].index_range
    return limits is None or limits[0] <= index <= limits[1]


def _good(batch: ValueBatch) -> tuple[dict[PointAddress, float], dict[PointAddress, str], dict[PointAddress, int]]:
    """Numbers, texts and instants of what is good; what is only uncertain says nothing."""
    values: dict[PointAddress, float] = {}
    texts: dict[PointAddress, str] = {}
    at_ms: dict[PointAddress, int] = {}
    for row, point in enumerate(batch.points):
        if batch.quality[row] != Quality.GOOD:
            continue
        at_ms[point] = int(batch.observed_at[row])
        if point.point == IDENTITY:
            texts[point] = batch.texts.get(row, "").strip()
        else:
            values[point] = float(batch.values[row])
    return values, texts, at_ms
