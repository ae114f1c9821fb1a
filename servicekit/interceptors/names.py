"""Every resource name in a request: where it stands, whether its form is right, and which municipality it belongs to.

A message type is compiled once into the places where references stand. What follows from a name for permission and
tenant is tenancy.py's.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from domain.errors import InvalidInput, Violation
from domain.names import ID_PATTERN, MAX_NAME_LENGTH, MUNICIPALITIES, MUNICIPALITY_ID_PATTERN, WILDCARD, ResourceName
from servicekit.interceptors.rules import rules_of

ANY: Final = "*"
_MAX_WRONG: Final = 50


@dataclass(frozen=True, slots=True)
class Reference:
    """A resource name as it stands in a request."""

    path: str
    name: str
    municipality: str


@dataclass(frozen=True, slots=True)
class Source:
    """Where a request says what it is about: the path of the field, and whether all municipalities may be meant."""

    fields: tuple[str, ...]
    wildcard: bool

    @property
    def path(self) -> str:
        """ "luminaire.name"."""
        return ".".join(self.fields)

    def value(self, request: Message) -> str:
        """What stands there; empty where nothing does."""
        holder: Any = request
        for field in self.fields[:-1]:
            if not holder.HasField(field):
                return ""
            holder = getattr(holder, field)
        return str(getattr(holder, self.fields[-1]))


@lru_cache(maxsize=1024)
def sources_of(request: Descriptor) -> tuple[Source, ...]:
    """Where a request may say what it is about, the first that is there counts.

    `parent`, else `name`, else the same within a message that the request holds (the resource of an update, the
    settings of a stream). Only fields with a reference count.
    """
    direct = _direct_sources(request)
    if direct:
        return direct[:1]
    found: list[Source] = []
    for field in request.fields:
        if field.message_type is not None and not field.is_repeated:
            found += [
                Source((field.name, *source.fields), source.wildcard)
                for source in _direct_sources(field.message_type)[:1]
            ]
    return tuple(found)


def _direct_sources(descriptor: Descriptor) -> tuple[Source, ...]:
    fields = (descriptor.fields_by_name.get(name) for name in ("parent", "name"))
    return tuple(
        Source((field.name,), rules_of(field).wildcard)
        for field in fields
        if field is not None and rules_of(field).reference
    )


def references_in(request: Message) -> list[Reference]:
    """Every reference that is set. Raises InvalidInput with all that are not well formed."""
    found: list[Reference] = []
    wrong: list[Violation] = []
    for step in _plan_of(request.DESCRIPTOR):
        step(request, "", found, wrong)
    if wrong:
        raise InvalidInput(violations=wrong)
    return found


Step = Callable[[Any, str, list[Reference], list[Violation]], None]


@lru_cache(maxsize=1024)
def _plan_of(descriptor: Descriptor) -> tuple[Step, ...]:
    return tuple(_steps_of(descriptor, ()))


def _steps_of(descriptor: Descriptor, seen: tuple[str, ...]) -> Iterator[Step]:
    for field in descriptor.fields:
        if field.message_type is not None:
            if _holds_references(field.message_type, (*seen, descriptor.full_name)):
                yield _message_step(field)
        elif rules_of(field).reference:
            yield _reference_step(field)


def _holds_references(descriptor: Descriptor, seen: tuple[str, ...]) -> bool:
    if descriptor.full_name in seen:
        return False
    for field in descriptor.fields:
        if field.message_type is None:
            if rules_of(field).reference:
                return True
        elif _holds_references(field.message_type, (*seen, descriptor.full_name)):
            return True
    return False


def _message_step(field: FieldDescriptor) -> Step:
    name, repeated, descriptor = field.name, field.is_repeated, field.message_type

    def step(message: Any, prefix: str, found: list[Reference], wrong: list[Violation]) -> None:
        if repeated:
            for index, inner in enumerate(getattr(message, name)):
                for inner_step in _plan_of(descriptor):
                    inner_step(inner, f"{prefix}{name}[{index}].", found, wrong)
        elif message.HasField(name):
            inner = getattr(message, name)
            for inner_step in _plan_of(descriptor):
                inner_step(inner, f"{prefix}{name}.", found, wrong)

    return step


def _reference_step(field: FieldDescriptor) -> Step:
    rules = rules_of(field)
    name, repeated, reference, wildcard = field.name, field.is_repeated, rules.reference, rules.wildcard
    form = reference_form(reference, wildcard)

    def take(path: str, value: str, found: list[Reference], wrong: list[Violation]) -> None:
        match = form.fullmatch(value)
        if match is not None and len(value) <= MAX_NAME_LENGTH:
            found.append(Reference(path, value, match["municipality"]))
        elif len(wrong) < _MAX_WRONG:
            wrong.append(Violation(path, why_malformed(value, reference, wildcard)))

    def step(message: Any, prefix: str, found: list[Reference], wrong: list[Violation]) -> None:
        value = getattr(message, name)
        if repeated:
            for index, element in enumerate(value):
                take(f"{prefix}{name}[{index}]", element, found, wrong)
        elif value:
            take(prefix + name, value, found, wrong)

    return step


@lru_cache(maxsize=256)
def reference_form(reference: str, wildcard: bool) -> re.Pattern[str]:
    """The form of names of a collection path. The last part stands without id where the contract has a singleton.

    With `wildcard` the municipality may be "-", and so may the last id ("municipalities/x/measures/-").
    """
    municipality = f"{MUNICIPALITY_ID_PATTERN}|{WILDCARD}" if wildcard else MUNICIPALITY_ID_PATTERN
    start = f"{MUNICIPALITIES}/(?P<municipality>{municipality})"
    if reference == MUNICIPALITIES:
        return re.compile(start)
    if reference == ANY:
        return re.compile(f"{start}(/[a-z][A-Za-z0-9]*/{ID_PATTERN})*")
    kinds = reference.split("/")
    ids = [f"/{re.escape(kind)}/{ID_PATTERN}" for kind in kinds]
    if is_singleton(kinds[-1]):
        ids[-1] = f"/{re.escape(kinds[-1])}"
    elif wildcard:
        ids[-1] = f"/{re.escape(kinds[-1])}/({ID_PATTERN}|{WILDCARD})"
    return re.compile(start + "".join(ids))


def is_singleton(kind: str) -> bool:
    """True for a collection of one, whose name has no id (AIP-156): written in the singular."""
    return kind != ANY and not kind.endswith("s")


def why_malformed(value: str, reference: str, wildcard: bool) -> str:
    """A sentence about a name that is not of the form that is needed."""
    plain = f"{value[:100]!r} does not name one of {reference!r}"
    if is_singleton(reference):
        return plain
    try:
        ResourceName.parse(value, field="", collection=None if reference == ANY else reference, allow_wildcard=wildcard)
    except InvalidInput as error:
        return error.violations[0].reason
    return plain
