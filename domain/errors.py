"""The one tree of errors. What they become on the wire (gRPC status and details) is servicekit's business, not ours.

LichtbuchError
├── PermanentError            the same call will fail again: do not retry
│   ├── InvalidInput          a field of the input is wrong (field and reason)
│   │   └── OutOfLimits       a value is well formed, yet beyond a limit of size, range or safety
│   ├── NotFound              no such resource, or none that the caller may know of
│   ├── AlreadyExists         a resource of this name is there already
│   ├── FailedPrecondition    right input, wrong state (field and reason where one is to blame)
│   ├── Conflict              somebody else changed it meanwhile (etag)
│   ├── NotPermitted          the caller is known and may not
│   ├── NotAuthenticated      the caller is not known
│   └── Corrupted             stored data contradicts itself: a hash, a sequence, a checksum
└── RetryableError            the same call may succeed later
    ├── Unavailable           something we depend on is away
    ├── Exhausted             a quota or a queue is full
    └── TimedOut              the deadline passed before the answer was there

Every class carries `code`, a word for machines that never changes; the message is a sentence for people and may.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing that is wrong: the path of the field (``luminaire.position.latitude_deg``) and why, as a sentence."""

    field: str
    reason: str

    def __str__(self) -> str:
        return f"{self.field}: {self.reason}" if self.field else self.reason


class LichtbuchError(Exception):
    """Root of everything that is raised on purpose."""

    code: ClassVar[str] = "ERROR"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:
        return self.message


class PermanentError(LichtbuchError):
    """Repeating the same call cannot help."""

    code: ClassVar[str] = "PERMANENT"


class _WithViolations(PermanentError):
    """Shared by errors that blame fields. Without a message, the violations speak for themselves."""

    def __init__(self, message: str = "", violations: Sequence[Violation] = ()) -> None:
        self.violations: tuple[Violation, ...] = tuple(violations)
        super().__init__(message or "; ".join(str(v) for v in self.violations))

    @classmethod
    def of(cls, field: str, reason: str) -> Self:
        """The common case: one field, one reason."""
        violation = Violation(field, reason)
        return cls(str(violation), (violation,))

    def under(self, prefix: str) -> Self:
        """The same error seen from the outside: each field path gets `prefix` in front of it."""
        moved = tuple(Violation(f"{prefix}.{v.field}" if v.field else prefix, v.reason) for v in self.violations)
        return type(self)("; ".join(str(v) for v in moved) or self.message, moved)


class InvalidInput(_WithViolations):
    """The input is wrong whatever the state of the system is."""

    code: ClassVar[str] = "INVALID_INPUT"


class OutOfLimits(InvalidInput):
    """A well-formed value beyond a limit: too large, too many, under a safety floor."""

    code: ClassVar[str] = "OUT_OF_LIMITS"


class FailedPrecondition(_WithViolations):
    """The input is right, but the system is not in a state in which it can be done."""

    code: ClassVar[str] = "FAILED_PRECONDITION"


class _AboutResource(PermanentError):
    """Shared by errors about one resource, given by name."""

    _sentence: ClassVar[str] = "{resource}"

    def __init__(self, resource: str, message: str = "") -> None:
        self.resource = resource
        super().__init__(message or self._sentence.format(resource=resource))


class NotFound(_AboutResource):
    """No such resource. Also the answer where the caller may not even know that it exists."""

    code: ClassVar[str] = "NOT_FOUND"
    _sentence: ClassVar[str] = "{resource} does not exist"


class AlreadyExists(_AboutResource):
    """A resource of this name exists."""

    code: ClassVar[str] = "ALREADY_EXISTS"
    _sentence: ClassVar[str] = "{resource} exists already"


class Conflict(PermanentError):
    """The resource changed since the caller read it. Permanent: the caller has to read again and decide anew."""

    code: ClassVar[str] = "CONFLICT"


class NotPermitted(PermanentError):
    """The caller is known, and may not do this."""

    code: ClassVar[str] = "NOT_PERMITTED"


class NotAuthenticated(PermanentError):
    """No token, or one that does not hold."""

    code: ClassVar[str] = "NOT_AUTHENTICATED"


class Corrupted(PermanentError):
    """Stored data contradicts itself: somebody or something changed what must never change."""

    code: ClassVar[str] = "CORRUPTED"


class RetryableError(LichtbuchError):
    """The same call may succeed later. `retry_after_s` is a hint in real seconds; None where nobody knows."""

    code: ClassVar[str] = "RETRYABLE"

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Unavailable(RetryableError):
    """A database, a service or a device that we depend on is away."""

    code: ClassVar[str] = "UNAVAILABLE"


class Exhausted(RetryableError):
    """A quota, a queue or a byte budget is used up for now."""

    code: ClassVar[str] = "EXHAUSTED"


class TimedOut(RetryableError):
    """The deadline passed. Whether the work was done is not known."""

    code: ClassVar[str] = "TIMED_OUT"
