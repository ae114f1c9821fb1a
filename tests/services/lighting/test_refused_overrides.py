"""The table of refused commands: overrides, lock-outs, waivers and plans, each with field and reason, nothing stored.

Noon is 11:00 UTC of 2026-11-10 in Bad Hersfeld; hours count from there, so 5 to 18 is the night.
"""

# ruff: noqa: E501 - a row of a table stays on its line

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from domain.errors import AlreadyExists
from lichtbuch.lighting.v1 import control_pb2 as ctl
from lichtbuch.lighting.v1 import inventory_pb2 as inv
from lichtbuch.lighting.v1 import lighting_pb2 as pb
from lichtbuch.lighting.v1 import waivers_pb2 as wv
from lichtbuch.type.v1.types_pb2 import Date
from services.lighting.store.tables import LightingTable
from tests.services.lighting.bench import NOON
from tests.services.lighting.running import OTHER, SCHEDULER, Lighting, T, at, override_message, plan_message, stamp
from tests.services.lighting.test_api_waivers import waiver
from tests.support.refusing import everything, problem, refused

LAMP, CROSSING, LONE = (f"{T}/luminaires/{name}" for name in ("L-1-0", "X", "lone"))
YEAR = 24 * 365.25
LONG = "x" * 100_000

OVERRIDES: list[tuple[str, ctl.Override, str, str]] = [
    # what it is for
    ("for nothing", ctl.Override(level_permille=1000, expire_time=at(1), reason="x"), "override.targets", "is required"),
    ("a lamp that is not there", override_message(1000, 0, 1, f"{T}/luminaires/none"), "override.targets[0]", "luminaires/none does not exist"),
    ("a product", override_message(1000, 0, 1, f"{T}/luminaireModels/LED-23"), "override.targets[0]", "is none of luminaires, groups, feeders, cabinets or the municipality"),
    ("another town's lamp", override_message(1000, 0, 1, LAMP, f"{OTHER}/luminaires/L-1-0"), "override.targets[1]", "is not of the municipality"),
    ("no name at all", override_message(1000, 0, 1, "the market"), "override.targets[0]", "'the market' is not made of pairs of collection and id"),
    ("a lamp without communication", override_message(1000, 0, 1, LONE), "override.targets", "it has no gateway, and Lichtbuch does not switch its feeder either"),
    ("a lamp that dims itself", override_message(500, 0, 1, f"{T}/luminaires/L-1-3"), "override.targets", "it is reduced by a profile stored in the lamp"),
    # how bright
    ("more than full light", override_message(1001, 0, 1), "override.level_permille", "1001 is not between 0 and 1000"),
    ("less than nothing", override_message(-1, 0, 1), "override.level_permille", "-1 is not between 0 and 1000"),
    ("percent instead of per mille", override_message(50, 0, 1), "override.level_permille", "50 is below the floor of 400 per mille"),
    ("below the floor", override_message(399, 0, 1), "override.level_permille", f"399 is below the floor of 400 per mille of {LAMP}; that takes a council's waiver"),
    ("a crossing dimmed", override_message(900, 0, 1, CROSSING), "override.level_permille", "stands in a conflict area, as all that are named: it is never dimmed"),
    ("a dark street", override_message(0, 5, 12), "override.level_permille", "dark in the civil night (2026-11-10 16:00 to 2026-11-10 23:00 UTC); without the priority maintenance or emergency that takes a council's waiver"),
    ("a street dark for two nights", override_message(0, 5, 41, priority=ctl.OVERRIDE_PRIORITY_MAINTENANCE), "override.level_permille", "for longer than 24 hours that takes a council's waiver"),
    # when
    ("no end", ctl.Override(targets=[T], level_permille=1000, reason="x"), "override.expire_time", "is required"),
    ("an end before the start", override_message(1000, 2, 1), "override.expire_time", "is not after start_time"),
    ("an end at the start", override_message(1000, 2, 2), "override.expire_time", "is not after start_time"),
    ("yesterday", override_message(1000, -30, -24), "override.expire_time", "is over already: it is 2026-11-10 11:00:00 UTC now"),
    ("a year ahead", override_message(1000, 0, 24 * 365), "override.expire_time", "is more than 31 days after start_time"),
    ("an instant that no clock shows", override_message(1000, None, 0, expire_time={"seconds": 1 << 40}), "override.expire_time", "between the years 1 and 9999"),
    # who and why
    ("no reason", override_message(1000, 0, 1, reason=""), "override.reason", "is required"),
    ("a novel for a reason", override_message(1000, 0, 1, reason=LONG), "override.reason", "is longer than 500 bytes"),
    ("a reason that a terminal obeys", override_message(1000, 0, 1, reason="\x1b[2Jall well"), "override.reason", "control character U+001B"),
    ("a priority that nobody knows", override_message(1000, 0, 1, priority=9), "override.priority", "9 is not a known value"),
]  # fmt: skip

LOCKOUTS: list[tuple[str, ctl.Lockout, str, str]] = [
    ("no reason", ctl.Lockout(feeder=f"{T}/feeders/F-1"), "lockout.reason", "is required"),
    ("no feeder", ctl.Lockout(reason="cable fault"), "lockout.feeder", "is required"),
    ("a feeder that is not there", ctl.Lockout(feeder=f"{T}/feeders/F-9", reason="x"), "lockout.feeder", "feeders/F-9 does not exist"),
    ("a cabinet", ctl.Lockout(feeder=f"{T}/cabinets/C-1", reason="x"), "lockout.feeder", "'feeders'"),
    ("another town's feeder", ctl.Lockout(feeder=f"{OTHER}/feeders/F-1", reason="x"), "lockout.feeder", "is not of the municipality"),
]  # fmt: skip

WAIVERS: list[tuple[str, wv.Waiver, str, str]] = [
    ("no decision", waiver(decision_reference=""), "waiver.decision_reference", "is required"),
    ("no reason", waiver(reason=""), "waiver.reason", "is required"),
    ("for nothing", waiver(targets=[]), "waiver.targets", "is required"),
    ("a group that is not there", waiver(0, None, YEAR, f"{T}/groups/none"), "waiver.targets[0]", "groups/none does not exist"),
    ("no review", waiver(review_time=None), "waiver.review_time", "is required"),
    ("a review before the start", waiver(0, 5, 4), "waiver.review_time", "is not after start_time"),
    ("a review last week", waiver(0, -300, -200), "waiver.review_time", "is over already"),
    ("a review in six years", waiver(0, None, 6 * YEAR), "waiver.review_time", "is more than five years after start_time"),
    ("decided on a 30th of February", waiver(decided_on=Date(year=2026, month=2, day=30)), "waiver.decided_on", "is not a date"),
    ("decided on the 29th of February of no leap year", waiver(decided_on=Date(year=2025, month=2, day=29)), "waiver.decided_on", "is not a date"),
    ("decided tomorrow", waiver(decided_on=Date(year=2026, month=11, day=11)), "waiver.decided_on", "2026-11-11 is still to come"),
    ("a floor of full light", waiver(1000), "waiver.floor_permille", "1000 is not between 0 and 999"),
    ("a negative floor", waiver(-1), "waiver.floor_permille", "-1 is not between 0 and 999"),
]  # fmt: skip


def plan(*steps: tuple[float, int], **changes: Any) -> pb.PutPlanRequest:
    """A plan of the default group, with some of it replaced."""
    message = plan_message(*steps)
    for name, value in changes.items():
        if isinstance(value, list):
            del getattr(message, name)[:]
            getattr(message, name).extend(value)
        elif name.startswith("valid"):
            getattr(message, name).CopyFrom(value)
        else:
            setattr(message, name, value)
    return pb.PutPlanRequest(parent=f"{T}/groups/default", plan=message)


NIGHT = ((0, 0), (5, 1000), (19.2, 0))
PLANS: list[tuple[str, pb.PutPlanRequest, str, str]] = [
    ("a profile below the floor", plan((0, 0), (5, 1000), (12, 399), (17, 1000), (19.2, 0)), "plan.levels_permille[2]", "399 per mille from 2026-11-10 23:00 UTC is below the floor of 400 per mille"),
    ("a night without light", plan((0, 0)), "plan.levels_permille[0]", "is dark in the civil night"),
    ("more than full light", plan(*NIGHT, levels_permille=[0, 1001, 0]), "plan.levels_permille[1]", "1001 is not between 0 and 1000"),
    ("a level that is missing", plan(*NIGHT, levels_permille=[0, 1000]), "plan.levels_permille", "2 levels for 3 instants"),
    ("instants that go back", plan(*NIGHT, instants_unix_ms=[3, 2, 1]), "plan.instants_unix_ms[1]", "is not after the one before"),
    ("another hash", plan(*NIGHT, hash="0" * 64), "plan.hash", "is not the hash of this plan"),
    ("an end before its begin", plan(*NIGHT, valid_until=stamp(NOON - timedelta(days=1))), "plan.valid_until", "is not after valid_from"),
]  # fmt: skip


async def town(light: Lighting) -> None:
    """A street with a crossing, a lamp with a stored profile, and a lamp that nothing reaches."""
    await light.street()
    await light.import_lines(luminaire_ids=["L-1-3"], reductions=[inv.REDUCTION_STORED_PROFILE])
    crossing = inv.Luminaire(
        feeder=f"{T}/feeders/F-1", gateway=f"{T}/gateways/G-1", gateway_address=9, conflict_area=True
    )
    for identifier, lamp in (("X", crossing), ("lone", inv.Luminaire(floor_permille=400))):
        await light.planner.CreateLuminaire(
            pb.CreateLuminaireRequest(parent=T, luminaire_id=identifier, luminaire=lamp)
        )
    await light.planner.CreateGroup(pb.CreateGroupRequest(parent=T, group_id="lone", group=inv.Group()))
    await light.import_lines(luminaire_ids=["lone"], group_ids=["lone"])


async def test_every_command_that_may_not_be_is_refused_with_field_and_reason_and_nothing_is_stored(lighting: Lighting):
    await town(lighting)
    database, wrong = lighting.parts.database, []
    before = await everything(database, LightingTable.metadata)
    for case, override, field, reason in OVERRIDES:
        request = pb.CreateOverrideRequest(parent=T, override=override)
        wrong.append(
            problem(f"override: {case}", await refused(lighting.operator.CreateOverride, request), field, reason)
        )
    for case, lockout, field, reason in LOCKOUTS:
        asked = pb.CreateLockoutRequest(parent=T, lockout=lockout)
        wrong.append(problem(f"lock-out: {case}", await refused(lighting.operator.CreateLockout, asked), field, reason))
    for case, given, field, reason in WAIVERS:
        decided = wv.CreateWaiverRequest(parent=T, waiver=given)
        wrong.append(problem(f"waiver: {case}", await refused(lighting.planner.CreateWaiver, decided), field, reason))
    for case, put, field, reason in PLANS:
        wrong.append(problem(f"plan: {case}", await refused(lighting.as_(SCHEDULER).PutPlan, put), field, reason))
    assert [line for line in wrong if line] == []
    assert await everything(database, LightingTable.metadata) == before


async def test_an_id_that_is_taken_is_refused(light: Lighting):
    await town(light)
    made = await light.operator.CreateOverride(
        pb.CreateOverrideRequest(parent=T, override_id="o-1", override=override_message(1000, 0, 1))
    )
    before = await everything(light.parts.database, LightingTable.metadata)
    for request in (
        pb.CreateOverrideRequest(parent=T, override_id="o/1", override=override_message(1000, 0, 1)),
        pb.CreateOverrideRequest(parent=T, override_id="x" * 64, override=override_message(1000, 0, 1)),
    ):
        found = await refused(light.operator.CreateOverride, request)
        assert "does not match" in found["override_id"]
    with pytest.raises(AlreadyExists, match=made.name):
        await light.operator.CreateOverride(
            pb.CreateOverrideRequest(parent=T, override_id="o-1", override=override_message(900, 0, 1))
        )
    assert await everything(light.parts.database, LightingTable.metadata) == before
