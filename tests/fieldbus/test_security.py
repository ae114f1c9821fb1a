"""The file that says what secures which endpoint: what is taken, and what is refused at which line."""

from __future__ import annotations

from pathlib import Path

import pytest

from domain.errors import InvalidInput
from fieldbus.security import load_security
from fieldbus.url import parse_url


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("ca.pem", "lichtbuch.pem", "lichtbuch.key", "password"):
        (tmp_path / name).write_text("x")
    (tmp_path / "trusted").mkdir()
    return tmp_path


def _write(folder: Path, text: str) -> Path:
    path = folder / "security.toml"
    path.write_text(text)
    return path


def test_entries_are_found_by_host_and_port_and_paths_lie_beside_the_file(folder: Path) -> None:
    security = load_security(
        _write(
            folder,
            """
[modbus."Cabinet-17:802"]
ca = "ca.pem"
certificate = "lichtbuch.pem"
key = "lichtbuch.key"
server_name = "cabinet"

[opcua."plc:4840"]
policy = "Aes256Sha256RsaPss"
mode = "sign_and_encrypt"
certificate = "lichtbuch.pem"
key = "lichtbuch.key"
trusted = "trusted"
user = "lichtbuch"
password_file = "password"
""",
        )
    )
    tls = security.tls(parse_url("modbus+tls://cabinet-17?unit=4"))
    assert (tls.ca, tls.certificate, tls.key) == tuple(
        folder / name for name in ("ca.pem", "lichtbuch.pem", "lichtbuch.key")
    )
    assert tls.server_name == "cabinet"
    opc = security.opc(parse_url("opc.tcp://plc/lamps"))
    assert opc is not None
    assert (opc.policy.value, opc.user) == ("Aes256Sha256RsaPss", "lichtbuch")
    assert opc.trusted == folder / "trusted"
    assert security.opc(parse_url("opc.tcp://other")) is None
    with pytest.raises(InvalidInput, match="needs an entry"):
        security.tls(parse_url("modbus+tls://cabinet-18"))


@pytest.mark.parametrize(
    ("text", "where", "reason"),
    [
        ('[modbus."c:802"]\nca = "ca.pem"\nwrong = 1', "security.toml:3", "is unknown"),
        ('[modbus."c:802"]\nca = "absent.pem"', "security.toml:2", "'absent.pem' does not exist"),
        ('[modbus."c:802"]\nca = "trusted"', "security.toml:2", "is a directory"),
        ('[modbus."c:802"]\nca = 7', "security.toml:2", "is not a text"),
        ('[modbus."c:802"]\nca = "ca.pem"\nserver_name = ".c"', "security.toml:3", "is no host name"),
        ('[opcua."c:802"]\nserver_name = "a\\u0000b"', "security.toml:2", "is no host name"),
        ('[modbus."c:802"]\nserver_name = "c"', "security.toml:1", "'ca' is missing"),
        ('[modbus."c:802"]\nca = "ca.pem"\nkey = "lichtbuch.key"', "security.toml:3", "without its certificate"),
        ('[modbus."cabinet"]\nca = "ca.pem"', "security.toml:1", 'no "host:port"'),
        ('[modbus."cabinet:0"]\nca = "ca.pem"', "security.toml:1", 'no "host:port"'),
        ('[mqtt."broker:1883"]\nca = "ca.pem"', "security.toml:1", "is unknown"),
        ('[opcua."plc:4840"]\npassword = "hidden-1"', "security.toml:2", "files of their own"),
        ('[opcua."plc:4840"]\npolicy = "Basic128Rsa15"', "security.toml:2", "is not one of"),
        ('[opcua."plc:4840"]\npolicy = "Basic256Sha256"', "security.toml:1", "certificate"),
        ('[opcua."plc:4840"]\npolicy = ', "security.toml:2", ""),
    ],
)
def test_what_is_wrong_is_told_with_its_line(folder: Path, text: str, where: str, reason: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        load_security(_write(folder, text))
    assert any(violation.field == where and reason in violation.reason for violation in caught.value.violations), (
        caught.value.violations
    )
    assert "hidden-1" not in str(caught.value)


def test_all_errors_are_told_at_once(folder: Path) -> None:
    with pytest.raises(InvalidInput) as caught:
        load_security(_write(folder, '[modbus."c:802"]\nca = "absent"\nkey = 1\n[modbus."d"]\nwrong = 1\n'))
    assert len(caught.value.violations) == 5
    assert all(violation.reason in str(caught.value) for violation in caught.value.violations), (
        "one line in the log each"
    )


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="cannot be read"):
        load_security(tmp_path / "absent.toml")
