"""What an OPC UA server is: its ways in, its certificate, its build information, and the top of its address space."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cli.field.display import Row
from cli.field.nodes import raw_profile
from domain.errors import LichtbuchError
from fieldbus.device import BrowsedNode, Browser
from fieldbus.values import Identity

if TYPE_CHECKING:
    from fieldbus.client import Fieldbus
    from fieldbus.opcua.security import OfferedEndpoint

_FOLDED_AT: Final = 40  # nodes shown; the rest is counted
_LONGEST_VALUE: Final = 40


@dataclass
class ServerSeen:
    """What the server let us see. `problem` says why there is no more."""

    endpoints: list[OfferedEndpoint] = field(default_factory=list)
    identity: Identity = field(default_factory=Identity)
    nodes: list[BrowsedNode] = field(default_factory=list)
    problem: str = ""

    @property
    def fingerprint(self) -> str:
        """Of the server's certificate; empty where it shows none."""
        return next((offer.fingerprint for offer in self.endpoints if offer.fingerprint), "")

    def document(self) -> Row:
        """Everything, for programs."""
        return {
            "endpoints": [
                {"policy": offer.policy, "mode": offer.mode, "logins": list(offer.logins)} for offer in self.endpoints
            ],
            "application_uri": next((offer.application_uri for offer in self.endpoints), ""),
            "certificate_sha256": self.fingerprint,
            "vendor": self.identity.vendor,
            "product": self.identity.product,
            "revision": self.identity.revision,
            "nodes": [
                {
                    "node": node.node,
                    "name": node.name,
                    "kind": node.kind,
                    "type": node.data_type,
                    "writable": node.writable,
                    "value": node.value,
                }
                for node in self.nodes
            ],
            "problem": self.problem,
        }


async def scan_server(fieldbus: Fieldbus, url: str, *, timeout_s: float, depth: int, below: str) -> ServerSeen:
    """Ask without a session first: a server that does not let us in still says how one gets in.

    Raises what the transport raises where nothing answers at all.
    """
    from fieldbus.opcua.security import offered_endpoints

    seen = ServerSeen(await offered_endpoints(url, timeout_s))
    device = fieldbus.open(url, raw_profile())
    try:
        seen.identity = await device.identify()
        if isinstance(device, Browser):
            seen.nodes = await device.browse(below, depth=depth)
    except LichtbuchError as error:
        seen.problem = str(error)
    finally:
        await device.close()
    return seen


def keep_certificate(path: Path, seen: ServerSeen) -> bool:
    """Keep the server's certificate (DER) to be pinned, after its fingerprint was compared. False if it shows none."""
    certificate = next((offer.certificate for offer in seen.endpoints if offer.certificate), b"")
    if certificate:
        path.write_bytes(certificate)
    return bool(certificate)


def endpoint_rows(seen: ServerSeen) -> list[Row]:
    """The ways in, for a table."""
    return [
        {"security_policy": offer.policy, "mode": offer.mode, "logins": ", ".join(offer.logins)}
        for offer in seen.endpoints
    ]


def node_rows(seen: ServerSeen, *, everything: bool) -> tuple[list[Row], int]:
    """The first nodes for a table, and how many there are besides. Unless asked for, what every server has by the
    standard is left out: it tells nothing of this one."""
    own = [node for node in seen.nodes if node.node.startswith("nsu=")]
    wanted = seen.nodes if everything or not own else own
    rows = [
        {
            "node": node.node,
            "kind": node.kind,
            "type": node.data_type or "-",
            "writable": node.writable if node.kind == "variable" else "-",
            "value": _short(node.value),
        }
        for node in wanted[:_FOLDED_AT]
    ]
    return rows, len(seen.nodes) - len(rows)


def _short(value: str) -> str:
    return value if len(value) <= _LONGEST_VALUE else f"{value[: _LONGEST_VALUE - 3]}..."
