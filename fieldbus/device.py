"""The one interface of a field device, whatever protocol it speaks, what some can do beyond it, and the limits that
every driver keeps.

No protocol lives here. The drivers are modbus/device.py and opcua/device.py; fieldbus/client.py opens them by URL.

Another kind of gateway, say the central management system of a vendor behind TALQ, is one more class with the methods
of `Device`: it maps the vocabulary's names to its own (TALQ's names stand beside many points of the vocabulary),
answers `read` from its last notifications with their own times (`TimeSource.DEVICE`), turns the acknowledgements of its
commands into `WriteOutcome` (ACCEPTED at once; CONFIRMED when the lamp's own report shows the level), implements
`subscribe` with what it is notified of, and `AlarmSource` with its failure events. Nothing else in the house has to
know of it but the place that opens devices by URL.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol, runtime_checkable

from fieldbus.values import BatchCallback, DeviceHealth, Identity, PointAddress, ValueBatch, WriteResult

# What an endpoint must say on the wire before anything may run faster than real time against it.
# Modbus: function 0x2B/0x0E, objects VendorName and ProductCode. OPC UA: ServerStatus.BuildInfo.ProductUri.
SIMULATOR_VENDOR: Final = "Lichtbuch"
SIMULATOR_PRODUCT: Final = "Simulator"
SIMULATOR_PRODUCT_URI: Final = "urn:lichtbuch:simulator"


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what one device may cost. All in real seconds: a time-lapse does not shorten a line's patience."""

    connect_timeout_s: float = 3.0
    request_timeout_s: float = 2.0
    read_deadline_s: float = 20.0  # of one read() over all its requests; what is left by then is MISSING
    write_deadline_s: float = 20.0  # of one write() until its last request is sent; what is left by then is not sent
    backoff_initial_s: float = 0.5
    backoff_max_s: float = 60.0
    refused_points_retry_s: float = 30.0  # points a device does not have are asked for again after this, then
    refused_points_retry_max_s: float = 900.0  # twice as long each time up to this: gear may join a line later
    confirm_timeout_s: float = 1.0  # how long a read-back may lag behind its write
    confirm_interval_s: float = 0.1
    confirm_fade_max_s: float = 30.0  # how long a read-back waits for a fade, however long that says it takes
    poll_interval_s: float = 1.0  # of subscriptions on protocols that have none
    watchdog_interval_s: float = 5.0  # OPC UA: how often an idle session is checked


class Subscription(Protocol):
    """A running subscription."""

    async def cancel(self) -> None:
        """Stop it; no callback is called after this returns."""
        ...


class Device(Protocol):
    """A device that can be read and written by points of the vocabulary.

    Reading never raises for a dead or sick device: its points are MISSING or BAD. What raises is a caller's
    mistake (InvalidInput: a point the profile does not have, an index out of range, a device already closed) and
    a device that must be the simulator and is not (FailedPrecondition).
    """

    async def read(self, points: Sequence[PointAddress]) -> ValueBatch:
        """Read points in as few requests as the device allows. Rows come in the order asked.

        Pass the same tuple again for every cycle: the plan is cached by it.
        """
        ...

    async def write(self, writes: Sequence[tuple[PointAddress, float]], verify: bool = True) -> list[WriteResult]:
        """Write points (`WriteRequest` or plain pairs), one result each, in the order asked.

        Broadcasts go out before group commands, these before single ones, so that the more specific command wins.
        With `verify` every acknowledged command is compared with what the device then holds; see `WriteOutcome`.
        """
        ...

    async def subscribe(
        self, points: Sequence[PointAddress], callback: BatchCallback, *, interval_s: float | None = None
    ) -> Subscription:
        """Call back with the rows that changed (first with all). Protocols without subscriptions are polled.

        While a device does not answer, its points are reported MISSING once. The callback must not block.
        """
        ...

    def least_interval_s(self, points: Sequence[PointAddress]) -> float:
        """Real seconds between two readings of these points that the link bears; 0 where nothing limits it."""
        ...

    def health(self) -> DeviceHealth:
        """State and counters; no request is made."""
        ...

    async def identify(self) -> Identity:
        """Ask the device what it is. Raises Unavailable or TimedOut when it does not answer."""
        ...

    async def close(self) -> None:
        """Release the device. Safe to call twice."""
        ...


# --- what only some devices can: ask with isinstance() ------------------------------------------------------------


@runtime_checkable
class HistoryReader(Protocol):
    """A device that keeps its own past: what was missed while the line was down can be had afterwards."""

    async def history(self, points: Sequence[PointAddress], start: datetime, end: datetime) -> list[ValueBatch]:
        """What was recorded from `start` (inclusive) to `end` (exclusive), aware instants, oldest first.

        A batch may hold a point several times, once per recorded value. A point without history is simply not in it.
        Raises Unavailable or TimedOut when the device does not answer, InvalidInput for points it does not have.
        """
        ...


@dataclass(frozen=True, slots=True)
class Alarm:
    """A state that the device itself calls attention to."""

    source: str  # what it is about, in the device's own words
    severity: int  # 1 (for information) .. 1000 (at once), as OPC UA counts it
    message: str
    active: bool
    acknowledged: bool
    at: datetime  # when it became so, by the device's clock; aware
    point: PointAddress | None = None  # the point it is about, where the profile has one for the source
    condition: str = ""  # name of the condition, the same for all reports of one alarm; empty for a mere event


AlarmCallback = Callable[[Alarm], None]


@runtime_checkable
class AlarmSource(Protocol):
    """A device that tells of alarms by itself."""

    async def watch_alarms(self, callback: AlarmCallback) -> Subscription:
        """Call back with every alarm: first with those that stand, then with each change. It must not block."""
        ...


@dataclass(frozen=True, slots=True)
class BrowsedNode:
    """One entry of a device's own directory."""

    node: str  # how the device addresses it, with the namespace spelled out
    name: str
    kind: str  # "object", "variable", "method"
    data_type: str = ""  # of a variable
    writable: bool = False
    value: str = ""  # of a variable, as text, where it could be read


@runtime_checkable
class Browser(Protocol):
    """A device that can list what it has."""

    async def browse(self, node: str = "", *, depth: int = 1) -> list[BrowsedNode]:
        """What lies below a node (by default the root of the device's own objects), `depth` levels deep.

        Raises Unavailable or TimedOut when the device does not answer, InvalidInput for a node that it does not have.
        """
        ...
