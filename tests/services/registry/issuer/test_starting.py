"""The issuer starts only when asked for by name, on loopback, and keeps its keys to itself."""

import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import httpx
import pytest

from domain.errors import Corrupted, InvalidInput
from services.registry.issuer.clients import load_service_clients, parse_secrets
from services.registry.issuer.keys import SigningKey
from services.registry.issuer.loopback import loopback_address

REPOSITORY = Path(__file__).parents[4]
COMMAND = [sys.executable, "-m", "services.registry.issuer"]


def environment(data_dir: Path, **changes: str) -> Mapping[str, str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith("LICHTBUCH_")}
    return {**own, "LICHTBUCH_ISSUER_DATA_DIR": str(data_dir), "LICHTBUCH_ISSUER_PORT": "0", **changes}


def test_without_the_flag_it_refuses_to_start(tmp_path: Path) -> None:
    run = subprocess.run(
        COMMAND, cwd=REPOSITORY, env=environment(tmp_path), capture_output=True, text=True, timeout=90, check=False
    )
    assert run.returncode == 2
    assert "--demonstration" in run.stderr
    assert not any(tmp_path.iterdir())


def test_it_refuses_to_listen_beyond_loopback(tmp_path: Path) -> None:
    run = subprocess.run(
        [*COMMAND, "--demonstration"],
        cwd=REPOSITORY,
        env=environment(tmp_path, LICHTBUCH_ISSUER_HOST="0.0.0.0"),
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert run.returncode == 2
    assert "LICHTBUCH_ISSUER_HOST=0.0.0.0" in run.stderr
    assert "loopback only" in run.stderr


def test_it_says_where_it_listens_and_serves_there(tmp_path: Path) -> None:
    with subprocess.Popen(
        [*COMMAND, "--demonstration"], cwd=REPOSITORY, env=environment(tmp_path), stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        url = process.stdout.readline().split()[-1]
        try:
            with httpx.Client(timeout=60) as client:  # at once: who reads the address may go there
                document = client.get(f"{url}/.well-known/openid-configuration").json()
        finally:
            process.send_signal(signal.SIGTERM)
    assert document["issuer"] == url
    assert url.startswith("http://127.0.0.1:")


def test_a_taken_port_is_told_in_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        run = subprocess.run(
            [*COMMAND, "--demonstration"],
            cwd=REPOSITORY,
            env=environment(tmp_path, LICHTBUCH_ISSUER_PORT=str(taken.getsockname()[1])),
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
    assert run.returncode == 1
    assert len(run.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("127.8.9.1", "127.8.9.1"),
        ("::1", "::1"),
        ("localhost", "127.0.0.1"),
        ("0.0.0.0", None),
        ("::", None),
        ("", None),
        ("192.168.0.1", None),
        ("localhost.example.org", None),
        ("::ffff:10.0.0.1", None),
    ],
)
def test_only_loopback_is_loopback(host: str, address: str | None) -> None:
    assert loopback_address(host) == address


def test_the_signing_key_outlives_a_restart(tmp_path: Path) -> None:
    assert SigningKey.load(tmp_path).kid == SigningKey.load(tmp_path).kid
    assert SigningKey.load(tmp_path / "other").kid != SigningKey.load(tmp_path).kid


def test_key_and_secrets_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    SigningKey.load(tmp_path)
    load_service_clients("", tmp_path)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 8
    assert all(stat.S_IMODE(file.stat().st_mode) == 0o600 for file in files)


@pytest.mark.parametrize("text", ["", "not json", "{}", "[1]", '{"kty":"EC"}', '{"kty":"oct","k":"AAAA"}'])
def test_a_spoilt_key_file_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "signing-key.json").write_text(text)
    with pytest.raises(Corrupted, match=r"signing-key\.json"):
        SigningKey.load(tmp_path)


@pytest.mark.parametrize("content", [b"", b"short", b"\xff\xfe", b"a-long-enough\x00-secret-it-is"])
def test_a_spoilt_secret_is_named(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "client-secrets" / "service-lighting"
    file.parent.mkdir()
    file.write_bytes(content)
    with pytest.raises(Corrupted, match="service-lighting"):
        load_service_clients("", tmp_path)


def test_made_up_secrets_outlive_a_restart_and_differ(tmp_path: Path) -> None:
    first, second = load_service_clients("", tmp_path), load_service_clients("", tmp_path)
    assert first == second
    assert len({client.secret for client in first.values()}) == len(first) == 7


def test_each_service_finds_its_secret_in_a_file_of_its_own(tmp_path: Path) -> None:
    clients = load_service_clients("", tmp_path)
    for client_id, client in clients.items():
        assert (tmp_path / "client-secrets" / client_id).read_text() == client.secret


def test_configured_secrets_come_before_made_up_ones(tmp_path: Path) -> None:
    clients = load_service_clients("service-lighting=a-long-enough-secret", tmp_path)
    assert list(clients) == ["service-lighting"]
    assert clients["service-lighting"].subject == "service:lighting"
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    "configured",
    [
        "lighting=a-long-enough-secret",
        "service-lighting",
        "service-lighting=short",
        "service-lighting=a-long-enough-secret,service-lighting=a-long-enough-secret",
        "service-lighting=a-long-enough-secret,",
    ],
)
def test_a_wrong_setting_is_refused_without_repeating_it(configured: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_secrets(configured)
    assert caught.value.violations[0].field == "LICHTBUCH_ISSUER_CLIENT_SECRETS"
    assert "long-enough" not in str(caught.value)
