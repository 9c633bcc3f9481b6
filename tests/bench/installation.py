"""Stub, agent and upstream as real processes with their own command line and default settings."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException, HTTPSConnection
from pathlib import Path
from ssl import SSLContext, create_default_context
from typing import Final

from certs.lifetime import USER_LIFE, Lifetime, utc_now
from certs.store import CertificateStore
from tests.bench.processes import BenchFailed, Side, clean_environment, side, worker
from tests.ports import free_port

CLUSTER: Final = "bench"
READY_SECONDS: Final = 30.0
TOKEN: Final = "x" * 900
"""As long as a service account's."""

STUB: Final = ("--ca-dir", "ca", "--default-cluster", CLUSTER)
AGENT: Final = (
    *("--cert", "ca/agent-bench.crt", "--key", "ca/agent-bench.key", "--ca", "ca/server-ca.crt"),
    *("--upstream-ca", "ca/server-ca.crt", "--token-file", "token", "--name", "bench"),
)
"""Beside these and the addresses everything is at its default."""


def tunnel(*words: object) -> list[object]:
    """Return the command line of a subcommand."""
    return [sys.executable, "-m", "tunnel", *words]


def make_folder(folder: Path) -> None:
    """Put certificates and a token there."""
    store = CertificateStore(folder / "ca")
    store.make_authorities(utc_now())
    lifetime = Lifetime.starting(utc_now(), USER_LIFE)
    store.issue_server(["localhost"], lifetime)
    store.issue_user("alice", ["devs"], lifetime)
    store.issue_agent(CLUSTER, lifetime)
    (folder / "token").write_text(TOKEN)


def user_context(folder: Path) -> SSLContext:
    """Return what a user of the stub connects with."""
    context = create_default_context(cafile=str(folder / "ca/server-ca.crt"))
    context.load_cert_chain(folder / "ca/user-alice.crt", folder / "ca/user-alice.key")
    return context


@contextmanager
def stub_process(folder: Path, port: int, *flags: object) -> Iterator[Side]:
    """Run a stub on `port` until the block ends, with `flags` beside those above."""
    listen = ("--listen", f"127.0.0.1:{port}", "--admin-listen", "off")
    with side("stub", folder, *tunnel("stub", *listen, *STUB, *flags)) as stub:
        yield stub


@contextmanager
def upstream_process(folder: Path) -> Iterator[int]:
    """Run an upstream until the block ends; its port is given."""
    with worker("upstream", folder / "ca/server.crt", folder / "ca/server.key") as upstream:
        yield int(upstream.first_line())


@contextmanager
def agent_process(folder: Path, stub_port: int, upstream_port: int, *flags: object) -> Iterator[Side]:
    """Run an agent until the block ends."""
    where = ("--stub", f"localhost:{stub_port}", "--upstream", f"https://localhost:{upstream_port}")
    with side("agent", folder, *tunnel("agent", *where, *AGENT, *flags)) as agent:
        yield agent


@dataclass(frozen=True, slots=True)
class Installation:
    """A running tunnel.

    Attributes:
        folder: holds certificates and logs.
        port: where users connect.
        stub, agent: its processes.
    """

    folder: Path
    port: int
    stub: Side
    agent: Side

    @property
    def sides(self) -> tuple[Side, Side]:
        """The public and the cluster's side."""
        return self.stub, self.agent


@contextmanager
def installation(
    folder: Path,
    port: int | None = None,
    *,
    agent_port: int | None = None,
    stub_flags: Sequence[object] = (),
    agent_flags: Sequence[object] = (),
) -> Iterator[Installation]:
    """Run a whole tunnel until the block ends; it answers when it is given.

    Args:
        folder: as `make_folder` leaves it.
        port: where the stub listens; any free one if none is given.
        agent_port: where the agent dials, if not there: at a relay that leads there.
        stub_flags, agent_flags: beside the usual ones.
    """
    port = port or free_port()
    with (
        upstream_process(folder) as upstream_port,
        stub_process(folder, port, *stub_flags) as stub,
        agent_process(folder, agent_port or port, upstream_port, *agent_flags) as agent,
    ):
        wait_until_answered(port, user_context(folder), [stub, agent])
        yield Installation(folder, port, stub, agent)


def wait_until_answered(port: int, context: SSLContext, sides: Sequence[Side], path: str = "/") -> None:
    """Ask until the answer is 200.

    Raises:
        BenchFailed: it is not within half a minute, or a process ended.
    """
    deadline = time.monotonic() + READY_SECONDS
    while (answer := _status(port, context, path)) != 200:
        for each in sides:
            if not each.alive:
                raise BenchFailed(f"the {each.name} ended: {_last_line(each.log)}")
        if time.monotonic() > deadline:
            raise BenchFailed(f"no answer through the tunnel: {answer}; {_last_line(sides[-1].log)}")
        time.sleep(0.1)


def _status(port: int, context: SSLContext, path: str) -> int | str:
    connection = HTTPSConnection("localhost", port, timeout=5, context=context)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except (OSError, HTTPException) as error:
        return str(error)
    finally:
        connection.close()


def _last_line(log: Path) -> str:
    return (log.read_text(errors="replace").splitlines() or ["it wrote nothing"])[-1]


def configuration() -> dict[str, str]:
    """Return what `--print-config` shows for the flags that a measured stub and agent get."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_folder(folder)
        return {
            "stub": _printed(folder, "stub", *STUB),
            "agent": _printed(
                folder, "agent", "--stub", "localhost:8443", "--upstream", "https://localhost:6443", *AGENT
            ),
        }


def _printed(folder: Path, *words: object) -> str:
    command = [str(word) for word in tunnel(*words, "--print-config")]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=clean_environment())
    if done.returncode:
        raise BenchFailed(f"--print-config: {done.stderr.strip()}")
    return done.stdout
