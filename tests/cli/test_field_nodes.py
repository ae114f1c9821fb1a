"""Raw OPC UA nodes from the command line, and what a scan shows of a server."""

from __future__ import annotations

import asyncio

import pytest

from tests.cli.field_command import field
from tests.fieldbus.servers import LampServer

pytestmark = pytest.mark.asyncio(loop_scope="module")

NODE = "nsu=urn:lichtbuch:lamp;s=Lamp.{}"


async def test_raw_nodes_are_read_with_their_type_and_the_servers_time(lamps: LampServer) -> None:
    done = await field("read", lamps.url, "--node", NODE.format("0.Level"), "--node", "i=2262", "--json")
    assert done.code == 0, done.err
    level, product = done.document
    assert (level["value"], level["type"], level["quality"], level["time_of"]) == (50.0, "Double", "good", "device")
    assert product["value"] == "urn:acme:lamps"


async def test_a_node_that_is_not_there_makes_a_partial_reading(lamps: LampServer) -> None:
    done = await field("read", lamps.url, "--node", NODE.format("0.Level"), "--node", NODE.format("9.Level"))
    assert done.code == 3
    assert "BadNodeIdUnknown" in done.err


async def test_a_namespace_that_is_not_there_ends_with_5(lamps: LampServer) -> None:
    done = await field("read", lamps.url, "--node", "nsu=urn:x;s=a", "--json")
    assert done.code == 5
    assert done.error["code"] == "NO_SUCH_NODE"


async def test_a_namespace_by_number_is_refused_with_the_reason(lamps: LampServer) -> None:
    done = await field("read", lamps.url, "--node", "ns=2;s=Lamp.0.Level")
    assert done.code == 2
    assert "by URI" in done.err


async def test_a_raw_node_is_written_by_its_own_type_and_read_back(lamps: LampServer) -> None:
    done = await field("write", lamps.url, "--node", f"{NODE.format('0.Level')}=62.5", "--yes", "--json")
    assert done.code == 0, done.err
    assert (done.document[0]["outcome"], done.document[0]["read_back"]) == ("confirmed", 62.5)
    assert await lamps.get(0, "Level") == 62.5


@pytest.mark.parametrize(
    ("node", "code", "words"),
    [
        ("0.Power=1", 5, "BadUserAccessDenied"),
        ("0.Nothing=1", 5, "BadNodeIdUnknown"),
        ("0.LampFailure=maybe", 2, "neither on nor off"),
        ("0.BurningTime=1.5", 2, "is no uint64"),
        ("0.Level", 2, "is no NODE=VALUE"),
    ],
)
async def test_a_node_that_cannot_be_written_says_why(lamps: LampServer, node: str, code: int, words: str) -> None:
    done = await field("write", lamps.url, "--node", NODE.format(node), "--yes")
    assert done.code == code
    assert words in done.err


async def test_a_scan_shows_ways_in_build_and_address_space(lamps: LampServer) -> None:
    done = await field("scan", lamps.url, "--json")
    assert done.code == 0, done.err
    seen = done.document
    assert (seen["vendor"], seen["product"], seen["revision"]) == ("ACME", "Lamps", "3.2")
    assert [endpoint["policy"] for endpoint in seen["endpoints"]] == ["None"]
    nodes = {node["node"]: node for node in seen["nodes"]}
    level = nodes[NODE.format("0.Level")]
    assert (level["kind"], level["type"], level["writable"], level["value"]) == ("variable", "Double", True, "50.0")


async def test_a_scan_for_people_leaves_out_what_every_server_has(lamps: LampServer) -> None:
    done = await field("scan", lamps.url)
    assert NODE.format("2") in done.out
    assert "i=2253" not in done.out


async def test_a_profile_without_end_reads_as_many_lamps_as_there_are(lamps: LampServer) -> None:
    done = await field("read", lamps.url, "-P", "opcua-lamp", "--json")
    assert done.code == 0, done.err
    assert {row["index"] for row in done.document} == {0, 1, 2}


async def test_a_table_for_people_has_percent_hours_and_kilowatt_hours(lamps: LampServer) -> None:
    done = await field("read", lamps.url, "-P", "opcua-lamp", "--index", "0-9")
    assert done.code == 3
    cells = {row.split()[0]: row.split()[1:3] for row in done.out.splitlines()[2:] if "[0]" in row}
    assert cells["level_actual[0]"] == ["50", "%"]
    assert cells["lamp_energy[0]"] == ["4.321", "kWh"]
    assert cells["burning_hours[0]"] == ["2.0", "h"]
    assert done.out.splitlines()[-1] == "gear 3-9: no value (bad)"


async def test_watching_raw_nodes_shows_them_once_until_they_change(lamps: LampServer) -> None:
    done = await field(
        "watch", lamps.url, "--node", NODE.format("0.Level"), "--interval", "0.1", "--seconds", "3", "--json"
    )
    assert done.code == 0, done.err
    assert len(done.out.splitlines()) == 1


@pytest.mark.parametrize("command", ["read", "scan"])
async def test_what_does_not_speak_opc_ua_is_told_so(command: str) -> None:
    async def web(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(web, "127.0.0.1", 0)
    url = f"opc.tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        done = await field(command, url, *(("--node", "i=2258") if command == "read" else ()), "--json")
    finally:
        server.close()
    assert done.code == 4
    assert done.error["code"] == "NOT_OPCUA"
    assert "something listens there, but it does not speak OPC UA" in done.error["message"]
