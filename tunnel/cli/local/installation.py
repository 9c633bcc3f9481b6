"""Bringing up cluster, stub and agents, in the order in which each needs the other."""

import asyncio
import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from certs.store import CertificateStore
from tunnel.cli.local.certificates import LocalCertificates, make_certificates, write_kubeconfig
from tunnel.cli.local.children import Children
from tunnel.cli.local.contest import first_of
from tunnel.cli.local.folder import LOGS
from tunnel.cli.local.ports import reachable
from tunnel.cli.local.probe import wait_for_version
from tunnel.cli.local.settings import DEFAULT_USER, UpSettings
from tunnel.cli.local.simulator import ROOT, announced_kubeconfig, simulator_arguments
from tunnel.kit.failures import CommandFailed
from tunnel.kit.values import Address

SIMULATOR_SECONDS: Final = 30.0
"""The simulator reads its schemas and makes its certificates in about a second."""

DRAIN: Final = "1s"
"""Whoever presses Ctrl-C here wants the prompt back, not a drain."""


def say(line: str) -> None:
    """Print a line of progress at once, also into a pipe."""
    print(line, flush=True)


async def run_installation(
    settings: UpSettings, listen: Address, stopping: asyncio.Event, *, root: Path = ROOT
) -> None:
    """Start everything, print how to use it, and return once `stopping` is set and everything has ended.

    Args:
        settings: what to start.
        listen: where the stub listens, its port no longer 0.
        stopping: ends it.
        root: the folder with the packages to run.

    Raises:
        CommandFailed: a process ended by itself, or the cluster did not answer in time.
    """
    logs = settings.dir.absolute() / LOGS
    async with Children(logs, root, child_environment(os.environ)) as children:
        installation = Installation(settings, listen, children)
        await first_of(stopping.wait(), children.fail_on_death(), installation.bring_up())
        say("stopping")


def child_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of the children: they are told everything by flags, and CTUN_LISTEN here is not theirs."""
    return {name: value for name, value in environ.items() if not name.startswith("CTUN_")}


class Installation:
    """The processes of one `up`.

    Args:
        settings: what to start.
        listen: where the stub listens.
        children: who starts it.
    """

    def __init__(self, settings: UpSettings, listen: Address, children: Children) -> None:
        self._settings = settings
        self._listen = listen
        self._server = reachable(listen)
        self._children = children
        self._folder = settings.dir.absolute()

    async def bring_up(self) -> None:
        """Start everything, print the summary and the line `ready:`, and wait to be cancelled."""
        settings = self._settings
        upstream = settings.kubeconfig.absolute() if settings.kubeconfig else await self._start_simulator()
        say(f"making certificates in {settings.dir}")
        store = CertificateStore(self._folder)
        user = settings.user or DEFAULT_USER
        made = make_certificates(store, self._server.host, settings.cluster, user, settings.group)
        say(f"starting the stub on {self._listen} and {_agents(settings.agents)}")
        await self._children.start("stub", self._stub_arguments())
        for number in range(1, settings.agents + 1):
            await self._children.start(f"agent-{number}", self._agent_arguments(number, upstream, made))
        say("waiting for the cluster to answer through the stub")
        await wait_for_version(self._server, store.files("server-ca").certificate, made.user)
        write_kubeconfig(self._folder / "kubeconfig", store, made.user, self._server, settings.cluster)
        self._summarise(upstream)
        await asyncio.Event().wait()

    async def _start_simulator(self) -> Path:
        say("starting the simulator")
        announced: asyncio.Future[Path] = asyncio.get_running_loop().create_future()

        def on_line(line: str) -> None:
            path = announced_kubeconfig(line)
            if path is not None and not announced.done():
                announced.set_result(path)

        await self._children.start("simulator", simulator_arguments(self._folder / "simulator"), on_line)
        try:
            async with asyncio.timeout(SIMULATOR_SECONDS):
                return await announced
        except TimeoutError:
            raise CommandFailed(
                f"the simulator was not ready within {SIMULATOR_SECONDS:.0f} s; see {self._settings.dir / LOGS}"
            ) from None

    def _stub_arguments(self) -> list[str]:
        admin = self._settings.admin_listen
        return [
            *("-m", "tunnel", "stub", "--listen", str(self._listen), "--ca-dir", str(self._folder)),
            *("--admin-listen", "off" if admin is None else str(admin)),
            *("--default-cluster", self._settings.cluster),
            *self._shared_arguments(),
        ]

    def _agent_arguments(self, number: int, upstream: Path, made: LocalCertificates) -> list[str]:
        context = self._settings.context
        return [
            *("-m", "tunnel", "agent", "--stub", str(self._server), "--name", f"agent-{number}"),
            *("--cert", str(made.agent.certificate), "--key", str(made.agent.key)),
            *("--ca", str(self._folder / "server-ca.crt")),
            *("--kubeconfig", str(upstream), *(() if context is None else ("--context", context))),
            *("--mode", self._settings.mode),
            *self._shared_arguments(),
        ]

    def _shared_arguments(self) -> list[str]:
        # A log file is for whoever looks why something failed: text, unless it was asked for otherwise.
        style = "text" if self._settings.log_format == "auto" else self._settings.log_format
        return ["--drain-grace", DRAIN, "--log-level", self._settings.log_level, "--log-format", style]

    def _summarise(self, upstream: Path) -> None:
        settings, kubeconfig = self._settings, str(self._settings.dir / "kubeconfig")
        user = settings.user or DEFAULT_USER
        seen_as, first = "the owner of that kubeconfig", "get namespaces"
        if settings.mode == "impersonate":
            # Nobody has given this user rights yet, so what may fail is not the first thing to try.
            seen_as, first = f"{user}, groups: {', '.join(settings.group) or 'none'}", "auth whoami"
        rows = {
            "cluster": f"{settings.cluster}, from {upstream}",
            "stub": f"https://{self._server}",
            "agents": str(settings.agents),
            "user": f"{user}; the cluster sees {seen_as}",
            "logs": f"{settings.dir / LOGS}",
            "kubeconfig": kubeconfig,
        }
        for name, value in rows.items():
            say(f"  {name:10}  {value}")
        say(f"ready: kubectl --kubeconfig={shlex.quote(kubeconfig)} {first}")


def _agents(count: int) -> str:
    return "1 agent" if count == 1 else f"{count} agents"
