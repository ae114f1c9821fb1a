"""Validation of requests by the rules on the fields of the contract: required, range, length, count, pattern; and no
control characters in any text.

A message type is compiled once into a plan of checks; columns of numbers are checked as arrays. All violations are
collected, with the path of each field. References are names.py's.
"""

import math
import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any, Final

import numpy as np
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from domain.errors import InvalidInput, Violation
from domain.texts import control_character
from lichtbuch.type.v1 import options_pb2

DEFAULT_MAX_BYTES: Final = 1024
DEFAULT_MAX_ITEMS: Final = 100_000
MAX_VIOLATIONS: Final = 200
_MAX_PER_COLUMN: Final = 10
_TIMESTAMP: Final = "google.protobuf.Timestamp"
_FIELD_MASK: Final = "google.protobuf.FieldMask"
_PART_MASK: Final = "fields"
"""Name of the mask in a message that is a part of a request and changes a resource of its own."""
_FIRST_SECOND: Final = -62135596800
_LAST_SECOND: Final = 253402300799

_FLOATS: Final = (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT)
_INTEGERS: Final = (
    FieldDescriptor.CPPTYPE_INT32,
    FieldDescriptor.CPPTYPE_INT64,
    FieldDescriptor.CPPTYPE_UINT32,
    FieldDescriptor.CPPTYPE_UINT64,
)
_NUMBERS: Final = (*_FLOATS, *_INTEGERS)

Report = Callable[[str, str], None]
Check = Callable[[Any, str, Report], None]


class _Enough(Exception):
    """So many violations that more of them help nobody."""


def validate(request: Message) -> None:
    """Raises InvalidInput with every violation of the rules of the request's fields.

    In an update with a mask, and in a part of a request with one (`fields`), fields that the mask does not name are not
    judged: they are not taken.
    """
    violations: list[Violation] = []
    covers = _mask_of(request)

    def report(path: str, reason: str) -> None:
        if covers is None or covers(path):
            violations.append(Violation(path, reason))
        if len(violations) >= MAX_VIOLATIONS:
            raise _Enough

    try:
        for check in plan_of(request.DESCRIPTOR):
            check(request, "", report)
    except _Enough:
        violations.append(Violation("", "and more: only the first ones are listed"))
    if violations:
        raise InvalidInput(violations=violations)


def rules_of(field: FieldDescriptor) -> options_pb2.FieldRules:
    """The rules that stand on a field."""
    return field.GetOptions().Extensions[options_pb2.rules]


@lru_cache(maxsize=1024)
def plan_of(descriptor: Descriptor) -> tuple[Check, ...]:
    """The checks of a message type."""
    checks: list[Check] = []
    for field in descriptor.fields:
        check = _check_of(field)
        if check is not None:
            checks.append(check)
    return tuple(checks)


def _check_of(field: FieldDescriptor) -> Check | None:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return _count_check(field)
    if field.is_repeated:
        return _repeated_check(field)
    if field.message_type is not None:
        return _message_check(field)
    return _scalar_check(field)


def _scalar_check(field: FieldDescriptor) -> Check | None:
    judge = _judge_of(field)
    required = rules_of(field).required
    if judge is None and not required:
        return None
    name, presence = field.name, field.has_presence

    def check(message: Any, prefix: str, report: Report) -> None:
        if presence and not message.HasField(name):
            if required:
                report(prefix + name, "is required")
            return
        value = getattr(message, name)
        if not value and not presence:
            if required:
                report(prefix + name, "is required")
                return
            if isinstance(value, str | bytes):
                return
        if judge is not None and (reason := judge(value)) is not None:
            report(prefix + name, reason)

    return check


def _message_check(field: FieldDescriptor) -> Check | None:
    name, required = field.name, rules_of(field).required
    inner = _inner_check(field.message_type)  # type: ignore[arg-type]  # asked only of fields that have one
    if inner is None and not required:
        return None

    def check(message: Any, prefix: str, report: Report) -> None:
        if not message.HasField(name):
            if required:
                report(prefix + name, "is required")
        elif inner is not None:
            inner(getattr(message, name), f"{prefix}{name}.", report)

    return check


def _inner_check(descriptor: Descriptor) -> Check | None:
    if descriptor.full_name == _TIMESTAMP:
        return _check_timestamp
    if descriptor.full_name == _FIELD_MASK:
        return _check_mask

    masked = _PART_MASK in descriptor.fields_by_name

    def check(message: Any, prefix: str, report: Report) -> None:
        judged = _within(message, prefix, report) if masked else report
        for step in plan_of(descriptor):
            step(message, prefix, judged)

    return check


def _within(message: Any, prefix: str, report: Report) -> Report:
    """Reports only what a message takes that says itself which fields it is about."""
    covers = _mask_of(message, _PART_MASK)
    if covers is None:
        return report

    def judged(path: str, reason: str) -> None:
        if covers(path.removeprefix(prefix)):
            report(path, reason)

    return judged


def _check_timestamp(message: Any, prefix: str, report: Report) -> None:
    if not _FIRST_SECOND <= message.seconds <= _LAST_SECOND or not 0 <= message.nanos < 1_000_000_000:
        report(prefix.rstrip("."), "is not an instant between the years 1 and 9999")


def _check_mask(message: Any, prefix: str, report: Report) -> None:
    if len(message.paths) > 200 or any(len(path) > 200 for path in message.paths):
        report(prefix.rstrip("."), "is longer than any message of ours")


def _count_check(field: FieldDescriptor) -> Check:
    name, rules = field.name, rules_of(field)
    most = rules.max_items if rules.HasField("max_items") else DEFAULT_MAX_ITEMS
    required = rules.required

    def check(message: Any, prefix: str, report: Report) -> None:
        count = len(getattr(message, name))
        if count > most:
            report(prefix + name, f"has {count} elements, at most {most} are taken")
        elif required and not count:
            report(prefix + name, "is required")

    return check


def _repeated_check(field: FieldDescriptor) -> Check:
    name, rules = field.name, rules_of(field)
    count_check = _count_check(field)
    most = rules.max_items if rules.HasField("max_items") else DEFAULT_MAX_ITEMS
    elements = _elements_check(field)

    def check(message: Any, prefix: str, report: Report) -> None:
        count_check(message, prefix, report)
        values = getattr(message, name)
        if elements is not None and 0 < len(values) <= most:
            elements(values, prefix + name, report)

    return check


def _elements_check(field: FieldDescriptor) -> Check | None:
    if field.message_type is not None:
        inner = _inner_check(field.message_type)
        if inner is None:
            return None

        def check_messages(values: Any, path: str, report: Report) -> None:
            for index, value in enumerate(values):
                inner(value, f"{path}[{index}].", report)

        return check_messages
    if field.cpp_type in _NUMBERS:
        return _numbers_check(field)
    judge = _judge_of(field)
    if judge is None:
        return None
    if field.cpp_type == FieldDescriptor.CPPTYPE_ENUM:
        known = _known_values(field)

        def check_enums(values: Any, path: str, report: Report) -> None:
            if not known.issuperset(values):
                _report_elements(values, path, report, judge)

        return check_enums
    longest = _longest(field)
    has_pattern = rules_of(field).HasField("pattern")

    def check_texts(values: Any, path: str, report: Report) -> None:
        # A character takes four bytes at most: short texts need no second look.
        if has_pattern or max(map(len, values)) * 4 > longest or not "".join(values).isprintable():
            _report_elements(values, path, report, judge)

    return check_texts


def _report_elements(values: Iterable[Any], path: str, report: Report, judge: Callable[[Any], str | None]) -> None:
    shown = 0
    for index, value in enumerate(values):
        reason = judge(value)
        if reason is not None:
            report(f"{path}[{index}]", reason)
            shown += 1
            if shown == _MAX_PER_COLUMN:
                return


def _numbers_check(field: FieldDescriptor) -> Check | None:
    rules = rules_of(field)
    if not rules.HasField("min") and not rules.HasField("max"):
        return None
    low = rules.min if rules.HasField("min") else -math.inf
    high = rules.max if rules.HasField("max") else math.inf
    dtype: type[np.generic] = np.float64 if field.cpp_type in _FLOATS else np.int64
    if field.cpp_type == FieldDescriptor.CPPTYPE_UINT64:
        dtype = np.uint64
    sentence = _range_sentence(low, high)

    def check(values: Any, path: str, report: Report) -> None:
        column: np.ndarray[Any, np.dtype[Any]] = np.array(values, dtype=dtype)
        # Written so that NaN, which is in no range, is found too.
        wrong = np.flatnonzero(~((column >= low) & (column <= high)))
        for index in wrong[:_MAX_PER_COLUMN].tolist():
            report(f"{path}[{index}]", f"{column[index]} {sentence}")
        if len(wrong) > _MAX_PER_COLUMN:
            report(path, f"and {len(wrong) - _MAX_PER_COLUMN} more elements")

    return check


def _judge_of(field: FieldDescriptor) -> Callable[[Any], str | None] | None:
    """A function from a single value to what is wrong with it; None where nothing can be."""
    if field.cpp_type in _NUMBERS:
        return _number_judge(field)
    if field.cpp_type == FieldDescriptor.CPPTYPE_ENUM:
        return _enum_judge(field)
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return _text_judge(field)
    return None


def _number_judge(field: FieldDescriptor) -> Callable[[Any], str | None] | None:
    rules = rules_of(field)
    if not rules.HasField("min") and not rules.HasField("max"):
        return None
    low = rules.min if rules.HasField("min") else -math.inf
    high = rules.max if rules.HasField("max") else math.inf
    sentence = _range_sentence(low, high)

    def judge(value: float) -> str | None:
        return None if low <= value <= high and math.isfinite(value) else f"{value:g} {sentence}"

    return judge


def _enum_judge(field: FieldDescriptor) -> Callable[[Any], str | None]:
    known = _known_values(field)

    def judge(value: int) -> str | None:
        return None if value in known else f"{value} is not a known value"

    return judge


def _known_values(field: FieldDescriptor) -> frozenset[int]:
    return frozenset(value.number for value in field.enum_type.values) if field.enum_type else frozenset()


def _text_judge(field: FieldDescriptor) -> Callable[[Any], str | None] | None:
    rules = rules_of(field)
    is_bytes = field.type == FieldDescriptor.TYPE_BYTES
    if is_bytes and not rules.HasField("max_bytes"):
        return None
    longest = _longest(field)
    pattern = re.compile(rules.pattern) if rules.HasField("pattern") else None

    def judge(value: str | bytes) -> str | None:
        if len(value) > longest or (
            isinstance(value, str) and len(value) * 4 > longest and len(value.encode()) > longest
        ):
            return f"is longer than {longest} bytes"
        if isinstance(value, str) and not value.isprintable() and (found := control_character(value)):
            return f"holds the control character {found}"
        if pattern is not None and isinstance(value, str) and value and not pattern.fullmatch(value):
            return f"{_shown(value)} does not match {rules.pattern}"
        return None

    return judge


def _longest(field: FieldDescriptor) -> int:
    rules = rules_of(field)
    return rules.max_bytes if rules.HasField("max_bytes") else DEFAULT_MAX_BYTES


def _range_sentence(low: float, high: float) -> str:
    if high == math.inf:
        return f"is less than {low:.12g}"
    if low == -math.inf:
        return f"is more than {high:.12g}"
    return f"is not between {low:.12g} and {high:.12g}"


def _shown(value: str) -> str:
    return repr(value if len(value) <= 80 else value[:79] + "…")


def _mask_of(request: Message, mask: str = "update_mask") -> Callable[[str], bool] | None:
    """For an update with a mask: whether a path is one that the update takes. None where everything is."""
    field = request.DESCRIPTOR.fields_by_name.get(mask)
    if field is None or field.message_type is None or field.message_type.full_name != _FIELD_MASK:
        return None
    paths: Sequence[str] = list(getattr(request, mask).paths)
    if not paths or "*" in paths:
        return None
    resources = [other.name for other in request.DESCRIPTOR.fields if other.message_type and other.name != field.name]

    def covers(path: str) -> bool:
        resource, _, inner = path.partition(".")
        if resource not in resources or not inner:
            return True
        plain = re.sub(r"\[\d+\]", "", inner)
        return any(
            plain == chosen or plain.startswith(chosen + ".") or chosen.startswith(plain + ".") for chosen in paths
        )

    return covers
