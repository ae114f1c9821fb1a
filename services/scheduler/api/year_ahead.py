"""What goes wrong at groups within a year, asked when something is saved: groups, floors and waivers are lighting's.

What that is, refused_ahead.py says.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from datetime import date

from domain.errors import LichtbuchError, RetryableError
from domain.night import zone
from servicekit.context import Tenant
from services.scheduler.calendar import Calendar
from services.scheduler.lighting import Lighting
from services.scheduler.places import place_of_group
from services.scheduler.preview import Period, PreviewedGroup
from services.scheduler.profile import NIGHTS_CHECKED, Profile
from services.scheduler.records import Group, Town
from services.scheduler.refused_ahead import refused_ahead


async def groups_following(lighting: Lighting, tenant: Tenant, uids: Collection[str]) -> list[Group]:
    """The groups of these uids, as far as lighting has them. Raises Unavailable or TimedOut."""
    return [group for group in await lighting.groups(tenant.name) if group.uid in uids]


async def look_ahead(
    lighting: Lighting,
    tenant: Tenant,
    town: Town,
    groups: Sequence[tuple[Group, Calendar]],
    first_night: date,
    changed: Mapping[str, Profile] | None = None,
) -> list[str]:
    """Warnings of `refused_ahead` for groups and their calendars; that nobody looked, while lighting does not answer.

    Raises FailedPrecondition for a group without a place, InvalidInput for one that lighting has no more.
    """
    if not groups:
        return []
    period = Period(first_night, NIGHTS_CHECKED, zone(tenant.time_zone))
    try:
        loads, _ = await lighting.loads(tenant.name, [group.name for group, _ in groups], *period.bounds)
    except RetryableError as error:
        return [not_looked_ahead(error)]
    seen = [
        (PreviewedGroup(group.name, place_of_group(group, tenant), loads.get(group.name)), calendar)
        for group, calendar in groups
    ]
    return await asyncio.to_thread(refused_ahead, town, changed or {}, seen, period)


def not_looked_ahead(error: LichtbuchError) -> str:
    """The warning where what lighting would refuse within a year is not known."""
    return f"nobody has looked what lighting would refuse of it in the year ahead: {error.message}"
