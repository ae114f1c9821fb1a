"""What docs/operations.md says of the settings is what the services load."""

from __future__ import annotations

import pytest

from servicekit.settings import ServiceSettings, variable_of
from tools import settings_table


def test_the_tables_are_those_of_the_settings() -> None:
    document = settings_table.DOCUMENT.read_text(encoding="utf-8")
    assert settings_table.renewed(document) == document, "run python tools/settings_table.py"


@pytest.mark.parametrize("service", settings_table.SERVICES)
def test_every_setting_is_told_with_what_it_is_for(service: str) -> None:
    document = settings_table.DOCUMENT.read_text(encoding="utf-8")
    model = settings_table.settings_class(service)
    rows = {line.split("`")[1]: line for line in document.splitlines() if line.startswith("| `LICHTBUCH_")}
    for field in model.model_fields:
        row = rows[variable_of(field, model)]
        assert row.rstrip(" |").count("|") == 4, f"{row} does not say what it is for"


def test_secrets_are_not_shown() -> None:
    assert settings_table.default_of(ServiceSettings.model_fields["service_client_secret"]) == ""


def test_a_document_without_the_place_is_refused() -> None:
    with pytest.raises(SystemExit, match="not marked"):
        settings_table.renewed("# Operating")
