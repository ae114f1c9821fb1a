"""Node ids as text: "i=85", "s=Lamp.1.Power", "g=<guid>", "b=<base64>", with a namespace by URI ("nsu=urn:x;s=...").

Namespaces are named by URI because their numbers are the server's to change at every start. Only parsing and writing;
nothing is asked of a server here.
"""

from __future__ import annotations

import base64
import binascii
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from asyncua import ua

from domain.errors import InvalidInput

OPC_UA_NAMESPACE: Final = "http://opcfoundation.org/UA/"  # always number 0
_HIGHEST_NUMBER: Final = 2**32 - 1


@dataclass(frozen=True, slots=True)
class NodeName:
    """A node by the URI of its namespace and an identifier such as "s=Lamp.1.Power"."""

    namespace: str
    identifier: str

    def __str__(self) -> str:
        return f"nsu={self.namespace};{self.identifier}" if self.namespace != OPC_UA_NAMESPACE else self.identifier

    @classmethod
    def parse(cls, text: str, default_namespace: str = OPC_UA_NAMESPACE) -> NodeName:
        """From "nsu=URI;s=...", or "s=..." in the default namespace. Raises InvalidInput with field `node`.

        A URI may contain semicolons; the identifier begins after the first one that is followed by i=, s=, g= or b=.
        """
        namespace, identifier = default_namespace, text
        if text.startswith("ns="):
            raise InvalidInput.of("node", "name the namespace by URI (nsu=...): its number may change at every start")
        if text.startswith("nsu="):
            cuts = [at for kind in "isgb" if (at := text.find(f";{kind}=")) >= 0]
            if not cuts:
                raise InvalidInput.of("node", f"'{text}' names no node: nsu=URI;s=text, i=number, g=guid or b=base64")
            namespace, identifier = text[4 : min(cuts)], text[min(cuts) + 1 :]
        parse_identifier(identifier)
        return cls(namespace, identifier)

    def on(self, namespaces: Mapping[str, int]) -> ua.NodeId | None:
        """The node id on a server, None where it does not know the namespace."""
        return node_id(self.namespace, self.identifier, namespaces)


def node_id(namespace: str, identifier: str, namespaces: Mapping[str, int]) -> ua.NodeId | None:
    """The node id on a server with these namespaces, None where the namespace is not among them."""
    index = 0 if namespace == OPC_UA_NAMESPACE else namespaces.get(namespace)
    if index is None:
        return None
    value, kind = parse_identifier(identifier)
    return ua.NodeId(value, ua.Int16(index), kind)


def parse_identifier(text: str) -> tuple[Any, ua.NodeIdType]:
    """Identifier and its kind from "i=", "s=", "g=" or "b=". Raises InvalidInput with field `node`."""
    kind, separator, rest = text.partition("=")
    problem = "is not i=number, s=text, g=guid or b=base64"
    if separator and rest:
        match kind:
            case "s":
                return rest, ua.NodeIdType.String
            case "i":
                if rest.isascii() and rest.isdigit() and len(rest) <= 10 and int(rest) <= _HIGHEST_NUMBER:
                    return int(rest), ua.NodeIdType.Numeric
                problem = f"needs a number 0..{_HIGHEST_NUMBER} after i="
            case "g":
                try:
                    return uuid.UUID(rest), ua.NodeIdType.Guid
                except ValueError:
                    problem = "needs a GUID after g="
            case "b":
                try:
                    return base64.b64decode(rest, validate=True), ua.NodeIdType.ByteString
                except binascii.Error:
                    problem = "needs base64 after b="
    raise InvalidInput.of("node", f"'{text}' {problem}")


def node_name(node: ua.NodeId, uris: Sequence[str]) -> NodeName:
    """The name of a node id that a server gave; an unknown namespace number becomes an empty URI."""
    index = int(node.NamespaceIndex)
    namespace = OPC_UA_NAMESPACE if index == 0 else uris[index] if index < len(uris) else ""
    identifier = node.Identifier
    if isinstance(identifier, bytes):
        text = f"b={base64.b64encode(identifier).decode('ascii')}"
    elif isinstance(identifier, uuid.UUID):
        text = f"g={identifier}"
    elif isinstance(identifier, int):
        text = f"i={identifier}"
    else:
        text = f"s={identifier}"
    return NodeName(namespace, text)
