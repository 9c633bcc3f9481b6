"""The owner's file at the agent: it holds for every request, and from the next one on when it changes."""

from pathlib import Path

import pytest

from agent.ceiling import Ceiling, open_ceiling
from tunnel.core.errors import Forbidden
from tunnel.core.policy.ceiling import parse_ceiling
from tunnel.core.wire.pairs import encode_pairs
from tunnel.kit.document import RulesFile

DELETE = (b"DELETE", b"/api/v1/namespaces/dev/pods/web")


def caller(user: str, *groups: str) -> bytes:
    return encode_pairs(pairs=[(b"user", user.encode()), *((b"group", group.encode()) for group in groups)])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ceiling.yaml"


def ceiling(path: Path, text: str) -> Ceiling:
    path.write_text(text)
    return Ceiling(impersonate=True, file=RulesFile(path, parse_ceiling, "--ceiling", interval_seconds=0.0))


def test_without_a_file_every_request_is_within() -> None:
    assert open_ceiling(None) is None
    Ceiling(impersonate=True).check_request(*DELETE, upgrade=False)


@pytest.mark.parametrize("times", [1, 2])
def test_a_request_above_it_is_forbidden_and_the_ceiling_named(path: Path, times: int) -> None:
    read_only = ceiling(path, "readOnly: true")
    for _ in range(times):
        with pytest.raises(
            Forbidden, match="above the cluster's ceiling: it allows reading only, not delete"
        ):
            read_only.check_request(*DELETE, upgrade=False)
        read_only.check_request(b"GET", DELETE[1], upgrade=False)


def test_an_upgrade_is_judged_apart_from_the_same_request_without(path: Path) -> None:
    no_exec = ceiling(path, "noExec: true")
    no_exec.check_request(b"GET", b"/apis/x.io/v1/vms/v/console", upgrade=False)
    with pytest.raises(Forbidden):
        no_exec.check_request(b"GET", b"/apis/x.io/v1/vms/v/console", upgrade=True)


@pytest.mark.parametrize("impersonate", [True, False])
def test_a_caller_above_it_is_forbidden_in_every_mode(path: Path, impersonate: bool) -> None:
    path.write_text("users: [alice]\nforbiddenGroups: [ops]")
    limited = Ceiling(impersonate=impersonate, file=open_ceiling(path))
    limited.caller_lines(caller("alice", "devs"))
    with pytest.raises(Forbidden, match="above the cluster's ceiling: the user 'bob'"):
        limited.caller_lines(caller("bob"))
    with pytest.raises(Forbidden, match="above the cluster's ceiling: the group 'ops'"):
        limited.caller_lines(caller("alice", "ops"))


def test_system_names_that_the_owner_lists_may_come(path: Path) -> None:
    lines = ceiling(path, "allowUsers: ['system:ci']").caller_lines(caller("system:ci"))
    assert lines == b"Impersonate-User: system:ci\r\n"


def test_a_change_holds_for_callers_and_requests_that_were_judged_before(path: Path) -> None:
    changing = ceiling(path, "users: [alice]")
    changing.caller_lines(caller("alice"))
    changing.check_request(*DELETE, upgrade=False)
    path.write_text("users: [bob]\nreadOnly: true")
    with pytest.raises(Forbidden):
        changing.caller_lines(caller("alice"))
    with pytest.raises(Forbidden):
        changing.check_request(*DELETE, upgrade=False)


def test_memory_stays_bounded_whatever_is_asked(path: Path) -> None:
    limited = ceiling(path, "readOnly: true")
    for number in range(5000):
        limited.check_request(b"GET", b"/api/v1/%d" % number, upgrade=False)
    limited.check_request(b"GET", b"/" + b"x" * 300, upgrade=False)
    assert 0 < len(limited._judged) <= 4096
    assert max(len(target) for _, target, _ in limited._judged) <= 256
