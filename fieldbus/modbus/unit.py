"""One unit on a Modbus bus: asking it, whether it lives, what it is, and that it is the simulator where it must be.

What is asked is read.py's and write.py's business, the shared connection modbus/line/bus.py's.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Final

from domain.errors import FailedPrecondition, LichtbuchError
from fieldbus.backoff import Backoff
from fieldbus.device import SIMULATOR_PRODUCT, SIMULATOR_VENDOR, Limits
from fieldbus.faults import AnswerLost, DeviceException, LinkDown, Malformed, NoAnswer, OverBudget
from fieldbus.modbus.line.bus import Asker, LinkRenewed, ModbusBus
from fieldbus.modbus.line.link import Answer
from fieldbus.profile import ModbusLimits
from fieldbus.raw import told
from fieldbus.url import Endpoint
from fieldbus.values import Counters, Identity

_ENCAPSULATED: Final = 0x2B
_READ_IDENTIFICATION: Final = 0x0E
_BASIC_IDENTITY: Final = 0x01
_RENEWALS_TOLERATED: Final = 3


class ModbusUnit:
    """A unit that can be asked."""

    def __init__(
        self,
        bus: ModbusBus,
        endpoint: Endpoint,
        product: ModbusLimits,
        limits: Limits,
        *,
        monotonic: Callable[[], float],
        uniform: Callable[[], float],
        require_simulator: bool,
    ) -> None:
        self.endpoint = endpoint
        self.product = product
        self.limits = limits
        self.bus = bus
        self.monotonic = monotonic
        self.uniform = uniform
        self.counters = Counters()
        self.asker = Asker(endpoint.unit, product, self.counters, limits.request_timeout_s)
        self.backoff = Backoff(limits.backoff_initial_s, limits.backoff_max_s, monotonic, uniform)
        self.last_error = ""
        self.not_simulator = False
        self.answered_at: float | None = None
        self._held_back_at: float | None = None  # when the link last bore no reading; None after other failures
        self._require_simulator = require_simulator
        self._verified_generation = 0
        self._answered_generation = 0

    @property
    def waiting_reason(self) -> str:
        """Why nothing may be sent now; empty when it may."""
        if self.backoff.ready:
            return ""
        return f"the device does not answer, next attempt in {self.backoff.remaining_s:.1f} s"

    @property
    def over_budget(self) -> bool:
        """Whether the last thing asked for was held back, because the link has carried its bytes for now."""
        held_back_at = self._held_back_at
        return held_back_at is not None and (self.answered_at is None or held_back_at >= self.answered_at)

    @property
    def generation(self) -> int:
        """Of the connection; 0 before the first one."""
        return self.bus.generation

    def answered(self, now: float | None = None) -> None:
        """The device lives. `now` where the caller has just looked at the clock."""
        if self.backoff.failures:
            self.backoff.succeeded()
        self.answered_at = self.monotonic() if now is None else now
        self._answered_generation = self.bus.generation

    def failed(self, error: LichtbuchError) -> None:
        """The device did not answer as it should; a connection that is down is not its own fault."""
        self.last_error = str(error)
        self._held_back_at = self.monotonic() if isinstance(error, OverBudget) else None
        if isinstance(error, Malformed):
            self.bus.doubt()
        if not isinstance(error, LinkDown):
            self.backoff.failed()

    async def request(
        self, function_code: int, payload: bytes, *, is_read: bool = False, turn_by: float | None = None
    ) -> bytes:
        """One request. A read is repeated once when a long-lived connection turns out to be dead, and waits for its
        turn on the bus until `turn_by`.

        Raises LinkDown, NoAnswer, AnswerLost, Malformed, DeviceException; FailedPrecondition where it must be the
        simulator and is not.
        """
        repeat = is_read and self._answered_generation == self.bus.generation
        if not self._require_simulator:
            try:
                return await self._exchange(function_code, payload, None, turn_by)
            except AnswerLost:
                if not repeat:
                    raise
            return await self._exchange(function_code, payload, None, turn_by)
        for _ in range(_RENEWALS_TOLERATED):
            try:
                return await self._exchange(function_code, payload, await self._verified(), turn_by)
            except LinkRenewed:
                continue
            except AnswerLost:
                if not repeat:
                    raise
                repeat = False
        raise LinkDown("the connection is renewed again and again")

    def begin(self, function_code: int, payload: bytes, now: float) -> Answer | None:
        """Send a request at once, where the unit is healthy and the bus has nothing else to do; see `ModbusBus.begin`.
        None otherwise: then `request` is to be used."""
        generation = self.bus.generation
        if (
            self.backoff.failures
            or self._answered_generation != generation
            or (self._require_simulator and self._verified_generation != generation)
        ):
            return None
        return self.bus.begin(self.asker, function_code, payload, now)

    def lost(self) -> None:
        """The connection over which the unit has answered is gone: asking once more may do, but not twice."""
        self._answered_generation = 0

    async def connected(self) -> int:
        """The generation of a standing connection. Raises LinkDown."""
        return await self.bus.ensure_connected(self.product)

    async def identify(self) -> Identity:
        """What the unit says it is; empty where it does not know function 0x2B/0x0E."""
        try:
            return await self._read_identity(None)
        except DeviceException as error:
            if error.is_absence:
                raise NoAnswer(str(error)) from None
            return Identity()

    def _exchange(
        self, function_code: int, payload: bytes, generation: int | None, turn_by: float | None = None
    ) -> Coroutine[Any, Any, bytes]:
        return self.bus.exchange(self.asker, function_code, payload, generation=generation, turn_by=turn_by)

    async def _verified(self) -> int:
        """The generation of a connection at whose end the simulator stands. Raises FailedPrecondition otherwise."""
        generation = await self.bus.ensure_connected(self.product)
        if generation == self._verified_generation:
            return generation
        try:
            identity = await self._read_identity(generation)
        except DeviceException as error:
            if error.is_absence:
                raise NoAnswer(str(error)) from None
            identity = Identity()
        self.not_simulator = (identity.vendor, identity.product) != (SIMULATOR_VENDOR, SIMULATOR_PRODUCT)
        if self.not_simulator:
            self.last_error = f"is not the simulator but '{identity.vendor} {identity.product}'"
            raise FailedPrecondition.of(
                "endpoint", f"{self.endpoint} {self.last_error}; only the simulator may be used now"
            )
        self._verified_generation = generation
        return generation

    async def _read_identity(self, generation: int | None) -> Identity:
        texts: dict[int, str] = {}
        next_object = 0
        for _ in range(_RENEWALS_TOLERATED):
            payload = bytes((_READ_IDENTIFICATION, _BASIC_IDENTITY, next_object))
            answer = await self._exchange(_ENCAPSULATED, payload, generation)
            self.answered()
            more, next_object = _parse_identity(answer, texts)
            if not more:
                break
        return Identity(texts.get(0, ""), texts.get(1, ""), texts.get(2, ""))


def _parse_identity(answer: bytes, texts: dict[int, str]) -> tuple[bool, int]:
    """Objects of one answer to 0x2B/0x0E into `texts`; whether more follow, and from which object."""
    if len(answer) < 6 or answer[0] != _READ_IDENTIFICATION:
        raise Malformed("the answer to the identification request cannot be read")
    position = 6
    for _ in range(answer[5]):
        if position + 2 > len(answer) or position + 2 + answer[position + 1] > len(answer):
            raise Malformed("the identification ends in the middle of a text")
        end = position + 2 + answer[position + 1]
        texts[answer[position]] = told(answer[position + 2 : end].decode("utf-8", "replace").strip("\0 "))
        position = end
    return answer[3] == 0xFF, answer[4]
