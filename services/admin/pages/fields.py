"""What forms have in common: targets to choose from, numbers and days that people type, and errors at their fields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any
from zoneinfo import ZoneInfo

from nicegui import ui

from domain.errors import AlreadyExists, Conflict, FailedPrecondition, InvalidInput, LichtbuchError, OutOfLimits
from domain.night import local_instant
from services.admin.feed import Feed
from services.admin.figures import id_of
from services.admin.lamps import Lamp
from services.admin.pages.lamps_card import find_lamps
from services.admin.pages.view import View
from services.admin.told import told


def target_options(view: View, kind: str) -> dict[str, str]:
    """Groups with lamps, or cabinets, by name, as people call them; nothing for other kinds of targets."""
    inventory, number = view.town.inventory.value, view.formats.number
    if inventory is None:
        return {}
    if kind == "group":
        return {
            group.name: f"{group.display_name} ({number(group.luminaires)})"
            for group in inventory.groups
            if group.luminaires
        }
    if kind == "cabinet":
        return {place.name: f"{id_of(place.name)} {place.display_name}" for place in inventory.cabinets}
    return {}


def group_options(view: View) -> dict[str, str]:
    """All groups by name, as people call them."""
    inventory = view.town.inventory.value
    return {group.name: group.display_name for group in inventory.groups} if inventory else {}


def lamps_named(lamps: Sequence[Lamp], text: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of the lamps that a text with commas means, and the parts of it that mean none or several."""
    found, unclear = [], []
    every = tuple(lamps)
    for part in (part.strip() for part in text.split(",")):
        if not part:
            continue
        rows = find_lamps(every, part)
        if len(rows) == 1:
            found.append(every[rows[0]].name)
        else:
            unclear.append(part)
    return tuple(dict.fromkeys(found)), tuple(unclear)


def permille_of(percent: object, most: int = 1000) -> int | None:
    """Per mille out of the percent that somebody typed; None where it is no number, or beyond `most`."""
    try:
        permille = int((Decimal(str(percent)) * 10).quantize(Decimal(1), ROUND_HALF_UP))
    except (InvalidOperation, ValueError):
        return None
    return permille if 0 <= permille <= most else None


def day_of(text: object) -> date | None:
    """A day that somebody typed."""
    try:
        return date.fromisoformat(str(text or ""))
    except ValueError:
        return None


def day_start(day: date, tz: ZoneInfo) -> datetime:
    """Where a day begins on the town's clocks, in UTC."""
    return local_instant(day, time(0, 0), tz)


def instant_of(text: object, tz: ZoneInfo) -> datetime | None:
    """An instant out of local day and time that somebody typed."""
    try:
        return datetime.fromisoformat(str(text or "")).replace(tzinfo=tz).astimezone(UTC)
    except ValueError:
        return None


def may(feed: Feed[bool]) -> bool:
    """Whether to offer what a permission is needed for: also where nobody could find out, for the server decides."""
    return feed.value is True or (feed.value is None and feed.problem is not None)


def show_error(view: View, error: LichtbuchError, service: str, fields: Mapping[str, Any], elsewhere: ui.label) -> None:
    """Says what the server found wrong at the fields; what has no field stands elsewhere.

    fields: by the last part of a path in the request, "review_time" for waiver.review_time.
    """
    violations = error.violations if isinstance(error, InvalidInput | FailedPrecondition | OutOfLimits) else ()
    rest = []
    for violation in violations:
        field = fields.get(violation.field.rsplit(".", 1)[-1].split("[", 1)[0])
        if field is not None and field.visible:
            field.error = view.told(violation.reason)
        else:
            said = told(view.formats, violation.reason)
            rest.append(str(violation) if said.language else said.text)
    identity = next((fields[key] for key in fields if key.endswith("_id")), None)
    if isinstance(error, AlreadyExists) and identity is not None and identity.visible:
        identity.error = view.t("error_taken")
    elif not violations:
        rest.append(view.t("error_conflict") if isinstance(error, Conflict) else view.refusal(error, service))
    elsewhere.set_text(" ".join(rest))


def clear_errors(fields: Mapping[str, Any], elsewhere: ui.label) -> None:
    """Nothing is wrong any more."""
    for field in fields.values():
        field.error = None
    elsewhere.set_text("")
