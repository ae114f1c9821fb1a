"""Services and the demonstration command get tokens without a browser."""

import base64

import pytest

from services.registry.issuer.clients import SERVICES
from tests.services.registry.issuer.helpers import Issuer


@pytest.mark.parametrize("service", SERVICES)
async def test_a_service_proves_itself_with_its_secret(issuer: Issuer, service: str) -> None:
    client = issuer.service_clients[f"service-{service}"]
    answer = await issuer.http.post(
        "/token", data={"grant_type": "client_credentials"}, auth=(client.client_id, client.secret)
    )
    claims = await issuer.claims(answer.json()["access_token"])
    assert claims["sub"] == f"service:{service}"
    assert claims["aud"] == "lichtbuch"
    assert claims["exp"] == claims["iat"] + 3600
    assert answer.headers["cache-control"] == "no-store"


async def test_a_service_may_send_its_secret_in_the_form(issuer: Issuer) -> None:
    client = issuer.service_clients["service-ledger"]
    fields = {
        "grant_type": "client_credentials",
        "client_id": client.client_id,
        "client_secret": client.secret,
    }
    assert (await issuer.http.post("/token", data=fields)).status_code == 200


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        ("Basic " + base64.b64encode(b"service-lighting:wrong").decode(), 401),
        ("Basic " + base64.b64encode(b"service-unknown:wrong").decode(), 401),
        ("Basic " + base64.b64encode(b"no colon").decode(), 401),
        ("Basic " + base64.b64encode(b"\xff:\xff").decode(), 401),
        ("Basic ???", 401),
        ("Bearer abc", 400),
        ("", 400),
    ],
)
async def test_a_service_without_its_secret_gets_nothing(issuer: Issuer, authorization: str, status: int) -> None:
    headers = {"authorization": authorization} if authorization else {}
    answer = await issuer.http.post("/token", data={"grant_type": "client_credentials"}, headers=headers)
    assert answer.status_code == status
    assert "access_token" not in answer.json()


async def test_guessing_a_secret_is_slowed_down(issuer: Issuer) -> None:
    client = issuer.service_clients["service-metering"]
    fields = {"grant_type": "client_credentials"}
    for _ in range(5):
        assert (await issuer.http.post("/token", data=fields, auth=(client.client_id, "x"))).status_code == 401
    assert (await issuer.http.post("/token", data=fields, auth=(client.client_id, client.secret))).status_code == 429
    issuer.stopwatch.turn(60)
    assert (await issuer.http.post("/token", data=fields, auth=(client.client_id, client.secret))).status_code == 200


async def test_the_command_may_trade_a_password_for_a_token(issuer: Issuer) -> None:
    fields = {
        "grant_type": "password",
        "client_id": "lichtbuch-cli",
        "username": "operator",
        "password": "demo-operator",
    }
    claims = await issuer.claims((await issuer.http.post("/token", data=fields)).json()["access_token"])
    assert claims["preferred_username"] == "operator"
    wrong = await issuer.http.post("/token", data={**fields, "password": "demo-viewer"})
    assert wrong.json()["error"] == "invalid_grant"


async def test_no_other_client_may_use_passwords(issuer: Issuer) -> None:
    fields = {"grant_type": "password", "client_id": "lichtbuch-admin", "username": "admin", "password": "demo-admin"}
    answer = await issuer.http.post("/token", data=fields)
    assert answer.status_code == 400
    assert answer.json()["error"] == "unauthorized_client"


async def test_an_unknown_grant_is_refused(issuer: Issuer) -> None:
    answer = await issuer.http.post("/token", data={"grant_type": "refresh_token"})
    assert answer.json()["error"] == "unsupported_grant_type"


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"{}", "application/json", 400),
        (b"grant_type=password&grant_type=password", "application/x-www-form-urlencoded", 400),
        (b"\xff", "application/x-www-form-urlencoded", 400),
        (b"&".join(b"a%d=1" % number for number in range(50)), "application/x-www-form-urlencoded", 400),
        (b"a=" + b"x" * 20_000, "application/x-www-form-urlencoded", 413),
    ],
)
async def test_a_malformed_request_is_refused(issuer: Issuer, body: bytes, content_type: str, status: int) -> None:
    answer = await issuer.http.post("/token", content=body, headers={"content-type": content_type})
    assert answer.status_code == status
    assert answer.json()["error"] == "invalid_request"


async def test_tokens_are_not_given_by_get(issuer: Issuer) -> None:
    assert (await issuer.http.get("/token")).status_code == 405
