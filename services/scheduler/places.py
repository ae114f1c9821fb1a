"""Where the sun is computed: for a group in the middle of its members, else at the municipality's position."""

from __future__ import annotations

from domain.errors import FailedPrecondition
from domain.night import zone
from servicekit.context import Tenant
from services.scheduler.profile import Place
from services.scheduler.records import Group


def place_of_town(tenant: Tenant) -> Place:
    """The municipality's place and clock. Raises FailedPrecondition where nobody has said where it lies.

    The contract has no position as 0, 0: a point in the Atlantic that no town can mean.
    """
    if not tenant.latitude_deg and not tenant.longitude_deg:
        raise FailedPrecondition.of(
            f"{tenant.name}.position", "the municipality has no position: dusk and dawn cannot be computed without one"
        )
    return Place(tenant.latitude_deg, tenant.longitude_deg, zone(tenant.time_zone))


def place_of_group(group: Group, tenant: Tenant) -> Place:
    """The group's own place. Raises FailedPrecondition where neither it nor the municipality has one."""
    if group.latitude_deg is None or group.longitude_deg is None:
        return place_of_town(tenant)
    return Place(group.latitude_deg, group.longitude_deg, zone(tenant.time_zone))
