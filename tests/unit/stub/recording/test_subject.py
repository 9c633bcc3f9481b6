"""What is recorded, and how a recording says so."""

import pytest

from stub.recording.asciicast import Subject
from stub.recording.subject import PATH_CHARACTERS, TEXT_CHARACTERS, is_exec, subject_of
from tunnel.core.http.kubernetes import parse_request_info

POD = b"/api/v1/namespaces/prod/pods/web-1"
NODE = b"/api/v1/nodes/n1:10250/proxy"


def described(target: bytes, user: str = "jane") -> Subject:
    return subject_of(user, "blue", parse_request_info(b"POST", target), target)


@pytest.mark.parametrize(
    "target",
    [
        POD + b"/exec?command=sh",
        POD + b"/attach",
        POD + b"/%65xec",
        NODE + b"/exec/prod/web-1/app?command=sh",
        NODE + b"/%61ttach/prod/web-1/app",
        b"/api/v1/nodes/https:n1:10250/proxy/cri/exec/token",
        NODE + b"/./exec/prod/web-1/app",
        NODE + b"/x/../exec/prod/web-1/app",
        NODE + b"/../../exec/prod/web-1/app",
        NODE + b"/x/%2e%2e/exec/prod/web-1/app",
        NODE + b"/x/%2e%2e%2F/exec/prod/web-1/app",
        NODE + b"//.//exec/prod/web-1/app",
        NODE + b"/" * PATH_CHARACTERS + b"exec/prod/web-1/app",
        NODE + b"/x/.." * 6000 + b"/%65xec/prod/web-1/app",
    ],
)
@pytest.mark.parametrize("method", [b"GET", b"POST"])
def test_exec_and_attach_are_execs_by_whichever_way(method: bytes, target: bytes) -> None:
    assert is_exec(parse_request_info(method, target))


@pytest.mark.parametrize(
    "target",
    [
        POD + b"/portforward",
        POD + b"/proxy/exec",
        POD + b"/log",
        POD,
        NODE + b"/portForward/prod/web-1",
        NODE + b"/exec/../portForward/prod/web-1",
        b"/api/v1/namespaces/prod/services/web/proxy/" + b"x" * PATH_CHARACTERS,
        NODE + b"/",
        NODE,
        b"/api/v1/nodes/exec",
        b"/exec",
    ],
)
def test_nothing_else_is(target: bytes) -> None:
    assert not is_exec(parse_request_info(b"GET", target))


def test_a_subject_names_who_where_and_what() -> None:
    target = POD + b"/exec?container=app&command=sh&command=-c&command=echo+%22a%20b%22&stdin=true&tty=true"
    assert described(target) == Subject("jane@blue prod/web-1/app", "sh -c 'echo \"a b\"'", tty=True)
    assert described(POD + b"/attach") == Subject("jane@blue prod/web-1", "", tty=False)
    assert (
        described(NODE + b"/exec/prod/web-1/app", "").title
        == f"unknown@blue {NODE.decode()}/exec/prod/web-1/app"
    )


def test_what_a_client_writes_moves_no_cursor_and_is_not_endless() -> None:
    found = described(POD + b"/exec?container=%1b[2J%0a&command=" + b"x" * 20_000)
    assert found.title == "jane@blue prod/web-1/�[2J�"
    assert len(found.command) == TEXT_CHARACTERS


@pytest.mark.parametrize("arguments", [[b"%41" * 60_000], [b"%41"] * 9_000, [b"'" * 180_000]])
def test_of_a_long_command_no_more_is_read_than_is_shown(
    arguments: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It kept all other requests waiting for 60 ms."""
    read: list[str] = []

    def join(words: list[str]) -> str:
        read.extend(words)
        return " ".join(words)

    monkeypatch.setattr("shlex.join", join)
    query = b"&".join(b"command=" + argument for argument in arguments)
    subject = described(POD + b"/exec?" + query + b"&container=app&tty=1")
    assert subject.title.endswith("/app")
    assert subject.tty
    assert len(subject.command) == TEXT_CHARACTERS
    assert sum(map(len, read)) <= 3 * TEXT_CHARACTERS


def test_escaped_names_and_texts_are_read_as_the_apiserver_reads_them() -> None:
    subject = described(
        POD + b"/exec?%63ommand=caf%C3%A9+%2B+%26&com%6Dand=%FF&commandx=no&tty=false&tty=true"
    )
    assert (subject.command, subject.tty) == ("'café + &' '\N{REPLACEMENT CHARACTER}'", False)


def test_so_many_parameters_that_the_apiserver_reads_none_are_not_read_either() -> None:
    assert described(POD + b"/exec?command=sh" + b"&" * 9_999).command == "sh"
    assert "more than 10000 parameters" in described(POD + b"/exec?command=sh" + b"&" * 10_000).command
