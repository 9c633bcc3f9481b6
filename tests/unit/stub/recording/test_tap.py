"""A splice that is looked at."""

from dataclasses import dataclass, field

from stub.recording.tap import WatchedSplice
from tests.unit.fakes import FakeStream


@dataclass
class Tap:
    """A watched splice of two fake connections, and what was seen."""

    client: FakeStream = field(default_factory=FakeStream)
    server: FakeStream = field(default_factory=FakeStream)
    seen: list[tuple[str, bytes]] = field(default_factory=list)
    ends: list[tuple[int, int, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        def closed(sent: int, received: int, reason: str) -> None:
            self.ends.append((sent, received, reason))

        self.splice = WatchedSplice(self.client, self.server, closed, 30, self)

    def client_received(self, data: memoryview) -> None:
        self.seen.append(("client", bytes(data)))

    def server_received(self, data: memoryview) -> None:
        self.seen.append(("server", bytes(data)))

    @property
    def reading(self) -> tuple[bool, bool]:
        return self.client.reading, self.server.reading


async def test_bytes_are_seen_and_go_on_unchanged() -> None:
    tap = Tap()
    tap.client.receive(b"\x00typed")
    tap.splice.left.stream_received(memoryview(b" early"))  # as the front hands over what came before the 101
    tap.server.receive(b"\xffshown")
    assert tap.seen == [("client", b"\x00typed"), ("client", b" early"), ("server", b"\xffshown")]
    assert (tap.server.take(), tap.client.take()) == (b"\x00typed early", b"\xffshown")


async def test_it_ends_as_any_splice() -> None:
    tap = Tap()
    tap.client.receive(b"12345")
    tap.client.receive_end()
    assert tap.server.ended
    tap.server.receive(b"123")
    tap.server.receive_end()
    assert tap.ends == [(5, 3, "both sides ended")]


async def test_nothing_is_read_while_it_is_held() -> None:
    tap = Tap()
    tap.splice.hold()
    tap.splice.hold()
    assert tap.reading == (False, False)
    tap.splice.release()
    assert tap.reading == (True, True)


async def test_a_release_leaves_backpressure_alone() -> None:
    tap = Tap()
    tap.client.pause_writing()  # the client does not take what the server sends
    tap.splice.hold()
    tap.splice.release()
    assert tap.reading == (True, False)
    tap.client.resume_writing()
    assert tap.reading == (True, True)


async def test_backpressure_that_ends_leaves_a_hold_alone() -> None:
    tap = Tap()
    tap.splice.hold()
    tap.client.pause_writing()
    tap.client.resume_writing()
    assert tap.reading == (False, False)
    tap.splice.release()
    assert tap.reading == (True, True)


async def test_a_release_of_what_is_not_held_changes_nothing() -> None:
    tap = Tap()
    tap.client.pause_writing()
    tap.splice.release()
    assert tap.reading == (True, False)
