"""Heads of answers that are not parsed again: what is told of them is what the parser would have said."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.upstream.connection import UpstreamConnection
from agent.upstream.known import CAPACITY, UNKNOWN_BETWEEN, KnownAnswer, KnownAnswers
from tests.unit.fakes import FakeStream
from tunnel.core.http.message import Field, ResponseHead

FIELDS: list[Field] = [
    (b"Audit-Id", b"4d9a7e4f"),
    (b"Cache-Control", b"no-cache, private"),
    (b"Content-Length", b"4"),
    (b"Date", b"Sun, 22 Nov 2026 10:00:00 GMT"),
]


def head_of(fields: list[Field], status: bytes = b"200 OK") -> bytes:
    lines = b"".join([b"%b: %b\r\n" % field for field in fields])
    return b"HTTP/1.1 %b\r\n%b\r\n" % (status, lines)


ANSWER = head_of(FIELDS) + b"body"


class Hearing:
    """Takes connections back, and remembers what an exchange hears."""

    def __init__(self) -> None:
        self.said: list[object] = []

    def connection_free(self, connection: UpstreamConnection) -> None:
        self.said.append("kept")

    def connection_gone(self, connection: UpstreamConnection) -> None:
        self.said.append("gone")

    def upstream_head(self, head: ResponseHead, length: int) -> None:
        self.said += [
            head.status,
            [field for field in head.fields if field[0].lower() != b"content-length"],
            length,
            b"",
        ]

    def upstream_data(self, data: bytes | memoryview) -> None:
        assert isinstance(self.said[-1], bytes)
        self.said[-1] += bytes(data)

    def upstream_end(self) -> None:
        self.said.append("end")

    def upstream_switched(self, head: ResponseHead, early: memoryview) -> None:
        self.said.append((head.fields, bytes(early)))

    def upstream_lost(self, reason: str, *, answered: bool, reused: bool) -> None:
        self.said.append(reason)

    def upstream_write_paused(self) -> None: ...
    def upstream_write_resumed(self) -> None: ...


def heard(answer: bytes, known: KnownAnswers, method: bytes = b"GET") -> list[object]:
    """What an exchange hears of an answer that comes in one read, and then of the connection's end."""
    hearing, stream = Hearing(), FakeStream()
    connection = UpstreamConnection(hearing, known)
    stream.open(connection)
    connection.begin(hearing, method, b"", whole=True)
    stream.receive(answer)
    stream.receive_end()
    return hearing.said


def taught(*answers: bytes) -> KnownAnswers:
    known = KnownAnswers()
    for answer in answers:
        heard(answer, known)
    return known


def recognised(answer: bytes, known: KnownAnswers) -> KnownAnswer | None:
    return known.recognise(memoryview(answer))


def test_a_head_is_known_by_its_names_whatever_their_values() -> None:
    other = head_of([(name, b"17") for name, _ in FIELDS], b"404 Not Found")
    block = b"Audit-Id\x0017\0Cache-Control\x0017\0Date\x0017"
    assert recognised(other + b"rest", taught(ANSWER)) == (404, block, 17, len(other))


def test_nothing_is_known_before_it_was_parsed() -> None:
    assert recognised(ANSWER, KnownAnswers()) is None


@pytest.mark.parametrize(
    "fields",
    [
        [*FIELDS, (b"Connection", b"close")],
        [*FIELDS, (b"Transfer-Encoding", b"chunked")],
        [*FIELDS, (b"Trailer", b"Expires")],
        [*FIELDS, (b"Upgrade", b"h2c")],
        [field for field in FIELDS if field[0] != b"Content-Length"],
        [*FIELDS, (b"content-length", b"4")],
        [*FIELDS, (b"Empty", b"")],
        [*FIELDS, (b"Padded", b" x")],
        [*FIELDS, (b"Padded", b"x ")],
        [*FIELDS, (b"Large", b"x" * 4096)],
    ],
)
def test_what_frames_a_body_otherwise_or_is_written_otherwise_is_parsed_each_time(
    fields: list[Field],
) -> None:
    answer = head_of(fields) + b"body"
    assert recognised(answer, taught(answer, ANSWER)) is None


@pytest.mark.parametrize(
    "status", [b"204 No Content", b"304 Not Modified", b"101 Switching Protocols", b"100 Continue"]
)
def test_an_answer_without_a_body_is_parsed_each_time(status: bytes) -> None:
    assert recognised(head_of(FIELDS, status), taught(ANSWER)) is None


@pytest.mark.parametrize("length", [b"0", b"-1", b"+4", b"4 ", b"4, 4", b"0x4", b"1" * 19])
def test_a_length_that_is_no_plain_number_above_zero_is_left_to_the_parser(length: bytes) -> None:
    fields = [(name, length if name == b"Content-Length" else value) for name, value in FIELDS]
    assert recognised(head_of(fields), taught(ANSWER)) is None


def test_an_answer_to_a_head_request_is_parsed_each_time() -> None:
    known = taught(ANSWER)
    assert heard(head_of(FIELDS), known, b"HEAD") == heard(head_of(FIELDS), KnownAnswers(), b"HEAD")


def test_an_answer_behind_an_interim_one_is_not_learned_from_that() -> None:
    interim = b"HTTP/1.1 103 Early Hints\r\nContent-Length: 4\r\n\r\n"
    known = taught(interim + ANSWER)
    assert recognised(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody", known) is None


def test_bytes_behind_the_body_spoil_the_connection_of_a_known_answer_too() -> None:
    known = taught(ANSWER)
    assert recognised(ANSWER, known) is not None
    assert heard(ANSWER + b"HTTP", known) == heard(ANSWER + b"HTTP", KnownAnswers())
    assert "kept" not in heard(ANSWER + b"HTTP", known)
    assert "kept" in heard(ANSWER, known)


def invented(number: int) -> bytes:
    return head_of([*FIELDS, (b"X-%d" % number, b"1")]) + b"body"


def test_kinds_that_are_invented_push_no_known_one_out_soon() -> None:
    known = taught(ANSWER)
    for number in range(CAPACITY + UNKNOWN_BETWEEN - 2):
        heard(invented(number), known)
    assert recognised(ANSWER, known) is not None
    assert recognised(invented(CAPACITY), known) is None


def test_kinds_that_come_no_more_make_room_in_the_end() -> None:
    known = taught(*map(invented, range(CAPACITY)))
    for _ in range(UNKNOWN_BETWEEN):
        assert recognised(ANSWER, known) is None
        heard(ANSWER, known)
    assert recognised(ANSWER, known) is not None


def test_a_head_longer_than_what_is_looked_at_is_parsed() -> None:
    fields = [(name, b"x" * 8192 if name == b"Audit-Id" else value) for name, value in FIELDS]
    assert recognised(head_of(fields) + b"body", taught(ANSWER)) is None


def test_a_name_with_a_sign_of_patterns_or_templates_is_only_a_name() -> None:
    fields = [*FIELDS, (b"A.B%b*", b"1")]
    known = taught(head_of(fields) + b"body")
    found = recognised(head_of(fields), known)
    assert found is not None
    assert found.block.endswith(b"A.B%b*\x001")
    assert recognised(head_of([*FIELDS, (b"AxB%b*", b"1")]), known) is None


changes = st.lists(
    st.tuples(
        st.integers(0, len(ANSWER)),
        st.integers(0, 3),
        st.sampled_from([b"", b"\r", b"\n", b"\r\n", b" ", b":", b"\0", b"\xff", b"1", b"a"]),
    ),
    min_size=1,
    max_size=4,
)


@given(changes)
def test_an_answer_like_a_known_one_is_heard_as_the_parser_says_it(
    edits: list[tuple[int, int, bytes]],
) -> None:
    answer = ANSWER
    for at, removed, added in edits:
        answer = answer[:at] + added + answer[at + removed :]
    answer = answer.rstrip(
        b"\r\n"
    )  # empty lines behind an answer are nothing to the parser, and too much here, as in later reads
    assert heard(answer, taught(ANSWER)) == heard(answer, KnownAnswers())
