"""Looking around on an OPC UA server: what lies below a node, and nodes read by name without any profile.

For commissioning; the services read through profiles.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from asyncua import ua
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.object_ids import ObjectIdNames, ObjectIds
from asyncua.ua.status_codes import StatusCodes

from domain.errors import InvalidInput
from fieldbus.device import BrowsedNode
from fieldbus.faults import Malformed
from fieldbus.opcua.costs import BROWSED_NODE_BYTES, NODE_READ_BYTES, REQUEST_BYTES
from fieldbus.opcua.link import OpcUaLink
from fieldbus.opcua.nodes import OPC_UA_NAMESPACE, NodeName, node_name
from fieldbus.opcua.session import Session, status_name
from fieldbus.opcua.transport import LeanClient
from fieldbus.profile import Profile, Protocol
from fieldbus.values import Counters, Quality

# Opens a server whose nodes are only to be browsed and read by name.
RAW_PROFILE: Final = Profile("raw", "raw", "", "", Protocol.OPCUA, "the server itself", {})

_NODES_PER_BROWSE: Final = 20
_REFERENCES_PER_NODE: Final = 500  # in one answer; the rest comes with the continuation point
_NODES_PER_READ: Final = 400
_LONGEST_VALUE: Final = 200
_KINDS: Final = {
    ua.NodeClass.Object: "object",
    ua.NodeClass.Variable: "variable",
    ua.NodeClass.Method: "method",
}
_WRITABLE: Final = 2  # bit of the access level: current value may be written
_OBJECTS: Final = NodeName(OPC_UA_NAMESPACE, f"i={ObjectIds.ObjectsFolder}")
_SEVERITY_SHIFT: Final = 30
_QUALITIES: Final = (Quality.GOOD, Quality.UNCERTAIN, Quality.BAD, Quality.BAD)


@dataclass(frozen=True, slots=True)
class NodeValue:
    """A node read by name. `value` is a plain Python value, None where there is none."""

    node: str
    value: Any
    data_type: str  # built-in type, "" without a value
    quality: Quality
    status: str
    source_time: datetime | None


@dataclass(slots=True)
class Browsing:
    """One look around."""

    link: OpcUaLink
    counters: Counters
    limit: int
    _seen: set[ua.NodeId] = field(default_factory=set)
    _found: list[tuple[ua.NodeId, ua.ReferenceDescription]] = field(default_factory=list)

    async def run(self, root: str, depth: int) -> list[BrowsedNode]:
        """What lies below `root`, level by level, at most `limit` nodes. Raises as `Browser.browse`."""
        self.link.reading(REQUEST_BYTES + BROWSED_NODE_BYTES)
        session = await self.link.session()
        start = _resolve(NodeName.parse(root) if root else _OBJECTS, session)
        self._seen.add(start)
        level = [start]
        for step in range(max(1, depth)):
            if not level or len(self._found) >= self.limit:
                break
            level = await self._below(session, level, is_root=step == 0)
        return await self._described(session)

    async def _below(self, session: Session, parents: list[ua.NodeId], *, is_root: bool) -> list[ua.NodeId]:
        children: list[ua.NodeId] = []
        size = min(_NODES_PER_BROWSE, session.limits.nodes_per_browse)
        for at in range(0, len(parents), size):
            request = ua.BrowseParameters()
            request.RequestedMaxReferencesPerNode = ua.UInt32(_REFERENCES_PER_NODE)
            request.NodesToBrowse = [_description(parent) for parent in parents[at : at + size]]
            self.link.reading(REQUEST_BYTES + len(request.NodesToBrowse) * BROWSED_NODE_BYTES)
            results = await self.link.call(session, self.counters, _browsing(request))
            rounds, released = 0, False
            while results:
                points: list[bytes] = []
                for result in results:
                    if is_root and result.StatusCode.is_bad():
                        raise InvalidInput.of("node", f"cannot be browsed: {status_name(int(result.StatusCode.value))}")
                    children += self._take(result.References or ())
                    if result.ContinuationPoint:
                        points.append(result.ContinuationPoint)
                if not points or released:
                    break
                rounds += 1
                if rounds > self.limit:
                    raise Malformed(f"the directory of {self.link.endpoint} goes on and on")
                released = len(self._found) >= self.limit
                follow = ua.BrowseNextParameters()
                follow.ContinuationPoints = points
                follow.ReleaseContinuationPoints = released
                results = await self.link.call(session, self.counters, _browsing_on(follow))
        return children

    def _take(self, references: Sequence[ua.ReferenceDescription]) -> list[ua.NodeId]:
        taken: list[ua.NodeId] = []
        for reference in references:
            target = reference.NodeId
            node = ua.NodeId(target.Identifier, target.NamespaceIndex, target.NodeIdType)
            if node in self._seen or len(self._found) >= self.limit or _is_elsewhere(target):
                continue
            self._seen.add(node)
            self._found.append((node, reference))
            taken.append(node)
        return taken

    async def _described(self, session: Session) -> list[BrowsedNode]:
        variables = [node for node, reference in self._found if reference.NodeClass == ua.NodeClass.Variable]
        wanted = [
            ua.ReadValueId(NodeId=node, AttributeId=attribute)
            for node in variables
            for attribute in (AttributeIds.DataType, AttributeIds.UserAccessLevel, AttributeIds.Value)
        ]
        answers = await read_attributes(self.link, session, self.counters, wanted)
        details = {node: answers[3 * at : 3 * at + 3] for at, node in enumerate(variables)}
        result: list[BrowsedNode] = []
        for node, reference in self._found:
            kind = _KINDS.get(reference.NodeClass, str(getattr(reference.NodeClass, "name", "")).lower())
            data_type, writable, value = "", False, ""
            if node in details:
                type_answer, access, current = (_plain(answer) for answer in details[node])
                data_type = _type_name(type_answer, session)
                writable = bool(isinstance(access, int) and access & _WRITABLE)
                value = "" if current is None else str(current)[:_LONGEST_VALUE]
            name = str(reference.DisplayName.Text or reference.BrowseName.Name or "")
            result.append(BrowsedNode(str(node_name(node, session.uris)), name, kind, data_type, writable, value))
        return result


async def read_named(link: OpcUaLink, counters: Counters, names: Sequence[str]) -> list[NodeValue]:
    """Nodes by name ("nsu=URI;s=..."), in the order asked. Raises InvalidInput for a name that is none; the faults of
    `OpcUaLink.call` when the server does not answer. A node the server does not have comes with quality BAD."""
    parsed = [NodeName.parse(name) for name in names]
    link.reading(REQUEST_BYTES + len(names) * NODE_READ_BYTES)
    session = await link.session()
    nodes = [name.on(session.namespaces) for name in parsed]
    wanted = [ua.ReadValueId(NodeId=node, AttributeId=AttributeIds.Value) for node in nodes if node is not None]
    answers = iter(await read_attributes(link, session, counters, wanted))
    return [
        _unknown_namespace(name) if node is None else _value(name, next(answers))
        for name, node in zip(parsed, nodes, strict=True)
    ]


async def read_attributes(
    link: OpcUaLink, session: Session, counters: Counters, wanted: Sequence[ua.ReadValueId]
) -> list[ua.DataValue]:
    """Attributes in as many requests as the server's limits ask for."""
    size = min(_NODES_PER_READ, session.limits.nodes_per_read)
    answers: list[ua.DataValue] = []
    for at in range(0, len(wanted), size):
        parameters = ua.ReadParameters()
        parameters.TimestampsToReturn = ua.TimestampsToReturn.Source
        parameters.NodesToRead = list(wanted[at : at + size])
        link.reading(REQUEST_BYTES + len(parameters.NodesToRead) * NODE_READ_BYTES)
        part = await link.call(session, counters, _reading(parameters))
        if len(part) != len(parameters.NodesToRead):
            raise Malformed(f"{len(part)} values came for {len(parameters.NodesToRead)} nodes")
        answers += part
    return answers


def _resolve(name: NodeName, session: Session) -> ua.NodeId:
    node = name.on(session.namespaces)
    if node is None:
        raise InvalidInput.of("node", f"the server has no namespace {name.namespace}")
    return node


def _value(name: NodeName, answer: ua.DataValue) -> NodeValue:
    code = 0 if answer.StatusCode is None else int(answer.StatusCode.value)
    variant = answer.Value
    has_value = variant is not None and variant.Value is not None
    return NodeValue(
        node=str(name),
        value=_plain(answer),
        data_type=variant.VariantType.name if has_value and variant is not None else "",
        quality=_QUALITIES[code >> _SEVERITY_SHIFT],
        status=status_name(code),
        source_time=answer.SourceTimestamp,
    )


def _unknown_namespace(name: NodeName) -> NodeValue:
    reason = f"{status_name(StatusCodes.BadNodeIdUnknown)}: the server has no namespace {name.namespace}"
    return NodeValue(str(name), None, "", Quality.BAD, reason, None)


def _is_elsewhere(node: ua.NodeId) -> bool:
    """Whether a reference leads to another server."""
    return bool(isinstance(node, ua.ExpandedNodeId) and node.ServerIndex)


def _plain(answer: ua.DataValue) -> Any:
    value = answer.Value.Value if answer.Value is not None else None
    return value.Text if isinstance(value, ua.LocalizedText) else value


def _type_name(node: Any, session: Session) -> str:
    if not isinstance(node, ua.NodeId):
        return ""
    if node.NamespaceIndex == 0 and isinstance(node.Identifier, int) and int(node.Identifier) in ObjectIdNames:
        return ObjectIdNames[int(node.Identifier)]
    return str(node_name(node, session.uris))


def _description(node: ua.NodeId) -> ua.BrowseDescription:
    description = ua.BrowseDescription()
    description.NodeId = node
    description.BrowseDirection = ua.BrowseDirection.Forward
    description.ReferenceTypeId = ua.NodeId(ua.Int32(ObjectIds.HierarchicalReferences))
    description.IncludeSubtypes = True
    description.NodeClassMask = ua.UInt32(ua.NodeClass.Object | ua.NodeClass.Variable | ua.NodeClass.Method)
    description.ResultMask = ua.UInt32(ua.BrowseResultMask.All)
    return description


# Functions of their own, so that each call keeps its own parameters.


def _browsing(parameters: ua.BrowseParameters) -> Callable[[LeanClient], Awaitable[list[ua.BrowseResult]]]:
    return lambda client: client.services.browse(parameters)


def _browsing_on(parameters: ua.BrowseNextParameters) -> Callable[[LeanClient], Awaitable[list[ua.BrowseResult]]]:
    return lambda client: client.services.browse_next(parameters)


def _reading(parameters: ua.ReadParameters) -> Callable[[LeanClient], Awaitable[list[ua.DataValue]]]:
    return lambda client: client.services.read(parameters)
