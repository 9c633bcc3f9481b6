"""Bringing everything up, with stand-ins for the programs."""

import asyncio
import base64
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from tests.unit.cli.local.fake_installation import set_answer, write_fake_installation
from tunnel.cli.local import probe
from tunnel.cli.local.folder import LOGS
from tunnel.cli.local.installation import child_environment, run_installation
from tunnel.cli.local.ports import free_address
from tunnel.cli.local.settings import UpSettings
from tunnel.kit.failures import CommandFailed
from tunnel.kit.values import Address


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The stand-ins' folder."""
    write_fake_installation(tmp_path / "root")
    return tmp_path / "root"


@pytest.fixture
def settings(tmp_path: Path) -> UpSettings:
    """Two agents in front of a simulator."""
    (tmp_path / "state" / LOGS).mkdir(parents=True)
    return UpSettings(simulator=True, dir=tmp_path / "state", agents=2)


class Console:
    """What was printed so far."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self._out = self._err = ""

    @property
    def out(self) -> str:
        self._read()
        return self._out

    @property
    def err(self) -> str:
        self._read()
        return self._err

    def _read(self) -> None:
        out, err = self._capsys.readouterr()
        self._out += out
        self._err += err


@pytest.fixture
def console(capsys: pytest.CaptureFixture[str]) -> Console:
    return Console(capsys)


async def run_until(
    line: str, settings: UpSettings, root: Path, console: Console, *, logs: Sequence[Path] = ()
) -> str:
    """Run it, ask it to stop as soon as it has printed `line` and something stands in all `logs`, and return what it printed to
    standard output."""
    stopping, before = asyncio.Event(), len(console.out)
    listen = free_address(Address("127.0.0.1", 0))
    async with asyncio.TaskGroup() as group:
        running = group.create_task(run_installation(settings, listen, stopping, root=root))
        while not running.done():
            if f"\n{line}" in console.out[before:] and all(map(has_line, logs)):
                stopping.set()
            await asyncio.sleep(0.01)
    return console.out[before:]


def has_line(log: Path) -> bool:
    return log.exists() and "\n" in log.read_text()


async def test_when_the_cluster_answers_the_first_line_to_try_is_printed(
    settings: UpSettings, root: Path, console: Console
) -> None:
    printed = await run_until("ready:", settings, root, console)
    kubeconfig = settings.dir / "kubeconfig"
    assert f"ready: kubectl --kubeconfig={kubeconfig} get namespaces\nstopping\n" in printed
    for row in (
        "  cluster     local, from ",
        "  agents      2\n",
        "  user        developer; the cluster sees the owner",
    ):
        assert row in printed


async def test_a_user_without_rights_is_told_to_try_what_needs_none(
    settings: UpSettings, root: Path, console: Console
) -> None:
    ann = replace(settings, mode="impersonate", user="ann", group=("dev", "ops"))
    printed = await run_until("ready:", ann, root, console)
    assert "  user        ann; the cluster sees ann, groups: dev, ops\n" in printed
    assert f"ready: kubectl --kubeconfig={settings.dir / 'kubeconfig'} auth whoami\n" in printed


async def test_the_kubeconfig_is_private_and_its_server_a_bare_url(
    settings: UpSettings, root: Path, console: Console
) -> None:
    await run_until("ready:", replace(settings, cluster="blue"), root, console)
    kubeconfig = settings.dir / "kubeconfig"
    content = yaml.safe_load(kubeconfig.read_text())
    cluster = content["clusters"][0]["cluster"]
    assert kubeconfig.stat().st_mode & 0o777 == 0o600
    assert content["current-context"] == "blue"
    assert cluster["server"].startswith("https://127.0.0.1:")
    assert cluster["server"].count("/") == 2
    assert (
        base64.b64decode(cluster["certificate-authority-data"])
        == (settings.dir / "server-ca.crt").read_bytes()
    )


async def test_each_process_is_told_what_it_needs_by_flags(
    settings: UpSettings, root: Path, console: Console
) -> None:
    changed = replace(settings, mode="impersonate", user="ann", group=("dev",), cluster="blue")
    folder = settings.dir
    logs = [folder / LOGS / f"{name}.log" for name in ("stub", "agent-1")]
    # The stand-in of a stub answers without an agent.
    await run_until("ready:", changed, root, console, logs=logs)
    stub, agent = (log.read_text().splitlines()[0] for log in logs)
    assert f"--ca-dir {folder} --admin-listen off --default-cluster blue" in stub
    assert (
        f"--cert {folder}/agent-blue.crt --key {folder}/agent-blue.key --ca {folder}/server-ca.crt" in agent
    )
    assert f"--kubeconfig {folder}/simulator/kubeconfig --mode impersonate" in agent
    assert "--name agent-1" in agent


async def test_a_second_start_keeps_the_authorities_and_renews_the_certificates(
    settings: UpSettings, root: Path, console: Console
) -> None:
    kept, renewed = [], []
    for _ in range(2):
        await run_until("ready:", settings, root, console)
        kept.append([(settings.dir / f"{name}-ca.crt").read_bytes() for name in ("server", "user", "agent")])
        renewed.append((settings.dir / "server.crt").read_bytes())
    assert kept[0] == kept[1]
    assert renewed[0] != renewed[1]


async def test_a_process_that_dies_is_named_with_the_end_of_its_log(
    settings: UpSettings, root: Path, console: Console
) -> None:
    (root / "agents-fail").touch()
    set_answer(root, 503, "no agent")
    with pytest.raises(ExceptionGroup) as caught:
        await run_until("ready:", settings, root, console)
    assert caught.group_contains(
        CommandFailed, match=r"agent-[12] ended with exit code 1; its log is .*\.log"
    )
    assert "cluster-tunnel: --cert: expired" in console.err


async def test_a_refusal_ends_it_at_once(settings: UpSettings, root: Path, console: Console) -> None:
    set_answer(root, 403, json.dumps({"kind": "Status", "message": "no impersonation"}))
    with pytest.raises(ExceptionGroup) as caught:
        await run_until("ready:", settings, root, console)
    assert caught.group_contains(CommandFailed, match="the cluster refused the user: 403 no impersonation")


async def test_a_cluster_that_never_answers_ends_it_with_the_last_reason(
    settings: UpSettings, root: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe.wait_for_version, "__defaults__", (1.0,))
    set_answer(root, 503, json.dumps({"kind": "Status", "message": "no agent"}))
    with pytest.raises(ExceptionGroup) as caught:
        await run_until("ready:", settings, root, console)
    assert caught.group_contains(
        CommandFailed, match=r"did not answer through the stub within 1 s: (503 no|nothing|.*refused)"
    )


async def test_it_can_be_stopped_before_it_is_ready(
    settings: UpSettings, root: Path, console: Console
) -> None:
    set_answer(root, 503, "not yet")
    printed = await run_until("waiting", settings, root, console)
    assert "ready:" not in printed
    assert printed.endswith("stopping\n")


def test_children_get_no_settings_from_the_environment() -> None:
    assert child_environment({"CTUN_LISTEN": ":1", "PATH": "/bin"}) == {"PATH": "/bin"}
