"""Role bindings: which may be made, and how long they hold. Pure.

What a role permits is the same for every service and stands in servicekit/access.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from domain.errors import InvalidInput, Violation
from domain.names import WILDCARD, ResourceName
from servicekit.access import SCOPED_ROLES, Role

MAX_SUBJECT_BYTES: Final = 255
MAX_SCOPES: Final = 1_000
SERVICE_PREFIX: Final = "service:"

SCOPE_COLLECTIONS: Final = {Role.CONTRACTOR: "measures", Role.FITTER: "cabinets"}
"""What the scopes of a role name."""


@dataclass(frozen=True, slots=True)
class RoleBinding:
    """A role of a person in a municipality, or in every one."""

    uid: str
    municipality_uid: str
    """Empty for every municipality."""
    municipality_id: str
    """Today's alias; "-" for every municipality."""
    subject: str
    role: Role
    scopes: tuple[str, ...] = ()
    expires_at: datetime | None = None

    def holds_at(self, instant: datetime) -> bool:
        """True until it ends. `instant` is real time: a time-lapse shortens nobody's rights."""
        return self.expires_at is None or instant < self.expires_at


def check_binding(
    *, municipality_id: str, subject: str, role: Role, scopes: Sequence[str], expires_at: datetime | None, now: datetime
) -> tuple[str, ...]:
    """The scopes of a new binding, sorted and each once. Raises InvalidInput that names everything wrong with it."""
    wrong: list[Violation] = []
    if not subject.strip() or subject != subject.strip() or len(subject.encode()) > MAX_SUBJECT_BYTES:
        wrong.append(Violation("subject", f"1..{MAX_SUBJECT_BYTES} bytes without white space around them are needed"))
    elif subject.startswith(SERVICE_PREFIX):
        wrong.append(Violation("subject", "services hold no roles: what they may do is fixed"))
    if expires_at is not None and expires_at <= now:
        wrong.append(Violation("expires_at", "it would have ended already"))
    if role not in SCOPED_ROLES and scopes:
        wrong.append(Violation("scopes", f"the role {role} is not limited to named resources"))
    if role in SCOPED_ROLES:
        wrong += _wrong_scopes(municipality_id, role, scopes)
    if wrong:
        raise InvalidInput(violations=wrong)
    return tuple(sorted(set(scopes)))


def _wrong_scopes(municipality_id: str, role: Role, scopes: Sequence[str]) -> list[Violation]:
    collection = SCOPE_COLLECTIONS[role]
    if municipality_id == WILDCARD:
        return [Violation("role", f"the role {role} names {collection}, which lie in one municipality")]
    if not scopes or len(scopes) > MAX_SCOPES:
        return [Violation("scopes", f"the role {role} needs 1..{MAX_SCOPES} {collection}")]
    wrong: list[Violation] = []
    for index, scope in enumerate(scopes):
        field = f"scopes[{index}]"
        try:
            name = ResourceName.parse(scope, field=field, collection=collection)
        except InvalidInput as error:
            wrong += error.violations
            continue
        if name.municipality != municipality_id:
            wrong.append(Violation(field, f"it does not lie in municipalities/{municipality_id}"))
    return wrong
