"""Settings of the demonstration issuer, from the environment (prefix LICHTBUCH_ISSUER_), checked before it starts."""

from pathlib import Path

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.registry.issuer.loopback import loopback_address


class IssuerSettings(BaseSettings):
    """What the issuer needs to know."""

    model_config = SettingsConfigDict(
        env_prefix="LICHTBUCH_ISSUER_", extra="ignore", frozen=True, hide_input_in_errors=True
    )

    host: str = "127.0.0.1"
    """Address to listen at. Loopback only."""
    port: int = Field(default=7110, ge=0, le=65535)
    """Port to listen at; 0 lets the system choose."""
    data_dir: Path = Path(".run/data/issuer")
    """Folder of the signing key and of the made-up client secrets."""
    client_secrets: SecretStr = SecretStr("")
    """Secrets of the services: service-lighting=...,service-metering=...; empty for the files of the data folder."""

    @field_validator("host")
    @classmethod
    def _only_loopback(cls, value: str) -> str:
        address = loopback_address(value)
        if address is None:
            raise ValueError("the demonstration issuer listens on loopback only (127.0.0.1, ::1 or localhost)")
        return address
