"""Why a request to a device gave no usable answer. Drivers turn these into qualities and outcomes; callers of
`read` and `write` never see them, only `identify` raises them.

RetryableError (domain)
├── LinkDown         nothing was sent: no connection, or none worth trying yet
│   ├── Postponed    the unit is sick, and its healthy neighbours left it no turn in time
│   └── OverBudget   the link's bytes for now are used up
├── NoAnswer         the device stayed silent within its time
├── AnswerLost       the connection broke while the answer was due
└── Malformed        an answer came that does not fit its request
PermanentError (domain)
├── DeviceException  the device answered with a Modbus exception
└── ServiceFault     the OPC UA server refused the whole request
"""

from __future__ import annotations

from typing import ClassVar, Final

from domain.errors import PermanentError, TimedOut, Unavailable

# MODBUS Application Protocol Specification V1.1b3, section 7.
EXCEPTION_TEXT: Final = {
    0x01: "illegal function",
    0x02: "illegal data address",
    0x03: "illegal data value",
    0x04: "device failure",
    0x05: "acknowledged, still working on it",
    0x06: "device busy",
    0x07: "negative acknowledge",
    0x08: "memory parity error",
    0x0A: "gateway path unavailable",
    0x0B: "gateway target device failed to respond",
}
ILLEGAL_FUNCTION: Final = 0x01
ILLEGAL_ADDRESS: Final = 0x02
ILLEGAL_VALUE: Final = 0x03
ACKNOWLEDGE: Final = 0x05
BUSY: Final = 0x06
NEGATIVE_ACKNOWLEDGE: Final = 0x07
GATEWAY_CODES: Final = frozenset({0x0A, 0x0B})


class LinkDown(Unavailable):
    """Nothing was sent."""

    code: ClassVar[str] = "FIELD_LINK_DOWN"


class Postponed(LinkDown):
    """A slow or silent unit got no turn on its bus in time."""

    code: ClassVar[str] = "FIELD_POSTPONED"


class OverBudget(LinkDown):
    """The link may carry no more readings for now."""

    code: ClassVar[str] = "FIELD_OVER_BUDGET"


class NoAnswer(TimedOut):
    """Sent, and no matching answer within the time."""

    code: ClassVar[str] = "FIELD_NO_ANSWER"


class AnswerLost(Unavailable):
    """Sent, and the connection broke before the answer."""

    code: ClassVar[str] = "FIELD_ANSWER_LOST"


class Malformed(Unavailable):
    """An answer that cannot be one to the request: wrong length, wrong echo."""

    code: ClassVar[str] = "FIELD_MALFORMED"


class DeviceException(PermanentError):
    """The device refused, and said why."""

    code: ClassVar[str] = "FIELD_EXCEPTION"

    def __init__(self, exception_code: int) -> None:
        self.exception_code = exception_code
        text = EXCEPTION_TEXT.get(exception_code, "unknown exception")
        super().__init__(f"exception {exception_code:02X}: {text}")

    @property
    def is_structural(self) -> bool:
        """Asking the same again cannot help: the map differs, or the block is too long."""
        return self.exception_code in (ILLEGAL_FUNCTION, ILLEGAL_ADDRESS, ILLEGAL_VALUE)

    @property
    def is_absence(self) -> bool:
        """A gateway answered for a device that did not."""
        return self.exception_code in GATEWAY_CODES


class ServiceFault(PermanentError):
    """The OPC UA server refused a request as a whole; single nodes have their own status."""

    code: ClassVar[str] = "FIELD_SERVICE_FAULT"

    def __init__(self, status_code: int, name: str) -> None:
        self.status_code = status_code
        super().__init__(f"the server refused the request: {name}")
