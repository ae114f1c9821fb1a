"""Freezing the terms of a new measure: what was given is checked against lighting and metering, the inventory copied.

What cannot be proven later is refused now: a cabinet or meter that does not exist, a luminaire of which nobody knows
what it drew before, a cabinet in the baseline that no meter of the measure counts.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from domain.errors import FailedPrecondition, InvalidInput, Violation
from domain.night import DEFAULT_TIME_ZONE, zone
from lichtbuch.ledger.v1 import ledger_pb2 as pb
from lichtbuch.lighting.v1 import inventory_pb2
from lichtbuch.metering.v1 import metering_pb2
from servicekit.context import Tenant
from servicekit.convert import timestamp_from_proto
from services.ledger.baseline import check_half_night
from services.ledger.convert import (
    DEFAULT_HALF_NIGHT_OFF,
    DEFAULT_LIGHTING_UNCERTAINTY_PERMILLE,
    factors_from_proto,
    method_from_proto,
    shares_from_proto,
    stated_from_proto,
)
from services.ledger.entry import whole_milliseconds
from services.ledger.sources import Sources
from services.ledger.split import check_shares
from services.ledger.terms import Inventory, LightingTerms, MeterRef, Method, StatedTerms, Terms, check_method

_NAMED: Final = 5
"""So many of what is wrong are named; a town of thousands is not listed in an error."""


async def freeze(given: pb.Measure, *, name: str, uid: str, tenant: Tenant, sources: Sources) -> Terms:
    """The terms of a measure that is about to be created under `name`.

    Raises InvalidInput for what is wrong in itself, FailedPrecondition for what the inventory does not allow yet.
    """
    kind = given.WhichOneof("baseline")
    if kind is None:
        raise InvalidInput.of("baseline", "a lighting or a stated baseline is needed")
    method = method_from_proto(given.method)
    check_method(method, kind == "lighting", bool(given.meters))
    shares = shares_from_proto(given.shares, tenant)
    check_shares([share.share_permille for share in shares])
    time_zone = tenant.time_zone or DEFAULT_TIME_ZONE
    zone(time_zone)
    effective_from = whole_milliseconds(timestamp_from_proto(given.effective_from, "effective_from"))
    baseline: LightingTerms | StatedTerms
    if kind == "lighting":
        baseline = await _freeze_lighting(given.lighting, tenant, sources)
    else:
        try:
            baseline = stated_from_proto(given.stated)
        except InvalidInput as error:
            raise error.under("stated") from error
    meters = await _freeze_meters(given.meters, tenant, sources)
    if isinstance(baseline, LightingTerms) and method is Method.OPTION_B:
        _check_cabinets_are_counted(meters, baseline.cabinets)
    return Terms(
        municipality_uid=tenant.uid,
        measure_uid=uid,
        measure=name,
        display_name=given.display_name,
        method=method,
        effective_from=effective_from,
        time_zone=time_zone,
        factors=factors_from_proto(given.factors),
        shares=shares,
        meters=meters,
        baseline=baseline,
    )


async def _freeze_lighting(given: pb.LightingBaseline, tenant: Tenant, sources: Sources) -> LightingTerms:
    off, on = given.half_night_off or DEFAULT_HALF_NIGHT_OFF, given.half_night_on
    try:
        check_half_night(off, on)
        await _check_cabinets(given.cabinets, tenant, sources)
    except InvalidInput as error:
        raise error.under("lighting") from error
    luminaires = await sources.luminaires(tenant.name, frozenset(given.cabinets))
    if not luminaires:
        raise FailedPrecondition.of("measure.lighting.cabinets", "no luminaire hangs on these cabinets")
    _check_previous_watts(luminaires)
    models = await sources.models(tenant.name)
    places = {cabinet: place for place, cabinet in enumerate(given.cabinets)}
    positions = [_position(luminaire, tenant) for luminaire in luminaires]
    inventory = Inventory(
        names=tuple(luminaire.name for luminaire in luminaires),
        uids=tuple(luminaire.uid for luminaire in luminaires),
        cabinet_indexes=tuple(places[luminaire.cabinet] for luminaire in luminaires),
        latitudes_e7=tuple(round(latitude * 1e7) for latitude, _ in positions),
        longitudes_e7=tuple(round(longitude * 1e7) for _, longitude in positions),
        previous_mw=tuple(_previous_mw(luminaire) for luminaire in luminaires),
        rated_mw=tuple(_rated_mw(luminaire, models) for luminaire in luminaires),
        half_night=tuple(luminaire.previous.half_night for luminaire in luminaires),
    )
    return LightingTerms(
        cabinets=tuple(given.cabinets),
        half_night_off=off,
        half_night_on=on,
        uncertainty_permille=given.uncertainty_permille or DEFAULT_LIGHTING_UNCERTAINTY_PERMILLE,
        inventory=inventory,
    )


async def _check_cabinets(cabinets: Sequence[str], tenant: Tenant, sources: Sources) -> None:
    known = {cabinet.name for cabinet in await sources.cabinets(tenant.name)}
    _check_names(cabinets, known, "cabinets")


def _check_names(names: Sequence[str], known: frozenset[str] | set[str], field: str) -> None:
    """Raises InvalidInput for names that are not known or occur twice."""
    counts = Counter(names)
    violations = [
        Violation(f"{field}[{index}]", f"{name} does not exist" if name not in known else f"{name} occurs twice")
        for index, name in enumerate(names)
        if name not in known or counts[name] > 1
    ]
    if violations:
        raise InvalidInput(violations=violations)


def _check_previous_watts(luminaires: Sequence[inventory_pb2.Luminaire]) -> None:
    unknown = [luminaire.name for luminaire in luminaires if not luminaire.previous.lamp_power_w > 0]
    if unknown:
        raise FailedPrecondition.of(
            "measure.lighting.cabinets",
            f"of {len(unknown)} of {len(luminaires)} luminaires it is not known what lamp hung there before: "
            f"{_first_of(unknown)}; enter their previous lamp power first",
        )


async def _freeze_meters(names: Sequence[str], tenant: Tenant, sources: Sources) -> tuple[MeterRef, ...]:
    if not names:
        return ()
    known = await sources.meters(tenant.name)
    _check_names(names, set(known), "meters")
    for index, name in enumerate(names):
        if known[name].unit != metering_pb2.UNIT_WH:
            raise InvalidInput.of(f"meters[{index}]", f"{name} does not count energy in Wh")
    return tuple(MeterRef(name, known[name].uid, known[name].cabinet) for name in names)


def _check_cabinets_are_counted(meters: Sequence[MeterRef], cabinets: Sequence[str]) -> None:
    """The baseline of lamps that no meter counts would be taken for a saving; a meter of others would hide one."""
    counted = {meter.cabinet for meter in meters}
    missing = [cabinet for cabinet in cabinets if cabinet not in counted]
    if missing:
        raise FailedPrecondition.of(
            "measure.meters", f"{len(missing)} of the cabinets have no meter in the measure: {_first_of(missing)}"
        )
    foreign = [meter.name for meter in meters if meter.cabinet not in cabinets]
    if foreign:
        raise FailedPrecondition.of(
            "measure.meters", f"{len(foreign)} meters measure none of the cabinets: {_first_of(foreign)}"
        )


def _position(luminaire: inventory_pb2.Luminaire, tenant: Tenant) -> tuple[float, float]:
    """Where a luminaire stands, in degrees; in the middle of the town where that is not known."""
    if luminaire.HasField("position"):
        return luminaire.position.latitude_deg, luminaire.position.longitude_deg
    return tenant.latitude_deg, tenant.longitude_deg


def _previous_mw(luminaire: inventory_pb2.Luminaire) -> int:
    return round((luminaire.previous.lamp_power_w + luminaire.previous.ballast_power_w) * 1000)


def _rated_mw(luminaire: inventory_pb2.Luminaire, models: dict[str, inventory_pb2.LuminaireModel]) -> int:
    """What hangs there now: as installed, else as its model is rated, 0 for unknown."""
    if luminaire.installed_power_w > 0:
        return round(luminaire.installed_power_w * 1000)
    model = models.get(luminaire.model)
    return round(model.rated_power_w * 1000) if model is not None else 0


def _first_of(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
