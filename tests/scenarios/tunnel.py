"""Stub and agent as processes of their own, started as a user starts them."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from tests.ports import free_port
from tests.scenarios.binaries import newest
from tests.scenarios.processes import Running

COMMAND = Path(sys.executable).with_name("cluster-tunnel")
CLUSTER = "local"


def cluster_tunnel(*arguments: str | Path, code: int | None = 0) -> subprocess.CompletedProcess[str]:
    """Run the command to its end; `code` is the exit status it must have, None for any."""
    done = subprocess.run(
        [COMMAND, *arguments], capture_output=True, text=True, timeout=30, env=_environment(), check=False
    )
    assert code is None or done.returncode == code, (
        f"{' '.join(map(str, arguments))}\n{done.stdout}{done.stderr}"
    )
    return done


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("KUBE", "CTUN_"))}


def make_certificates(folder: Path, *, hosts: Sequence[str] = ("localhost", "127.0.0.1")) -> None:
    """The authorities, the stub's certificate and the agent's, all in the folder."""
    cluster_tunnel("certs", "init", "--dir", folder)
    cluster_tunnel("certs", "server", "--host", *hosts, "--dir", folder)
    cluster_tunnel("certs", "agent", CLUSTER, "--dir", folder)


@dataclass
class Tunnel:
    """A stub, its agents, and the files that lead to them."""

    folder: Path
    upstream: Path
    mode: str
    port: int = field(default_factory=free_port)
    admin_port: int = field(default_factory=free_port)
    stub: Running | None = None
    agents: list[Running] = field(default_factory=list)
    stub_flags: Sequence[str] = ()
    agent_flags: Sequence[str] = ()

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    @property
    def kubeconfig(self) -> Path:
        """The kubeconfig that was made last."""
        return self.folder / "kubeconfig"

    def start_stub(self) -> Running:
        listen = ("--listen", f"127.0.0.1:{self.port}", "--admin-listen", f"127.0.0.1:{self.admin_port}")
        flags = ("--ca-dir", str(self.folder), "--default-cluster", CLUSTER, *self.stub_flags)
        self.stub = Running([COMMAND, "stub", *listen, *flags], _environment())
        return self.stub

    def start_agent(self) -> Running:
        names = {"--cert": f"agent-{CLUSTER}.crt", "--key": f"agent-{CLUSTER}.key", "--ca": "server-ca.crt"}
        files = [part for flag, name in names.items() for part in (flag, str(self.folder / name))]
        cluster = ("--kubeconfig", str(self.upstream), "--mode", self.mode)
        stub = ("--stub", f"localhost:{self.port}", "--name", f"agent-{len(self.agents)}")
        self.agents.append(
            Running([COMMAND, "agent", *stub, *files, *cluster, *self.agent_flags], _environment())
        )
        return self.agents[-1]

    def make_kubeconfig(
        self, user: str, *groups: str, options: Sequence[str] = ("--default",), name: str = "kubeconfig"
    ) -> Path:
        """A kubeconfig for this user, in the folder."""
        belongs = [part for group in groups for part in ("-g", group)]
        path = self.folder / name
        where = ("--cluster", CLUSTER, "--server", self.url, "--dir", str(self.folder), "-o", str(path))
        cluster_tunnel("kubeconfig", user, *belongs, *where, *options)
        return path

    def wait_until_it_serves(self, seconds: float = 20) -> None:
        """Wait until a request through it is answered. Raises AssertionError with a log when a process ended."""
        binary, deadline = newest(), time.monotonic() + seconds
        assert binary is not None
        self._wait_for_agents(deadline)
        asked = [
            str(binary.path),
            "--kubeconfig",
            str(self.kubeconfig),
            "get",
            "--raw",
            "/version",
            "--request-timeout=3s",
        ]
        environment = {**_environment(), "HOME": str(self.folder)}
        while True:
            answer = subprocess.run(asked, capture_output=True, text=True, env=environment)
            if answer.returncode == 0:
                return
            self.raise_if_ended()
            assert time.monotonic() < deadline, (
                f"no answer in {seconds} s: {answer.stderr}\n{self.described()}"
            )
            time.sleep(0.1)

    def _wait_for_agents(self, deadline: float) -> None:
        """Before that kubectl would be told to come again in a second, ten times."""
        self.wait_until_the_stub_listens()
        while self.connected_agents() < len(self.agents):
            self.raise_if_ended()
            assert time.monotonic() < deadline, self.described()
            time.sleep(0.05)

    def connected_agents(self) -> int:
        with self.admin("/clusters") as answer:
            return len(json.loads(answer).get(CLUSTER, []))

    def wait_until_the_stub_listens(self, seconds: float = 20) -> None:
        """Wait until the stub's admin listener says that it is alive, agents or not."""
        deadline = time.monotonic() + seconds
        while True:
            with contextlib.suppress(OSError), self.admin("/livez"):
                return
            self.raise_if_ended()
            assert time.monotonic() < deadline, self.described()
            time.sleep(0.05)

    @contextlib.contextmanager
    def admin(self, path: str) -> Iterator[str]:
        """What the stub's admin listener answers."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin_port}{path}", timeout=5) as answer:
            yield answer.read().decode()

    def processes(self) -> list[Running]:
        return [*([self.stub] if self.stub else []), *self.agents]

    def raise_if_ended(self) -> None:
        for process in self.processes():
            assert process.process.poll() is None, f"ended by itself\n{process.described()}"

    def described(self) -> str:
        """What the processes said, for a failure message."""
        return "\n".join(process.described() for process in self.processes())

    def stop(self) -> list[int]:
        """End agents and stub as a service manager does; return their exit statuses."""
        for process in reversed(self.processes()):
            process.process.send_signal(signal.SIGTERM)
        return [process.finish() for process in reversed(self.processes())]


@contextlib.contextmanager
def running_tunnel(
    folder: Path,
    upstream: Path,
    *,
    mode: str = "token",
    agents: int = 1,
    user: str = "jane",
    groups: Sequence[str] = ("dev",),
    stub_flags: Sequence[str] = (),
    agent_flags: Sequence[str] = (),
    log: TextIO | None = None,
) -> Iterator[Tunnel]:
    """A tunnel to the cluster of the kubeconfig `upstream` for as long as the block lasts.

    With agents it is entered when a request through it was answered, without them when the stub listens. At the end
    everything is stopped; logs go to `log`, standard output if None, which pytest shows where a test failed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tunnel = Tunnel(folder, upstream, mode, stub_flags=stub_flags, agent_flags=agent_flags)
    make_certificates(folder)
    tunnel.make_kubeconfig(user, *groups)
    try:
        tunnel.start_stub()
        for _ in range(agents):
            tunnel.start_agent()
        tunnel.wait_until_it_serves() if agents else tunnel.wait_until_the_stub_listens()
        yield tunnel
    finally:
        tunnel.stop()
        print(tunnel.described(), file=log)
