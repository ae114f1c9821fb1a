"""The server's side of TLS: certificates from files, read anew when they change; mutual where settings ask for it."""

import logging
from pathlib import Path
from typing import Protocol

import grpc

from domain.errors import InvalidInput

_log = logging.getLogger(__name__)


class TlsSettings(Protocol):
    """The part of the settings that TLS needs."""

    @property
    def tls_certificate(self) -> Path | None:
        """The server's certificate chain."""
        ...

    @property
    def tls_key(self) -> Path | None:
        """Its key."""
        ...

    @property
    def tls_client_ca(self) -> Path | None:
        """Authorities of clients; None for no mutual TLS."""
        ...


class _Files:
    """Certificate, key and authorities as files, and what they held when last read."""

    def __init__(self, certificate: Path, key: Path, client_ca: Path | None) -> None:
        self._paths = [certificate, key, *([client_ca] if client_ca else [])]
        self._stamps = self._now()

    def read(self) -> grpc.ServerCertificateConfiguration:
        """What they hold. Raises OSError."""
        certificate, key, *authorities = (path.read_bytes() for path in self._paths)
        return grpc.ssl_server_certificate_configuration([(key, certificate)], authorities[0] if authorities else None)

    def changed(self) -> grpc.ServerCertificateConfiguration | None:
        """For each handshake: what they hold if it is new, None to go on with what is known."""
        try:
            stamps = self._now()
            if stamps == self._stamps:
                return None
            configuration = self.read()
        except (OSError, ValueError) as error:
            _log.warning("the certificate cannot be read anew, the old one goes on: %s", error)
            return None
        self._stamps = stamps
        _log.info("the certificate was read anew")
        return configuration

    def _now(self) -> list[tuple[int, int]]:
        return [(status.st_mtime_ns, status.st_ino) for status in (path.stat() for path in self._paths)]


def server_credentials(settings: TlsSettings) -> grpc.ServerCredentials | None:
    """TLS as the settings ask for; with authorities of clients, mutual. None for no TLS. Raises InvalidInput."""
    if settings.tls_certificate is None or settings.tls_key is None:
        return None
    try:
        files = _Files(settings.tls_certificate, settings.tls_key, settings.tls_client_ca)
        first = files.read()
    except OSError as error:
        raise InvalidInput.of("tls_certificate", f"cannot be read: {error}") from error
    return grpc.dynamic_ssl_server_credentials(
        first,
        files.changed,  # type: ignore[arg-type]  # None says that nothing has changed
        require_client_authentication=settings.tls_client_ca is not None,
    )
