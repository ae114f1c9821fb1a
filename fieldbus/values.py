"""What moves between devices and services: addresses, columnar batches, qualities, outcomes, identity, health.

Only data and small arithmetic on it. How values are got is the drivers' business, what they mean the vocabulary's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum, StrEnum
from types import MappingProxyType
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from domain import instants
from domain.errors import InvalidInput

FloatColumn = npt.NDArray[np.float64]
ByteColumn = npt.NDArray[np.uint8]
InstantColumn = npt.NDArray[np.int64]

NO_TEXTS: Final[Mapping[int, str]] = MappingProxyType({})


class PointAddress(NamedTuple):
    """A point of a device; `index` counts what the point's scope says (gear, channel ...), None for the device.

    A tuple, because thousands of them are hashed and compared every second.
    """

    point: str
    index: int | None = None  # type: ignore[assignment]  # hides tuple.index, which means nothing here

    def __str__(self) -> str:
        return self.point if self.index is None else f"{self.point}[{self.index}]"


class Quality(IntEnum):
    """How far a value may be trusted. Only GOOD and UNCERTAIN values are numbers; the others are NaN."""

    GOOD = 1
    UNCERTAIN = 2  # the device itself doubts it, or its time stamp is old
    BAD = 3  # the device answered, but not with a usable value
    MISSING = 4  # no answer


class TimeSource(IntEnum):
    """Who says when a value was observed."""

    DEVICE = 1  # the device's own clock
    OURS = 2  # the instant at which the answer reached us


class ValueBatch:
    """Values of one reading, as columns of equal length.

    `values` float64 in the vocabulary's unit, NaN unless GOOD or UNCERTAIN; counters are exact integers.
    `quality` uint8 of Quality, `observed_at` int64 Unix milliseconds (UTC), `time_source` uint8 of TimeSource.
    `texts` row to text, for the points that are texts: their value is NaN though their quality be GOOD.

    Columns are for reading: `quality` and `time_source` may be shared by many batches and cannot be written to then.
    """

    __slots__ = ("observed_at", "points", "quality", "texts", "time_source", "values")

    def __init__(
        self,
        points: Sequence[PointAddress],
        values: FloatColumn,
        quality: ByteColumn,
        observed_at: InstantColumn,
        time_source: ByteColumn,
        texts: Mapping[int, str] = NO_TEXTS,
    ) -> None:
        count = len(points)
        if not (len(values) == len(quality) == len(observed_at) == len(time_source) == count):
            raise InvalidInput.of("batch", "columns have different lengths")
        self.points = points
        self.values = values
        self.quality = quality
        self.observed_at = observed_at
        self.time_source = time_source
        self.texts = texts

    @classmethod
    def missing(cls, points: Sequence[PointAddress], at: datetime) -> ValueBatch:
        """A batch that says: asked at this instant, nobody answered."""
        count = len(points)
        return cls(
            points,
            np.full(count, np.nan),
            np.full(count, Quality.MISSING, dtype=np.uint8),
            np.full(count, unix_ms(at), dtype=np.int64),
            np.full(count, TimeSource.OURS, dtype=np.uint8),
        )

    @classmethod
    def concatenate(cls, batches: Sequence[ValueBatch]) -> ValueBatch:
        """One batch out of several, in their order."""
        if not batches:
            empty = np.empty(0)
            none = np.empty(0, dtype=np.uint8)
            return cls((), empty, none, np.empty(0, dtype=np.int64), none.copy())
        points = [point for batch in batches for point in batch.points]
        texts: dict[int, str] = {}
        start = 0
        for batch in batches:
            texts.update((start + row, text) for row, text in batch.texts.items())
            start += len(batch)
        return cls(
            points,
            np.concatenate([batch.values for batch in batches]),
            np.concatenate([batch.quality for batch in batches]),
            np.concatenate([batch.observed_at for batch in batches]),
            np.concatenate([batch.time_source for batch in batches]),
            texts or NO_TEXTS,
        )

    def __len__(self) -> int:
        return len(self.points)

    @property
    def good(self) -> npt.NDArray[np.bool_]:
        """Mask of the rows with quality GOOD."""
        return np.equal(self.quality, Quality.GOOD)

    @property
    def complete(self) -> bool:
        """Whether every row is GOOD."""
        return bool(np.all(self.good))

    def row(self, address: PointAddress) -> int:
        """The row of an address; InvalidInput where it is not in the batch. For single look-ups, not for loops."""
        try:
            return self.points.index(address)
        except ValueError:
            raise InvalidInput.of("point", f"{address} is not in this batch") from None

    def value(self, address: PointAddress) -> float:
        """The value of one address, NaN when it is not usable."""
        return float(self.values[self.row(address)])

    def text(self, address: PointAddress) -> str:
        """The text of one address, empty when it is no text or not usable."""
        return self.texts.get(self.row(address), "")

    def quality_of(self, address: PointAddress) -> Quality:
        """The quality of one address."""
        return Quality(int(self.quality[self.row(address)]))

    def as_dict(self) -> dict[PointAddress, float]:
        """Address to value, usable rows only, without the texts."""
        usable = self.quality <= Quality.UNCERTAIN
        if self.texts:
            usable[list(self.texts)] = False
        return {self.points[int(row)]: float(self.values[row]) for row in np.flatnonzero(usable)}


class WriteOutcome(StrEnum):
    """What is known of a write afterwards."""

    ACCEPTED = "accepted"  # the device acknowledged it; not read back, or the read-back does not show it yet
    CONFIRMED = "confirmed"  # read back equal, after the device's own quantisation
    REFUSED = "refused"  # by the device or by our own limits; certainly not in effect
    UNKNOWN = "unknown"  # no answer, or never sent: it may or may not be in effect


class WriteRequest(NamedTuple):
    """One command, `value` in the vocabulary's unit."""

    address: PointAddress
    value: float


@dataclass(frozen=True, slots=True)
class WriteResult:
    """The outcome of one command.

    `written` is what went over the wire after quantisation, in the vocabulary's unit (NaN if nothing was sent);
    `read_back` what the device said afterwards (NaN if not read).
    """

    address: PointAddress
    outcome: WriteOutcome
    reason: str = ""
    written: float = float("nan")
    read_back: float = float("nan")

    @property
    def succeeded(self) -> bool:
        """Acknowledged by the device, confirmed or not."""
        return self.outcome in (WriteOutcome.ACCEPTED, WriteOutcome.CONFIRMED)


@dataclass(frozen=True, slots=True)
class Identity:
    """What a device says it is; fields are empty where it does not say."""

    vendor: str = ""
    product: str = ""
    revision: str = ""


class DeviceState(StrEnum):
    """Whether a device is worth asking now."""

    UNTRIED = "untried"
    ONLINE = "online"
    BACKING_OFF = "backing_off"  # the last attempts failed; asked again when the back-off ends
    REFUSED = "refused"  # it answers, but it is not what it must be (simulator demanded)
    CLOSED = "closed"


@dataclass(slots=True)
class Counters:
    """Totals since the device was opened. Plain numbers: the services turn them into metrics."""

    requests: int = 0
    answers: int = 0
    exceptions: int = 0  # answers that were refusals of the device
    timeouts: int = 0
    connection_losses: int = 0
    discarded: int = 0  # answers that did not match their request, never used
    blocks_split: int = 0  # blocks the device refused as a whole
    overflows: int = 0  # changes that a server's queue was too short for
    bytes_sent: int = 0  # payload and framing, without the headers of TCP and IP
    bytes_received: int = 0
    writes_sent: int = 0
    writes_refused: int = 0
    writes_unknown: int = 0


@dataclass(slots=True)
class DeviceHealth:
    """A device's state as last seen. Ages and waits are in real seconds, never in domain time."""

    state: DeviceState
    consecutive_failures: int = 0
    last_error: str = ""
    seconds_since_answer: float | None = None
    seconds_to_next_attempt: float = 0.0
    counters: Counters = field(default_factory=Counters)
    refused_points: int = 0  # points the device refuses to give, left out of the polling for a while
    over_budget: bool = False  # the last reading was held back, wholly or in part: the link has carried its bytes


BatchCallback = Callable[[ValueBatch], None]


unix_ms = instants.unix_ms
from_unix_ms = instants.from_unix_ms
