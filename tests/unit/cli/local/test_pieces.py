"""The smaller parts of `up`: its settings, folder, ports, and the contest."""

import argparse
import asyncio
import os
import socket
from pathlib import Path

import pytest

from tunnel.cli.local import simulator
from tunnel.cli.local.contest import first_of
from tunnel.cli.local.folder import own_folder
from tunnel.cli.local.ports import free_address, reachable
from tunnel.cli.local.settings import UpSettings
from tunnel.cli.local.simulator import announced_kubeconfig, check_simulator
from tunnel.kit.failures import CommandFailed, UsageError
from tunnel.kit.settings import add_arguments, load
from tunnel.kit.values import Address


def loaded(*flags: str, **environ: str) -> UpSettings:
    parser = argparse.ArgumentParser()
    add_arguments(parser, UpSettings)
    return load(UpSettings, parser.parse_args(flags), environ)


# Settings --------------------------------------------------------------------------------------


def test_the_defaults_are_those_of_the_documentation() -> None:
    settings = loaded("--simulator")
    assert (settings.listen, settings.dir) == (Address("127.0.0.1", 8443), Path(".cluster-tunnel"))
    assert (settings.cluster, settings.agents, settings.mode) == ("local", 1, "token")


def test_the_cluster_is_never_taken_from_the_environment(tmp_path: Path) -> None:
    (tmp_path / "config").touch()
    file = str(tmp_path / "config")
    with pytest.raises(UsageError, match="which cluster"):
        loaded(KUBECONFIG=file, CTUN_KUBECONFIG=file, HOME=str(tmp_path))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ((), "give --kubeconfig FILE, or in a checkout of the project --simulator"),
        (("--simulator", "--kubeconfig", __file__), "--simulator and --kubeconfig exclude each other"),
        (("--simulator", "--context", "blue"), "--context chooses within --kubeconfig"),
        (("--simulator", "--mode", "impersonate"), "--mode impersonate needs --user"),
        (("--simulator", "--user", " ann"), "--user: ' ann' is not a user name"),
        (("--simulator", "-g", "a" * 65), "--group: .* longer than 64"),
        (("--simulator", "-g", "system:masters"), "'system:masters' is reserved"),
        (("--simulator", "--agents", "0"), "--agents: '0' is not a whole number from 1 to 16"),
        (("--simulator", "--cluster", "A"), "--cluster: 'A' is not a cluster id"),
    ],
)
def test_a_wrong_call_is_a_usage_error(flags: tuple[str, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        loaded(*flags)


# Folder ----------------------------------------------------------------------------------------


def test_the_folder_is_private_and_names_its_process_while_it_is_held(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    with own_folder(folder):
        assert (folder / "up.pid").read_text() == f"{os.getpid()}\n"
        assert folder.stat().st_mode & 0o777 == 0o700
    assert [path.name for path in folder.iterdir()] == ["logs"]


def test_a_folder_that_is_held_is_refused_and_stays_held(tmp_path: Path) -> None:
    with own_folder(tmp_path):
        with (
            pytest.raises(CommandFailed, match=f"runs here already, as process {os.getpid()}"),
            own_folder(tmp_path),
        ):
            pytest.fail("the folder was given twice")
        assert (tmp_path / "up.pid").exists()
    with own_folder(tmp_path):
        pass


def test_what_a_killed_process_left_does_not_hold_the_folder(tmp_path: Path) -> None:
    (tmp_path / "up.pid").write_text("1\n")
    with own_folder(tmp_path):
        assert (tmp_path / "up.pid").read_text() == f"{os.getpid()}\n"


# Ports -----------------------------------------------------------------------------------------


def test_port_0_becomes_a_free_port() -> None:
    assert free_address(Address("127.0.0.1", 0)).port > 0


def test_a_busy_port_is_one_line_that_names_the_flag() -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        with pytest.raises(
            CommandFailed, match=f"--listen 127.0.0.1:{port}: Address already in use; give another"
        ):
            free_address(Address("127.0.0.1", port))


def test_a_listener_on_all_addresses_is_reached_by_loopback() -> None:
    assert [str(reachable(Address(host, 1))) for host in ("", "0.0.0.0", "::", "10.0.0.1")] == [
        *("127.0.0.1:1", "127.0.0.1:1", "[::1]:1", "10.0.0.1:1")
    ]


# Simulator -------------------------------------------------------------------------------------


def test_outside_a_checkout_there_is_no_simulator(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--simulator needs a checkout"):
        check_simulator(tmp_path)


def test_a_missing_package_of_the_simulator_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tests" / "kubesim").mkdir(parents=True)
    (tmp_path / "tests" / "kubesim" / "__main__.py").touch()
    check_simulator(tmp_path)
    monkeypatch.setattr(simulator, "_NEEDS", ("h11", "no_such_package"))
    with pytest.raises(CommandFailed, match="the simulator needs no_such_package: run 'make venv'"):
        check_simulator(tmp_path)


def test_the_simulators_line_names_its_kubeconfig() -> None:
    assert announced_kubeconfig("kubesim: ready /a b/kubeconfig") == Path("/a b/kubeconfig")
    assert announced_kubeconfig("kubesim: loading") is None


# Contest ---------------------------------------------------------------------------------------


async def test_the_first_ends_the_others() -> None:
    ended: list[str] = []

    async def forever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("other")

    await first_of(asyncio.sleep(0), forever())
    assert ended == ["other"]


async def test_the_error_of_a_contender_is_raised() -> None:
    async def fail() -> None:
        raise CommandFailed("no")

    with pytest.raises(CommandFailed, match="no"):
        await first_of(asyncio.Event().wait(), fail())
