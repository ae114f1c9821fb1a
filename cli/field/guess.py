"""Which shipped profiles may fit a device: by what it calls itself, else by whether its values make sense."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from fieldbus.profile import Profile, Protocol
from fieldbus.profile_loader import load_profile, profile_names
from fieldbus.values import Identity, PointAddress

if TYPE_CHECKING:
    from fieldbus.client import Fieldbus

# What every meter on a public grid shows within narrow bounds. A wrong map hits all of them by chance hardly ever.
_PLAUSIBLE: Final = {
    "frequency": (45.0, 65.0),
    "voltage_l1": (90.0, 280.0),
    "voltage_l2": (90.0, 280.0),
    "voltage_l3": (90.0, 280.0),
}
_ENOUGH: Final = 2
_WORD: Final = re.compile(r"[a-z]+[0-9]*[a-z]*|[0-9]+[a-z]+")
# Words that say what kind of thing it is, not which: a device and a profile that share them need not be akin.
_NO_NAMES: Final = frozenset(
    (
        "address", "alliance", "and", "board", "bus", "by", "cabinet", "commanded", "controller", "dali", "datagram",
        "default", "demo", "demonstration", "din", "electric", "energy", "gateway", "generic", "heat", "illuminance",
        "kwh", "lamp", "lamps", "legacy", "level", "lichtbuch", "lighting", "line", "lite", "logic", "map", "meter",
        "meters", "method", "methods", "minimal", "modbus", "models", "module", "mwh", "node", "object", "opc", "opcua",
        "plc", "power", "program", "ps", "reference", "room", "rs", "rtu", "sensor", "sentron", "series", "server",
        "simulator", "space", "status", "style", "tcp", "to", "transmitter", "ua", "umg", "unit", "v1", "v2", "water",
        "wb", "with", "x1",
    )
)  # fmt: skip
_METERS_FIRST: Final = ("meter", "sensor", "lamps", "cabinet")  # order of kinds where only the maker is known


def by_product(identity: Identity) -> list[str]:
    """Profiles whose product the device names; where several makers sell it, those of the maker that it names."""
    said = _words(f"{identity.vendor} {identity.product}")
    scores: dict[str, int] = {}
    for name in profile_names():
        profile = load_profile(name)
        makers = _words(profile.vendor)
        models = _words(f"{profile.product} {name.partition('-')[2]}") - makers
        score = 2 * sum(any(_same(word, model) for word in said) for model in models)
        if score:
            scores[name] = score + bool(said & makers)
    best = max(scores.values(), default=0)
    return [name for name, score in scores.items() if score == best]


def by_maker(identity: Identity) -> list[str]:
    """Profiles of the maker that the device names; meters first, as others rather name their product."""
    said = _words(f"{identity.vendor} {identity.product}")
    found = [load_profile(name) for name in profile_names()]
    found = [profile for profile in found if said & _words(profile.vendor)]
    return [profile.name for profile in sorted(found, key=lambda profile: (_rank(profile.kind), profile.name))]


async def by_maker_or_values(fieldbus: Fieldbus, url: str, identity: Identity) -> tuple[list[str], str]:
    """For a device that does not name its product: profiles, the likeliest first, and why. Of its maker's profiles
    those count whose values make sense; if none do, those of any maker; if none do either, all of its maker's."""
    of_maker = by_maker(identity)
    if of_maker and (fitting := await by_values(fieldbus, url, of_maker)):
        return fitting, "by its maker and its values"
    if fitting := await by_values(fieldbus, url, [name for name in profile_names() if name not in of_maker]):
        return fitting, "its values make sense"
    return of_maker, "by its maker" if of_maker else ""


def _rank(kind: str) -> int:
    return _METERS_FIRST.index(kind) if kind in _METERS_FIRST else len(_METERS_FIRST)


async def by_values(fieldbus: Fieldbus, url: str, among: Sequence[str]) -> list[str]:
    """Those meter profiles under which the device gives a mains frequency and voltages that can be, the most telling
    ones."""
    found: dict[str, int] = {}
    for name in among:
        profile = load_profile(name)
        points = telling_points(profile)
        if len(points) < _ENOUGH:
            continue
        device = fieldbus.open(url, profile)
        try:
            values = (await device.read(points)).as_dict()
        finally:
            await device.close()
        if len(values) == len(points) and all(
            _PLAUSIBLE[address.point][0] <= value <= _PLAUSIBLE[address.point][1] for address, value in values.items()
        ):
            found[name] = len(points)
    # A map of three phases that fits says more than one of a single phase.
    return [name for name, points in found.items() if points == max(found.values())]


def telling_points(profile: Profile) -> tuple[PointAddress, ...]:
    """The points by which a meter is known; none for profiles that look for their registers themselves."""
    if profile.protocol is not Protocol.MODBUS or profile.needs_discovery or profile.kind != "meter":
        return ()
    return tuple(PointAddress(point) for point in _PLAUSIBLE if profile.readable(point))


def _words(text: str) -> set[str]:
    return {word for word in _WORD.findall(text.lower()) if len(word) > 1} - _NO_NAMES


def _same(one: str, other: str) -> bool:
    """SDM630 and SDM630MCT are the same family, iEM3155 and iEM3000 are not found to be."""
    short, long = sorted((one, other), key=len)
    return one == other or (
        len(short) > 3 and any(character.isdigit() for character in short) and long.startswith(short)
    )
