"""Places on Modbus, and how they are gathered into requests: the fewest that are legal, and of these the shortest.

Pure: what the addresses mean is read_plan.py's and planner.py's business, asking for them read.py's.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby, pairwise

from fieldbus.profile import ModbusLimits, Table


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """The addresses of one or more points that lie in the same place."""

    table: Table
    address: int
    length: int  # registers, or bits in a bit table

    @property
    def end(self) -> int:
        """First address after it."""
        return self.address + self.length


@dataclass(slots=True)
class Memory:
    """What a device has taught us by refusing."""

    cuts: dict[Table, set[int]] = field(default_factory=lambda: defaultdict(set))  # no block may cross these
    refused: dict[Span, float] = field(default_factory=dict)  # span to the monotonic time of the next try
    refusals: dict[Span, int] = field(default_factory=dict)  # how often in a row

    def refuse(self, spans: Sequence[Span], now: float, initial_s: float, maximum_s: float) -> None:
        """The device does not have these. It may yet: a gateway that starts refuses what it has not found so far, so
        the first tries come soon and later ones seldom."""
        for span in spans:
            times = self.refusals.get(span, 0)
            self.refusals[span] = times + 1
            self.refused[span] = now + min(maximum_s, initial_s * 2.0 ** min(times, 16))

    def grant(self, spans: Sequence[Span]) -> None:
        """The device gave these after all."""
        if self.refusals:
            for span in spans:
                self.refusals.pop(span, None)

    def forgive(self, now: float) -> bool:
        """Drop refusals whose time has come; True if any was dropped (plans must be made anew)."""
        due = [span for span, retry_at in self.refused.items() if retry_at <= now]
        for span in due:
            del self.refused[span]
        return bool(due)


def gather(spans: Sequence[Span], limits: ModbusLimits, memory: Memory) -> list[list[Span]]:
    """Different spans to groups of one request each, in order of address.

    No legal way of asking has fewer requests, and none with as few asks for fewer addresses. Legal is: at most
    max_read_registers (max_read_bits) at a time, no gap wider than max_gap, no illegal address, no remembered cut
    inside. A single span is always asked for, however long.
    """
    groups: list[list[Span]] = []
    for table, members in groupby(sorted(spans), key=lambda span: span.table):
        maximum = limits.max_read_bits if table.is_bits else limits.max_read_registers
        cuts = memory.cuts.get(table, ())
        illegal = [(low, high) for illegal_table, low, high in limits.illegal if illegal_table is table]
        for run in _runs(_with_riders(list(members), cuts), limits.max_gap, cuts, illegal):
            groups += _fewest(run, maximum)
    groups.sort(key=lambda group: group[0])
    return groups


@dataclass(slots=True)
class _Carrier:
    """A span, and those within it that need no request of their own."""

    start: int
    end: int
    spans: list[Span]
    alone: bool  # a cut goes through it: it cannot be split, and nothing else is asked with it


def _with_riders(spans: list[Span], cuts: Sequence[int] | set[int]) -> list[_Carrier]:
    """Spans by address such that none lies within another."""
    carriers: list[_Carrier] = []
    for span in sorted(spans, key=lambda span: (span.address, -span.length)):
        # Ends rise from carrier to carrier, so if any holds the span, the last one does.
        if carriers and span.end <= carriers[-1].end:
            carriers[-1].spans.append(span)
            continue
        alone = any(span.address < cut < span.end for cut in cuts)
        carriers.append(_Carrier(span.address, span.end, [span], alone))
    return carriers


def _runs(
    carriers: list[_Carrier], max_gap: int, cuts: Sequence[int] | set[int], illegal: list[tuple[int, int]]
) -> Iterator[list[_Carrier]]:
    """Split wherever no request may reach across."""
    yield from ([carrier] for carrier in carriers if carrier.alone)
    together = [carrier for carrier in carriers if not carrier.alone]
    run = together[:1]
    for before, after in pairwise(together):
        barred = after.start - before.end > max_gap
        barred = barred or any(before.end <= cut <= after.start for cut in cuts)
        if after.start > before.end:
            barred = barred or any(low < after.start and high >= before.end for low, high in illegal)
        if barred:
            yield run
            run = []
        run.append(after)
    if run:
        yield run


def _fewest(run: list[_Carrier], maximum: int) -> list[list[Span]]:
    """Cut a run into blocks of at most `maximum` addresses: fewest blocks first, then fewest addresses.

    Dynamic programming over the ends of blocks. `best[n]` is the cost of asking for the first n carriers; a block from
    carrier i to n costs (1, end of n - start of i), so that the best i is the one in reach with the least
    `best[i] - (0, start of i)`, which a queue of candidates in rising order keeps at its head.
    """
    best: list[tuple[int, int]] = [(0, 0)]
    origin: list[int] = [0]
    candidates: deque[tuple[int, int, int]] = deque()
    for number, carrier in enumerate(run):
        blocks, addresses = best[number]
        candidate = (blocks, addresses - carrier.start, number)
        while candidates and candidates[-1][:2] >= candidate[:2]:
            candidates.pop()
        candidates.append(candidate)
        while candidates[0][2] < number and carrier.end - run[candidates[0][2]].start > maximum:
            candidates.popleft()
        blocks, relative, first = candidates[0]
        best.append((blocks + 1, relative + carrier.end))
        origin.append(first)
    groups: list[list[Span]] = []
    end = len(run)
    while end:
        groups.append([span for carrier in run[origin[end] : end] for span in carrier.spans])
        end = origin[end]
    return groups[::-1]


def split_block(spans: Sequence[Span]) -> tuple[int, list[Span], list[Span]] | None:
    """Where to cut a block that the device refused: the cut address and the spans on both sides.

    At the widest gap first, because a register that nobody asked for is the likeliest reason; without a gap in the
    middle. None when one span is left: then the device refuses that point itself.
    """
    ordered = sorted(spans)
    if len(ordered) < 2:
        return None
    end = ordered[0].end
    widest, at = -1, 0
    middle = (len(ordered) - 1) / 2
    for position, span in enumerate(ordered[1:], start=1):
        gap = span.address - end
        closer = abs(position - 0.5 - middle) < abs(at - 0.5 - middle)
        if gap >= 0 and (gap > widest or (gap == widest and closer)):
            widest, at = gap, position
        end = max(end, span.end)
    if widest < 0:
        # Spans that overlap throughout cannot be told apart by asking for less.
        return None
    return ordered[at].address, ordered[:at], ordered[at:]
