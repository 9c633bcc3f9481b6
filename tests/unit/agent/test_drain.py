"""What becomes of what runs when an agent is about to stop."""

import pytest

from tests.unit.agent.parts import Agent, Apiserver, NearChannel, request
from tests.unit.fakes import Clock

WATCH = b"/api/v1/pods?resourceVersion=7&watch=true"
JSON = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
PROTOBUF = JSON.replace(b"application/json", b"application/vnd.kubernetes.protobuf;stream=watch")
EVENT = b'{"type":"ADDED"}\n'


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


class Watching:
    """A request whose answer has begun."""

    def __init__(self, target: bytes = WATCH, head: bytes = JSON) -> None:
        self.agent = Agent().connect()
        self.channel: NearChannel = self.agent.channels.add()
        self.agent.ask(request(1, target=target))
        self.apiserver: Apiserver = self.agent.upstreams.give()
        self.apiserver.answer(head)

    def heard(self) -> list[object]:
        return [said for said in self.channel.heard() if isinstance(said, bytes | str)]


async def test_a_watch_ends_politely_between_two_events(clock: Clock) -> None:
    watching = Watching()
    watching.apiserver.answer(chunk(EVENT))
    watching.agent.link.drain("bye")
    assert watching.heard() == [EVENT, "end"]
    assert watching.apiserver.stream.aborted
    assert watching.agent.link.idle.is_set()


async def test_a_watch_in_the_middle_of_an_event_ends_behind_it(clock: Clock) -> None:
    watching = Watching()
    watching.apiserver.answer(chunk(EVENT[:5]))
    watching.agent.link.drain("bye")
    assert watching.heard() == [EVENT[:5]]
    watching.apiserver.answer(chunk(EVENT[5:]))
    assert watching.heard() == [EVENT[5:], "end"]


@pytest.mark.parametrize(
    ("target", "head"),
    [(WATCH, PROTOBUF), (b"/api/v1/namespaces/d/pods/p/log?follow=true", JSON), (b"/api/v1/pods", JSON)],
    ids=["protobuf", "log", "list"],
)
async def test_everything_else_runs_on(clock: Clock, target: bytes, head: bytes) -> None:
    watching = Watching(target, head)
    watching.apiserver.answer(chunk(EVENT))
    watching.agent.link.drain("bye")
    assert watching.heard() == [EVENT]
    assert watching.agent.link.in_flight == 1
