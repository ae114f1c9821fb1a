"""What secures connections to the field, per endpoint, from one TOML file. Secrets stand in files of their own.

[modbus."10.1.2.3:802"]
ca = "plant-ca.pem"              # whoever shows a certificate of this authority, for this name, is the server
certificate = "lichtbuch.pem"    # who we are; servers with mutual TLS demand it
key = "lichtbuch.key"
server_name = "cabinet-17"       # name in the server's certificate, unless it is the host of the URL

[opcua."plc-3:4840"]             # see opcua/security.py
policy = "Basic256Sha256"
mode = "sign_and_encrypt"
certificate = "lichtbuch.der"
key = "lichtbuch.key"
trusted = "trusted/"
user = "lichtbuch"
password_file = "plc-3.password"

Paths are relative to the file itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from domain.errors import InvalidInput, Violation
from fieldbus.format.toml_source import TomlSource
from fieldbus.url import Endpoint, is_host

if TYPE_CHECKING:
    from fieldbus.opcua.security import OpcUaSecurity


@dataclass(frozen=True, slots=True)
class TlsSecurity:
    """TLS to one endpoint. All files PEM; a `certificate` needs its `key`, unless that stands in the same file."""

    ca: Path
    certificate: Path | None = None
    key: Path | None = None
    server_name: str | None = None

    def __post_init__(self) -> None:
        if self.key is not None and self.certificate is None:
            raise InvalidInput.of("key", "a key without its certificate")


@dataclass(frozen=True, slots=True)
class FieldSecurity:
    """Entries by "host:port"."""

    modbus: Mapping[str, TlsSecurity] = field(default_factory=dict)
    opcua: Mapping[str, OpcUaSecurity] = field(default_factory=dict)

    def tls(self, endpoint: Endpoint) -> TlsSecurity:
        """The entry of a modbus+tls endpoint. Raises InvalidInput where there is none: a connection whose other end is
        not verified protects nothing."""
        entry = self.modbus.get(endpoint.authority.lower())
        if entry is None:
            raise InvalidInput.of(
                "security",
                f'modbus+tls needs an entry [modbus."{endpoint.authority}"] with the authority to trust (ca)',
            )
        return entry

    def opc(self, endpoint: Endpoint) -> OpcUaSecurity | None:
        """The entry of an OPC UA endpoint, if any."""
        return self.opcua.get(endpoint.authority.lower())


_PATHS: Final = frozenset(
    {"ca", "certificate", "key", "trusted", "password_file", "user_certificate", "user_key"},
)
_TLS_KEYS: Final = {"ca": True, "certificate": False, "key": False, "server_name": False}
_OPCUA_KEYS: Final = dict.fromkeys(
    (
        "policy",
        "mode",
        "certificate",
        "key",
        "trusted",
        "server_name",
        "user",
        "password_file",
        "user_certificate",
        "user_key",
    ),
    False,
)


def load_security(path: Path) -> FieldSecurity:
    """Read a file. Raises InvalidInput with every error, each with file, line and reason."""
    source = TomlSource.read(path)
    wrong: list[Violation] = []
    tls: dict[str, TlsSecurity] = {}
    opcua: dict[str, OpcUaSecurity] = {}
    for section, entries in source.data.items():
        if section not in ("modbus", "opcua") or not isinstance(entries, dict):
            wrong.append(
                source.violation('is unknown: tables are [modbus."host:port"] and [opcua."host:port"]', section)
            )
            continue
        for place, entry in entries.items():
            reader = _Entry(source, path.parent, (section, place), entry, wrong)
            if section == "modbus":
                reader.build(_TLS_KEYS, TlsSecurity, tls)
            else:
                reader.build(_OPCUA_KEYS, _opcua_security, opcua)
    if wrong:
        # All on one line: that is what reaches the log of a service that cannot start.
        raise InvalidInput("; ".join(f"{violation.field}: {violation.reason}" for violation in wrong), wrong)
    return FieldSecurity(tls, opcua)


def _opcua_security(**values: Any) -> OpcUaSecurity:
    # Imported here: whoever has no OPC UA server needs neither asyncua nor cryptography for it.
    from fieldbus.opcua.security import OpcUaSecurity, SecurityMode, SecurityPolicy

    for key, kind in (("policy", SecurityPolicy), ("mode", SecurityMode)):
        if key in values:
            known = {member.value for member in kind}
            if values[key] not in known:
                raise InvalidInput.of(key, f"'{values[key]}' is not one of {', '.join(sorted(known))}")
            values[key] = kind(values[key])
    return OpcUaSecurity(**values)


class _Entry:
    """One table of the file."""

    def __init__(
        self, source: TomlSource, folder: Path, where: tuple[str, str], entry: Any, wrong: list[Violation]
    ) -> None:
        self._source = source
        self._folder = folder
        self._where = where
        self._entry = entry
        self._wrong = wrong

    def build(self, keys: Mapping[str, bool], make: Callable[..., Any], into: dict[str, Any]) -> None:
        """Check the keys, of which some are required, and make the entry."""
        before = len(self._wrong)
        host, colon, port = self._where[1].rpartition(":")
        if not (host and colon and port.isascii() and port.isdigit() and 0 < int(port) <= 65_535):
            self._complain('is no "host:port"')
        if not isinstance(self._entry, dict):
            self._complain("is no table")
            return
        values = {key: self._value(key, value) for key, value in self._entry.items() if self._known(key, keys)}
        for key, required in keys.items():
            if required and key not in self._entry:
                self._complain(f"'{key}' is missing")
        if len(self._wrong) > before:
            return
        try:
            into[self._where[1].lower()] = make(**values)
        except InvalidInput as error:
            for violation in error.violations:
                known = violation.field if violation.field in self._entry else ""
                reason = violation.reason if known else f"{violation.field}: {violation.reason}"
                self._complain(reason, *filter(None, (known,)))

    def _known(self, key: str, keys: Mapping[str, bool]) -> bool:
        if key in keys:
            return True
        hint = "; secrets stand in files of their own (password_file)" if key in ("password", "secret") else ""
        self._complain(f"is unknown (known: {', '.join(keys)}){hint}", key)
        return False

    def _value(self, key: str, value: Any) -> Any:
        if key == "trusted" and isinstance(value, list) and value and all(isinstance(item, str) for item in value):
            return tuple(self._file(key, item) for item in value)
        if not isinstance(value, str) or not value:
            self._complain("is not a text", key)
            return ""
        if key == "server_name" and not is_host(value):
            self._complain("is no host name", key)
        return self._file(key, value) if key in _PATHS else value

    def _file(self, key: str, text: str) -> Path:
        path = self._folder / text
        if not path.exists():
            self._complain(f"'{text}' does not exist", key)
        elif path.is_dir() and key != "trusted":
            self._complain(f"'{text}' is a directory", key)
        elif not path.is_dir() and not path.is_file():
            # A pipe or a device would be read for ever, with every connection.
            self._complain(f"'{text}' is no file", key)
        return path

    def _complain(self, reason: str, *key: str) -> None:
        self._wrong.append(self._source.violation(reason, *self._where, *key))
