"""How often a silent device is asked."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fieldbus.backoff import Backoff
from tests.fieldbus.servers import Manual


def test_waits_double_up_to_the_limit_and_an_answer_ends_them() -> None:
    clock = Manual()
    backoff = Backoff(0.5, 8.0, clock.monotonic, lambda: 1.0)
    assert backoff.ready
    waits = []
    for _ in range(6):
        backoff.failed()
        waits.append(backoff.remaining_s)
        ready_before = backoff.ready
        clock.seconds += backoff.remaining_s
        assert (ready_before, backoff.ready) == (False, True)
    assert waits == [0.5, 1, 2, 4, 8, 8]
    backoff.failed()
    backoff.succeeded()
    assert backoff.ready
    assert backoff.failures == 0


@given(st.integers(1, 2000), st.floats(0, 0.999))
def test_jitter_shortens_a_wait_by_at_most_half_and_never_overflows(failures: int, luck: float) -> None:
    clock = Manual()
    backoff = Backoff(1.0, 60.0, clock.monotonic, lambda: luck)
    for _ in range(failures):
        backoff.failed()
    full = min(60.0, 2.0 ** (failures - 1)) if failures < 30 else 60.0
    assert full / 2 - 1e-6 <= backoff.remaining_s <= full + 1e-6
