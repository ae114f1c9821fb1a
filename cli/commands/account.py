"""lichtbuch login, logout, whoami, status: who you are and whether the services are well."""

from __future__ import annotations

import asyncio
import base64
import json
import os
from datetime import UTC, datetime, timedelta
from typing import Annotated

import grpc
import httpx
import typer
from grpc_health.v1 import health_pb2, health_pb2_grpc

from cli.errors import FOUND_WRONG, UNREACHABLE
from cli.options import Json
from cli.output import console, print_facts, print_rows
from cli.session import ADDRESSES, CREDENTIALS, Session, Tls, all_pages, config_dir, load_token, online, save_token
from domain.errors import NotAuthenticated, Unavailable
from lichtbuch.registry.v1 import registry_pb2
from servicekit.client import channel_credentials

CLIENT_ID = "lichtbuch-cli"


def login(
    user: Annotated[str, typer.Option("--user", "-u", prompt="User", help="Name at the issuer.")],
    password: Annotated[
        str, typer.Option("--password", envvar="LICHTBUCH_PASSWORD", prompt="Password", hide_input=True)
    ],
    issuer: Annotated[
        str, typer.Option("--issuer", envvar="LICHTBUCH_OIDC_ISSUER", help="The OpenID provider.")
    ] = "http://127.0.0.1:7110",
) -> None:
    """Log in at the demonstration issuer and keep the token for an hour.

    The password goes to the issuer only. Where a town has an OpenID provider of its own, get a token there and give
    it as LICHTBUCH_TOKEN.
    """
    try:
        with httpx.Client(timeout=10) as client:
            metadata = client.get(f"{issuer.rstrip('/')}/.well-known/openid-configuration").raise_for_status().json()
            answer = client.post(
                metadata["token_endpoint"],
                data={"grant_type": "password", "client_id": CLIENT_ID, "username": user, "password": password},
            )
    except (httpx.HTTPError, KeyError, ValueError) as error:
        raise Unavailable(f"the issuer {issuer} does not answer as one: {error}") from error
    body = answer.json() if "json" in answer.headers.get("content-type", "") else {}
    if answer.status_code != 200:
        raise NotAuthenticated(f"{user}: {body.get('error_description') or body.get('error') or answer.status_code}")
    expires_at = datetime.now(UTC) + timedelta(seconds=int(body.get("expires_in", 3600)))
    path = save_token(body["access_token"], expires_at, issuer)
    console.print(f"logged in as {user} until {expires_at.astimezone():%H:%M}; the token is in {path}")


def logout() -> None:
    """Forget the token of the last login."""
    (config_dir() / CREDENTIALS).unlink(missing_ok=True)
    console.print("logged out")


def whoami(as_json: Json = False) -> None:
    """Say who you are logged in as, and which towns you may see."""
    payload = load_token().split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))

    async def towns(session: Session) -> list[str]:
        request = registry_pb2.ListMunicipalitiesRequest()
        found = await all_pages(session.registry.ListMunicipalities, request, "municipalities")
        return [item.name.removeprefix("municipalities/") for item in found]

    print_facts(
        {
            "name": claims.get("name", ""),
            "subject": claims["sub"],
            "issuer": claims["iss"],
            "until": datetime.fromtimestamp(claims["exp"], UTC).isoformat(),
            "municipalities": online(towns),
        },
        as_json,
    )


async def _health(service: str) -> str:
    target = os.environ.get(f"LICHTBUCH_{service.upper()}_ADDRESS", ADDRESSES[service])
    credentials = channel_credentials(Tls.from_environment())
    channel = grpc.aio.secure_channel(target, credentials) if credentials else grpc.aio.insecure_channel(target)
    async with channel:
        try:
            answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=3)
        except grpc.aio.AioRpcError as error:
            return f"unreachable ({error.code().name.lower()})"
    return "well" if answer.status == health_pb2.HealthCheckResponse.SERVING else "not well"


def status(as_json: Json = False) -> None:
    """Ask every service how it is. Needs no login. Exit code 1 when one is not well, 4 when none answers."""

    async def ask() -> list[str]:
        return await asyncio.gather(*(_health(service) for service in ADDRESSES))

    found = asyncio.run(ask())
    rows = [
        {
            "service": service,
            "address": os.environ.get(f"LICHTBUCH_{service.upper()}_ADDRESS", address),
            "health": health,
        }
        for (service, address), health in zip(ADDRESSES.items(), found, strict=True)
    ]
    print_rows(rows, as_json)
    if all(row["health"].startswith("unreachable") for row in rows):
        raise typer.Exit(UNREACHABLE)
    if any(row["health"] != "well" for row in rows):
        raise typer.Exit(FOUND_WRONG)
