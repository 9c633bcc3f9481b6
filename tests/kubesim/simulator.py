"""The simulator as a whole: put together, started, and ended cleanly."""

import asyncio
import base64
import contextlib
import secrets
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import yaml

from tests.kubesim import fixtures, images
from tests.kubesim.api import Api
from tests.kubesim.audit import Audit
from tests.kubesim.authentication import Authenticator, ServiceAccountTokens, TokenFile
from tests.kubesim.controllers import Controllers
from tests.kubesim.events import Events
from tests.kubesim.faults import Faults
from tests.kubesim.kubelet import Kubelet
from tests.kubesim.logs import Logs
from tests.kubesim.objects import Objects
from tests.kubesim.pki import Authority, Pair
from tests.kubesim.probes import Probes
from tests.kubesim.rbac import Authorizer
from tests.kubesim.registry import Registry
from tests.kubesim.reviews import Reviews
from tests.kubesim.runtime import Runtime
from tests.kubesim.sandboxes import Sandboxes
from tests.kubesim.server import Server
from tests.kubesim.store import Store
from tests.kubesim.subresources import Subresources
from tests.kubesim.watch import Watches

ADMIN: Final = ("kubernetes-admin", ("system:masters",))
AGENT: Final = "system:serviceaccount:cluster-tunnel:cluster-tunnel-agent"


@dataclass(slots=True)
class KubeSim:
    """A running simulator.

    Attributes:
        url: `https://127.0.0.1:PORT`.
        ca_file: the authority that signed its server certificate; it also verifies clients' certificates.
        admin_kubeconfig: with a client certificate of `system:masters`.
        tokens_file: CSV of `token,user,uid,"groups"`, read again whenever it changes.
        tokens: bearer tokens by user: `admin`, `agent` (may impersonate anyone), `viewer` (may read).
        authority: issues further client certificates.
    """

    url: str
    directory: Path
    ca_file: Path
    admin_kubeconfig: Path
    admin: Pair
    tokens_file: Path
    tokens: dict[str, str]
    authority: Authority
    faults: Faults
    audit: Audit
    store: Store
    registry: Registry
    accounts: ServiceAccountTokens
    runtime: Runtime
    watches: Watches
    server: Server

    @classmethod
    @contextlib.asynccontextmanager
    async def start(
        cls, directory: Path, *, host: str = "127.0.0.1", port: int = 0, samples: bool = True
    ) -> AsyncIterator["KubeSim"]:
        """Start a simulator whose state lies in `directory`, and end it on leaving the context.

        Args:
            samples: whether the sample pods `web`, `ticker` and `shell` are started.

        Raises:
            OSError: the address is in use, or the directory cannot be written.
        """
        directory.mkdir(parents=True, exist_ok=True)
        directory.chmod(0o755)
        async with contextlib.AsyncExitStack() as stack:
            sim = await _assemble(stack, directory.resolve(), host, port)
            fixtures.install(sim.registry)
            async with asyncio.TaskGroup() as group:
                kubelet = _kubelet(sim)
                controllers = Controllers(sim.registry, Events(sim.registry), sim.ca_file.read_text())
                tasks = [group.create_task(kubelet.run()), group.create_task(controllers.run())]
                await asyncio.sleep(0)
                fixtures.settle(sim.registry, samples=samples)
                try:
                    yield sim
                finally:
                    await sim.server.close()
                    for task in tasks:
                        task.cancel()
            if sim.server.failures:
                raise ExceptionGroup("the simulator failed on requests", sim.server.failures)


def _kubelet(sim: KubeSim) -> Kubelet:
    return Kubelet(sim.registry, sim.runtime, Events(sim.registry), sim.accounts)


async def _assemble(stack: contextlib.AsyncExitStack, directory: Path, host: str, port: int) -> KubeSim:
    """Make all parts and start to listen."""
    authority = Authority(directory)
    tokens_file, tokens = _write_tokens(directory)
    store = Store()
    registry, authorizer, faults = Registry(store), Authorizer(store), Faults()
    audit = Audit(directory / "audit.log")
    stack.callback(audit.close)
    accounts = ServiceAccountTokens(store)
    authenticator = Authenticator(TokenFile(tokens_file), accounts, authorizer)
    sandboxes = Sandboxes()
    await sandboxes.start()
    stack.push_async_callback(sandboxes.close)
    runtime = Runtime(sandboxes, directory / "pods", images.install_applets(directory / "applets"))
    watches = Watches(store)
    objects = Objects(registry, watches)
    reviews = Reviews(authenticator, authorizer, store)
    api = Api(
        authenticator=authenticator, authorizer=authorizer, audit=audit, faults=faults, objects=objects,
        subresources=Subresources(registry, objects, reviews, Logs(runtime), runtime), reviews=reviews,
        probes=Probes(faults, audit, store), backend=runtime,
    )  # fmt: skip
    server = Server(api.handle)
    bound = await server.listen(host, port, _tls(authority))
    api.address = f"{host}:{bound}"
    url = f"https://{host}:{bound}"
    admin = authority.client("admin", *ADMIN)
    kubeconfig = _write_kubeconfig(directory, url, authority.pair.certificate, admin)
    return KubeSim(
        url=url, directory=directory, ca_file=authority.pair.certificate, admin_kubeconfig=kubeconfig, admin=admin,
        tokens_file=tokens_file, tokens=tokens, authority=authority, faults=faults, audit=audit, store=store,
        registry=registry, runtime=runtime, accounts=accounts, watches=watches, server=server,
    )  # fmt: skip


def _tls(authority: Authority) -> ssl.SSLContext:
    pair = authority.server()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    context.load_verify_locations(authority.pair.certificate)
    # Python cannot ask for a certificate without verifying it: an untrusted one fails the handshake here, while the
    # apiserver would answer 401.
    context.verify_mode = ssl.CERT_OPTIONAL
    context.set_alpn_protocols(["http/1.1"])
    return context


def _write_tokens(directory: Path) -> tuple[Path, dict[str, str]]:
    users = {
        "admin": (ADMIN[0], ADMIN[1]),
        "agent": (AGENT, ("system:serviceaccounts", "system:serviceaccounts:cluster-tunnel")),
        "viewer": ("viewer", ("viewers",)),
    }
    path = directory / "tokens.csv"
    tokens = {label: secrets.token_urlsafe(24) for label in users}
    lines = [f'{tokens[label]},{name},,"{",".join(groups)}"\n' for label, (name, groups) in users.items()]
    path.touch(mode=0o600)
    path.write_text("".join(lines))
    for label, token in tokens.items():
        file = directory / f"{label}.token"
        file.touch(mode=0o600)
        file.write_text(token)
    return path, tokens


def _write_kubeconfig(directory: Path, url: str, ca: Path, admin: Pair) -> Path:
    def text(path: Path) -> str:
        return base64.b64encode(path.read_bytes()).decode()

    user = {"client-certificate-data": text(admin.certificate), "client-key-data": text(admin.key)}
    cluster = {"server": url, "certificate-authority-data": text(ca)}
    config = {
        "apiVersion": "v1", "kind": "Config", "current-context": "kubesim",
        "clusters": [{"name": "kubesim", "cluster": cluster}],
        "users": [{"name": "admin", "user": user}],
        "contexts": [{"name": "kubesim", "context": {"cluster": "kubesim", "user": "admin"}}],
    }  # fmt: skip
    path = directory / "kubeconfig"
    path.touch(mode=0o600)
    path.write_text(yaml.safe_dump(config))
    return path
