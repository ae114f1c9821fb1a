"""The demonstration users. Their passwords are public on purpose; what each may do is decided by the registry.

Subjects are made up and stable, so that a seeded database keeps its role bindings, and they say nothing of the person:
the ledger and the audit trail hold subjects only.
"""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from services.registry.issuer.oauth import OAuthError
from services.registry.issuer.throttle import UNKNOWN, Throttle


@dataclass(frozen=True, slots=True)
class DemonstrationUser:
    """A person who does not exist."""

    username: str
    subject: str
    name: str
    task: Mapping[str, str]
    """What the login page says about them, by language."""

    @property
    def password(self) -> str:
        """The documented password."""
        return f"demo-{self.username}"


def _user(username: str, subject: str, name: str, en: str, de: str) -> DemonstrationUser:
    return DemonstrationUser(username, subject, name, {"en": en, "de": de})


_EVERYBODY: Final = (
    _user("viewer", "u-3f9a1c72", "Vera Ansicht", "sees lamps, meters, savings", "sieht Leuchten, Zähler, Ersparnis"),
    _user("operator", "u-b4408e15", "Otto Betrieb", "overrides levels", "übersteuert Leuchten"),
    _user("planner", "u-27d6f0a9", "Petra Plan", "changes profiles and inventory", "ändert Dimmprofile und Bestand"),
    _user("auditor", "u-91e35bd4", "Arno Prüfer", "reads everything, changes nothing", "liest alles, ändert nichts"),
    _user("admin", "u-0c7b62ef", "Ada Leitung", "does everything, roles included", "darf alles, auch Rollen vergeben"),
    _user("contractor", "u-d85a94c3", "Conrad Vertrag", "sees own measures only", "sieht nur eigene Maßnahmen"),
    _user("fitter", "u-6e12a7b0", "Frieda Montage", "works on named cabinets", "arbeitet an benannten Schaltstellen"),
)

DEMONSTRATION_USERS: Final[Mapping[str, DemonstrationUser]] = {user.username: user for user in _EVERYBODY}


def authenticate(throttle: Throttle, username: str, password: str) -> DemonstrationUser:
    """The user of that name and password. Raises OAuthError where they do not fit, or did not too often of late."""
    user = DEMONSTRATION_USERS.get(username)
    key = username if user is not None else UNKNOWN
    wait_s = throttle.wait_s(key)
    if wait_s > 0:
        raise OAuthError("invalid_grant", "too many wrong passwords; try again later", 429, wait_s)
    if user is None or not hmac.compare_digest(_bytes(password), _bytes(user.password)):
        throttle.failed(key)
        raise OAuthError("invalid_grant", "user name or password is wrong")
    throttle.succeeded(key)
    return user


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
