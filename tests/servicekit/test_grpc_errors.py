"""Errors on the wire and back: the same class, the same violations, within what a header can carry."""

from types import SimpleNamespace
from typing import Any

import grpc
import pytest

from domain import errors
from servicekit.grpc_errors import STATUS_HEADER, code_of, error_of, status_of

VIOLATIONS = [errors.Violation("a.b[3].c", "is odd"), errors.Violation("d", "is über 9")]


def received(error: errors.LichtbuchError, *, details: bool = True) -> errors.LichtbuchError:
    status = status_of(error, "r1")
    metadata = ((STATUS_HEADER, status.SerializeToString()),) if details else ()
    code = code_of(error)
    rpc_error: Any = SimpleNamespace(
        code=lambda: code, details=lambda: status.message, trailing_metadata=lambda: metadata
    )
    return error_of(rpc_error)


@pytest.mark.parametrize(
    "error",
    [
        errors.InvalidInput("two fields are wrong", VIOLATIONS),
        errors.OutOfLimits("two fields are wrong", VIOLATIONS),
        errors.FailedPrecondition("not in this state", VIOLATIONS),
        errors.NotFound("municipalities/a/meters/m"),
        errors.AlreadyExists("municipalities/a/meters/m"),
        errors.Conflict("somebody was faster"),
        errors.NotPermitted("a role is needed"),
        errors.NotAuthenticated("exp: the token has ended"),
        errors.Corrupted("the hash differs"),
        errors.Unavailable("the bus is away", 2.5),
        errors.Unavailable("the bus is away"),
        errors.Exhausted("the queue is full", 0.25),
        errors.TimedOut("too late"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_arrives_as_what_it_was(error):
    back = received(error)
    assert type(back) is type(error)
    assert back.message == error.message
    for attribute in ("violations", "resource", "retry_after_s"):
        assert getattr(back, attribute, None) == getattr(error, attribute, None)


def test_every_class_of_the_tree_has_a_code_that_brings_it_back():
    def tree(kind: type[errors.LichtbuchError]) -> list[type[errors.LichtbuchError]]:
        return [kind, *(below for child in kind.__subclasses__() for below in tree(child))]

    leaves = [
        kind for kind in tree(errors.LichtbuchError) if not kind.__subclasses__() and kind.__module__ == "domain.errors"
    ]
    codes = {kind.code: code_of(kind("x")) for kind in leaves}
    assert grpc.StatusCode.UNKNOWN not in codes.values()
    assert grpc.StatusCode.INTERNAL not in codes.values()


def test_without_details_the_code_decides():
    assert type(received(errors.OutOfLimits("x"), details=False)) is errors.InvalidInput
    assert type(received(errors.Unavailable("x", 3), details=False)) is errors.Unavailable


def test_a_list_too_long_for_a_header_is_cut_and_says_so():
    many = [errors.Violation(f"lines[{n}].latitude_deg", "is not between -90 and 90 " * 3) for n in range(1000)]
    status = status_of(errors.InvalidInput(violations=many), "r1")
    assert status.ByteSize() < 7000
    back = received(errors.InvalidInput(violations=many))
    assert isinstance(back, errors.InvalidInput)
    assert back.violations[0].field == "lines[0].latitude_deg"
    assert back.violations[-1].reason.endswith("more")


def test_damaged_details_do_not_hide_the_error():
    rpc_error: Any = SimpleNamespace(
        code=lambda: grpc.StatusCode.NOT_FOUND,
        details=lambda: "gone",
        trailing_metadata=lambda: ((STATUS_HEADER, b"\xff"),),
    )
    assert isinstance(error_of(rpc_error), errors.NotFound)
