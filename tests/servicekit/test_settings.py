"""Settings: from the environment, checked before anything starts, each wrong value named."""

import os
from pathlib import Path
from typing import ClassVar

import pytest
from pydantic import SecretStr

from servicekit.settings import ServiceSettings, load_settings
from tests.support.certificates import Authority


class Settings(ServiceSettings):
    """Settings of a service with fields of its own."""

    service: ClassVar[str] = "lighting"
    poll_s: int = 60
    bus_secret: SecretStr = SecretStr("")


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("LICHTBUCH_"):
            monkeypatch.delenv(name)


def loaded(monkeypatch: pytest.MonkeyPatch, **values: str) -> Settings:
    for name, value in values.items():
        monkeypatch.setenv(f"LICHTBUCH_{name}", value)
    return load_settings(Settings)


def refused(monkeypatch, capsys, **values: str) -> list[str]:
    with pytest.raises(SystemExit) as ended:
        loaded(monkeypatch, **values)
    assert ended.value.code == 2
    lines: list[str] = capsys.readouterr().err.splitlines()
    return lines


def test_without_any_setting_a_service_runs_on_loopback_and_sqlite(monkeypatch):
    settings = loaded(monkeypatch)
    assert settings.listen == "127.0.0.1:7102"
    assert settings.metrics_listen == "127.0.0.1:7202"
    assert settings.resolved_database_url == "sqlite:///.run/data/lighting.db"
    assert settings.resolved_client_id == "service-lighting"


def test_a_service_adds_fields_of_its_own(monkeypatch):
    assert loaded(monkeypatch, POLL_S="5").poll_s == 5


def test_each_wrong_value_has_a_line_of_its_own(monkeypatch, capsys):
    lines = refused(monkeypatch, capsys, LISTEN="nowhere", POLL_S="often", CLOCK_SPEED="0", LOG_LEVEL="loud")
    assert len(lines) == 4
    assert any(line.startswith("LICHTBUCH_LISTEN=nowhere: host:port is needed") for line in lines)
    assert any(line.startswith("LICHTBUCH_POLL_S=often: ") for line in lines)


def test_a_secret_is_never_printed(monkeypatch, capsys):
    lines = refused(monkeypatch, capsys, DATABASE_URL="mysql://user:hunter2@host/db", POLL_S="x")
    assert any(line.startswith("LICHTBUCH_DATABASE_URL=***: ") for line in lines)
    assert "hunter2" not in "".join(lines)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("LISTEN", "0.0.0.0:7102", "needs TLS"),
        ("LISTEN", "127.0.0.1:99999", "is not a port"),
        ("REGISTRY_ADDRESS", "registry", "host:port is needed"),
        ("LIGHTING_ADDRESS", "dns:///lighting:7100", "needs tls_ca"),
        ("OIDC_ISSUER", "http://login.example.org", "https is needed"),
        ("OIDC_ISSUER", "login.example.org", "URL is needed"),
        ("TLS_CERTIFICATE", "/nowhere.pem", "cannot be read"),
        ("CLOCK_SPEED", "600", "shared by all"),
        ("CLOCK_START", "2026-06-21T10:00:00", "with a time zone"),
        ("MAX_MESSAGE_BYTES", "10", "greater than or equal"),
        ("SERVICE_SUBJECTS", "{oops", "LICHTBUCH_SERVICE_SUBJECTS: JSON is needed"),
    ],
)
def test_what_is_wrong_is_said(monkeypatch, capsys, name, value, reason):
    lines = refused(monkeypatch, capsys, **{name: value})
    assert any(reason in line for line in lines), lines


def test_beyond_loopback_tls_or_an_explicit_word_is_needed(monkeypatch, tmp_path):
    pair = Authority(tmp_path).issue("lighting")
    assert loaded(monkeypatch, LISTEN="0.0.0.0:7102", ALLOW_INSECURE_LISTEN="true").allow_insecure_listen
    monkeypatch.delenv("LICHTBUCH_ALLOW_INSECURE_LISTEN")
    settings = loaded(monkeypatch, LISTEN="0.0.0.0:7102", TLS_CERTIFICATE=str(pair.certificate), TLS_KEY=str(pair.key))
    assert settings.tls_certificate == pair.certificate


def test_a_certificate_needs_its_key(monkeypatch, capsys, tmp_path):
    pair = Authority(tmp_path).issue("lighting")
    lines = refused(monkeypatch, capsys, TLS_CERTIFICATE=str(pair.certificate))
    assert lines == ["LICHTBUCH_TLS_KEY (not set): certificate and key come together"]


def test_what_is_no_certificate_is_told_before_the_start(monkeypatch, capsys, tmp_path):
    file = tmp_path / "x.pem"
    file.write_text("hello")
    assert "not in PEM format" in refused(monkeypatch, capsys, TLS_CERTIFICATE=str(file))[0]


def test_a_misspelt_name_is_pointed_out(monkeypatch, capsys):
    loaded(monkeypatch, DATABSE_URL="sqlite:///x.db")
    assert "LICHTBUCH_DATABASE_URL is meant?" in capsys.readouterr().err


def test_a_secret_may_be_a_file(monkeypatch, tmp_path):
    assert loaded(monkeypatch, SERVICE_CLIENT_SECRET_FILE=str(tmp_path)).service_client_secret_file == Path(tmp_path)
