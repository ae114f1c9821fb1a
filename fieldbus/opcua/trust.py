"""Certificates of OPC UA: reading them, the pinned trust list, and what a server's certificate must say of itself.

There is no trust on first use: a certificate that does not lie in the trust list is refused with its fingerprint, for
somebody to compare with what the device shows. What secures a channel is security.py's.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import ClassVar, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, load_der_private_key, load_pem_private_key

from fieldbus.faults import LinkDown
from fieldbus.raw import told

_PEM: Final = b"-----BEGIN"
_SUFFIXES: Final = frozenset({".der", ".crt", ".cer", ".pem"})


class SecurityRefused(LinkDown):
    """No connection, because it would not be a safe one. `fingerprint` is of the certificate in question, if any."""

    code: ClassVar[str] = "FIELD_SECURITY_REFUSED"

    def __init__(self, message: str, fingerprint: str = "") -> None:
        super().__init__(message)
        self.fingerprint = fingerprint


def fingerprint(certificate: x509.Certificate) -> str:
    """SHA-256 over the certificate, as devices and browsers show it: hexadecimal pairs with colons."""
    return certificate.fingerprint(hashes.SHA256()).hex(":").upper()


def read_certificates(path: Path) -> list[x509.Certificate]:
    """All certificates of a PEM or DER file, the first one being the leaf. Raises SecurityRefused naming the file."""
    try:
        data = path.read_bytes()
        if _PEM in data:
            return x509.load_pem_x509_certificates(data)
        return [x509.load_der_x509_certificate(data)]
    except (OSError, ValueError) as error:
        raise SecurityRefused(f"certificate {path} cannot be read: {_reason(error)}") from None


def read_key(path: Path) -> rsa.RSAPrivateKey:
    """The unencrypted RSA key of a PEM or DER file. Raises SecurityRefused naming the file, never its content."""
    try:
        data = path.read_bytes()
        key = (load_pem_private_key if _PEM in data else load_der_private_key)(data, password=None)
    except (OSError, ValueError, TypeError) as error:
        reason = _reason(error) if isinstance(error, OSError) else "no unencrypted private key"
        raise SecurityRefused(f"key {path} cannot be read: {reason}") from None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise SecurityRefused(f"key {path} is no RSA key, and OPC UA's policies want one")
    return key


def read_secret(path: Path) -> str:
    """A password from a file, without the newline at its end."""
    try:
        return path.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise SecurityRefused(f"password file {path} cannot be read: {_reason(error)}") from None


class TrustList:
    """Certificates somebody put there by hand: the files of a directory, or single files."""

    def __init__(self, place: Path | Sequence[Path]) -> None:
        self._places = (place,) if isinstance(place, Path) else tuple(place)

    def __str__(self) -> str:
        return ", ".join(str(place) for place in self._places)

    def read(self) -> tuple[dict[str, x509.Certificate], list[str]]:
        """Certificates in the list by fingerprint, and the names of files that could not be read. Read anew for every
        connection."""
        known: dict[str, x509.Certificate] = {}
        unreadable: list[str] = []
        for place in self._places:
            files = sorted(f for f in place.iterdir() if f.suffix.lower() in _SUFFIXES) if place.is_dir() else [place]
            for file in files:
                try:
                    known.update((fingerprint(certificate), certificate) for certificate in read_certificates(file))
                except SecurityRefused:
                    unreadable.append(str(file))
        return known, unreadable

    def only(self, why: str) -> x509.Certificate:
        """The one certificate in the list, for a server that does not show its own: `why`. Raises SecurityRefused
        where it is not one."""
        known, unreadable = self.read()
        if len(known) == 1:
            return next(iter(known.values()))
        problem = f" (unreadable: {', '.join(unreadable)})" if unreadable else ""
        raise SecurityRefused(
            f"the server does not say without security what it offers ({why}). It can be connected to unasked when "
            f"'trusted' names one certificate, this server's; {self} holds {len(known)}{problem}"
        )

    def check(self, certificate: x509.Certificate) -> None:
        """Raises SecurityRefused for a certificate that is not in the list."""
        print_ = fingerprint(certificate)
        known, unreadable = self.read()
        if print_ in known:
            return
        problem = f" (unreadable: {', '.join(unreadable)})" if unreadable else ""
        raise SecurityRefused(
            f"the server's certificate is not trusted: {describe(certificate)}. Compare this fingerprint with the one "
            f"the device itself shows; if they are the same, put the certificate into {self}{problem}",
            print_,
        )


def describe(certificate: x509.Certificate) -> str:
    """Who it is for, until when, and its fingerprint."""
    until = certificate.not_valid_after_utc.date().isoformat()
    return f"'{told(certificate.subject.rfc4514_string())}', valid until {until}, SHA-256 {fingerprint(certificate)}"


def check_validity(certificate: x509.Certificate, whose: str, at: datetime) -> None:
    """Raises SecurityRefused for a certificate that is expired or not valid yet."""
    if not certificate.not_valid_before_utc <= at <= certificate.not_valid_after_utc:
        raise SecurityRefused(
            f"{whose} certificate is valid from {certificate.not_valid_before_utc.isoformat()} to "
            f"{certificate.not_valid_after_utc.isoformat()}, and it is {at.isoformat(timespec='seconds')}: "
            f"{describe(certificate)}",
            fingerprint(certificate),
        )


def check_names(certificate: x509.Certificate, host: str, application_uri: str) -> None:
    """Raises SecurityRefused unless the certificate is for this host and this application (OPC 10000-4, 6.1.3)."""
    uris, hosts = application_uris(certificate), host_names(certificate)
    if application_uri not in uris:
        raise SecurityRefused(
            f"the server calls itself '{told(application_uri)}', its certificate is for {_listed(uris)}: "
            f"{describe(certificate)}",
            fingerprint(certificate),
        )
    if _normal(host) not in {_normal(name) for name in hosts}:
        raise SecurityRefused(
            f"the server is reached as '{host}', its certificate is for {_listed(hosts)}; state one of these as "
            f"server_name if that is the device meant: {describe(certificate)}",
            fingerprint(certificate),
        )


def application_uris(certificate: x509.Certificate) -> list[str]:
    """The application URIs a certificate is for."""
    names = _alternative_names(certificate)
    return [] if names is None else list(names.get_values_for_type(x509.UniformResourceIdentifier))


def host_names(certificate: x509.Certificate) -> list[str]:
    """Host names and addresses a certificate is for."""
    names = _alternative_names(certificate)
    if names is None:
        return []
    addresses = [str(address) for address in names.get_values_for_type(x509.IPAddress)]
    return [*names.get_values_for_type(x509.DNSName), *addresses]


def leaf(der_chain: bytes) -> x509.Certificate:
    """The first certificate of a DER chain as servers send it. Raises SecurityRefused for what is none."""
    # The outer SEQUENCE says how long the first one is: 0x30 0x82 and two bytes of length.
    length = int.from_bytes(der_chain[2:4], "big") + 4
    try:
        return x509.load_der_x509_certificate(der_chain[:length])
    except ValueError:
        raise SecurityRefused("the server's certificate cannot be read") from None


def to_der(certificate: x509.Certificate) -> bytes:
    """The certificate as it goes over the wire, and into a trust list."""
    return certificate.public_bytes(Encoding.DER)


def _alternative_names(certificate: x509.Certificate) -> x509.SubjectAlternativeName | None:
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return None


def _normal(host: str) -> str:
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return host.lower().rstrip(".")


def _listed(names: list[str]) -> str:
    return ", ".join(f"'{told(name)}'" for name in names) or "nobody by name"


def _reason(error: Exception) -> str:
    return error.strerror or type(error).__name__ if isinstance(error, OSError) else "neither PEM nor DER"
