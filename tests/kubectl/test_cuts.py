"""A tunnel that breaks while it is used: nobody takes what was cut for a whole, and nothing is left behind."""

import contextlib
import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scenarios.binaries import Binary
from tests.scenarios.comparison import parametrised_binaries
from tests.scenarios.kubectl import Access, Kubectl
from tests.scenarios.processes import Running
from tests.scenarios.tunnel import Tunnel, running_tunnel

pytestmark = pytest.mark.parametrize("binary", parametrised_binaries())


@pytest.fixture(scope="module")
def fragile(simulator: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tunnel]:
    """A tunnel that these tests break; it stands without an agent between them."""
    with running_tunnel(tmp_path_factory.mktemp("fragile"), simulator, agents=0) as tunnel:
        yield tunnel


@pytest.fixture
def agent(fragile: Tunnel) -> Iterator[Running]:
    running = fragile.start_agent()
    fragile.wait_until_it_serves()
    yield running
    running.stop()
    fragile.agents.remove(running)


@pytest.fixture
def kubectl(binary: Binary, fragile: Tunnel, directly: Access, tmp_path: Path) -> Kubectl:
    access = Access(
        "fragile", fragile.kubeconfig, directly.namespace, directly.image, tmp_path, simulated=True
    )
    return Kubectl(binary, access)


def _sockets(process: Running) -> int:
    """How many sockets the process holds open."""
    links = (file for file in Path(f"/proc/{process.pid}/fd").iterdir())
    return sum(1 for link in links if _target(link).startswith("socket:"))


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except FileNotFoundError:  # closed between listing and looking
        return ""


def _wait_for_sockets(process: Running, at_most: int, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while _sockets(process) > at_most:
        assert time.monotonic() < deadline, f"{_sockets(process)} sockets, {at_most} expected at most"
        time.sleep(0.05)


def test_case_16_an_exec_ends_when_its_agent_is_lost(
    kubectl: Kubectl, binary: Binary, fragile: Tunnel, agent: Running
) -> None:
    assert fragile.stub is not None
    with kubectl.start("exec", "-i", "shell", "--", "cat") as session:
        session.write(b"abc\n")
        session.wait_for_text("abc")
        agent.stop(signal.SIGKILL)
        code = session.wait(10)
    # SPDY clients take every end for a clean one; the tunnel cannot change that.
    assert code == (1 if binary.speaks_websocket_first else 0), session.described()
    _wait_for_sockets(fragile.stub, at_most=_LISTENING)


# The stub's own: two listeners and the pair with which the event loop wakes itself up.
_LISTENING = 4


def test_case_16_an_exec_ends_when_the_stub_is_lost(
    binary: Binary, directly: Access, simulator: Path, tmp_path: Path
) -> None:
    with running_tunnel(tmp_path / "tunnel", simulator) as tunnel:
        agent, stub = tunnel.agents[0], tunnel.stub
        assert stub is not None
        access = Access(
            "lost", tunnel.kubeconfig, directly.namespace, directly.image, tmp_path, simulated=True
        )
        with Kubectl(binary, access).start("exec", "-i", "shell", "--", "cat") as session:
            session.write(b"abc\n")
            session.wait_for_text("abc")
            before = _sockets(agent)
            stub.stop(signal.SIGKILL)
            code = session.wait(10)
        assert code == (1 if binary.speaks_websocket_first else 0), session.described()
        # Its session, its channels and the exec's connection to the apiserver are gone.
        _wait_for_sockets(agent, at_most=before - 3)


def test_case_20_a_watch_cut_short_shows_no_half_object(kubectl: Kubectl, agent: Running) -> None:
    kubectl.apply(kubectl.configmap("cut", a="1"))
    with kubectl.start("get", "configmap", kubectl.named("cut"), "--watch", "-o", "json") as watch:
        watch.wait_for(lambda line: line == "}")
        # The first object comes from a list; when a later one is shown, the watch stands.
        _write_until_seen(kubectl, watch)
        agent.stop(signal.SIGKILL)
        watch.wait(10)
    decoder, rest = json.JSONDecoder(), watch.stdout.strip()
    while rest:
        document, end = decoder.raw_decode(rest)
        assert document["metadata"]["name"] == kubectl.named("cut")
        rest = rest[end:].strip()


def _write_until_seen(kubectl: Kubectl, watch: Running) -> None:
    for n in range(100):
        kubectl.run("label", "configmap", kubectl.named("cut"), f"n=v{n}", "--overwrite")
        with contextlib.suppress(AssertionError):
            watch.wait_for_text(f'"n": "v{n}"', seconds=0.3)
            return
    raise AssertionError(watch.described())


def test_case_20_a_raw_watch_that_is_cut_is_an_error(kubectl: Kubectl, agent: Running) -> None:
    kubectl.apply(kubectl.configmap("cut", a="1"))
    objects = f"/api/v1/namespaces/{kubectl.access.namespace}/configmaps"
    with kubectl.start("get", "--raw", f"{objects}?watch=true&labelSelector=play%3D{kubectl.play}") as watch:
        watch.wait_for_text("ADDED")
        agent.stop(signal.SIGKILL)
        assert watch.wait(10) == 1, watch.described()
    assert "unexpected EOF" in watch.stderr or "reset" in watch.stderr, watch.described()


def test_case_21_logs_that_are_cut_are_an_error(kubectl: Kubectl, agent: Running) -> None:
    with kubectl.start("logs", "-f", "shell") as follow:
        follow.wait_for_text("started")
        agent.stop(signal.SIGKILL)
        assert follow.wait(10) == 1, follow.described()
    assert "unexpected EOF" in follow.stderr, follow.described()


def test_a_port_forward_says_that_it_was_lost(kubectl: Kubectl, agent: Running) -> None:
    with kubectl.start("port-forward", "pod/shell", ":1") as forward:
        forward.wait_for_text("Forwarding from")
        agent.stop(signal.SIGKILL)
        assert forward.wait(15) == 1, forward.described()
    assert "lost connection to pod" in forward.stderr, forward.described()


def test_a_watch_whose_client_left_holds_up_no_drain(kubectl: Kubectl, agent: Running) -> None:
    """kubectl wait closes its connection politely while its watch goes on; the agent must not go on for nobody."""
    kubectl.run("wait", "--for=jsonpath={.status.phase}=Failed", "pod/shell", "--timeout=1s", code=1)
    agent.process.send_signal(signal.SIGTERM)
    assert agent.wait(10) == 0, agent.described()


def test_an_agent_that_is_told_to_stop_finishes_its_logs_first(kubectl: Kubectl, agent: Running) -> None:
    """SIGTERM drains: what runs is finished, only then does the agent end."""
    name = kubectl.start_pod("talker", "sh", "-c", "echo ready; sleep 2; echo done")
    with kubectl.start("logs", "-f", name) as follow:
        follow.wait_for_text("ready")
        agent.process.send_signal(signal.SIGTERM)
        assert follow.wait(10) == 0, follow.described()
    assert [line.text for line in follow.output] == ["ready", "done"]
    assert agent.wait(10) == 0, agent.described()
