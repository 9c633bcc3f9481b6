"""What an upgrade request's path, query and headers ask for."""

import pytest

from tests.kubesim.containers import PodName
from tests.kubesim.streaming import UpgradeRequest
from tests.kubesim.streaming.request import NotAStream, StreamTarget


def request(
    path: str = "/api/v1/namespaces/ns/pods/p/exec",
    query: list[tuple[str, str]] | None = None,
    headers: list[tuple[str, str]] | None = None,
) -> UpgradeRequest:
    return UpgradeRequest("POST", path, query or [], headers or [])


def test_the_path_names_pod_and_subresource_percent_escapes_resolved() -> None:
    target = request("/api/v1/namespaces/ns/pods/my%2Dpod/attach").target()
    assert target == StreamTarget(PodName("ns", "my-pod"), "attach")


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/namespaces/ns/pods/p",
        "/api/v1/namespaces/ns/pods/p/log",
        "/apis/v1/namespaces/ns/pods/p/exec",
    ],
)
def test_another_path_is_not_a_stream(path: str) -> None:
    with pytest.raises(NotAStream):
        request(path).target()


def test_commands_keep_their_order_and_flags_follow_the_apiservers_rule() -> None:
    query = [
        ("command", "b"),
        ("command", "a"),
        ("stdin", ""),
        ("stdout", "1"),
        ("stderr", "FALSE"),
        ("tty", "0"),
    ]
    options = request(query=query).command_options()
    assert options.command == ["b", "a"]
    assert (options.stdin, options.stdout, options.stderr, options.tty) == (True, True, False, False)
    assert options.container is None


def test_a_terminal_has_no_stderr_of_its_own() -> None:
    options = request(query=[("tty", "true"), ("stderr", "true")]).command_options()
    assert (options.tty, options.stderr) == (True, False)


def test_the_word_upgrade_anywhere_in_connection_is_an_upgrade() -> None:
    assert request(headers=[("Connection", "keep-alive"), ("connection", "x-UpGrade-y")]).wants_upgrade
    assert not request(headers=[("Upgrade", "websocket")]).wants_upgrade


def test_a_list_header_may_be_repeated_and_comma_separated() -> None:
    headers = [("X-P", "a, b"), ("x-p", "c,,")]
    assert request(headers=headers).header_list("X-p") == ["a", "b", "c"]
