"""How domain time follows real time in a time-lapse: a straight line, nothing else. Clocks are servicekit's.

The line is fixed once per run and shared by all processes, so that they agree on the domain time without talking.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from domain.errors import InvalidInput

MAX_SPEED: Final = 100_000.0


@dataclass(frozen=True, slots=True)
class TimeLapse:
    """Domain time = `start` + (real time - `anchor`) * `speed`.

    start: domain instant at the anchor, UTC. anchor: real instant at which the run began, UTC.
    speed: domain seconds per real second, above 0. Speed 1 with start equal to anchor is real time.
    """

    start: datetime
    anchor: datetime
    speed: float

    def __post_init__(self) -> None:
        for field in ("start", "anchor"):
            instant: datetime = getattr(self, field)
            if instant.utcoffset() is None:
                raise InvalidInput.of(field, "an instant with a time zone is needed")
            object.__setattr__(self, field, instant.astimezone(UTC))
        if not 0 < self.speed <= MAX_SPEED:
            raise InvalidInput.of("speed", f"{self.speed} is not above 0 and at most {MAX_SPEED:g}")

    @classmethod
    def real_time(cls, anchor: datetime) -> "TimeLapse":
        """The line on which domain time is real time."""
        return cls(anchor, anchor, 1.0)

    @property
    def is_real_time(self) -> bool:
        """True if domain time and real time are the same."""
        return self.speed == 1 and self.start == self.anchor

    def at(self, real: datetime) -> datetime:
        """Domain instant (UTC) at a real instant. May lie before `start`: the line goes on to both sides."""
        return self.start + (real.astimezone(UTC) - self.anchor) * self.speed

    def real_for(self, domain: datetime) -> datetime:
        """Real instant (UTC) at which the domain reaches an instant."""
        return self.anchor + (domain.astimezone(UTC) - self.start) / self.speed

    def real_seconds(self, domain_seconds: float) -> float:
        """How many real seconds a span of domain seconds takes."""
        return domain_seconds / self.speed
