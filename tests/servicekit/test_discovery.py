"""By what the certificate of an issuer is judged."""

from __future__ import annotations

import ssl
from pathlib import Path

import certifi

from servicekit.discovery import verification


def test_without_tls_no_certificate_is_read_and_none_would_be_taken() -> None:
    judging = verification("http://127.0.0.1:7110/keys", Path("there-is-none.pem"))
    assert isinstance(judging, ssl.SSLContext)
    assert judging.get_ca_certs() == []
    assert (judging.verify_mode, judging.check_hostname) == (ssl.CERT_REQUIRED, True)


def test_with_tls_it_is_judged_by_the_file_that_is_named_or_by_everybody_s() -> None:
    judging = verification("https://issuer.example/keys", Path(certifi.where()))
    assert isinstance(judging, ssl.SSLContext)
    assert len(judging.get_ca_certs()) > 10
    assert verification("https://issuer.example/keys") is True
