"""An agent that joins, renews, is copied and is revoked: over real sockets and real TLS."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from agent.dialling.proxyrules import ProxyUrl
from agent.enrolment import Enrolment
from agent.enrolment_parts import follow_tls, make_enrolment
from agent.settings import AgentSettings
from agent.upstream.target import target_of
from certs.denied import deny, new_denial
from certs.lifetime import utc_now
from certs.peer import agent_cluster
from certs.pem import PemFile, read_pair
from certs.store import CertificateStore
from certs.tokenfile import TokenFile
from certs.tokens import pin_of
from tests import pki
from tests.integration.connect_proxy import connect_proxy
from tests.integration.signing.front_double import FrontDouble, fronting
from tests.integration.upstream import Upstream, answering
from tests.integration.waiting import soon, until
from tests.unit.certs.installation import Installation, der, lasting
from tests.unit.stub.signing.desk import UID
from tunnel.kit.failures import CommandFailed
from tunnel.kit.values import Address

NAMESPACE = json.dumps({"kind": "Namespace", "metadata": {"uid": UID}}).encode()


class Scene:
    """A cluster, its agent's settings, and a stub."""

    def __init__(self, tmp_path: Path, upstream: Upstream, authority: Path, front: FrontDouble) -> None:
        self.ca = Installation(CertificateStore(tmp_path / "ca"))
        self.front = front
        self.upstream = upstream
        self._folder = tmp_path
        self._authority = authority
        (tmp_path / "bearer").write_text("the-agents-own-token")

    def token(self, cluster: str = "prod", uses: int = 1) -> Path:
        """A file with a new join token."""
        pin = pin_of(PemFile(self.ca.path("server-ca.crt")))
        folder, path = self.ca.store.folder, self._folder / "token"
        path.write_text(TokenFile(folder).create(cluster, pin, pki.DAY, uses, utc_now())[0].text)
        return path

    def settings(self, **more: Any) -> AgentSettings:
        return AgentSettings(
            **{
                "stub": (Address("localhost", self.front.port),),
                "state": self._folder / "state",
                "upstream": f"https://localhost:{self.upstream.port}",
                "upstream_ca": self._authority,
                "token_file": self._folder / "bearer",
                "proxy": "off",
                **more,
            }
        )

    def enrolment(self, **more: Any) -> Enrolment:
        settings = self.settings(**more)
        enrolment = make_enrolment(settings, target_of(settings))
        assert enrolment is not None
        return enrolment

    def peer(self, pem: Path) -> Any:
        pair = read_pair(PemFile(pem), PemFile(pem))
        return self.front.standing.read(der(pair))


@pytest.fixture
async def scene(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Scene]:
    """Certificates live for a day, or as many seconds as the test says."""
    Installation.make(tmp_path / "ca")
    (tmp_path / "cluster").mkdir()
    cluster = pki.Authority(tmp_path / "cluster", "cluster-ca")
    upstream = Upstream(pki.server_context(cluster.server(), alpn=["http/1.1"]))
    upstream.script = answering(200, NAMESPACE)
    async with (
        upstream,
        fronting(ca_dir=tmp_path / "ca", agent_ttl=getattr(request, "param", 86400.0)) as front,
    ):
        yield Scene(tmp_path, upstream, cluster.path, front)


short_lived = pytest.mark.parametrize("scene", [3.0], indirect=True, ids=["short-lived"])


async def test_a_token_file_is_all_an_agent_needs(scene: Scene) -> None:
    settings = await soon(scene.enrolment(join_file=scene.token("prod")).enrol())
    peer = scene.peer(settings.cert)
    assert (agent_cluster(peer), peer.cluster_uid) == ("prod", UID)
    (asked,) = scene.upstream.requests
    assert asked.target == b"/api/v1/namespaces/kube-system"
    assert asked.values("authorization") == ["Bearer the-agents-own-token"]
    (event,) = scene.front.events
    assert (event.action, event.code, event.cluster) == ("join", 200, "prod")
    tls = follow_tls(settings)
    assert tls.value.session.minimum_version is ssl.TLSVersion.TLSv1_3


@short_lived
async def test_an_agent_behind_a_proxy_joins_and_renews_through_it(scene: Scene) -> None:
    async with connect_proxy(password="ann:secret") as proxy:
        url = ProxyUrl("localhost", proxy.port, username="ann", password="secret")
        enrolment = scene.enrolment(join_file=scene.token(), proxy=url, no_proxy=("other.example.com",))
        settings = await soon(enrolment.enrol())
        serial = scene.peer(settings.cert).serial
        async with asyncio.TaskGroup() as tasks:
            renewals = tasks.create_task(enrolment.keep_renewed())
            await until(lambda: scene.peer(settings.cert).serial != serial)
            renewals.cancel()
    # One connection each for the stub's authority, for joining and for renewing.
    assert proxy.asked == [f"localhost:{scene.front.port}"] * 3


@short_lived
async def test_a_certificate_is_renewed_before_it_ends_and_contexts_follow(scene: Scene) -> None:
    enrolment = scene.enrolment(join_file=scene.token())
    settings = await soon(enrolment.enrol())
    tls = follow_tls(settings)
    first, serial = tls.value, scene.peer(settings.cert).serial
    async with asyncio.TaskGroup() as tasks:
        renewals = tasks.create_task(enrolment.keep_renewed())
        await until(lambda: scene.peer(settings.cert).serial != serial)
        renewals.cancel()
    assert [event.action for event in scene.front.events] == ["join", "renew"]
    assert tls.current(1e9) is not first
    assert tls.problem is None


async def test_what_was_copied_into_another_cluster_is_refused_on_both_sides(scene: Scene) -> None:
    enrolment = scene.enrolment(join_file=scene.token(uses=5))
    settings = await soon(enrolment.enrol())
    scene.upstream.script = answering(200, NAMESPACE.replace(UID.encode(), b"copy"))
    with pytest.raises(CommandFailed, match="was made for another cluster"):
        await soon(scene.enrolment().enrol())
    with pytest.raises(CommandFailed, match="refuses: stub: the id 'prod' belongs to another cluster"):
        await soon(scene.enrolment(state=settings.cert.parent / "copy", join_file=scene.token()).enrol())
    assert [event.code for event in scene.front.events] == [200, 403]


async def test_a_stub_with_another_authority_never_hears_the_token(scene: Scene, tmp_path: Path) -> None:
    token = scene.token()
    imposter = Installation.make(tmp_path / "imposter")
    async with fronting(ca_dir=imposter.store.folder) as false:
        stub = (Address("localhost", false.port),)
        with pytest.raises(CommandFailed, match="its authority has another key"):
            await soon(scene.enrolment(join_file=token, stub=stub).enrol())
        assert false.events == []
    assert (await soon(scene.enrolment(join_file=token).enrol())).cert.exists()


async def test_an_agent_without_rights_is_told_which_to_grant(scene: Scene) -> None:
    scene.upstream.script = answering(403, b"{}")
    with pytest.raises(CommandFailed, match=r"grant it get on namespaces, resourceNames \[kube-system\]"):
        await soon(scene.enrolment(join_file=scene.token()).enrol())
    assert scene.front.open == []


async def test_an_apiserver_and_a_stub_that_come_later_are_waited_for(scene: Scene) -> None:
    scene.upstream.script = answering(500, b"{}")
    asking = asyncio.get_running_loop().create_task(scene.enrolment(join_file=scene.token()).enrol())
    await until(lambda: len(scene.upstream.requests) == 2)
    scene.upstream.script = answering(200, NAMESPACE)
    assert (await soon(asking)).cert.exists()


async def test_revoked_agents_are_named_by_the_next_sweep_and_come_back_with_a_new_token(
    scene: Scene,
) -> None:
    enrolment = scene.enrolment(join_file=scene.token())
    settings = await soon(enrolment.enrol())
    context = follow_tls(settings).value.session
    context.set_alpn_protocols(["http/1.1"])
    reader, writer = await asyncio.open_connection("localhost", scene.front.port, ssl=context)
    await until(scene.front.callers)
    assert scene.front.standing.sweep(scene.front.callers()) == []
    deny(scene.ca.store.folder, [new_denial("agent", "prod", utc_now())])
    await until(lambda: scene.front.standing.sweep(scene.front.callers()))
    ((connection, reason),) = scene.front.standing.sweep(scene.front.callers())
    assert "was revoked on" in reason
    connection.stream.abort()
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError, ssl.SSLError)):
        await soon(reader.readexactly(1))
    writer.close()
    with pytest.raises(CommandFailed, match="was revoked on"):
        await soon(enrolment._renew())
    again = await soon(scene.enrolment(join_file=scene.token()).enrol())
    assert scene.front.standing.problem(scene.peer(again.cert)) is None


async def test_new_connections_get_the_new_certificate_of_the_stub_without_a_restart(scene: Scene) -> None:
    served = []
    client = ssl.create_default_context(cafile=str(scene.ca.path("server-ca.crt")))
    for _ in range(2):
        _, writer = await asyncio.open_connection("localhost", scene.front.port, ssl=client)
        tls = writer.get_extra_info("ssl_object")
        served.append(tls.getpeercert()["serialNumber"])
        writer.close()
        await writer.wait_closed()
        scene.ca.store.issue_server(["localhost"], lasting())
        scene.front.listener.set_context(scene.front.context.current(1e9))
    assert served[0] != served[1]
