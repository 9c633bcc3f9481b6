"""Which protocols can be decoded."""

import pytest

from stub.recording.protocols import check_offer, decoders_for
from stub.recording.stdio import Stdio, Undecodable
from tests.unit.stub.recording.parts import decoded, frame, message, spdy_client, spdy_server
from tunnel.core.http.message import Field
from tunnel.core.http.upgrade import Upgrade


def protocol(names: str) -> list[Field]:
    return [(b"Sec-WebSocket-Protocol", names.encode())]


@pytest.mark.parametrize("with_input", [False, True])
def test_input_is_decoded_only_where_it_is_wanted(with_input: bool) -> None:
    spdy = decoders_for(Upgrade.SPDY, [], with_input=with_input)
    websocket = decoders_for(Upgrade.WEBSOCKET, protocol("v5.channel.k8s.io"), with_input=with_input)
    expected = {Stdio.STDIN: b"typed", Stdio.RESIZE: b"{}"}
    if not with_input:
        del expected[Stdio.STDIN]
    sent = ((Stdio.STDIN, b"typed"), (Stdio.RESIZE, b"{}"))
    assert decoded(spdy.client, [spdy_client(*sent)]) == (expected, "")
    masked = [message(*each, mask=b"mask") for each in sent]
    assert decoded(websocket.client, masked) == (expected, "")


def test_both_directions_of_spdy_share_their_names() -> None:
    decoders = decoders_for(Upgrade.SPDY, [], with_input=False)
    decoded(decoders.client, [spdy_client()])
    sent = spdy_server((Stdio.ERROR, b"{}"), (Stdio.STDERR, b"err"))
    assert decoded(decoders.server, [sent]) == ({Stdio.STDERR: b"err"}, "")


@pytest.mark.parametrize("names", ["base64.channel.k8s.io", "v4.base64.channel.k8s.io"])
def test_the_elder_subprotocols_of_browsers_are_base64(names: str) -> None:
    decoders = decoders_for(Upgrade.WEBSOCKET, protocol(names), with_input=True)
    assert decoded(decoders.server, [frame(b"1aGVsbG8=", opcode=1)]) == ({Stdio.STDOUT: b"hello"}, "")


@pytest.mark.parametrize(
    "answer",
    [
        protocol("v6.channel.k8s.io"),
        protocol("v5.channel.k8s.io, v4.channel.k8s.io"),
        [*protocol("v5.channel.k8s.io"), (b"Sec-WebSocket-Extensions", b"permessage-deflate")],
    ],
)
def test_an_answer_that_cannot_be_decoded_is_said(answer: list[Field]) -> None:
    with pytest.raises(Undecodable):
        decoders_for(Upgrade.WEBSOCKET, answer, with_input=False)


def test_an_offer_is_good_where_whatever_the_server_takes_can_be_decoded() -> None:
    check_offer(
        Upgrade.SPDY, [(b"X-Stream-Protocol-Version", b"v9")]
    )  # its streams have names in any version
    check_offer(Upgrade.WEBSOCKET, [])
    check_offer(Upgrade.WEBSOCKET, protocol("v5.channel.k8s.io,v4.channel.k8s.io , channel.k8s.io"))
    with pytest.raises(Undecodable, match=r"'v6\.channel\.k8s\.io' cannot be decoded"):
        check_offer(Upgrade.WEBSOCKET, protocol("v5.channel.k8s.io, v6.channel.k8s.io"))
