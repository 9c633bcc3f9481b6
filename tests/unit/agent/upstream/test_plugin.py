"""Credentials from an exec plugin: a real program, run as kubectl would."""

import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent.upstream import plugin as module
from agent.upstream.plugin import OUTPUT_BYTES, PluginCredential, token_of
from certs.upstream import ExecPlugin
from tests.unit.fakes import settle
from tunnel.kit.failures import CommandFailed

Make = Callable[..., PluginCredential]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """A credential whose plugin is this Python code."""

    def make(code: str, *arguments: str, environment: tuple[tuple[str, str], ...] = ()) -> PluginCredential:
        program = tmp_path / "plugin.py"
        program.write_text(f"import json, os, sys\n{code}\n")
        plugin = ExecPlugin(
            command=sys.executable,
            arguments=(str(program), *arguments),
            environment=environment,
            api_version="client.authentication.k8s.io/v1",
            interactive_mode="Never",
            provide_cluster_info=False,
            install_hint=None,
        )
        return PluginCredential(plugin)

    return make


def credential(**status: Any) -> str:
    """What a plugin prints."""
    return json.dumps({"kind": "ExecCredential", "status": status})


def prints(text: str) -> str:
    """Code that prints `text`."""
    return f"sys.stdout.write({text!r})"


async def test_the_token_it_prints_is_sent(make: Make) -> None:
    plugin = make(prints(credential(token="t0ken")))
    assert plugin.fields(0.0) == []
    await plugin.renew()
    assert plugin.fields(0.0) == [(b"Authorization", b"Bearer t0ken")]


async def test_it_gets_its_arguments_its_environment_and_what_is_asked(make: Make) -> None:
    code = """
information = json.loads(os.environ["KUBERNETES_EXEC_INFO"])
assert information["apiVersion"] == "client.authentication.k8s.io/v1"
assert information["spec"]["interactive"] is False
assert sys.stdin.read() == ""
print(json.dumps({"status": {"token": sys.argv[1] + os.environ["REGION"]}}))
"""
    plugin = make(code, "token-", environment=(("REGION", "eu"),))
    await plugin.renew()
    assert plugin.fields(0.0) == [(b"Authorization", b"Bearer token-eu")]


async def test_output_larger_than_a_pipe_is_read_whole(make: Make) -> None:
    plugin = make(prints(credential(token="t", padding="x" * 300_000)))
    await plugin.renew()
    assert plugin.fields(0.0) == [(b"Authorization", b"Bearer t")]


async def test_output_without_end_is_not_stored(make: Make) -> None:
    plugin = make(f"sys.stdout.write('x' * {2 * OUTPUT_BYTES})")
    with pytest.raises(CommandFailed, match="printed more than"):
        await plugin.renew()


async def test_requests_that_meet_a_401_together_wait_for_one_run(make: Make, tmp_path: Path) -> None:
    count = tmp_path / "count"
    plugin = make(f"open({str(count)!r}, 'a').write('x')\n" + prints(credential(token="t")))
    await asyncio.gather(*(plugin.renew() for _ in range(5)))
    assert count.read_text() == "x"
    await plugin.renew()
    assert count.read_text() == "xx"


async def test_a_plugin_that_fails_says_with_which_code_and_keeps_the_old_token(
    make: Make, tmp_path: Path
) -> None:
    plugin = make(prints(credential(token="old")))
    await plugin.renew()
    (tmp_path / "plugin.py").write_text("import sys; sys.exit(3)")
    with pytest.raises(CommandFailed, match="exit code 3"):
        await plugin.renew()
    assert plugin.fields(0.0) == [(b"Authorization", b"Bearer old")]


async def test_a_plugin_that_is_not_there_is_named_with_its_hint() -> None:
    plugin = ExecPlugin(
        "no-such-plugin", (), (), "client.authentication.k8s.io/v1", "Never", False, "install it"
    )
    with pytest.raises(CommandFailed, match=r"no-such-plugin: No such file or directory; install it"):
        await PluginCredential(plugin).renew()


async def test_a_plugin_that_is_too_slow_is_killed(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PLUGIN_SECONDS", 0.01)
    with pytest.raises(CommandFailed, match="took longer than"):
        await make("import threading; threading.Event().wait()").renew()


async def test_a_cancelled_run_leaves_no_process(make: Make, tmp_path: Path) -> None:
    running = asyncio.get_running_loop().create_task(
        make("import threading; threading.Event().wait()").renew()
    )
    await settle()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


@pytest.mark.parametrize(
    "output",
    [
        "",
        "not json",
        "[]",
        "{}",
        '{"status": null}',
        '{"status": {}}',
        credential(token=None),
        credential(token=7),
        credential(token="t", expirationTimestamp="soon"),
        credential(clientCertificateData="..."),
    ],
)
def test_what_is_no_credential_is_refused(output: str) -> None:
    with pytest.raises(CommandFailed, match="printed no ExecCredential"):
        token_of(output.encode(), "plugin")


@pytest.mark.parametrize("token", ["", "two words", "a\r\nX-Injected: 1"])
def test_a_token_that_would_break_the_field_is_refused(token: str) -> None:
    with pytest.raises(CommandFailed, match="white space"):
        token_of(credential(token=token).encode(), "plugin")


def test_an_expired_token_is_refused() -> None:
    with pytest.raises(CommandFailed, match="has expired"):
        token_of(credential(token="t", expirationTimestamp="2020-01-01T00:00:00Z").encode(), "plugin")
    assert (
        token_of(credential(token="t", expirationTimestamp="2999-01-01T00:00:00Z").encode(), "plugin") == b"t"
    )
