"""One tree of errors: who catches its two branches catches everything, and bad input names field and reason."""

import pytest

from domain import errors
from domain.errors import (
    AlreadyExists,
    Conflict,
    Exhausted,
    FailedPrecondition,
    InvalidInput,
    LichtbuchError,
    NotFound,
    OutOfLimits,
    PermanentError,
    RetryableError,
    Unavailable,
    Violation,
)


def all_errors() -> list[type[LichtbuchError]]:
    return [
        value
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, LichtbuchError) and not name.startswith("_")
    ]


def test_every_error_is_either_permanent_or_retryable():
    for error in all_errors():
        if error is not LichtbuchError:
            assert issubclass(error, PermanentError) != issubclass(error, RetryableError), error


def test_every_error_has_a_code_of_its_own():
    codes = [error.code for error in all_errors()]
    assert len(codes) == len(set(codes))


def test_bad_input_names_field_and_reason():
    error = InvalidInput.of("luminaire.floor_permille", "1200 is not between 0 and 1000")
    assert error.violations == (Violation("luminaire.floor_permille", "1200 is not between 0 and 1000"),)
    assert str(error) == error.message == "luminaire.floor_permille: 1200 is not between 0 and 1000"


def test_several_violations_speak_for_themselves():
    error = InvalidInput(violations=[Violation("a", "is empty"), Violation("b", "is too long")])
    assert str(error) == "a: is empty; b: is too long"
    assert str(FailedPrecondition("the endpoint is only observed")) == "the endpoint is only observed"


def test_an_error_keeps_its_kind_when_it_is_seen_from_outside():
    inner = OutOfLimits.of("level_permille", "1001 is too much")
    outer = inner.under("switch_points[3]")
    assert type(outer) is OutOfLimits
    assert outer.violations[0].field == "switch_points[3].level_permille"


def test_errors_about_a_resource_name_it():
    assert str(NotFound("municipalities/a/luminaires/b")) == "municipalities/a/luminaires/b does not exist"
    assert AlreadyExists("municipalities/a").resource == "municipalities/a"
    assert str(NotFound("x", "the lamp was never there")) == "the lamp was never there"


def test_what_may_be_retried_says_when():
    assert Unavailable("the database is away", 2.5).retry_after_s == 2.5
    assert Exhausted("the spool is full").retry_after_s is None
    with pytest.raises(PermanentError):
        raise Conflict("changed meanwhile")
