"""What arrives at the apiserver when kubectl works through the tunnel, and what kubectl makes of its refusals."""

import re
from pathlib import Path

import pytest
import yaml

from tests.scenarios.binaries import Binary
from tests.scenarios.comparison import parametrised_binaries
from tests.scenarios.kubectl import Access, Kubectl
from tests.scenarios.recorder import TOKEN, Head, Recorder, status
from tests.scenarios.tunnel import Tunnel

pytestmark = pytest.mark.parametrize("binary", parametrised_binaries())

_SECRET = "a-token-of-the-users-own"


def _with_token(kubeconfig: Path, folder: Path) -> Path:
    document = yaml.safe_load(kubeconfig.read_text())
    document["users"][0]["user"]["token"] = _SECRET
    path = folder / "with-token"
    path.write_text(yaml.safe_dump(document))
    path.chmod(0o600)
    return path


def test_case_3_the_users_token_stops_at_the_stub(
    binary: Binary, recorded: Access, recorder: Recorder, recorded_tunnel: Tunnel, tmp_path: Path
) -> None:
    kubeconfig = _with_token(recorded.kubeconfig, tmp_path)
    access = Access("token", kubeconfig, recorded.namespace, recorded.image, tmp_path, simulated=True)
    Kubectl(binary, access).run("get", "pods")
    Kubectl(binary, access).run("exec", "shell", "--", "true")
    credentials = {tuple(head.values("authorization")) for head in recorder.heads}
    assert credentials == {(f"Bearer {TOKEN}",)}
    assert _SECRET not in str(recorder.heads)
    assert _SECRET not in recorded_tunnel.described()
    assert TOKEN not in recorded_tunnel.described()


@pytest.fixture
def direct(recorded: Access, recorder: Recorder, tmp_path: Path) -> Access:
    """The way to the recorder that does not lead through the tunnel."""
    home = tmp_path / "direct"
    return Access("direct", recorder.kubeconfig, recorded.namespace, recorded.image, home, simulated=True)


def test_case_5_protocols_arrive_in_the_order_of_preference(
    binary: Binary, recorded: Access, recorder: Recorder, direct: Access
) -> None:
    offered = []
    for access in (direct, recorded):
        recorder.forget()
        Kubectl(binary, access, {"KUBECTL_REMOTE_COMMAND_WEBSOCKETS": "false"}).run(
            "exec", "shell", "--", "true"
        )
        offered.append(_exec_heads(recorder)[0].values("x-stream-protocol-version"))
    assert offered[0] == offered[1]
    assert offered[0][-2:] == ["v2.channel.k8s.io", "channel.k8s.io"]


def _exec_heads(recorder: Recorder) -> list[Head]:
    return recorder.seen("/pods/shell/exec")


def test_case_6_one_exec_is_one_request(binary: Binary, recorded: Access, recorder: Recorder) -> None:
    Kubectl(binary, recorded).run("exec", "shell", "--", "sh", "-c", "exit 7", code=7)
    (head,) = _exec_heads(recorder)
    assert head.upgrade == ("websocket" if binary.speaks_websocket_first else "spdy/3.1")


def test_case_7_a_refused_websocket_falls_back_to_spdy(
    binary: Binary, recorded: Access, recorder: Recorder
) -> None:
    recorder.answer(_forbidden(), upgrade="websocket")
    ran = Kubectl(binary, recorded).run("exec", "-i", "shell", "--", "cat", stdin="abc\n")
    assert ran.stdout == "abc\n"
    assert _exec_heads(recorder)[-1].upgrade == "spdy/3.1"


def test_case_8_a_refusal_of_both_protocols_is_shown(
    binary: Binary, recorded: Access, recorder: Recorder
) -> None:
    recorder.answer(_forbidden(), upgrade=".")
    ran = Kubectl(binary, recorded).run("exec", "shell", "--", "true", code=1)
    assert "Error from server (Forbidden): no upgrades on Sundays" in ran.stderr


def _forbidden() -> bytes:
    return status(403, "Forbidden", "no upgrades on Sundays")


def test_case_29_warnings_of_the_cluster_are_shown(
    binary: Binary, recorded: Access, recorder: Recorder
) -> None:
    warnings = ('Warning: 299 - "the first word"', 'Warning: 299 - "the second word"')
    recorder.answer(status(404, "NotFound", "it is gone", *warnings), target="/configmaps/warned$")
    ran = Kubectl(binary, recorded).run("get", "configmap", "warned", code=1)
    assert re.findall(r"Warning: the (\w+) word", ran.stderr) == ["first", "second"]


def test_case_23_odd_targets_arrive_as_they_were_sent(
    binary: Binary, recorded: Access, recorder: Recorder, direct: Access
) -> None:
    odd = "/api/v1//x;p%2Fq/%e4/../y?b=2&a=1&b=1&c=a+b%20c"
    arrived = []
    for access in (direct, recorded):
        recorder.forget()
        Kubectl(binary, access).run("get", "--raw", odd, code=None)
        arrived.append(recorder.seen("/x;p")[0].target)
    assert arrived[0] == arrived[1]
