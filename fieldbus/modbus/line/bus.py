"""What all units behind one host and port, or on one line, share: the connection, turns, pauses, reconnecting.

A dead connection is tried again once per back-off, whoever asks; everybody else is told at once that it is down.
Whose turn it is says turns.py. Back-off of a single silent unit is the device's business (modbus/device.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Final

from fieldbus.backoff import Backoff
from fieldbus.budget import Budget
from fieldbus.device import Limits
from fieldbus.faults import AnswerLost, DeviceException, LinkDown, Malformed, NoAnswer, Postponed
from fieldbus.modbus.line.link import Answer, ModbusLink
from fieldbus.modbus.line.turns import BusTurns, Ticket
from fieldbus.profile import ModbusLimits
from fieldbus.values import Counters

_SILENT_REQUESTS_BEFORE_RECONNECT: Final = 3
_COMMANDS: Final = frozenset({5, 6, 15, 16, 22, 23})
_MANY: Final = 1 << 16
_NEVER: Final = float("inf")
_LOOK_AGAIN_S: Final = 0.05


class LinkRenewed(Exception):
    """The connection is another one than the caller knew: it has to look again whom it is talking to."""


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks on a bus: which unit, what it may be asked to bear, and where it is counted."""

    unit: int
    product: ModbusLimits
    counters: Counters
    timeout_s: float  # for the answer to one request


class ModbusBus:
    """A shared connection."""

    def __init__(
        self,
        new_link: Callable[[], ModbusLink],
        limits: Limits,
        monotonic: Callable[[], float],
        uniform: Callable[[], float],
        *,
        budget: Budget | None = None,
    ) -> None:
        """`new_link` makes the connections, one after the other; `budget` counts and bounds what they carry."""
        self._new_link = new_link
        self._limits = limits
        self._monotonic = monotonic
        self.link = new_link()
        self._connecting = asyncio.Lock()
        self._turns = BusTurns()
        self._only_unit: int | None = None  # the one that has been asked so far, until there is another
        self._shared = False  # more than one unit was seen: only then turns matter
        self._running = 0
        self._in_flight = _MANY if self.link.has_transactions else 1  # the most careful product decides
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._sick_at = _NEVER
        self._not_before = float("-inf")
        self._silent = 0
        self._discarded_counted = 0
        self._closed = False
        self.backoff = Backoff(limits.backoff_initial_s, limits.backoff_max_s, monotonic, uniform)
        self.budget = budget
        self.generation = 0  # of the connection: grows with every one made

    @property
    def connected(self) -> bool:
        """Whether the connection stands."""
        return self.link.connected

    async def exchange(
        self,
        asker: Asker,
        function_code: int,
        payload: bytes,
        *,
        generation: int | None = None,
        turn_by: float | None = None,
    ) -> bytes:
        """One request and its answer, when it is this asker's turn. A reading does not wait for it longer than until
        `turn_by` (by the bus's own clock; default: the read deadline), a command as long as it takes.

        With `generation` the request is only sent over that very connection: LinkRenewed otherwise. Raises LinkDown
        (Postponed, OverBudget), NoAnswer, AnswerLost, Malformed, DeviceException.
        """
        turns, product = self._turns, asker.product
        if product.max_in_flight < self._in_flight:
            self._in_flight = product.max_in_flight
        if self._running < self._in_flight and not turns.waiting and asker.unit not in turns.sick:
            self._running += 1
        else:
            await self._turn(asker.unit, function_code, turn_by)
        try:
            if self.budget is not None:
                # Before connecting: what may not be read is no reason to pay for a connection.
                self.budget.before(function_code, payload)
            if not self.link.connected:
                await self._ensure_connected(product)
            if generation is not None and generation != self.generation:
                raise LinkRenewed
            began = self._monotonic()
            if began < self._not_before:
                await asyncio.sleep(self._not_before - began)
                began = self._monotonic()
            return await self._ask(asker, function_code, payload, began)
        finally:
            self._running -= 1
            if turns.waiting:
                self._pump()

    def begin(self, asker: Asker, function_code: int, payload: bytes, now: float) -> Answer | None:
        """Send a request at once where nothing stands in its way: a connection that stands, has nothing to keep to and
        nobody waiting for it, and a unit that is known there. None otherwise: then `exchange` is to be used. `now` by
        the bus's own clock.

        Whoever awaits the answer says what became of it: `succeeded`, or `failed` with the link that it went over.
        """
        turns = self._turns
        if (
            self._running >= self._in_flight
            or asker.product.max_in_flight < self._in_flight
            or (asker.unit in turns.sick if self._shared else asker.unit != self._only_unit)
            or now < self._not_before
            or turns.waiting
            or self.budget is not None
        ):
            return None
        link = self.link
        try:
            answer = link.request(asker.unit, function_code, payload, asker.timeout_s)
        except LinkDown:
            return None
        self._running += 1
        counters = asker.counters
        counters.requests += 1
        counters.bytes_sent += link.frame_overhead + 1 + len(payload)
        return answer

    def succeeded(self, asker: Asker, sent: int, received: int, began: float, now: float) -> None:
        """What was begun with a payload of `sent` bytes has been answered with one of `received`."""
        # The same as `_came` and `_passed`, written out: two calls in each reading of each device cost 1 % of it.
        link, counters = self.link, asker.counters
        counters.answers += 1
        counters.bytes_received += link.frame_overhead + 1 + received
        self._silent = 0
        if link.discarded != self._discarded_counted or asker.product.pause_s:
            self._passed(link, asker)
        if self._shared:
            self._turns.ended(asker.unit, began, now, 2 * (link.frame_overhead + 1) + sent + received, silent=False)
        self._running -= 1
        if self._turns.waiting:
            self._pump()

    def failed(self, asker: Asker, error: BaseException, link: ModbusLink, sent: int, began: float) -> None:
        """What was begun has not been answered as it should, or nobody waits for it any more."""
        received, silent = self._went_wrong(error, link, asker.counters)
        self._passed(link, asker)
        if self._shared:
            size = link.frame_overhead + 1 + sent + received
            self._turns.ended(asker.unit, began, self._monotonic(), size, silent)
        self._running -= 1
        if self._turns.waiting:
            self._pump()

    async def ensure_connected(self, product: ModbusLimits) -> int:
        """The generation of a standing connection. Raises LinkDown."""
        if not self.link.connected:
            await self._ensure_connected(product)
        return self.generation

    def least_interval_s(self, requests: Iterable[tuple[int, int]]) -> float:
        """See `Budget.least_interval_s`; 0 where the link sets no bounds."""
        return 0.0 if self.budget is None else self.budget.least_interval_s(requests)

    def for_command(self) -> AbstractContextManager[None]:
        """See `Budget.for_command`."""
        return nullcontext() if self.budget is None else self.budget.for_command()

    def reset(self) -> None:
        """Drop the connection: what comes next over it could not be trusted."""
        self.link.close()

    def doubt(self) -> None:
        """An answer was one to another request: where nothing tells them apart, the right one may still come, and must
        not be taken for the next."""
        if not self.link.has_transactions:
            self.link.distrust()

    def close(self) -> None:
        """Drop the connection for good."""
        self._closed = True
        self.link.close()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # --- one request ---------------------------------------------------------------------------------------------

    async def _ask(self, asker: Asker, function_code: int, payload: bytes, began: float) -> bytes:
        link, unit, counters = self.link, asker.unit, asker.counters
        answer = link.request(unit, function_code, payload, asker.timeout_s)
        sent = link.frame_overhead + 1 + len(payload)
        counters.requests += 1
        counters.bytes_sent += sent
        received = 0
        silent = False
        try:
            data = await answer
            received = self._came(link, len(data), counters)
            return data
        except BaseException as error:
            received, silent = self._went_wrong(error, link, counters)
            raise
        finally:
            self._passed(link, asker)
            if self.budget is not None:
                self.budget.after(sent, received)
            if self._shared:
                self._turns.ended(unit, began, self._monotonic(), sent + received, silent)
            elif unit != self._only_unit:
                self._shared = self._only_unit is not None
                self._only_unit = None if self._shared else unit

    def _came(self, link: ModbusLink, size: int, counters: Counters) -> int:
        """An answer came. The bytes that it took."""
        received = link.frame_overhead + 1 + size
        counters.answers += 1
        counters.bytes_received += received
        self._silent = 0
        return received

    def _went_wrong(self, error: BaseException, link: ModbusLink, counters: Counters) -> tuple[int, bool]:
        """No answer came, or one that refuses. The bytes that it took, and whether the unit was silent."""
        match error:
            case DeviceException():
                counters.exceptions += 1
                return self._came(link, 1, counters), error.is_absence
            case NoAnswer():
                counters.timeouts += 1
                self._after_silence(link)
                return 0, True
            case AnswerLost():
                counters.connection_losses += 1
                link.distrust()
                return 0, True
            case Malformed():
                counters.discarded += 1
            case asyncio.CancelledError():
                link.forgotten()
        return 0, False

    def _passed(self, link: ModbusLink, asker: Asker) -> None:
        """A request is over, whatever became of it."""
        if link.discarded != self._discarded_counted and link is self.link:
            asker.counters.discarded += link.discarded - self._discarded_counted
            self._discarded_counted = link.discarded
        pause_s = asker.product.pause_s
        if pause_s:
            self._not_before = self._monotonic() + pause_s

    def _after_silence(self, link: ModbusLink) -> None:
        self._silent += 1
        gone = self._silent >= _SILENT_REQUESTS_BEFORE_RECONNECT and not link.outstanding
        if gone or not link.has_transactions:
            # RTU: a late answer would pass for the next one. TCP: the other end may be gone without a word.
            link.distrust()
            self._silent = 0

    async def _ensure_connected(self, product: ModbusLimits) -> None:
        async with self._connecting:
            self._check_open()
            if self.link.connected:
                return
            if not self.backoff.ready:
                raise LinkDown(f"no connection, next attempt in {self.backoff.remaining_s:.1f} s")
            link = self._new_link()
            if self.budget is not None:
                self.budget.connecting()
            try:
                await link.connect(self._limits.connect_timeout_s)
            except LinkDown:
                self.backoff.failed()
                raise
            self.link = link
            self._discarded_counted = 0
            self.backoff.succeeded()
            self.generation += 1
            self._silent = 0
            self._not_before = self._monotonic() + product.connect_pause_s
        self._check_open()

    def _check_open(self) -> None:
        """Also after waiting for the connection, which may have been given up meanwhile."""
        if self._closed:
            self.link.close()
            raise LinkDown("the bus was closed")

    # --- turns ---------------------------------------------------------------------------------------------------

    async def _turn(self, unit: int, function_code: int, turn_by: float | None) -> None:
        """Wait for one's turn; the bus is this caller's afterwards. Raises Postponed."""
        now = self._monotonic()
        is_command = function_code in _COMMANDS
        if is_command:
            turn_by = _NEVER
        elif turn_by is None:
            turn_by = now + self._limits.read_deadline_s
        granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        ticket = Ticket(unit, is_command, now, turn_by, granted)
        self._turns.ask(ticket)
        self._look_by(turn_by)
        self._pump()
        try:
            await granted
        except asyncio.CancelledError:
            if granted.done() and not granted.cancelled() and granted.exception() is None:
                self._running -= 1  # the turn came together with the cancellation: hand it on
            else:
                self._turns.withdraw(ticket)
            self._pump()
            raise

    def _pump(self) -> None:
        """Give out the turns that are free."""
        turns = self._turns
        while turns.waiting and self._running < self._in_flight:
            ticket = turns.next(self._monotonic())
            if ticket is None:
                break
            if not ticket.granted.done():
                self._running += 1
                ticket.granted.set_result(None)
        if not turns.waiting or self._closed:
            return
        if turns.sick_at != self._sick_at:
            self._sick_at = turns.sick_at
            self._look_by(self._sick_at)
        if self._timer is None:
            now = self._monotonic()
            at = turns.wake_at(now)
            if at is not None:
                self._timer_at = max(at, now + _LOOK_AGAIN_S)
                self._timer = asyncio.get_running_loop().call_later(self._timer_at - now, self._look_again)

    def _look_by(self, at: float) -> None:
        """A timer that would come later than this is set anew by `_pump`."""
        if self._timer is not None and at < self._timer_at - _LOOK_AGAIN_S:
            self._timer.cancel()
            self._timer = None

    def _look_again(self) -> None:
        """The time of a postponed reading has come, or somebody's patience has ended."""
        self._timer = None
        now = self._monotonic()
        for ticket in self._turns.impatient(now):
            if not ticket.granted.done():
                sick = ticket.unit in self._turns.sick
                why = (
                    "is slow or silent, and the others on its bus left it no turn" if sick else "got no turn on its bus"
                )
                waited_s = now - ticket.asked_at
                ticket.granted.set_exception(Postponed(f"unit {ticket.unit} {why} within {waited_s:.1f} s"))
        self._pump()
