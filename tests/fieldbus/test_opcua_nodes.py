"""Node ids as text, and which point of a profile a node is."""

from __future__ import annotations

import pytest
from asyncua import ua
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import InvalidInput
from fieldbus.opcua.alarms import PointFinder
from fieldbus.opcua.nodes import OPC_UA_NAMESPACE, NodeName, node_name
from fieldbus.profile_loader import load_profile
from fieldbus.values import PointAddress

URIS = (OPC_UA_NAMESPACE, "urn:server", "urn:lamps;v=2")
NUMBERS = {uri: number for number, uri in enumerate(URIS)}
IDENTIFIERS = st.one_of(
    st.text(min_size=1).map(lambda text: f"s={text}"),
    st.integers(0, 2**32 - 1).map(lambda number: f"i={number}"),
    st.uuids().map(lambda guid: f"g={guid}"),
    st.just("b=TGFtcA=="),
)


@given(st.sampled_from(URIS), IDENTIFIERS)
def test_a_name_survives_the_way_to_the_server_and_back(uri: str, identifier: str) -> None:
    name = NodeName(uri, identifier)
    assert NodeName.parse(str(name)) == name
    node = name.on(NUMBERS)
    assert node is not None
    assert node_name(node, URIS) == name


def test_a_uri_may_hold_semicolons() -> None:
    name = NodeName.parse("nsu=urn:lamps;v=2;s=Lamp;s=1")
    assert (name.namespace, name.identifier) == ("urn:lamps;v=2", "s=Lamp;s=1")


def test_a_namespace_that_the_server_does_not_have_gives_no_node() -> None:
    assert NodeName("urn:nobody", "i=1").on(NUMBERS) is None


def test_a_namespace_number_that_the_server_does_not_explain_stays_unnamed() -> None:
    assert node_name(ua.NodeId(ua.Int32(7), ua.Int16(9)), URIS).namespace == ""


@pytest.mark.parametrize(
    "text", ["", "Lamp", "s=", "i=x", "i=4294967296", "g=1", "b=?", "q=1", "nsu=urn:x", "ns=2;i=1"]
)
def test_what_names_no_node_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        NodeName.parse(text)
    assert caught.value.violations[0].field == "node"


@pytest.mark.parametrize(
    ("node", "point"),
    [
        ("s=Lamp.7.Power", PointAddress("lamp_power", 7)),
        ("s=Lamp.65535.LampFailure", PointAddress("lamp_failure", 65535)),
        ("s=Lamp.65536.Power", None),
        ("s=Lamp.7", None),
        ("s=Lamp.x.Power", None),
        ("s=Lamp.7.PowerOnLevels", None),
    ],
)
def test_the_point_of_a_node_is_found_by_the_profiles_own_pattern(node: str, point: PointAddress | None) -> None:
    finder = PointFinder(load_profile("opcua-lamp"))
    assert finder.find("urn:lichtbuch:lamp", node) == point
    assert finder.find("urn:else", node) is None
