"""Users that sign in: the command as kubectl runs it, and kubectl itself, against a stub's port."""

import asyncio
import json
import os
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from certs.denied import DenyList, deny, new_denial
from certs.issue import issue_user
from certs.kubeconfig import Access, LoginPlugin, write_kubeconfig
from certs.lifetime import Lifetime, utc_now
from certs.pem import KeyPair, PemFile, read_pair
from tests.integration.connect_proxy import connect_proxy
from tests.integration.signing.front_double import FrontDouble, fronting
from tests.integration.signing.issuer import Issuer, issuing
from tests.integration.signing.test_oidc import KEY, claims
from tests.integration.waiting import soon
from tests.unit.certs.installation import FAR, Installation, write_pair
from tunnel.cli.main import main

COMMAND = Path(sys.executable).with_name("cluster-tunnel")


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    return Installation.make(tmp_path / "ca")


@pytest.fixture
def kubectl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The program; with `cluster-tunnel` on its PATH and a cache and home of its own."""
    program = shutil.which("kubectl")
    if program is None:
        pytest.skip("there is no kubectl on PATH")
    monkeypatch.setenv("PATH", f"{COMMAND.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path))
    return program


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

    def write_with(self, first: KeyPair) -> None:
        """Make the kubeconfig with this certificate to begin with."""
        server, authority = (
            f"https://localhost:{self.front.port}",
            self.installation.store.authority_pem("server-ca"),
        )
        write_kubeconfig(
            self.kubeconfig, Access("prod", server, authority, LoginPlugin(first=first)), merge=False
        )

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
        scene.write_with(due_pair(installation))
        for _ in range(2):
            code, output, errors = await scene.version()
            assert (code, json.loads(output or "{}").get("gitVersion")) == (0, "v-alice"), errors
        (event,) = scene.front.events
        assert (event.action, event.method, event.code, event.groups) == (
            "login",
            "certificate",
            200,
            ("devs",),
        )
        assert f"{scene.cached.serial_number:x}" == event.serial


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
    installation: Installation, kubectl: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DenyList.__init__, "__defaults__", (0.0,))
    async with scene_of(installation, kubectl, tmp_path) as scene:
        scene.write("alice")
        assert (await scene.version())[0] == 0
        deny(installation.store.folder, [new_denial("user", "alice", utc_now())])
        code, _, _ = await scene.version()
        assert (code, scene.front.served[-1]) == (1, "nobody")


async def test_a_dozen_that_start_together_ask_the_stub_once(
    installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KUBERNETES_EXEC_INFO", raising=False)
    old = write_pair(tmp_path, "alice", due_pair(installation))
    async with fronting(ca_dir=installation.store.folder) as front:
        words = [
            "--server",
            f"https://localhost:{front.port}",
            "--ca",
            str(installation.path("server-ca.crt")),
        ]
        words += ["--cert", str(old.certificate), "--key", str(old.key), "--cache", str(tmp_path / "cache")]
        done = await asyncio.gather(*(run(str(COMMAND), "login", *words) for _ in range(4)))
        assert [code for code, _, _ in done] == [0] * 4, done
        assert len({output for _, output, _ in done}) == 1
        assert len(front.events) == 1


async def test_a_sign_in_goes_through_the_proxy(
    installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KUBERNETES_EXEC_INFO", raising=False)
    old = write_pair(tmp_path, "alice", due_pair(installation))
    async with fronting(ca_dir=installation.store.folder) as front, connect_proxy(password="a:b") as proxy:
        words = [
            "--server",
            f"https://localhost:{front.port}",
            "--ca",
            str(installation.path("server-ca.crt")),
        ]
        words += ["--cert", str(old.certificate), "--key", str(old.key), "--cache", str(tmp_path / "cache")]
        wrong = await run(str(COMMAND), "login", *words, "--proxy", f"http://localhost:{proxy.port}")
        assert (wrong[0], front.events) == (0, []), "the certificate that is there still lasts"
        assert "wants a user name and a password" in wrong[2]
        right = await run(str(COMMAND), "login", *words, "--proxy", f"http://a:b@localhost:{proxy.port}")
        assert right[0] == 0, right[2]
        assert [event.code for event in front.events] == [200]
    assert proxy.asked == [f"localhost:{front.port}"] * 2


def due_pair(installation: Installation) -> KeyPair:
    """A certificate of alice of which more than two thirds are over."""
    now = utc_now()
    life = Lifetime(now - timedelta(hours=3), now + timedelta(hours=1))
    authority = installation.store.authority("user-ca")
    return issue_user(authority, "alice", ["devs"], life, renewable_until=FAR)
