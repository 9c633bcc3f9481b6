"""exec and attach over SPDY: protocol versions, exit codes, ends and faults."""

import asyncio
import json
from typing import Any

import pytest

from tests.kubesim.streaming import NO_FAULTS, StreamingFaults
from tests.kubesim.streaming.connection import StreamReset
from tests.kubesim.streaming.inbox import INBOX_BYTES
from tests.kubesim.streaming.spdy import FrameDecoder
from tests.kubesim.streaming.spdy_client import (
    CommandResult,
    UpgradeRefused,
    read_head,
    run_command,
    upgrade,
)
from tests.kubesim.streaming.spdy_frames import Data, GoAway
from tests.kubesim.streaming.wire import CLOSE_SECONDS
from tests.unit.kubesim.streaming.scripted import (
    POD_PATH,
    ScriptedBackend,
    ScriptedProcess,
    cat,
    echo_and_exit,
    serving,
)

V1, V2, V3, V4, V5 = "channel.k8s.io", *(f"v{number}.channel.k8s.io" for number in (2, 3, 4, 5))
EXEC = POD_PATH + "exec?command=run&command=me&stdout=true&stderr=true"


async def run(
    backend: ScriptedBackend,
    target: str = EXEC,
    protocols: tuple[str, ...] = (V5, V4),
    stdin: bytes | None = None,
    faults: StreamingFaults = NO_FAULTS,
) -> CommandResult:
    async with serving(backend, faults) as client:
        _, connection = await upgrade(client.reader, client.writer, target, protocols)
        return await run_command(connection, stdin=stdin)


def status(result: CommandResult) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(result.error)
    return parsed


async def test_output_and_exit_code_arrive_in_a_v4_status() -> None:
    result = await run(ScriptedBackend(echo_and_exit))
    assert result.outputs["stdout"] == b"out"
    assert result.outputs["stderr"] == b"err"
    assert status(result) == {
        "metadata": {},
        "status": "Failure",
        "message": "command terminated with non-zero exit code: error executing command [run me], exit code 7",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": "7"}]},
    }


@pytest.mark.parametrize("protocol", [V2, V3])
async def test_before_v4_a_failure_is_plain_text(protocol: str) -> None:
    result = await run(ScriptedBackend(echo_and_exit), protocols=(protocol,))
    assert result.error.endswith(b"error executing command [run me], exit code 7")
    assert not result.error.startswith(b"{")


async def test_in_v1_the_error_stream_is_reset_at_once_and_says_nothing() -> None:
    result = await run(ScriptedBackend(echo_and_exit), protocols=(V1,))
    assert result.outputs == {"error": b"", "stdout": b"out", "stderr": b"err"}


async def test_stdin_reaches_the_command_up_to_its_end() -> None:
    sent = bytes(range(256)) * 4000
    result = await run(ScriptedBackend(cat), EXEC + "&stdin=true", stdin=sent)
    assert result.outputs["stdout"] == sent
    assert status(result) == {"metadata": {}, "status": "Success"}


async def test_a_command_that_closed_its_input_still_tells_its_exit_code() -> None:
    async def close_input_then_exit(process: ScriptedProcess) -> None:
        assert process.stdin is not None
        process.stdin.transport.abort()
        await process.input.read()
        process.exit(3)

    result = await run(ScriptedBackend(close_input_then_exit), EXEC + "&stdin=true", stdin=bytes(2_000_000))
    assert status(result)["details"]["causes"][0]["message"] == "3"


async def test_input_for_a_command_that_closed_its_own_does_not_hide_the_clients_end() -> None:
    backend = ScriptedBackend()
    async with serving(backend) as client:
        _, connection = await upgrade(client.reader, client.writer, EXEC + "&stdin=true", (V4,))
        kinds = ("error", "stdout", "stderr", "stdin")
        stdin = [connection.open((("streamtype", kind),)) for kind in kinds][-1]
        while not backend.processes:
            await asyncio.sleep(0)
        assert backend.processes[0].stdin is not None
        backend.processes[0].stdin.transport.abort()
        await stdin.write(bytes(4 * INBOX_BYTES))
        client.writer.close()
        await backend.processes[0].killed.wait()


async def test_the_error_stream_is_ended_behind_the_status_and_not_reset() -> None:
    async with serving(ScriptedBackend(echo_and_exit)) as client:
        _, connection = await upgrade(client.reader, client.writer, EXEC, (V4,))
        await run_command(connection)
        sent = b"".join(client.transport.peer.writes[1:])
    decoder = FrameDecoder()
    decoder.feed(sent)
    frames = list(decoder.frames())
    on_error = [frame for frame in frames if getattr(frame, "stream_id", None) == 1]
    assert on_error[-1] == Data(1, b"", fin=True)
    assert isinstance(frames[-1], GoAway)


async def test_a_command_that_cannot_start_is_an_internal_error_in_the_runtimes_words() -> None:
    result = await run(ScriptedBackend(), POD_PATH + "exec?command=nope&stdout=true&stderr=true")
    message = status(result)["message"]
    assert message.startswith("Internal error occurred: error executing command in container: failed to exec")
    assert message.endswith('exec: "nope": executable file not found in $PATH: unknown')


async def test_an_attachments_end_is_a_success_whatever_the_exit_code() -> None:
    result = await run(ScriptedBackend(echo_and_exit), POD_PATH + "attach?stdout=true&stderr=true")
    assert status(result)["status"] == "Success"


async def test_with_a_terminal_sizes_are_applied_even_when_they_come_in_pieces() -> None:
    backend = ScriptedBackend()
    async with serving(backend) as client:
        target = POD_PATH + "exec?command=sh&stdin=1&stdout=1&tty=1"
        _, connection = await upgrade(client.reader, client.writer, target, (V4,))
        async with asyncio.TaskGroup() as tasks:
            reading = tasks.create_task(connection.run())
            streams = [
                connection.open((("streamtype", kind),)) for kind in ("error", "stdin", "stdout", "resize")
            ]
            await streams[-1].replied()
            await streams[-1].write(b'{"Width":80,"Height":24}\n{"Width":1')
            await streams[-1].write(b'01,"Height":37}\n')
            while not backend.processes:
                await asyncio.sleep(0)
            process = backend.processes[0]
            while len(process.sizes) < 2:
                await process.resized.wait()
                process.resized.clear()
            process.exit(0)
            assert json.loads(await streams[0].read())["status"] == "Success"
            reading.cancel()
    assert process.sizes == [(80, 24), (101, 37)]


async def test_a_client_that_goes_away_takes_the_command_with_it() -> None:
    backend = ScriptedBackend()
    async with serving(backend) as client:
        _, connection = await upgrade(client.reader, client.writer, EXEC, (V4,))
        for kind in ("error", "stdout", "stderr"):
            connection.open((("streamtype", kind),))
        while not backend.processes:
            await asyncio.sleep(0)
        client.transport.abort()
        await backend.processes[0].killed.wait()


async def test_the_highest_protocol_of_the_clients_list_that_kubelet_knows_is_chosen() -> None:
    async with serving(ScriptedBackend()) as client:
        head, _ = await upgrade(client.reader, client.writer, EXEC, (V5, V4, V3))
    assert head.field("x-stream-protocol-version") == V4


@pytest.mark.parametrize(
    ("target", "protocols", "code", "words"),
    [
        (EXEC, ("v9.channel.k8s.io",), 403, b"unable to negotiate protocol"),
        (EXEC, (), 400, b"X-Stream-Protocol-Version is required"),
        (POD_PATH + "exec?command=run", (V4,), 400, b"at least 1 of stdin, stdout, stderr"),
        (EXEC.replace("box", "other"), (V4,), 404, b'"details":{"name":"other","kind":"pods"},"code":404'),
        (POD_PATH + "eviction", (V4,), 404, b"could not find the requested resource"),
    ],
)
async def test_a_refusal_comes_in_the_place_of_the_101(
    target: str, protocols: tuple[str, ...], code: int, words: bytes
) -> None:
    async with serving(ScriptedBackend()) as client:
        with pytest.raises(UpgradeRefused) as refused:
            await upgrade(client.reader, client.writer, target, protocols)
        assert await client.reader.read() == b""
    assert refused.value.code == code
    assert words in refused.value.body


async def test_a_request_without_upgrade_is_told_so() -> None:
    async with serving(ScriptedBackend()) as client:
        client.writer.write(f"POST {EXEC} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert (await read_head(client.reader)).code == 400
        assert b'"Upgrade request required"' in await client.reader.read()


async def test_the_fault_early_frame_shares_a_write_with_the_101_and_is_answered() -> None:
    backend = ScriptedBackend(echo_and_exit)
    async with serving(backend, StreamingFaults(first_frame_with_head=True)) as client:
        _, connection = await upgrade(client.reader, client.writer, EXEC, (V4,))
        assert len(client.transport.peer.writes) == 1
        await run_command(connection)
        assert connection.pings_answered == 1


@pytest.mark.parametrize("code", [100, 103])
async def test_the_fault_informational_puts_a_head_before_the_101(code: int) -> None:
    async with serving(ScriptedBackend(), StreamingFaults(informational=code)) as client:
        with pytest.raises(UpgradeRefused) as seen:
            await upgrade(client.reader, client.writer, EXEC, (V4,))
        assert seen.value.code == code
        assert (await read_head(client.reader)).code == 101


@pytest.mark.parametrize(("code", "location"), [(200, ""), (302, "https://elsewhere.example/")])
async def test_the_fault_answer_replaces_the_101(code: int, location: str) -> None:
    async with serving(ScriptedBackend(), StreamingFaults(answer=code)) as client:
        client.writer.write(f"POST {EXEC} HTTP/1.1\r\nConnection: Upgrade\r\n\r\n".encode())
        head = await read_head(client.reader)
    assert (head.code, head.field("location")) == (code, location)


async def test_the_fault_close_behind_status_does_not_wait_for_the_client() -> None:
    backend = ScriptedBackend(echo_and_exit)
    async with serving(backend, StreamingFaults(close_behind_status=True)) as client:
        _, connection = await upgrade(client.reader, client.writer, EXEC, (V4,))
        assert status(await run_command(connection))["reason"] == "NonZeroExitCode"
        async with asyncio.timeout(CLOSE_SECONDS / 2):
            while await client.reader.read(65536):
                continue


async def test_the_fault_cut_ends_the_output_without_a_status() -> None:
    async def write_for_ever(process: ScriptedProcess) -> None:
        while not process.killed.is_set():
            process.stdout.feed_data(b"x" * 10)
            await asyncio.sleep(0)

    faults = StreamingFaults(cut_after_bytes=100)
    result = await run(ScriptedBackend(write_for_ever), faults=faults)
    assert len(result.outputs["stdout"]) >= 100
    assert result.error == b""


async def test_a_reset_output_does_not_stop_the_command() -> None:
    backend = ScriptedBackend()
    async with serving(backend) as client:
        _, connection = await upgrade(client.reader, client.writer, EXEC, (V4,))
        async with asyncio.TaskGroup() as tasks:
            reading = tasks.create_task(connection.run())
            error, stdout, _ = (
                connection.open((("streamtype", kind),)) for kind in ("error", "stdout", "stderr")
            )
            await stdout.replied()
            stdout.reset()
            while not backend.processes:
                await asyncio.sleep(0)
            backend.processes[0].stdout.feed_data(bytes(1_000_000))
            backend.processes[0].exit(0)
            assert json.loads(await error.read())["status"] == "Success"
            with pytest.raises(StreamReset):
                await stdout.write(b"x")
            reading.cancel()
