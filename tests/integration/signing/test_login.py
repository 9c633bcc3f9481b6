"""Users that sign in: the command as kubectl runs it, and kubectl itself, against a stub's port."""

import asyncio
import json
import os
import shutil
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from certs.denied import deny, new_denial
from certs.lifetime import utc_now
from certs.pem import PemFile, read_pair
from tests.integration.signing.front_double import FrontDouble, fronting
from tests.integration.signing.issuer import Issuer, issuing
from tests.integration.signing.test_oidc import KEY, claims
from tests.integration.waiting import soon
from tests.unit.certs.installation import Installation
from tunnel.cli.main import main

COMMAND = Path(sys.executable).with_name("cluster-tunnel")


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    return Installation.make(tmp_path / "ca")


@pytest.fixture
def kubectl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The program; with `cluster-tunnel` on its PATH and a cache and home of its own."""
    program = shutil.which("kubectl")
    if program is None:
        pytest.skip("there is no kubectl on PATH")
    monkeypatch.setenv("PATH", f"{COMMAND.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path))
    yield program


async def run(*words: str) -> tuple[int, str, str]:
    """Run a program; return its exit code and what it printed."""
    process = await asyncio.create_subprocess_exec(
        *words,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        stdin=asyncio.subprocess.DEVNULL,
    )
    output, errors = await soon(process.communicate(), 30)
    assert process.returncode is not None
    return process.returncode, output.decode(), errors.decode()


class Scene:
    """A stub and a kubeconfig that leads to it."""

    def __init__(self, installation: Installation, front: FrontDouble, program: str, folder: Path) -> None:
        self.installation = installation
        self.front = front
        self._program = program
        self.kubeconfig = folder / "kubeconfig"
        self._cache = folder / "cache" / "cluster-tunnel"

    def write(self, *words: str) -> None:
        """Make the kubeconfig as its owner is given it."""
        server = f"https://localhost:{self.front.port}"
        shared = ["--cluster", "prod", "--server", server, "--dir", str(self.installation.store.folder)]
        assert main(["kubeconfig", *words, *shared, "--login", "-o", str(self.kubeconfig)]) == 0

    async def version(self) -> tuple[int, str, str]:
        return await run(self._program, "--kubeconfig", str(self.kubeconfig), "get", "--raw", "/version")

    @property
    def cached(self) -> Any:
        """The certificate that is kept."""
        (file,) = self._cache.glob("*.pem")
        return read_pair(PemFile(file), PemFile(file)).certificate


@asynccontextmanager
async def scene_of(
    installation: Installation, program: str, folder: Path, **settings: Any
) -> AsyncIterator[Scene]:
    async with fronting(ca_dir=installation.store.folder, **settings) as front:
        yield Scene(installation, front, program, folder)


@pytest.mark.kubectl
async def test_kubectl_renews_its_user_s_certificate_by_itself(
    installation: Installation, kubectl: str, tmp_path: Path
) -> None:
    async with scene_of(installation, kubectl, tmp_path) as scene:
        scene.write("alice", "-g", "devs", "--ttl", "4s")
        code, output, errors = await scene.version()
        assert (code, json.loads(output or "{}").get("gitVersion")) == (0, "v-alice"), errors
        first_events = len(scene.front.events)
        await asyncio.sleep(3)  # the life of a certificate: nothing else makes one old to another program
        code, output, errors = await scene.version()
        assert (code, json.loads(output or "{}").get("gitVersion")) == (0, "v-alice"), errors
        assert len(scene.front.events) > first_events or first_events == 1
        assert {(event.action, event.method, event.code) for event in scene.front.events} == {
            ("login", "certificate", 200)
        }
        assert scene.cached.subject.rfc4514_string() == "CN=alice,O=devs"


@pytest.mark.kubectl
async def test_kubectl_signs_in_by_id_token_and_no_key_was_copied_to_its_user(
    installation: Installation, kubectl: str, tmp_path: Path
) -> None:
    folder = tmp_path / "issuer"
    folder.mkdir()
    for name in ("server.crt", "server.key"):
        shutil.copy(installation.path(name), folder)
    with issuing(folder) as issuer:
        issuer.publish(KEY)
        settings = _oidc(installation, issuer)
        async with scene_of(installation, kubectl, tmp_path, **settings) as scene:
            token = tmp_path / "id-token"
            token.write_text(KEY.sign(claims(issuer, groups=["devs"])))
            scene.write("--oidc-token-file", str(token))
            assert "PRIVATE" not in scene.kubeconfig.read_text()
            code, output, errors = await scene.version()
            assert (code, json.loads(output or "{}").get("gitVersion")) == (0, "v-oidc:alice"), errors
            token.unlink()
            assert (await scene.version())[0] == 0
            (event,) = scene.front.events
            assert (event.method, event.user, event.groups) == ("oidc", "oidc:alice", ("oidc:devs",))


def _oidc(installation: Installation, issuer: Issuer) -> dict[str, Any]:
    return {
        "oidc_issuer": issuer.url,
        "oidc_audience": ("kubectl",),
        "oidc_ca": installation.path("server-ca.crt"),
    }


@pytest.mark.kubectl
async def test_kubectl_shows_why_a_sign_in_is_refused(
    installation: Installation, kubectl: str, tmp_path: Path
) -> None:
    async with scene_of(installation, kubectl, tmp_path) as scene:
        scene.write("alice")
        text = scene.kubeconfig.read_text()
        scene.kubeconfig.write_text(
            text.replace('name: "CTUN_', 'name: "NOT_').replace("name: CTUN_", "name: NOT_")
        )
        code, _, errors = await scene.version()
        assert code == 1
        assert "cluster-tunnel: there is no certificate that could renew itself" in errors


@pytest.mark.kubectl
async def test_a_revoked_user_is_told_so_by_kubectl(
    installation: Installation, kubectl: str, tmp_path: Path
) -> None:
    async with scene_of(installation, kubectl, tmp_path) as scene:
        scene.write("alice")
        assert (await scene.version())[0] == 0
        deny(installation.store.folder, [new_denial("user", "alice", utc_now())])
        await asyncio.sleep(1.1)  # the deny list is looked at once a second
        code, _, _ = await scene.version()
        assert (code, scene.front.served[-1]) == (1, "nobody")


async def test_a_dozen_that_start_together_ask_the_stub_once(
    installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with fronting(ca_dir=installation.store.folder) as front:
        monkeypatch.delenv("KUBERNETES_EXEC_INFO", raising=False)
        old = installation.store.issue_user("alice", [], installation_life())
        words = [
            "--server",
            f"https://localhost:{front.port}",
            "--ca",
            str(installation.path("server-ca.crt")),
        ]
        words += ["--cert", str(old.files.certificate), "--key", str(old.files.key)]
        words += ["--cache", str(tmp_path / "cache")]
        await asyncio.sleep(2.1)
        done = await asyncio.gather(*(run(str(COMMAND), "login", *words) for _ in range(6)))
        assert [code for code, _, _ in done] == [0] * 6, done
        assert len({output for _, output, _ in done}) == 1
        assert len(front.events) == 1


def installation_life() -> Any:
    from datetime import timedelta

    from certs.lifetime import Lifetime

    return Lifetime.starting(utc_now(), timedelta(seconds=3))
