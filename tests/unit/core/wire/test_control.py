"""Control messages: what is written is read back, what is unknown is ignored, what is malformed is a violation."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnel.core import limits
from tunnel.core.errors import PeerViolation
from tunnel.core.wire.control import (
    VERSIONS,
    Active,
    AgentHello,
    Capacity,
    Drain,
    Reject,
    Report,
    StubHello,
    choose_version,
)
from tunnel.core.wire.framing import FRAME_HEADER, FrameBuffer, FrameType

Control = StubHello | AgentHello | Reject | Active | Report | Drain

MESSAGES: list[tuple[FrameType, Control]] = [
    (FrameType.HELLO, StubHello("stub-1", 3, ("stub-1", "stub-2"), "token", "prod", "cluster-tunnel/0.1")),
    (FrameType.HELLO, AgentHello("agent-1", ("one", "two"), "token", "cluster-tunnel/0.1", (1, 2))),
    (FrameType.REJECT, Reject("no common version")),
    (FrameType.ACTIVE, Active("0b0e4a2c-uid", 7)),
    (
        FrameType.REPORT,
        Report(
            False, 12, 3, 2, True, "v1.33.1", 3, (Capacity("cpu", 9000, 5000, 2000), Capacity("x.io/gpu", 8))
        ),
    ),
    (FrameType.DRAIN, Drain("SIGTERM")),
]
CLASSES = [StubHello, AgentHello, Reject, Active, Report, Drain]


def payload_of(content: object) -> bytes:
    return json.dumps(content).encode()


@pytest.mark.parametrize(("kind", "message"), MESSAGES)
def test_what_is_written_is_read_back(kind: FrameType, message: Control) -> None:
    [(found, payload)] = FrameBuffer().receive(message.encode())
    assert found == kind
    assert type(message).decode(payload) == message


@pytest.mark.parametrize(("kind", "message"), MESSAGES)
def test_unknown_keys_are_ignored(kind: FrameType, message: Control) -> None:
    content = json.loads(message.encode()[FRAME_HEADER.size :])
    assert type(message).decode(payload_of({**content, "later": [1, {"a": None}]})) == message


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize(
    "payload",
    [b"", b"{", b"[]", b"1", b"null", b'"text"', b"\xff\xfe{\x00}\x00", b"[" * 60_000, b"9" * 5000],
    ids=["empty", "cut", "list", "number", "null", "text", "utf-16", "deep", "long-number"],
)
def test_what_is_not_a_json_object_is_a_violation(kind: Any, payload: bytes) -> None:
    with pytest.raises(PeerViolation, match=r"not (a )?JSON"):
        kind.decode(payload)


@pytest.mark.parametrize("kind", CLASSES)
def test_one_that_is_too_large_is_a_violation_before_it_is_read(kind: Any) -> None:
    payload = b'{"versions":[1],"x":[' + b"[]," * (limits.CONTROL_BYTES // 3) + b"0]}"
    with pytest.raises(PeerViolation, match="control message has"):
        kind.decode(payload)


TOO_LONG = "x" * (limits.TEXT_CHARACTERS + 1)
HELLO = {"versions": [1]}
WRONG = [
    (StubHello, {}, "versions"),
    (StubHello, {"versions": []}, "versions"),
    (StubHello, {"versions": ["1"]}, "versions"),
    (StubHello, {"versions": [True]}, "versions"),
    (AgentHello, {"versions": [1] * (limits.LIST_ENTRIES + 1)}, "versions"),
    (StubHello, {**HELLO, "instance": 1}, "instance"),
    (StubHello, {**HELLO, "instance": TOO_LONG}, "instance"),
    (StubHello, {**HELLO, "cluster": "a\nb"}, "cluster"),
    (StubHello, {**HELLO, "worker": -1}, "worker"),
    (StubHello, {**HELLO, "worker": 1.0}, "worker"),
    (StubHello, {**HELLO, "workers": -1}, "workers"),
    (StubHello, {**HELLO, "worker": 2**63}, "worker"),
    (StubHello, {**HELLO, "instances": "a"}, "instances"),
    (StubHello, {**HELLO, "instances": [None]}, "instances"),
    (AgentHello, {**HELLO, "capabilities": ["a"] * (limits.LIST_ENTRIES + 1)}, "capabilities"),
    (AgentHello, {**HELLO, "token": "\ud800"}, "token"),
    (Report, {"draining": 1}, "draining"),
    (Report, {"upstreamReachable": "yes"}, "upstreamReachable"),
    (Report, {"requests": None}, "requests"),
    (Report, {"resources": ["cpu"]}, "resources"),
    (Report, {"resources": {"cpu": 9}}, "resources"),
    (Report, {"resources": {"cpu": {"total": -1}}}, "resources"),
    (Report, {"resources": {"cpu": {"available": None}}}, "resources"),
    (Report, {"resources": {"c\npu": {}}}, "resources"),
    (Report, {"resources": {str(number): {} for number in range(limits.LIST_ENTRIES + 1)}}, "resources"),
    (Active, {"lease": "uid", "epoch": "7"}, "epoch"),
    (Reject, {"reason": ["a"]}, "reason"),
]


@pytest.mark.parametrize(("kind", "content", "key"), WRONG)
def test_a_value_of_the_wrong_kind_is_a_violation_that_names_its_key(
    kind: Any, content: dict[str, Any], key: str
) -> None:
    with pytest.raises(PeerViolation, match=f"'{key}'"):
        kind.decode(payload_of(content))


@pytest.mark.parametrize("kind", [Reject, Drain])
def test_a_reason_is_cut_and_cleaned_to_what_the_peer_takes(kind: type[Reject] | type[Drain]) -> None:
    message = kind("first line\nsecond\x00 " + TOO_LONG)
    read = kind.decode(message.encode()[FRAME_HEADER.size :])
    assert read.reason.startswith("first line?second? xxx")
    assert len(read.reason) == limits.TEXT_CHARACTERS


def test_an_apiserver_cannot_break_the_session_with_its_version() -> None:
    report = Report(upstream_version="v1\r\n" + TOO_LONG)
    assert Report.decode(report.encode()[FRAME_HEADER.size :]).upstream_version.startswith("v1??x")


@pytest.mark.parametrize("letter", ["x", '"', "é", "\N{GRINNING FACE}", "\0"])
def test_no_cluster_is_too_large_to_be_reported(letter: str) -> None:
    vast = tuple(
        Capacity(f"{number}/{letter * 300}", 2**70, 2**64) for number in range(limits.LIST_ENTRIES + 9)
    )
    read = Report.decode(Report(resources=vast).encode()[FRAME_HEADER.size :]).resources
    assert len(read) == limits.LIST_ENTRIES
    assert (read[0].total, read[0].available, read[0].largest) == (2**63 - 1, 2**63 - 1, None)


def test_more_instances_than_a_list_may_have_are_left_out() -> None:
    hello = StubHello("a", instances=tuple(str(number) for number in range(limits.LIST_ENTRIES + 9)))
    assert len(StubHello.decode(hello.encode()[FRAME_HEADER.size :]).instances) == limits.LIST_ENTRIES


def test_a_token_is_in_no_repr() -> None:
    assert "geheim" not in repr(StubHello("a", token="geheim")) + repr(AgentHello(token="geheim"))


@pytest.mark.parametrize(("theirs", "chosen"), [((1,), 1), ((1, 2, 99), 1), ((2,), None), ((0,), None)])
def test_the_highest_common_version_is_chosen(theirs: tuple[int, ...], chosen: int | None) -> None:
    assert VERSIONS == (1,)
    assert choose_version(theirs) == chosen


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
keys = st.sampled_from(
    ["versions", "instance", "worker", "instances", "token", "name", "lease", "epoch", "reason", "resources"]
)


@given(st.sampled_from(CLASSES), st.dictionaries(keys, json_values, max_size=6) | json_values)
def test_any_json_yields_a_message_or_a_violation(kind: Any, content: object) -> None:
    try:
        message = kind.decode(payload_of(content))
    except PeerViolation:
        return
    assert kind.decode(message.encode()[FRAME_HEADER.size :]) == message
