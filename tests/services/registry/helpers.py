"""A running registry as people and services see it."""

from datetime import datetime
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from lichtbuch.audit.v1 import audit_pb2, audit_pb2_grpc
from lichtbuch.registry.v1 import registry_pb2 as pb
from lichtbuch.registry.v1 import registry_pb2_grpc
from lichtbuch.type.v1.types_pb2 import Position
from servicekit.client import ServiceChannel, connect
from servicekit.server import Server
from servicekit.tokens import NoToken, StaticToken, TokenSource
from services.registry.issuer.users import DemonstrationUser
from tests.services.registry.issuer.helpers import Running

ROOT = "u-root"

ON_ONE_DATABASE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""For what is refused before the database is asked: one kind of it is enough."""


class Registry:
    """Calls a registry, each caller with a token of its own."""

    def __init__(self, server: Server, issuer: Running) -> None:
        self.server = server
        self.issuer = issuer
        self._channels: list[ServiceChannel] = []
        self._stubs: dict[str, Any] = {}

    def token_of(self, subject: str) -> str:
        """An access token of a person, or of a service ("service:lighting")."""
        if subject.startswith("service:"):
            return self.issuer.mint.access_token_for_service("test", subject)
        return self.issuer.mint.access_token_for(DemonstrationUser("somebody", subject, "Some Body", {}), "test")

    def as_(self, subject: str) -> Any:
        """The registry as the subject sees it: calls raise our own errors."""
        if subject not in self._stubs:
            self._stubs[subject] = self.stub(StaticToken(self.token_of(subject)))
        return self._stubs[subject]

    def as_nobody(self) -> Any:
        """The registry without a token."""
        return self.stub(NoToken())

    @property
    def root(self) -> Any:
        """The registry as the first administrator sees it."""
        return self.as_(ROOT)

    def stub(self, identity: TokenSource) -> Any:
        """The registry with any kind of token."""
        return registry_pb2_grpc.RegistryServiceStub(self.channel(identity))

    def channel(self, identity: TokenSource) -> ServiceChannel:
        """A channel to the registry, closed at the end."""
        # How long a busy machine takes for a call is not what is tried.
        channel = connect(f"127.0.0.1:{self.server.port}", identity=identity, deadline_s=60)
        self._channels.append(channel)
        return channel

    async def close(self) -> None:
        """Closes all channels."""
        for channel in self._channels:
            await channel.close()

    async def town(self, identifier: str, **changes: Any) -> pb.Municipality:
        """A new municipality."""
        municipality = pb.Municipality(
            display_name=identifier.title(), position=Position(latitude_deg=51.0, longitude_deg=9.3), **changes
        )
        request = pb.CreateMunicipalityRequest(municipality_id=identifier, municipality=municipality)
        created: pb.Municipality = await self.root.CreateMunicipality(request)
        return created

    async def bind(
        self, subject: str, role: str, municipality: str, *, scopes: tuple[str, ...] = (), until: datetime | None = None
    ) -> pb.RoleBinding:
        """Gives somebody a role ("viewer")."""
        binding = role_binding(subject, role, scopes, until)
        request = pb.CreateRoleBindingRequest(parent=f"municipalities/{municipality}", role_binding=binding)
        created: pb.RoleBinding = await self.root.CreateRoleBinding(request)
        return created

    async def audit_trail(self, subject: str, parent: str, resource: str = "") -> list[audit_pb2.AuditRecord]:
        """The audit records that somebody may read, newest first."""
        stub = audit_pb2_grpc.AuditServiceStub(self.channel(StaticToken(self.token_of(subject))))
        answer = await stub.ListAuditRecords(audit_pb2.ListAuditRecordsRequest(parent=parent, resource=resource))
        return list(answer.records)


def role_binding(
    subject: str, role: str, scopes: tuple[str, ...] = (), until: datetime | None = None
) -> pb.RoleBinding:
    """A role binding to be made."""
    expires_at = None
    if until is not None:
        expires_at = Timestamp()
        expires_at.FromDatetime(until)
    return pb.RoleBinding(
        subject=subject, role=pb.Role.Value(f"ROLE_{role.upper()}"), scopes=scopes, expires_at=expires_at
    )


def gateway(url: str = "modbus+tcp://10.0.0.1?unit=1", **changes: Any) -> pb.Endpoint:
    """A lighting endpoint to be registered."""
    values = {
        "display_name": "Am Markt",
        "url": url,
        "profile": "arlight-dali",
        "owner": pb.ENDPOINT_OWNER_LIGHTING,
        **changes,
    }
    return pb.Endpoint(**values)
