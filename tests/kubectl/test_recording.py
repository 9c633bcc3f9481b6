"""What real kubectl binaries show is what the stub records."""

import json
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.binaries import Binary
from tests.scenarios.comparison import parametrised_binaries
from tests.scenarios.kubectl import Access, Kubectl
from tests.scenarios.tunnel import Tunnel, running_tunnel

SCRIPT = 'echo "größer $0"; echo oops >&2; cat; seq 20000; exit 7'
WEBSOCKETS = ("true", "false")

pytestmark = [
    pytest.mark.parametrize("binary", parametrised_binaries()),
    pytest.mark.parametrize("websockets", WEBSOCKETS),
]


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("recordings")


@pytest.fixture(scope="module")
def recording_tunnel(
    simulator: Path, recordings: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Tunnel]:
    folder = tmp_path_factory.mktemp("recording-tunnel")
    flags = (f"--record-exec={recordings}", "--record-exec-required", f"--audit={folder}/audit")
    with running_tunnel(folder, simulator, stub_flags=flags) as tunnel:
        yield tunnel


@pytest.fixture
def kubectl(
    binary: Binary, websockets: str, recording_tunnel: Tunnel, directly: Access, tmp_path: Path
) -> Kubectl:
    """On that tunnel, in the namespace that the pod was started in directly."""
    config = recording_tunnel.kubeconfig
    access = Access("recording", config, directly.namespace, "none", tmp_path, simulated=True)
    return Kubectl(binary, access, {"KUBECTL_REMOTE_COMMAND_WEBSOCKETS": websockets})


@dataclass
class Recorded:
    """The execs of a test, as the audit log and the recordings have them."""

    audit: Path
    folder: Path
    before: int = 0

    def completed(self) -> list[str]:
        """The recordings named by the last lines of all execs so far."""
        lines = [json.loads(line) for line in self.audit.read_text().splitlines()]
        over = [line["annotations"] for line in lines if line["stage"] == "ResponseComplete"]
        return [each["cluster-tunnel/recording"] for each in over if "cluster-tunnel/recording" in each]

    def newest(self, last: str) -> tuple[dict[str, Any], list[list[Any]]]:
        """Header and events of the only exec of this test, when its output ends with `last`.

        kubectl leaves when it has its exit status, a moment before the stub has noticed and written everything.
        """
        deadline = time.monotonic() + 20
        while True:
            names = self.completed()[self.before :]
            text = (self.folder / names[0]).read_text() if names else ""
            whole = text[: text.rfind("\n") + 1].splitlines() or ["{}"]
            header, *events = [json.loads(line) for line in whole]
            if output(events).endswith(last):
                assert len(names) == 1
                return header, events
            assert time.monotonic() < deadline, text[-2000:]
            time.sleep(0.05)


def output(events: list[list[Any]]) -> str:
    """What was shown."""
    return "".join(text for _, kind, text in events if kind == "o")


@pytest.fixture
def recorded(recordings: Path, recording_tunnel: Tunnel) -> Recorded:
    found = Recorded(recording_tunnel.folder / "audit", recordings)
    found.before = len(found.completed())
    return found


def test_what_exec_printed_is_what_was_recorded(kubectl: Kubectl, recorded: Recorded) -> None:
    ran = kubectl.run("exec", "-i", "shell", "--", "sh", "-c", SCRIPT, "✓", stdin="typed\n", code=7)
    header, events = recorded.newest("20000\n")
    assert header["title"] == f"jane@local {kubectl.access.namespace}/shell/main"
    assert {kind for _, kind, _ in events} == {"o"}
    assert ran.stdout == output(events).replace("oops\n", "", 1)
    assert output(events).count("oops\n") == 1


def test_a_terminal_is_recorded_with_its_size(kubectl: Kubectl, recorded: Recorded) -> None:
    wait = 'until [ "$(stty size)" = "33 101" ]; do sleep 0.1; done; stty size'
    command = " ".join(kubectl.command("exec", "-it", "shell", "--", "sh", "-c", f"'{wait}'"))
    ran = subprocess.run(
        ["script", "-qec", f"stty rows 33 cols 101; {command}", "/dev/null"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=kubectl.environment({"TERM": "xterm"}),
        timeout=30,
    )
    assert ran.returncode == 0, ran.stdout.decode()
    header, _ = recorded.newest("33 101\r\n")
    assert (header["width"], header["height"]) == (101, 33)
