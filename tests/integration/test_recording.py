"""Execs that are recorded, through a whole tunnel, over both protocols."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from stub.recording.stdio import Stdio
from tests.integration.client import request
from tests.integration.test_upgrades import SPDY_101, WEBSOCKET_101, WEBSOCKET_FIELDS
from tests.integration.tls_end import End
from tests.integration.tunnel_fixture import Tunnel
from tests.integration.upstream import Incoming, Script, answering
from tests.integration.waiting import soon
from tests.unit.stub.recording.parts import message, spdy_client, spdy_server

EXEC = "/api/v1/namespaces/prod/pods/web-1/exec?command=sh&command=-c&command=ls+%2Ftmp&container=app&stdin=true&tty=true"
SIZE = b'{"Width":100,"Height":50}\n'
WEBSOCKET = request(f"GET {EXEC}", *WEBSOCKET_FIELDS, "Sec-WebSocket-Protocol: v5.channel.k8s.io")
SPDY = request(
    f"POST {EXEC}", "Connection: Upgrade", "Upgrade: SPDY/3.1", "X-Stream-Protocol-Version: v5.channel.k8s.io"
)
TYPED = ((Stdio.RESIZE, SIZE), (Stdio.STDIN, b"secret\n"))
SHOWN = (
    (Stdio.STDOUT, b"caf\xc3"),
    (Stdio.STDERR, b"oops\n"),
    (Stdio.STDOUT, b"\xa9\r\n"),
    (Stdio.ERROR, b"{}"),
)
MASK = b"\x01\x02\x03\x04"
PROTOCOLS = {
    "spdy": (SPDY, SPDY_101, spdy_client(*TYPED), spdy_server(*SHOWN)),
    "websocket": (
        WEBSOCKET,
        WEBSOCKET_101,
        b"".join(message(*typed, mask=MASK) for typed in TYPED),
        b"".join(message(*shown) for shown in SHOWN),
    ),
}
both_protocols = pytest.mark.parametrize("protocol", PROTOCOLS)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where recordings go."""
    (tmp_path / "recordings").mkdir()
    return tmp_path / "recordings"


async def started(parts: Tunnel, folder: Path, **settings: Any) -> Tunnel:
    """A tunnel that records."""
    await parts.start_stub(record_exec=folder, **settings)
    await parts.start_agent()
    return parts


def shell(protocol: str) -> Script:
    """A command that shows what it has to when it was told all, and ends."""
    _, head, typed, shown = PROTOCOLS[protocol]

    async def script(incoming: Incoming) -> None:
        incoming.send(head)
        assert await incoming.connection.end.read_exactly(len(typed)) == typed
        await incoming.connection.end.send(shown)
        await incoming.connection.end.close()

    return script


async def run_exec(tunnel: Tunnel, protocol: str) -> None:
    """An exec from its beginning to its end, of which no byte is changed."""
    asked, _, typed, shown = PROTOCOLS[protocol]
    tunnel.upstream.script = shell(protocol)
    client = await tunnel.connect()
    client.send(asked)
    assert (await client.head()).status == 101
    client.send(typed)
    assert await soon(client.end.read_to_end()) == shown
    await client.close()
    await tunnel.quiet()


async def recording(tunnel: Tunnel, folder: Path) -> tuple[Path, dict[str, Any], list[list[Any]]]:
    """The only recording once the stub has stopped: its file, header and events."""
    await tunnel.stub.stop()
    (path,) = folder.iterdir()
    header, *events = [json.loads(line) for line in path.read_text().splitlines()]
    return path, header, events


def audited(tunnel: Tunnel) -> list[dict[str, Any]]:
    """The lines of the audit log."""
    return [json.loads(line) for line in tunnel.audit.read_text().splitlines()]


@both_protocols
async def test_an_exec_is_recorded_as_it_was_shown(parts: Tunnel, folder: Path, protocol: str) -> None:
    await run_exec(await started(parts, folder), protocol)
    path, header, events = await recording(parts, folder)
    assert path.stat().st_mode & 0o777 == 0o600
    assert (header["version"], header["width"], header["height"]) == (2, 100, 50)
    assert header["title"] == "jane@blue prod/web-1/app"
    assert header["command"] == "sh -c 'ls /tmp'"
    assert {kind for _, kind, _ in events} == {"o"}
    assert "".join(text for _, _, text in events) == "cafoops\né\r\n"
    assert b"secret" not in path.read_bytes()


@both_protocols
async def test_input_is_recorded_where_it_is_asked_for(parts: Tunnel, folder: Path, protocol: str) -> None:
    await run_exec(await started(parts, folder, record_exec_input=True), protocol)
    _, _, events = await recording(parts, folder)
    assert [text for _, kind, text in events if kind == "i"] == ["secret\n"]


async def test_the_audit_log_names_the_recording(parts: Tunnel, folder: Path) -> None:
    await run_exec(await started(parts, folder), "websocket")
    path, _, _ = await recording(parts, folder)
    named = {line["stage"]: line["annotations"].get("cluster-tunnel/recording") for line in audited(parts)}
    assert named == {"RequestReceived": None, "ResponseStarted": path.name, "ResponseComplete": path.name}
    assert {line["auditID"] for line in audited(parts)} == {path.stem.partition("-blue-")[2]}


@both_protocols
async def test_much_goes_through_unchanged_while_it_is_recorded(
    parts: Tunnel, folder: Path, protocol: str
) -> None:
    """It is held whenever the disk does not follow, and nothing is missing behind it."""
    asked, head, typed, _ = PROTOCOLS[protocol]
    text = ("0123456789" * 3276 + "\n").encode()
    shown = {
        "spdy": spdy_server(*[(Stdio.STDOUT, text)] * 200),
        "websocket": message(Stdio.STDOUT, text) * 200,
    }[protocol]

    async def pours(incoming: Incoming) -> None:
        incoming.send(head)
        await incoming.connection.end.read_exactly(len(typed))
        await incoming.connection.end.send(shown)
        await incoming.connection.end.close()

    await started(parts, folder, record_exec_required=True)
    parts.upstream.script = pours
    client = await parts.connect()
    client.send(asked + typed)
    assert (await client.head()).status == 101
    assert await soon(client.end.read_to_end(), 30) == shown
    await client.close()
    await parts.quiet()
    _, _, events = await recording(parts, folder)
    assert "".join(text for _, _, text in events).encode() == text * 200


@both_protocols
async def test_without_a_place_for_recordings_an_exec_is_refused_where_they_are_required(
    parts: Tunnel, folder: Path, protocol: str
) -> None:
    await started(parts, folder, record_exec_required=True)
    folder.rmdir()
    client = await parts.connect()
    client.send(PROTOCOLS[protocol][0])
    answer = await client.answer()
    assert answer.status == 503
    assert answer.message.startswith(
        "stub: exec and attach must be recorded here, and the recording fails: it cannot"
    )
    assert await client.ended() is End.CLOSE_NOTIFY
    assert not parts.upstream.requests
    parts.upstream.script = answering(200, b"fine")
    assert (await (await parts.connect()).ask("GET /api")).body == b"fine"  # all else goes on
    assert b"faulty_recordings_total 1.0" in parts.stub.measures.render()


async def test_without_a_place_for_recordings_an_exec_goes_on_where_they_are_not(
    parts: Tunnel, folder: Path
) -> None:
    await started(parts, folder)
    folder.rmdir()
    await run_exec(parts, "websocket")
    (line,) = [line for line in audited(parts) if line["stage"] == "ResponseComplete"]
    problem = "it cannot be opened: No such file or directory"
    assert line["annotations"]["cluster-tunnel/recording-problem"] == problem
    assert "cluster-tunnel/recording" not in line["annotations"]


async def test_an_exec_is_cut_at_the_end_of_a_recording_that_is_required(parts: Tunnel, folder: Path) -> None:
    await started(parts, folder, record_exec_required=True, record_exec_max_size=1000)
    over = asyncio.Event()

    async def yes(incoming: Incoming) -> None:
        incoming.send(WEBSOCKET_101)
        incoming.send(message(Stdio.STDOUT, b"y\n" * 1000))
        await incoming.gone()
        over.set()

    parts.upstream.script = yes
    client = await parts.connect()
    client.send(WEBSOCKET)
    assert (await client.head()).status == 101
    await soon(client.end.read_to_end())
    assert client.end.end is End.CUT
    await soon(over.wait())
    line = audited(parts)[-1]
    assert line["annotations"]["cluster-tunnel/reason"] == "the recording failed: it has reached 1000 bytes"
    _, _, events = await recording(parts, folder)
    assert events[-1][1] == "m"
