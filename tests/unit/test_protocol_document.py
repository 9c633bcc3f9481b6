"""docs/protocol.md says what the code does: its tables, layouts and dumps are read and compared, in both directions."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from struct import Struct
from typing import Any

import pytest

from tests.unit import protocol_examples
from tests.unit.core.session.pair import greeted, heard, upload
from tunnel.core import limits
from tunnel.core.channel import states, stub_side
from tunnel.core.channel.agent_side import AgentChannel
from tunnel.core.channel.stub_side import StubChannel
from tunnel.core.errors import PeerViolation
from tunnel.core.http import fields
from tunnel.core.session.http2 import TunnelConnection
from tunnel.core.wire import control, exchange, framing
from tunnel.core.wire.framing import FrameType, encode_frame

TEXT = protocol_examples.DOCUMENT.read_text()
Row = dict[str, str]


def tables(text: str) -> list[list[Row]]:
    """Every table of a text, its rows by column; back-quotes are left out."""
    found: list[list[Row]] = []
    for block in re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE):
        lines = [
            [cell.strip().replace("`", "") for cell in line.strip("|\n").split("|")]
            for line in block.splitlines()
        ]
        found.append([dict(zip(lines[0], line, strict=True)) for line in lines[2:]])
    return found


def section(title: str) -> str:
    """The text under a heading, up to the next one."""
    return re.split(r"^#{2,3} ", TEXT.split(f"# {title}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]


def table(title: str, number: int = 0) -> list[Row]:
    return tables(section(title))[number]


# Connections and frames ----------------------------------------------------------------------------


def test_the_connections_are_told_apart_by_their_protocols() -> None:
    found = {row["Constant"]: row["ALPN"] for row in table("2. Connections")}
    assert found == {"SESSION_ALPN": control.SESSION_ALPN, "CHANNEL_ALPN": control.CHANNEL_ALPN}


FRAMES = table("3. Frames", 1)


def test_every_frame_type_stands_in_the_table_and_no_other() -> None:
    assert {row["Name"]: int(row["Code"], 16) for row in FRAMES} == {
        kind.name: kind.value for kind in FrameType
    }


def taken_by_sessions() -> dict[tuple[str, str], Callable[[bytes], object]]:
    """Who reads what the other end sends on a lane."""
    return {
        ("stub", "lane"): lambda frame: _on_lane(frame, "agent"),
        ("agent", "lane"): lambda frame: _on_lane(frame, "stub"),
        ("stub", "channel"): _from_stub_on_channel,
        ("agent", "channel"): _from_agent_on_channel,
    }


def _on_lane(frame: bytes, receiver: str) -> object:
    pair = greeted()
    if receiver == "agent":
        pair.stub._lane.queue(frame)
        return pair.said_at_agent()
    pair.agent._lane.queue(frame)
    return pair.said_at_stub()


def _from_stub_on_channel(frame: bytes) -> object:
    channel = AgentChannel()
    channel.receive(control.StubHello("a").encode())
    channel.send_hello(control.AgentHello())
    return channel.receive(frame)


def _from_agent_on_channel(frame: bytes) -> object:
    channel = StubChannel()
    channel.receive(memoryview(control.AgentHello().encode()))
    return channel.receive(memoryview(frame))


@pytest.mark.parametrize("row", FRAMES, ids=lambda row: row["Name"])
@pytest.mark.parametrize("sender", ["stub", "agent"])
@pytest.mark.parametrize("place", ["lane", "channel"])
def test_a_frame_is_taken_from_the_senders_and_on_the_connections_of_the_table_and_skipped_elsewhere(
    row: Row, sender: str, place: str
) -> None:
    # An empty payload is malformed, or the frame out of order, wherever the frame means anything.
    receive = taken_by_sessions()[sender, place]
    frame = encode_frame(FrameType(int(row["Code"], 16)))
    if row["Sender"] in (sender, "both") and place in row["Carried on"].split(", "):
        with pytest.raises(PeerViolation):
            receive(frame)
    else:
        assert not receive(frame)


FORMATS = {"u8": "B", "u16": "H", "u32": "I", "u64": "Q", "i64": "q", "bool": "?"}


def fixed_format(rows: list[Row]) -> str:
    """The struct format of a layout's fixed part, its offsets checked on the way."""
    found, offset = ">", 0
    for row in rows:
        if not row["Size"].isdigit():
            assert row["Offset"].split("+")[0] == str(offset), (
                "the first part without a size begins behind the last with one"
            )
            break
        assert int(row["Offset"]) == offset
        found += f"{row['Size']}s" if row["Type"] == "bytes" else FORMATS[row["Type"]]
        offset += int(row["Size"])
        assert Struct(found).size == offset
    return found


@pytest.mark.parametrize(
    ("title", "layout"),
    [
        ("3. Frames", framing.FRAME_HEADER),
        ("REQUEST", exchange._REQUEST),
        ("CANCEL", exchange._ID),
        ("REFUSED", exchange._REFUSED),
        ("HEAD", exchange._HEAD),
    ],
)
def test_the_layouts_are_those_of_the_code(title: str, layout: Struct) -> None:
    assert fixed_format(table(title)) == layout.format


def test_the_flags_are_those_of_the_code() -> None:
    request = {row["Name"]: int(row["Flag"], 16) for row in table("REQUEST", 1)}
    head = {row["Name"]: int(row["Flag"], 16) for row in table("HEAD", 1)}
    assert request == {"BODY_STREAM": exchange._BODY_STREAM, "UPGRADE": exchange._UPGRADE}
    assert head == {"BODILESS": exchange._BODILESS}


# Control messages ----------------------------------------------------------------------------------

MESSAGES: dict[str, Any] = {
    "HELLO of the stub": control.StubHello("a"),
    "HELLO of the agent": control.AgentHello(),
    "REJECT": control.Reject(""),
    "ACTIVE": control.Active("", 0),
    "REPORT": control.Report(),
    "DRAIN": control.Drain(),
}
KEYS = table("4. Control messages")
OTHER_KIND: dict[str, object] = {
    "text": 1,
    "texts": "a",
    "number": "1",
    "numbers": ["1"],
    "flag": 1,
    "capacities": {"cpu": 1},
}
EMPTY: dict[str, object] = {"text": "", "texts": [], "number": 0, "flag": False, "capacities": {}}


def content(message: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(message.encode()[framing.FRAME_HEADER.size :])
    return found


def decode(message: Any, changed: dict[str, Any]) -> dict[str, Any]:
    """What a reader of this message takes from `changed`, as it would write it itself."""
    return content(type(message).decode(json.dumps(changed).encode()))


@pytest.mark.parametrize("name", MESSAGES)
def test_every_key_of_a_control_message_stands_in_the_table_and_no_other(name: str) -> None:
    assert [row["Key"] for row in KEYS if row["Frame"] == name] == list(content(MESSAGES[name]))


@pytest.mark.parametrize("row", KEYS, ids=lambda row: f"{row['Frame']} {row['Key']}")
def test_a_key_of_another_kind_than_the_tables_is_refused(row: Row) -> None:
    message = MESSAGES[row["Frame"]]
    with pytest.raises(PeerViolation, match=f"'{row['Key']}'"):
        decode(message, content(message) | {row["Key"]: OTHER_KIND[row["Kind"]]})


@pytest.mark.parametrize("row", KEYS, ids=lambda row: f"{row['Frame']} {row['Key']}")
def test_a_missing_key_has_the_value_that_the_text_gives_it(row: Row) -> None:
    message, key = MESSAGES[row["Frame"]], row["Key"]
    rest = {other: value for other, value in content(message).items() if other != key}
    if "required" in row["Meaning"]:
        with pytest.raises(PeerViolation, match=f"'{key}'"):
            decode(message, rest)
    else:
        expected = True if "true if missing" in row["Meaning"] else EMPTY[row["Kind"]]
        assert decode(message, rest)[key] == expected


def test_the_versions_are_those_of_the_text() -> None:
    assert f"The only number so far is {control.VERSIONS[0]}." in " ".join(TEXT.split())
    assert TEXT.splitlines()[0].endswith(f"version {max(control.VERSIONS)}")


SECTION_7 = section("7. What each end does to a request and a response").lower()


@pytest.mark.parametrize(
    "name", sorted(fields._NEVER_FORWARDED | fields._COOKIE | fields._RESPONSE_DROPPED_WITH_COOKIES)
)
def test_every_field_that_is_taken_out_is_named_in_the_text(name: bytes) -> None:
    assert re.search(rf"(?<![\w-]){re.escape(name.decode())}(?![\w-])", SECTION_7)


# The session and the channel -----------------------------------------------------------------------


@pytest.mark.parametrize("client_side", [True, False])
def test_the_settings_are_those_of_the_code(client_side: bool) -> None:
    connection, peer = (
        TunnelConnection(client_side=client_side),
        TunnelConnection(client_side=not client_side),
    )
    connection.start()
    peer.start()
    if client_side:
        heard(peer, connection.data_to_send(), 0.0)
    else:
        heard(connection, peer.data_to_send(), 0.0)
        heard(peer, connection.data_to_send(), 0.0)
    rows = table("5. The session")
    for row in rows:
        name = row["Setting"].removeprefix("SETTINGS_").lower()
        assert getattr(peer.remote_settings, name) == quantity(row["Value"]), name
        assert not row["Constant"] or getattr(limits, row["Constant"]) == quantity(row["Value"])


def test_the_windows_are_named_by_their_constants() -> None:
    named = {row["Window"]: (row["First size"], row["Grows to"]) for row in table("5. The session", 1)}
    assert named == {
        "connection": ("SESSION_WINDOW_BYTES", ""),
        "lane": ("LANE_WINDOW_BYTES", ""),
        "body": ("STREAM_WINDOW_BYTES", "STREAM_WINDOW_MAX_BYTES"),
    }
    pair = greeted()
    pair.stub.send_request(upload(1))
    assert pair.stub.body_room(upload(1).id) == limits.STREAM_WINDOW_BYTES


def test_the_states_of_a_channel_are_those_of_the_code() -> None:
    found = {(row["State"], row["Input"]): row["Next state"] for row in table("States")}
    assert len(found) == len(table("States"))
    assert found == {
        (state.name, what.name): after.name for (state, what), after in states.TRANSITIONS.items()
    }


def test_the_senders_in_the_table_of_states_are_those_in_the_table_of_frames() -> None:
    senders = {row["Name"]: row["Sender"] for row in FRAMES}
    for row in table("States"):
        frame = row["Input"].split("_")[0]
        if frame not in ("CLOSE", "HELLO"):  # the stub's own HELLO changes nothing: the agent answers it
            assert row["From"] == senders[frame], row


# Limits --------------------------------------------------------------------------------------------

LIMITS = {row["Constant"]: row["Value"] for row in table("11. Limits")}
OF_ONE_END = {"READ_BUDGET_BYTES", "FRAMES_PER_TURN", "LINGER_SECONDS"}
"""Between agent and stub in limits.py, but of no concern to the other end."""


def quantity(text: str) -> float:
    number, _, unit = text.partition(" ")
    return int(number) * {"KiB": limits.KIB, "MiB": limits.MIB}.get(unit.split(" ")[0], 1)


def test_the_limits_have_the_values_of_the_code() -> None:
    assert {name: quantity(value) for name, value in LIMITS.items()} == {
        name: getattr(limits, name) for name in LIMITS
    }


def test_every_limit_between_agent_and_stub_stands_in_the_table() -> None:
    source = Path(limits.__file__).read_text().split("# Between agent and stub")[1]
    assert set(re.findall(r"^([A-Z_]+): Final", source, re.MULTILINE)) - OF_ONE_END <= set(LIMITS)


def test_every_constant_that_the_text_names_is_in_its_table_of_limits() -> None:
    named = set(
        re.findall(r"`([A-Z]+(?:_[A-Z]+)*_(?:BYTES|SECONDS|SECOND|CHARACTERS|ENTRIES|STREAMS))`", TEXT)
    )
    assert named == set(LIMITS)


def test_a_stub_takes_no_larger_head_than_the_text_allows() -> None:
    assert stub_side._LARGEST_FRAME == limits.RESPONSE_HEAD_BYTES


# Examples ------------------------------------------------------------------------------------------


def test_the_example_is_what_the_code_writes() -> None:
    found, made = protocol_examples.blocks(TEXT), protocol_examples.examples()
    assert list(found) == [name for name in found if name in made]
    assert found == made, "python -m tests.unit.protocol_examples writes it anew"


def test_the_examples_are_read_back_by_the_other_end() -> None:
    channel = StubChannel()
    for name in ("channel-hello", "small-response", "aborted-response"):
        channel.receive(memoryview(protocol_examples.dumps()[name]))
    assert channel.state is states.ChannelState.CLOSED
    [(_, payload)] = framing.FrameBuffer().receive(protocol_examples.dumps()["request"])
    assert exchange.Request.decode(payload) == protocol_examples.get_pods()


def test_links_to_sections_lead_somewhere() -> None:
    headings = {int(number) for number in re.findall(r"^## (\d+)\.", TEXT, re.MULTILINE)}
    assert {int(number) for number in re.findall(r"§(\d+)(?!\.)", TEXT)} <= headings
