"""Which shipped profiles may fit a device: by what it calls itself, else by whether its values make sense."""

from __future__ import annotations

import re
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
_NO_NAMES: Final = frozenset(
    {
        "dali",
        "gateway",
        "generic",
        "lamp",
        "lamps",
        "line",
        "meter",
        "meters",
        "modbus",
        "opc",
        "ua",
        "server",
        "and",
        "series",
    }
)


def by_name(identity: Identity) -> list[str]:
    """Profiles whose product the device names, or at least whose maker. The better matches only."""
    said = _words(f"{identity.vendor} {identity.product}")
    if not said:
        return []
    scores: dict[str, int] = {}
    for name in profile_names():
        profile = load_profile(name)
        models = _words(f"{profile.product} {name.partition('-')[2]}")
        score = 2 * sum(any(_same(word, model) for word in said) for model in models)
        score += any(_same(word, maker) for word in said for maker in _words(profile.vendor))
        if score:
            scores[name] = score
    best = max(scores.values(), default=0)
    return [name for name, score in scores.items() if score == best]


async def by_values(fieldbus: Fieldbus, url: str) -> list[str]:
    """Meter profiles under which the device gives a mains frequency and voltages that can be; the most telling ones."""
    found: dict[str, int] = {}
    for name in profile_names():
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
