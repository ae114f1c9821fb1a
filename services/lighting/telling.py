"""What one gateway's luminaires are told: a whole line by broadcast, a group of gear by one command, the rest one by
one (which the driver puts together where registers are neighbours).

Nothing is written when the orders changed meanwhile, and nothing that a locked-out lamp could hear. Which group holds
which gear is what the inventory says; it is only believed while the lamps follow. Not here: which luminaires must be
told something (agenda.py), reading back (gateway.py).
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from dataclasses import dataclass
from typing import Final

import numpy as np

from fieldbus.values import PointAddress, WriteRequest, WriteResult
from services.lighting.abilities import line_of
from services.lighting.agenda import Agenda, Lines
from services.lighting.columns import Flags, Rows
from services.lighting.due import Due
from services.lighting.field import Link
from services.lighting.following import LONGEST_REST_S
from services.lighting.ground import Ground
from services.lighting.metrics import COMMANDED, WRITES
from services.lighting.state import Quality

_log = logging.getLogger(__name__)

MOST_FADE_S: Final = 90.0
"""Longer ramps are cut: gear fades for no longer."""
_LONG_FADE_S: Final = 5.0
_USUAL_FADE_S: Final = 2.0
_GROUP_FROM: Final = 2
"""Least number of luminaires that a group command is used for."""


@dataclass(eq=False)
class _Group:
    """A group of gear. `line` is the line's place among the gateway's own; `members` are rows."""

    number: int
    line: int
    members: Rows
    doubted: bool = False


class Teller:
    """Writes to the luminaires of one gateway, one command after the other."""

    def __init__(self, ground: Ground, gateway: int) -> None:
        self._ground = ground
        self._gateway = gateway
        columns = ground.columns
        self._record = columns.inventory.gateways[gateway]
        endpoint = int(columns.gateway_endpoint[gateway])
        # Where two gateways stand for one device, a broadcast of one would reach the lamps of the other.
        self._is_alone = int((columns.gateway_endpoint == endpoint).sum()) == 1
        self._lines = Lines.of(columns, range(gateway, gateway + 1))
        self._groups = self._known_groups()
        self._last_group: dict[int, _Group] = {}  # row of a luminaire to the group that it was told in last
        self._turn = asyncio.Lock()

    async def tell(self, link: Link, agenda: Agenda | None = None, *, only_news: bool) -> None:
        """Tells what needs to be told. `agenda` where it was worked out just now, with others; it is not used any more
        when something has changed since."""
        async with self._turn:
            ground, due = self._ground, self._ground.due
            if due is None or not ground.may_write(due):
                return
            first = 0
            if agenda is None or agenda.due is not due or agenda.version != ground.version:
                agenda = Agenda.of(ground, self._lines, due)
            else:
                first = int(agenda.lines.of_gateway[self._gateway])
            place = slice(int(agenda.lines.starts[first]), int(agenda.lines.starts[first + self._lines.number.size]))
            needs = (agenda.news if only_news else agenda.needs)[place]
            if not needs.any():
                return
            if link.gateway.can_fade and link.may_write:
                await self._set_fades(link, self._lines.rows[needs], due)
                if not ground.may_write(due) or agenda.version != ground.version:
                    return  # the next pass sees what has changed
            requests, audiences = self._requests(link, agenda, first, place, needs)
            sent = np.concatenate(audiences)
            # Before the write, so that what is read meanwhile is known to be older.
            ground.following.sent(sent, due.written[sent], ground.monotonic())
            COMMANDED.inc(sent.size)
            results = await link.write(requests, test=not link.may_write)
            if not ground.retired:
                self._note(link, audiences, due, results)

    # --- which commands -------------------------------------------------------------------------------------------

    def _requests(
        self, link: Link, agenda: Agenda, first: int, place: slice, needs: Flags
    ) -> tuple[list[WriteRequest], list[Rows]]:
        """Commands, and the luminaires that each is for."""
        requests: list[WriteRequest] = []
        audiences: list[Rows] = []
        rows, rest = self._lines.rows, needs.copy()
        for_all = self._is_alone and link.may_write  # a test is for single luminaires
        if link.gateway.can_broadcast and for_all:
            for line, number in enumerate(self._lines.number.tolist()):
                if agenda.whole[first + line]:
                    there = self._lines.of_line(line)
                    audience = rows[there][agenda.active[place][there]]
                    level = float(agenda.due.written[audience[0]])
                    requests.append(WriteRequest(PointAddress("broadcast_level_command", number), level))
                    audiences.append(audience)
                    rest[there] = False
        for row in rows[rest].tolist():
            self._doubt_group_of(row, agenda.due)
        if self._groups and link.gateway.group_range is not None and for_all:
            self._by_group(link, agenda, first, place, rest, requests, audiences)
        for row, level in zip(rows[rest].tolist(), agenda.level[place][rest].tolist(), strict=True):
            address = PointAddress("level_command", int(self._ground.columns.address[row]))
            requests.append(WriteRequest(address, float(level)))
            audiences.append(np.array([row], dtype=np.intp))
        return requests, audiences

    def _by_group(
        self,
        link: Link,
        agenda: Agenda,
        first: int,
        place: slice,
        rest: Flags,
        requests: list[WriteRequest],
        audiences: list[Rows],
    ) -> None:
        """Adds a command for each group of which all are due the same, the largest first, and takes them from `rest`.

        None on a line with a lamp that is locked out: what the inventory says of groups is not proven.
        """
        lowest, highest = link.gateway.group_range or (0, -1)
        rows, allowed = self._lines.rows, agenda.allowed[place]
        position = {row: at for at, row in enumerate(rows.tolist())}
        for group in self._groups:
            if group.doubted or agenda.locked[first + group.line] or not lowest <= group.number <= highest:
                continue
            members = np.array([position[row] for row in group.members.tolist()], dtype=np.intp)
            level = agenda.level[place][members]
            if int(rest[members].sum()) < _GROUP_FROM or not bool(allowed[members].all() and (level == level[0]).all()):
                continue
            requests.append(WriteRequest(PointAddress("group_level_command", group.number), float(level[0])))
            audiences.append(group.members)
            rest[members] = False
            self._last_group.update(dict.fromkeys(group.members.tolist(), group))

    def _known_groups(self) -> list[_Group]:
        """The groups, largest first, of which every gear is a luminaire of ours at this gateway."""
        columns = self._ground.columns
        row_at = dict(zip(columns.address[self._lines.rows].tolist(), self._lines.rows.tolist(), strict=True))
        line_at = {number: line for line, number in enumerate(self._lines.number.tolist())}
        groups = []
        for number, addresses in self._record.gear_groups:
            members = np.array([row_at[a] for a in addresses if a in row_at], dtype=np.intp)
            lines = np.unique(line_of(columns.address[members])).tolist() if members.size else []
            if members.size == len(addresses) and len(lines) == 1:
                groups.append(_Group(number, line_at[lines[0]], members))
            elif addresses:
                _log.warning("gateway %s: group %d is not used, not all of it is known", self._record.id, number)
        return sorted(groups, key=lambda group: (-group.members.size, group.number))

    def _doubt_group_of(self, row: int, due: Due) -> None:
        """A luminaire that has to be told again what its group was told is alone with that: it is not in the group."""
        group = self._last_group.pop(row, None)
        following = self._ground.following
        if group is None or group.doubted or following.tried[row] != due.written[row]:
            return
        members, level = group.members, due.written[group.members]
        deaf = ~following.follows(members, self._ground.state.lamps.actual[members], level)
        if int(deaf.sum()) * 2 < group.members.size:
            group.doubted = True
            _log.warning("gateway %s: group %d is not as the inventory says", self._record.id, group.number)

    # --- what came of it ------------------------------------------------------------------------------------------

    def _note(self, link: Link, audiences: list[Rows], due: Due, results: list[WriteResult]) -> None:
        """Takes the outcomes: what was acknowledged counts from this moment."""
        ground = self._ground
        at_ms = ground.now_ms
        _count("lamp", results)
        taken = [rows for rows, result in zip(audiences, results, strict=True) if result.succeeded]
        if not taken:
            return
        rows = np.concatenate(taken)
        level = due.written[rows]
        fade_s = ground.following.fade_s[rows]
        longest_s = max(ground.tuning.settle_s, float(np.fmax.reduce(fade_s, initial=0.0)) + 1.0)
        ground.following.acknowledged(rows, level, at_ms + round(longest_s * 1000))
        ground.recorder.told(rows, level, at_ms)
        ground.state.lamps.quality[rows] = Quality.UNCERTAIN
        if link.over_budget or ground.reads_too_late(self._gateway, longest_s):
            self._trust(link, rows, due)
        ground.was_told(self._gateway)
        # Most gear has faded long before the slowest: over a link that costs nothing it is looked at then.
        early = link.gateway.tells_fading and ground.earliest[self._gateway] <= ground.monotonic()
        ground.read_again(self._gateway, min(ground.tuning.look_s, longest_s) if early else longest_s)

    def _trust(self, link: Link, rows: Rows, due: Due) -> None:
        """Nobody will look in time: the acknowledgement stands in, or the same would be told again and again. Not of
        lamps that did not follow before: these are told again after the next reading."""
        ground, following = self._ground, self._ground.following
        stubborn = following.misses[rows] > 0
        ground.state.lamps.actual[rows[~stubborn]] = link.gateway.expected[due.written[rows[~stubborn]]]
        again = max(float(ground.earliest[self._gateway]), ground.monotonic() + LONGEST_REST_S)
        following.rest_until[rows[stubborn]] = again

    async def _set_fades(self, link: Link, rows: Rows, due: Due) -> None:
        """Where the plan gives a ramp, the gear itself fades; a fade that was set so is taken back afterwards.

        The register wears, so it is written only where it must change.
        """
        following = self._ground.following
        if not due.ramp_s[rows].any() and bool(np.isnan(following.fade_s[rows]).all()):
            return
        ramp_s = np.minimum(due.ramp_s[rows].astype(np.float64), MOST_FADE_S)
        known = following.fade_s[rows]
        wanted = np.where(ramp_s > 0, ramp_s, np.where(known > _LONG_FADE_S, _USUAL_FADE_S, known))
        change = ~np.isnan(wanted) & (wanted != known)
        if not change.any():
            return
        targets, seconds = rows[change], wanted[change]
        addresses = self._ground.columns.address[targets].tolist()
        results = await link.write(
            [WriteRequest(PointAddress("fade_time", a), s) for a, s in zip(addresses, seconds.tolist(), strict=True)]
        )
        _count("fade", results)
        done = np.array([result.succeeded for result in results], dtype=np.bool_)
        following.fade_s[targets[done]] = seconds[done]


def _count(what: str, results: list[WriteResult]) -> None:
    for outcome, count in Counter(result.outcome for result in results).items():
        WRITES.labels(what, str(outcome)).inc(count)
