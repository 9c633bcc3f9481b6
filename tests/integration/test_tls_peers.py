"""TLS streams against the implementations they meet: Go's (kubectl, the apiserver) and OpenSSL's command."""

import asyncio
import asyncio.subprocess as subprocess
import os
import random
import shutil
import ssl
import subprocess as blocking
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests import pki
from tests.integration.loops import Echo, Recorder, serving
from tunnel.aio.dial import dial_tls
from tunnel.aio.errors import TlsBroken, TruncatedError

GO_SOURCE = Path(__file__).parent / "go"
OPENSSL = shutil.which("openssl")
PAYLOAD = random.Random(3).randbytes(3_000_001)

needs_openssl = pytest.mark.skipif(OPENSSL is None, reason="there is no openssl on PATH")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> pki.Authority:
    return pki.Authority(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def jane(authority: pki.Authority) -> pki.KeyPair:
    return authority.client("jane", ["dev"])


@pytest.fixture(scope="module")
def go_peer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    go = shutil.which("go")
    if go is None:
        pytest.skip("there is no Go toolchain on PATH")
    binary = tmp_path_factory.mktemp("go") / "tlspeer"
    environment = os.environ | {"GOFLAGS": "-mod=mod", "GOTOOLCHAIN": "local", "CGO_ENABLED": "0"}
    blocking.run([go, "build", "-o", binary, "."], cwd=GO_SOURCE, env=environment, check=True, timeout=300)
    return binary


@asynccontextmanager
async def running(*command: str | Path, **environment: str) -> AsyncIterator[subprocess.Process]:
    """Run a command with pipes while the block runs."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | environment,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@pytest.mark.parametrize("version", ["1.2", "1.3"])
async def test_a_go_client_half_closes_and_gets_all_its_bytes_back(
    version: str, go_peer: Path, authority: pki.Authority, jane: pki.KeyPair
) -> None:
    context = pki.server_context(authority.server(), client_ca=authority, alpn=["http/1.1"])
    async with serving(context, Echo) as server:
        address = f"127.0.0.1:{server.port}"
        command = (go_peer, "client", address, authority.path, jane.cert_path, jane.key_path)
        async with running(*command, TLSPEER_VERSION=version) as process:
            out, log = await process.communicate(PAYLOAD)
        assert log.decode() == f"TLS {version} http/1.1\n"
        assert process.returncode == 0
        assert out == PAYLOAD
        owner = await server.owner()
        await owner.closed.wait()
        assert owner.error is None
        assert owner.stream.tls.certificate == jane.der


@pytest.mark.parametrize("version", ["1.2", "1.3"])
async def test_a_go_client_that_is_cut_off_is_told_from_one_that_ends(
    version: str, go_peer: Path, authority: pki.Authority
) -> None:
    async with serving(pki.server_context(authority.server())) as server:
        command = (go_peer, "client", f"127.0.0.1:{server.port}", authority.path)
        async with running(*command, TLSPEER_VERSION=version, TLSPEER_CUT="1") as process:
            await process.communicate(b"half a request")
        owner = await server.owner()
        await owner.closed.wait()
        assert owner.data == b"half a request"
        assert isinstance(owner.error, TruncatedError)


@pytest.mark.parametrize("version", ["1.2", "1.3"])
async def test_a_go_client_without_a_certificate_reads_why_it_is_refused(
    version: str, go_peer: Path, authority: pki.Authority
) -> None:
    """The alert must arrive: a reset in its place makes kubectl retry for ten seconds, and say nothing."""
    context = pki.server_context(authority.server(), client_ca=authority)
    async with serving(context) as server:
        command = (go_peer, "client", f"127.0.0.1:{server.port}", authority.path)
        async with running(*command, TLSPEER_VERSION=version) as process:
            _, log = await process.communicate(PAYLOAD)
        assert b"remote error: tls: " in log
        assert await server.failure() == "the peer showed no certificate"


@pytest.mark.parametrize("version", ["1.2", "1.3"])
async def test_a_go_server_takes_our_half_close_and_echoes_everything(
    version: str, go_peer: Path, authority: pki.Authority, jane: pki.KeyPair
) -> None:
    pair = authority.server()
    command = (go_peer, "server", pair.cert_path, pair.key_path, authority.path)
    async with running(*command, TLSPEER_VERSION=version) as process:
        assert process.stdout is not None
        port = int(await process.stdout.readline())
        owner = Recorder()
        context = pki.client_context(authority, pair=jane, alpn=["http/1.1"])
        stream = await dial_tls("localhost", port, context, handler_factory=lambda: owner)
        stream.write(PAYLOAD)
        stream.write_end()
        await owner.closed.wait()
        assert owner.data == PAYLOAD
        assert owner.calls[-2:] == ["ended", "closed"]
        assert owner.error is None
        assert await process.wait() == 0


async def test_a_go_server_that_refuses_our_certificate_says_so(
    go_peer: Path, authority: pki.Authority
) -> None:
    pair = authority.server()
    async with running(go_peer, "server", pair.cert_path, pair.key_path, authority.path) as process:
        assert process.stdout is not None
        port = int(await process.stdout.readline())
        owner = Recorder()
        context = pki.client_context(authority)
        stream = await dial_tls("localhost", port, context, handler_factory=lambda: owner)
        stream.write(b"hello")
        await owner.closed.wait()
        assert isinstance(owner.error, TlsBroken)
        assert str(owner.error) == "the peer demands a certificate"


@needs_openssl
@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
async def test_openssl_s_client_sees_our_certificate_and_our_end(
    version: str, authority: pki.Authority, jane: pki.KeyPair
) -> None:
    context = pki.server_context(authority.server(), client_ca=authority, alpn=["http/1.1"])
    async with serving(context) as server:
        command = f"openssl s_client -connect 127.0.0.1:{server.port} -servername localhost -quiet -ign_eof"
        files: list[str | Path] = ["-CAfile", authority.path, "-cert", jane.cert_path, "-key", jane.key_path]
        checks = ["-verify_return_error", "-verify_hostname", "localhost", "-alpn", "http/1.1", version]
        async with running(*command.split(), *files, *checks) as process:
            assert process.stdin is not None
            process.stdin.write(b"from openssl\n")
            owner = await server.owner()
            assert await owner.received(13) == b"from openssl\n"
            owner.stream.write(b"from us\n")
            owner.stream.close()
            out, log = await process.communicate()
        assert out == b"from us\n"
        assert process.returncode == 0, log
        assert owner.stream.tls.alpn == "http/1.1"
        await owner.closed.wait()
        assert owner.error is None


@needs_openssl
async def test_a_key_update_of_the_peer_goes_unnoticed(authority: pki.Authority) -> None:
    async with serving(pki.server_context(authority.server()), Echo) as server:
        command = f"openssl s_client -connect 127.0.0.1:{server.port} -servername localhost -tls1_3"
        async with running(*command.split(), "-CAfile", authority.path) as process:
            assert process.stdin is not None
            owner = await server.owner()
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdin.write(b"one\n")
            await owner.received(4)
            process.stdin.write(b"K\n")  # update, and ask for an update of ours
            await process.stderr.readuntil(b"KEYUPDATE")
            process.stdin.write(b"two\n")
            assert await owner.received(8) == b"one\ntwo\n"
            assert b"one\n" in await process.stdout.readuntil(b"two\n")


@needs_openssl
async def test_renegotiation_is_refused_without_losing_what_came_before(authority: pki.Authority) -> None:
    async with serving(pki.server_context(authority.server())) as server:
        command = f"openssl s_client -connect 127.0.0.1:{server.port} -servername localhost -tls1_2"
        async with running(*command.split(), "-CAfile", authority.path) as process:
            assert process.stdin is not None
            owner = await server.owner()
            process.stdin.write(b"before\n")
            assert await owner.received(7) == b"before\n"
            process.stdin.write(b"R\n")
            await owner.closed.wait()
        assert owner.data == b"before\n"
        assert owner.error is None or isinstance(owner.error, (TlsBroken, TruncatedError, OSError))


@needs_openssl
async def test_tickets_of_openssl_s_server_do_not_disturb_us(authority: pki.Authority) -> None:
    pair = authority.server()
    command = "openssl s_server -accept 127.0.0.1:0 -rev -num_tickets 4"
    async with running(*command.split(), "-cert", pair.cert_path, "-key", pair.key_path) as process:
        assert process.stdout is not None
        port = 0
        while not port:
            line = (await process.stdout.readline()).decode()
            port = int(line.rsplit(":", 1)[1]) if line.startswith("ACCEPT") else 0
        owner = Recorder()
        context: ssl.SSLContext = pki.client_context(authority)
        stream = await dial_tls("localhost", port, context, handler_factory=lambda: owner)
        stream.write(b"abc\n")
        assert await owner.received(4) == b"cba\n"
        stream.close()
        await owner.closed.wait()
        assert owner.error is None
