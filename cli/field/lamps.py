"""field identify: a lamp blinks, so that address and pole can be matched, and gets its level back whatever happens.

With --group all lamps of a group blink; which ones followed is seen by reading every lamp before and after, and these
are given back their own levels, as a group has no level to go back to.
"""

from __future__ import annotations

import asyncio
import csv
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from cli.errors import PARTIAL
from cli.field.addressing import numbers, profile_of, readable_points, with_unit
from cli.field.advice import Advice
from cli.field.asking import END, Answers
from cli.field.connection import PATIENCE_S, on_device, to_the_end
from cli.field.display import Row, result_rows, runs
from cli.field.options import Controller, ProfileName, Security, Timeout, Unit, Url, Yes
from cli.field.telling import fail, fail_at
from cli.field.writing import end_writing, permit, refuse_if_controlled, unseen
from cli.options import Json
from cli.output import console, note, plain_cell, print_json
from domain.errors import InvalidInput
from fieldbus.device import Device
from fieldbus.profile import Profile
from fieldbus.values import PointAddress, Quality, ValueBatch, WriteOutcome, WriteResult

_FULL: Final = 1000.0
_HALF: Final = 500.0
_SEEN_BESIDE: Final = ("lamp_failure", "gear_failure", "lamp_on", "lamp_on_command", "lamp_power", "fade_running")
_GIVING_BACK_S: Final = 30.0
_AGAIN_S: Final = 0.5
_FOLLOWS_PERMILLE: Final = 50.0  # a level that moved by so much was moved by us
_AGAIN: Final = "r"
_QUESTION: Final = f"which pole? (its name; Enter = none, {_AGAIN} = again, {END} = end)"


@dataclass
class Blinked:
    """What was seen of one lamp or group."""

    target: PointAddress
    before: dict[int, float] = field(default_factory=dict)  # gear to the level that it goes back to
    followed: set[int] = field(default_factory=set)
    state: dict[str, float] = field(default_factory=dict)
    by_command: bool = False  # the product shows what it was told, and not the level in effect
    changes: int = 0
    restored: list[WriteResult] = field(default_factory=list)
    answered: bool = False
    problem: str = ""
    pole: str = ""


def identify(
    url: Url,
    lamps: Annotated[str, typer.Argument(metavar="GEAR", help="Address of the lamp at the gateway: 3, 0-7, 1,4.")],
    profile_name: ProfileName,
    unit: Unit = None,
    group: Annotated[bool, typer.Option("--group", help="GEAR is the number of a group.")] = False,
    times: Annotated[int, typer.Option(min=1, max=20, help="How often to blink.")] = 3,
    pause: Annotated[float, typer.Option(min=0.1, max=30, help="Seconds between changes.")] = 1.5,
    poles: Annotated[
        Path | None,
        typer.Option("--poles", help="Ask for the pole after each lamp, and keep address and pole in this CSV file."),
    ] = None,
    controller: Controller = "",
    yes: Yes = False,
    timeout: Timeout = PATIENCE_S,
    security: Security = None,
    as_json: Json = False,
) -> None:
    """Blink lamps one after the other to match address and pole; each gets its level back, also after Ctrl-C.

    Exit code 0: all were seen to follow and have their levels back, 3: not all of them, 4: no answer, 5: refused.
    """
    profile = profile_of(profile_name)
    command = "group_level_command" if group else "level_command"
    if not profile.writable(command) or not profile.readable(_shown(profile)):
        raise InvalidInput.of(
            "profile", f"{profile.name} cannot command and read the level of a {'group' if group else 'lamp'}"
        )
    targets = [PointAddress(command, number) for number in numbers(lamps, "gear") or []]
    for target in targets:
        profile.binding(target).check_index(target.index)
    blinked: list[Blinked] = []
    answers = Answers()
    address = with_unit(url, unit)
    refuse_if_controlled(url, controller, timeout, security)

    async def work(device: Device) -> None:
        await permit(device, profile, yes, answers)
        position = 0
        while position < len(targets):
            done = Blinked(targets[position], by_command=_shown(profile) == "level_command")
            note(f"blinking {_name(done)} ...")
            blinked.append(done)
            await _blink(device, profile, done, times, pause)
            if done.problem and not done.answered:
                done.problem = device.health().last_error or done.problem
            answer = await answers.ask(f"{_name(done)}: {_QUESTION}") if poles is not None else ""
            if answer == _AGAIN:
                blinked.remove(done)
                continue
            if answer == END:
                return
            done.pole = answer
            position += 1

    try:
        on_device(address, profile, work, timeout_s=timeout, security=security)
    finally:
        if blinked:
            _tell(blinked, as_json)
            if poles is not None:
                _keep(poles, blinked)
    _end(address, blinked)


async def _blink(device: Device, profile: Profile, done: Blinked, times: int, pause: float) -> None:
    number = done.target.index
    levels = _levels_of(profile, done.target)
    beside = [PointAddress(point, number) for point in _SEEN_BESIDE if _has(profile, point, number)]
    commanded = [
        PointAddress("level_command", address.index)
        for address in levels
        if address.point != "level_command" and _has(profile, "level_command", address.index)
    ]
    if done.target.point == "group_level_command":
        beside, commanded = [], []
    try:
        batch = await device.read((*levels, *commanded, *beside))
        done.state = {
            address.point: value for address, value in batch.as_dict().items() if address.point in _SEEN_BESIDE
        }
        done.answered = bool((batch.quality != Quality.MISSING).any())
        done.before = _levels_before(batch, levels)
        if not done.before:
            done.problem = "the level cannot be read, so it could not be given back: nothing was written"
            return
        contrast = 0.0 if max(done.before.values()) >= _HALF else _FULL
        for _ in range(times):
            await _show(device, done, done.target, contrast, pause, levels)
            if done.problem:
                return
            if len(done.before) == 1 and done.target.point == "level_command":
                await _show(device, done, done.target, next(iter(done.before.values())), pause, ())
            else:
                # A group goes to one level: its lamps get their own ones back at the end.
                await _show(device, done, done.target, max(done.before.values()), pause, ())
    finally:
        if done.changes:
            # Whatever happened, also Ctrl-C, and if that comes only now: the street gets its light back.
            back = (
                done.before
                if done.target.point == "level_command"
                else {gear: done.before[gear] for gear in sorted(done.followed or done.before)}
            )
            await to_the_end(_give_back(device, done, back))


async def _give_back(device: Device, done: Blinked, levels: Mapping[int, float]) -> None:
    """Each lamp its level, tried for a while where the device does not answer: nobody else would."""
    results: dict[int, WriteResult] = {}
    until = time.monotonic() + _GIVING_BACK_S
    left = dict(levels)
    told = False
    while left:
        writes = [(PointAddress("level_command", gear), level) for gear, level in left.items()]
        results.update(zip(left, await device.write(writes, verify=True), strict=True))
        left = {gear: levels[gear] for gear, result in results.items() if result.outcome is WriteOutcome.UNKNOWN}
        if not left or time.monotonic() >= until:
            break
        if not told:
            told = True
            note(f"{_name(done)}: no answer, its level is not back yet; trying for {_GIVING_BACK_S:g} s ...")
        await asyncio.sleep(max(_AGAIN_S, device.health().seconds_to_next_attempt))
    done.restored = [results[gear] for gear in levels]


async def _show(
    device: Device, done: Blinked, target: PointAddress, level: float, pause: float, watched: Sequence[PointAddress]
) -> None:
    """One change, and which of the watched lamps followed it."""
    done.changes += 1  # counted before it is sent: whether it arrived may not be known
    result = (await device.write([(target, level)], verify=False))[0]
    if not result.succeeded:
        done.problem = result.reason
        return
    await asyncio.sleep(pause)
    if watched:
        batch = await device.read(tuple(watched))
        if done.state.get("lamp_on_command") == 0:
            return  # it stays dark whatever its level
        for address, value in batch.as_dict().items():
            before = done.before.get(address.index or 0)
            if before is not None and abs(value - before) >= _FOLLOWS_PERMILLE:
                done.followed.add(address.index or 0)


def _has(profile: Profile, point: str, number: int | None) -> bool:
    """Whether the point can be read of this lamp: some are there for the lamps of the first line only."""
    if number is None or not profile.readable(point):
        return False
    numbers_of_it = profile.points[point].index_range
    return numbers_of_it is not None and numbers_of_it[0] <= number <= numbers_of_it[1]


def _shown(profile: Profile) -> str:
    """The point that shows a lamp's level: the one in effect, or what the product says it was told."""
    return "level_actual" if profile.readable("level_actual") else "level_command"


def _levels_of(profile: Profile, target: PointAddress) -> list[PointAddress]:
    """The levels to look at: the lamp's own, or those of all lamps that may be in the group."""
    if target.point == "level_command":
        return [PointAddress(_shown(profile), target.index)]
    return [address for address in readable_points(profile, None) if address.point == _shown(profile)]


def _levels_before(batch: ValueBatch, levels: Sequence[PointAddress]) -> dict[int, float]:
    """What each lamp goes back to: the level it shows, or the one it is fading to."""
    values = batch.as_dict()
    found: dict[int, float] = {}
    for address in levels:
        gear = address.index or 0
        actual = values.get(address, math.nan)
        commanded = values.get(PointAddress("level_command", gear), math.nan)
        fading = bool(values.get(PointAddress("fade_running", gear), 0.0))
        level = commanded if (fading or math.isnan(actual)) and not math.isnan(commanded) else actual
        if not math.isnan(level):
            found[gear] = level
    return found


def _name(done: Blinked) -> str:
    return f"{'group' if done.target.point == 'group_level_command' else 'gear'} {done.target.index}"


def _tell(blinked: Sequence[Blinked], as_json: bool) -> None:
    if as_json:
        print_json([_row(done) for done in blinked])
        return
    for done in blinked:
        for line in _lines(done):
            console.print(plain_cell(line))


def _row(done: Blinked) -> dict[str, Any]:
    row: Row = {
        "target": done.target.point.removesuffix("_level_command").removesuffix("level_command") or "gear",
        "index": done.target.index,
        "level_before_permille": {str(gear): level for gear, level in done.before.items()},
        "followed": sorted(done.followed),
        "state": done.state,
        "shown_by_command": done.by_command,
        "restored": result_rows(done.restored),
        "problem": done.problem,
        "pole": done.pole,
    }
    return row


def _lines(done: Blinked) -> list[str]:
    """What was seen, in sentences."""
    name = _name(done)
    lines = []
    single = done.target.point == "level_command"
    if single and done.before:
        level = next(iter(done.before.values()))
        seen = ["it was off" if level == 0 else f"it was at {level / 10:g} %"]
        if power := done.state.get("lamp_power"):
            seen.append(f"taking {power:g} W")
        seen += [
            f"it reports {point.replace('_', ' ')}"
            for point in ("lamp_failure", "gear_failure")
            if done.state.get(point)
        ]
        lines.append(f"{name}: {', '.join(seen)}")
    if done.problem:
        lines.append(f"{name}: {done.problem}")
    elif done.state.get("lamp_on_command") == 0:
        lines.append(f"{name}: it is switched off (lamp_on_command), so it stays dark whatever its level")
    elif single and done.followed and done.by_command:
        lines.append(f"{name}: the device took it; whether the lamp followed it cannot say")
    elif single and done.followed:
        lines.append(f"{name}: the gateway saw it follow")
    elif single:
        lines.append(f"{name}: the gateway did not see it follow: lamp failure, a slow fade (--pause), or nobody there")
    elif done.followed:
        lines.append(f"{name}: followed by gear {runs(sorted(done.followed))}")
    else:
        lines.append(f"{name}: no lamp was seen to follow: the group is empty, or fades slowly (--pause)")
    if done.restored:
        failed = [result for result in done.restored if not result.succeeded]
        if failed:
            lines.append(
                f"{name}: NOT RESTORED: gear {runs([result.address.index or 0 for result in failed])}: "
                f"{failed[0].reason}"
            )
        elif late := [result.address.index or 0 for result in done.restored if unseen(result)]:
            lines.append(f"{name}: NOT SEEN TO BE BACK at its level: gear {runs(late)}; read it again in a moment")
        elif single:
            lines.append(f"{name}: its level is back at {done.restored[0].written / 10:g} %")
        else:
            lines.append(f"{name}: {len(done.restored)} lamps have their levels back")
    return lines


def _keep(path: Path, blinked: Sequence[Blinked]) -> None:
    named = [done for done in blinked if done.pole]
    fresh = not path.exists()
    with path.open("a", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        if fresh:
            writer.writerow(("target", "index", "pole"))
        writer.writerows((_row(done)["target"], done.target.index, done.pole) for done in named)
    note(f"{len(named)} poles kept in {path}")


def _end(url: str, blinked: Sequence[Blinked]) -> None:
    """The exit code over all of them."""
    restored = [result for done in blinked for result in done.restored]
    if any(not result.succeeded for result in restored):
        end_writing(url, restored)
    problems = [done for done in blinked if done.problem]
    if problems and len(problems) < len(blinked):
        raise typer.Exit(PARTIAL)
    if problems:
        if problems[0].answered and not problems[0].before:
            fail(
                Advice(
                    "NOT_READABLE",
                    problems[0].problem,
                    "Read lamp and gear failure of this address, and check that it is one: `field read --index`.",
                    True,
                )
            )
        fail_at(url, problems[0].problem)
    if any(not done.followed for done in blinked) or any(map(unseen, restored)):
        raise typer.Exit(PARTIAL)
