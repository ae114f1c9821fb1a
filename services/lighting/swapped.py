"""Whether the driver of a luminaire was swapped, by what it says: its burning hours, the levels it has stored, and its
identity, against what was known of it. Pure; instants are domain time in Unix ms, hours are counted in seconds.

Nothing follows from a single reading: what it shows is a suspicion, until a later one shows the same and goes on from
there. Where most drivers of a gateway show it at once, the gateway is doubted first, for a day. A reading that is not
there or not good says nothing. Not here: reading (gear_reading.py), keeping lives (store/gears.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import IntFlag
from typing import Final

from domain.counters import Register, Step, classify_step
from domain.level import FULL_PERMILLE

HOUR_S: Final = 3600
NOISE_S: Final = 2 * HOUR_S
"""A counter that falls by no more is the same one: gateways round to hours, and gear keeps its count now and then."""
AGAIN_AFTER_MS: Final = 600_000
"""Between the first reading that shows a swap and the one that confirms it: longer than gateways take to start."""
DOUBT_MS: Final = 24 * HOUR_S * 1000
"""So long it has to last where most of a gateway's drivers show it at once."""
MANY: Final = 3
FACTORY_PERMILLE: Final = FULL_PERMILLE
"""Power-on and system-failure level of new gear: 254, full (IEC 62386-102)."""
_PACE: Final = 1.05
"""A counter may gain this much on our clock."""
_HOUR_MS: Final = HOUR_S * 1000


class Sign(IntFlag):
    """What speaks for a swap. Stored, so numbers stay."""

    HOURS_FELL = 1
    HOURS_JUMPED = 2
    SETTINGS_LOST = 4
    IDENTITY_CHANGED = 8


NO_SIGN: Final = Sign(0)


@dataclass(frozen=True, slots=True)
class Reading:
    """What a driver said at an instant; None for what it did not say, or not well."""

    at_ms: int
    hours_s: int | None = None
    power_on_permille: int | None = None
    communication_loss_permille: int | None = None
    identity: str | None = None


@dataclass(frozen=True, slots=True)
class Gear:
    """What is known of the driver that is in.

    hours_s with hours_ms: its counter when it was read last, and when; None for never. carried_s: what it had counted
    before its counter began anew. identity: empty where it never said. protected: power-on and communication-loss level
    in per mille that were read back as they were wanted; None where they were not.
    """

    hours_s: int | None = None
    hours_ms: int = 0
    carried_s: int = 0
    identity: str = ""
    protected: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Suspicion:
    """Signs seen once, to be confirmed: the first reading that showed them, and the newest one that agreed."""

    signs: Sign
    first: Reading
    newest: Reading


@dataclass(frozen=True, slots=True)
class Verdict:
    """What follows from a reading.

    gear: what is known now; of the new driver where `signs` say that it was swapped, which are empty where it was not.
    suspicion: to be given in with the next reading. since_ms, first_s: when the new driver was seen first, and its
    counter then.
    """

    gear: Gear
    signs: Sign = NO_SIGN
    suspicion: Suspicion | None = None
    since_ms: int = 0
    first_s: int | None = None


def signs_of(gear: Gear, reading: Reading, rollover_s: int = 0) -> Sign:
    """What one reading shows against what is known. rollover_s: largest number of the counter plus one; 0 for none."""
    signs = NO_SIGN
    if gear.identity and reading.identity and reading.identity != gear.identity:
        signs |= Sign.IDENTITY_CHANGED
    if gear.hours_s is not None and reading.hours_s is not None:
        step = _step(gear.hours_s, gear.hours_ms, reading, rollover_s)
        if step in (Step.RESET, Step.BREAK):
            signs |= Sign.HOURS_FELL if reading.hours_s < gear.hours_s else Sign.HOURS_JUMPED
    if gear.protected is not None and gear.protected != (FACTORY_PERMILLE, FACTORY_PERMILLE):
        levels = (reading.power_on_permille, reading.communication_loss_permille)
        if levels == (FACTORY_PERMILLE, FACTORY_PERMILLE):
            signs |= Sign.SETTINGS_LOST
    return signs


def is_swap(signs: Sign, gear: Gear, reading: Reading) -> bool:
    """Whether these signs are enough.

    A driver that says it is the same one is the same one, whatever its counter does. Levels of the factory count alone
    only where neither hours nor identity can be read; with hours that jumped they are a used driver.
    """
    if Sign.IDENTITY_CHANGED in signs:
        return True
    if gear.identity and reading.identity == gear.identity:
        return False
    if Sign.HOURS_FELL in signs:
        return True
    if Sign.SETTINGS_LOST not in signs:
        return False
    return Sign.HOURS_JUMPED in signs or gear.hours_s is None


def judge(
    gear: Gear,
    reading: Reading,
    suspicion: Suspicion | None,
    *,
    many: bool = False,
    rollover_s: int = 0,
) -> Verdict:
    """What follows from one more reading of a driver. many: most drivers of its gateway show signs in this reading."""
    if reading.at_ms <= gear.hours_ms:
        return Verdict(gear, suspicion=suspicion)  # old news
    signs = signs_of(gear, reading, rollover_s)
    telling = signs & ~Sign.SETTINGS_LOST
    enough = is_swap(signs, gear, reading)
    if not (telling or enough):
        if suspicion is not None and reading.hours_s is None and reading.identity is None and not signs:
            says_nothing = suspicion.first.hours_s is not None or suspicion.first.identity is not None
            return Verdict(gear, suspicion=suspicion if says_nothing else None)
        return Verdict(_goes_on(gear, reading, rollover_s))
    if suspicion is None or suspicion.signs != signs or not _agrees(suspicion.newest, reading):
        return Verdict(gear, suspicion=Suspicion(signs, reading, reading))
    waited_ms = reading.at_ms - suspicion.first.at_ms
    if waited_ms < (DOUBT_MS if many else AGAIN_AFTER_MS):
        return Verdict(gear, suspicion=replace(suspicion, newest=reading))
    if enough:
        first = suspicion.first
        return Verdict(_new_gear(reading), signs, since_ms=first.at_ms, first_s=first.hours_s)
    return Verdict(began_anew(gear, reading))


def are_many(suspects: int, read: int) -> bool:
    """Whether so many of a gateway's drivers that the gateway itself is to be doubted."""
    return suspects >= MANY and suspects * 2 > read


def evidence(gear: Gear, reading: Reading, signs: Sign) -> str:
    """The readings behind signs, in words."""
    words = []
    if signs & (Sign.HOURS_FELL | Sign.HOURS_JUMPED) and gear.hours_s is not None and reading.hours_s is not None:
        words.append(f"burning hours {gear.hours_s / HOUR_S:.1f} h, then {reading.hours_s / HOUR_S:.1f} h")
    if Sign.SETTINGS_LOST in signs and gear.protected is not None:
        power_on, loss = (level / 10 for level in gear.protected)
        words.append(f"stored levels {power_on:g} % and {loss:g} %, then those of the factory")
    if Sign.IDENTITY_CHANGED in signs:
        words.append(f"identity {gear.identity}, then {reading.identity}")
    return "; ".join(words)


# --- lives ----------------------------------------------------------------------------------------------------------


def burnt_s(first_s: int | None, last_s: int | None, carried_s: int) -> int | None:
    """How long a driver has burnt in its luminaire; None where its counter is not known."""
    if first_s is None or last_s is None:
        return None
    return max(0, carried_s + last_s - first_s)


def total_s(lives: list[int | None]) -> int | None:
    """How long a luminaire has burnt over all its drivers; None where no counter is known."""
    known = [seconds for seconds in lives if seconds is not None]
    return sum(known) if known else None


# --- inside ---------------------------------------------------------------------------------------------------------


def _step(hours_s: int, at_ms: int, reading: Reading, rollover_s: int) -> Step:
    """What happened between a known counter and a reading."""
    assert reading.hours_s is not None
    elapsed_ms = max(0, round((reading.at_ms - at_ms) * _PACE))
    register = Register(rollover=rollover_s, noise=NOISE_S, max_rate_per_h=HOUR_S)
    step, _ = classify_step(register, hours_s, reading.hours_s, elapsed_ms)
    return step


def _agrees(before: Reading, reading: Reading) -> bool:
    """Whether a later reading goes on from an earlier one, as of the same driver."""
    if reading.at_ms <= before.at_ms or reading.identity != before.identity:
        return False
    if before.hours_s is None or reading.hours_s is None:
        return before.hours_s is reading.hours_s is None
    return _step(before.hours_s, before.at_ms, reading, 0) in (Step.FORWARD, Step.NOISE)


def _goes_on(gear: Gear, reading: Reading, rollover_s: int) -> Gear:
    """The same driver, some time later."""
    identity = reading.identity or gear.identity
    if reading.hours_s is None or reading.at_ms <= gear.hours_ms:
        return replace(gear, identity=identity)
    if gear.hours_s is None:
        return replace(gear, identity=identity, hours_s=reading.hours_s, hours_ms=reading.at_ms)
    step = _step(gear.hours_s, gear.hours_ms, reading, rollover_s)
    if step is Step.ROLLOVER:
        return replace(
            gear,
            identity=identity,
            hours_s=reading.hours_s,
            hours_ms=reading.at_ms,
            carried_s=gear.carried_s + rollover_s,
        )
    # What falls by noise stays at its highest: sums never go back.
    return replace(gear, identity=identity, hours_s=max(gear.hours_s, reading.hours_s), hours_ms=reading.at_ms)


def began_anew(gear: Gear, reading: Reading) -> Gear:
    """The same driver, whose counter began anew or was set: its sum goes on from where it was."""
    if gear.hours_s is None or reading.hours_s is None:
        return gear
    return replace(
        gear,
        hours_s=reading.hours_s,
        hours_ms=reading.at_ms,
        carried_s=gear.carried_s + gear.hours_s - reading.hours_s,
        identity=reading.identity or gear.identity,
    )


def _new_gear(reading: Reading) -> Gear:
    return Gear(reading.hours_s, reading.at_ms if reading.hours_s is not None else 0, 0, reading.identity or "")


def suspects(known: Mapping[str, Gear], readings: Mapping[str, Reading], rollover_s: int = 0) -> int:
    """How many drivers show more than lost settings in one round."""
    found = 0
    for uid, reading in readings.items():
        gear = known.get(uid)
        if gear is not None:
            signs = signs_of(gear, reading, rollover_s)
            found += bool(signs & ~Sign.SETTINGS_LOST) or is_swap(signs, gear, reading)
    return found
