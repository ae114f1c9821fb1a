"""What the command line names: endpoints with a unit, profiles, index numbers, the points of a profile.

Raw registers are registers.py's, raw nodes nodes.py's.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, urlencode

from domain.errors import InvalidInput, NotFound
from fieldbus.profile import Profile, Protocol
from fieldbus.profile_loader import load_profile, load_profile_file, profile_names
from fieldbus.values import PointAddress
from fieldbus.vocabulary import Scope

ON_OFF: Final = {"on": 1.0, "true": 1.0, "yes": 1.0, "1": 1.0, "off": 0.0, "false": 0.0, "no": 0.0, "0": 0.0}
_HIGHEST_INDEX: Final = 65_535
_MOST_POINTS: Final = 20_000  # of one reading
_OPEN_ENDED: Final = 1_024  # a profile with more numbers than this says "as many as there are"


def profile_of(given: str) -> Profile:
    """A shipped profile by name, or one from a file. Raises InvalidInput with all that is wrong in it."""
    if given.endswith(".toml"):
        return load_profile_file(Path(given))
    try:
        return load_profile(given)
    except NotFound as error:
        error.add_note(f"Shipped are {', '.join(profile_names())}; a file of your own ends with .toml.")
        raise


def is_opcua(url: str) -> bool:
    """Whether the URL names an OPC UA server."""
    return url.strip().lower().startswith("opc.tcp:")


def protocol_of(url: str) -> Protocol:
    """What is spoken at the URL."""
    return Protocol.OPCUA if is_opcua(url) else Protocol.MODBUS


def with_query(url: str, **parameters: str | int | None) -> str:
    """The URL with other parameters; None leaves a parameter as it is."""
    changed = {key: str(value) for key, value in parameters.items() if value is not None}
    if not changed:
        return url
    base, _, query = url.partition("?")
    return f"{base}?{urlencode(dict(parse_qsl(query, keep_blank_values=True)) | changed)}"


def with_unit(url: str, unit: int | None) -> str:
    """The URL with another unit. Raises InvalidInput for OPC UA, which has none."""
    if unit is not None and is_opcua(url):
        raise InvalidInput.of("unit", "OPC UA knows no units")
    return with_query(url, unit=unit)


def numbers(text: str, field: str, highest: int = _HIGHEST_INDEX) -> list[int] | None:
    """Numbers and ranges as people write them (0, 0-7, 1,4,9); None for an empty text. Raises InvalidInput."""
    if not text.strip():
        return None
    found: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        try:
            low, high = int(first), int(last) if dash else int(first)
        except ValueError:
            raise InvalidInput.of(field, f"{part.strip()!r} is no number or range; write 3, 0-7 or 1,4,9") from None
        if not 0 <= low <= high <= highest:
            raise InvalidInput.of(field, f"{part.strip()!r} is no range within 0 to {highest}")
        found.update(range(low, high + 1))
    return sorted(found)


def number_word(text: str, kind: str, *, is_flag: bool, is_float: bool, where: str) -> float:
    """A raw value as typed: on and off for bits, whole numbers (also 0x1F), or decimals. Raises InvalidInput."""
    if is_flag:
        if text.lower() not in ON_OFF:
            raise InvalidInput.of("value", f"{text!r} is neither on nor off, as {where} needs it")
        return ON_OFF[text.lower()]
    try:
        number = float(text.replace(",", ".")) if is_float else int(text, 0)
    except ValueError:
        raise InvalidInput.of("value", f"{text!r} is no {kind}, as {where} needs it") from None
    if isinstance(number, int) and abs(number) > 1 << 53:
        raise InvalidInput.of("value", f"{text} cannot be written exactly here")
    return float(number)


def readable_points(profile: Profile, chosen: Sequence[int] | None) -> list[PointAddress]:
    """Every point that the profile can read, indexed ones for the chosen numbers or all of their range."""
    found: list[PointAddress] = []
    for name, binding in profile.points.items():
        if not profile.readable(name):
            continue
        if binding.scope is Scope.DEVICE or binding.index_range is None:
            found.append(PointAddress(name))
            continue
        if chosen is not None and binding.scope in (Scope.LINE, Scope.GROUP):
            continue  # the numbers mean gear and channels
        low, high = binding.index_range
        wanted = range(low, high + 1) if chosen is None else [number for number in chosen if low <= number <= high]
        found += [PointAddress(name, number) for number in wanted]
    return found


def refuse_slash(text: str) -> None:
    """Raises InvalidInput for `point/2`, as other tools have it."""
    name, slash, number = text.partition("/")
    if slash and number.strip().isdecimal():
        raise InvalidInput.of("point", f"{text!r}: the number goes in brackets, {name}[{number.strip()}]")


def chosen_points(profile: Profile, index: str, points: Sequence[str] | None) -> list[PointAddress]:
    """What --index and --point leave of a profile; a point may have its own numbers, as point[2]. Raises InvalidInput
    where that is nothing."""
    for text in points or ():
        refuse_slash(text)
    numbered = [text for text in points or () if text.endswith("]")]
    if numbered:
        found = [address for text in numbered for address in _numbered(profile, text)]
        plain = [text for text in points or () if text not in numbered]
        found += chosen_points(profile, index, plain) if plain else []
        return list(dict.fromkeys(found))
    chosen = numbers(index, "index")
    addresses = readable_points(profile, chosen)
    if points:
        everything = readable_points(profile, None)
        unknown = sorted(set(points) - {address.point for address in everything})
        if unknown:
            readable = ", ".join(sorted({address.point for address in everything}))
            raise InvalidInput.of("point", f"{unknown[0]!r} is not readable with {profile.name}; there are {readable}")
        # Groups and lines count too where their points are asked for by name.
        scopes = {profile.points[point].scope for point in points}
        if chosen is not None and scopes & {Scope.LINE, Scope.GROUP}:
            addresses = [address for address in everything if address.index is None or address.index in chosen]
        addresses = [address for address in addresses if address.point in points]
    if not addresses:
        raise InvalidInput.of("index", f"profile {profile.name} has no point with such a number")
    if len(addresses) > _MOST_POINTS:
        raise InvalidInput.of("index", f"{len(addresses)} points are too many at once: choose with --index, like 0-31")
    return addresses


def _numbered(profile: Profile, text: str) -> list[PointAddress]:
    name, _, wanted = text[:-1].partition("[")
    if not profile.readable(name):
        return chosen_points(profile, "", [name])  # which says so
    addresses = [PointAddress(name, number) for number in numbers(wanted, "point") or ()]
    if not addresses:
        raise InvalidInput.of("point", f"{text!r} has no number in its brackets")
    for address in addresses:
        profile.binding(address)
    return addresses


def is_open_ended(profile: Profile) -> bool:
    """Whether the profile's numbers only say that there may be very many."""
    ranges = [binding.index_range for binding in profile.points.values() if binding.index_range is not None]
    return any(high - low >= _OPEN_ENDED for low, high in ranges)
