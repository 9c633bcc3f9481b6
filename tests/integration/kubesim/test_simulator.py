"""The simulator over its real socket, with a client that shares no code with it."""

import asyncio
import contextlib
import hashlib
import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.kubesim.containers import CommandNotStarted, ContainerRefusal, PodName
from tests.kubesim.probes import known_bytes
from tests.kubesim.resources import resource
from tests.kubesim.simulator import KubeSim
from tests.kubesim.workloads import is_ready

MAPS = "/api/v1/namespaces/default/configmaps"
SHELL = PodName("default", "shell")


class Client:
    """Asks the simulator as one user."""

    def __init__(self, sim: KubeSim, session: aiohttp.ClientSession, token: str) -> None:
        self.sim, self.session = sim, session
        self.headers = {"Authorization": f"Bearer {token}"} if token else {}

    def ask(self, method: str, path: str, **more: Any) -> Any:
        headers = self.headers | more.pop("headers", {})
        return self.session.request(method, self.sim.url + path, headers=headers, **more)

    async def json(self, method: str, path: str, **more: Any) -> tuple[int, Any]:
        async with self.ask(method, path, **more) as response:
            return response.status, await response.json()


@contextlib.asynccontextmanager
async def running(
    directory: Path, *, samples: bool = False
) -> AsyncIterator[tuple[KubeSim, aiohttp.ClientSession]]:
    async with KubeSim.start(directory, samples=samples) as sim:
        connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=sim.ca_file))
        async with aiohttp.ClientSession(connector=connector) as session:
            yield sim, session


@pytest.fixture
async def admin(tmp_path: Path) -> AsyncIterator[Client]:
    async with running(tmp_path) as (sim, session):
        yield Client(sim, session, sim.tokens["admin"])


async def ready(sim: KubeSim, name: str) -> None:
    """Wait until a pod whose name begins so is Ready, and the controllers have seen it."""
    done = asyncio.Event()

    def look(_: object = None) -> None:
        pods = sim.store.list(resource("pods"), "default")
        if any(pod["metadata"]["name"].startswith(name) and is_ready(pod) for pod in pods):
            done.set()

    stop = sim.store.listen(look)
    look()
    async with asyncio.timeout(20):
        await done.wait()
        if name == "web-":
            while not sim.store.get(resource("endpoints"), "default", "web")["subsets"][0].get("addresses"):
                await asyncio.sleep(0)
    stop()


async def test_no_token_is_anonymous_and_a_wrong_one_is_401(admin: Client) -> None:
    nobody, stranger = (Client(admin.sim, admin.session, token) for token in ("", "wrong"))
    assert (await nobody.json("GET", MAPS))[0] == 403
    code, answer = await stranger.json("GET", MAPS)
    assert (code, answer["reason"]) == (401, "Unauthorized")


async def test_a_token_counts_from_the_moment_it_stands_in_the_file(admin: Client) -> None:
    late = Client(admin.sim, admin.session, "late")
    assert (await late.json("GET", MAPS))[0] == 401
    with admin.sim.tokens_file.open("a") as file:
        file.write('late,viewer,,"viewers"\n')
    assert (await late.json("GET", MAPS))[0] == 200


async def test_impersonation_changes_who_acts_and_the_audit_log_tells_both(admin: Client) -> None:
    agent = Client(admin.sim, admin.session, admin.sim.tokens["agent"])
    as_jane = {"Impersonate-User": "jane", "Impersonate-Group": "viewers", "Audit-ID": "the-call"}
    assert (await agent.json("GET", MAPS, headers=as_jane))[0] == 200
    event = admin.sim.audit.of("the-call")[0]
    assert event["user"]["username"] == "system:serviceaccount:cluster-tunnel:cluster-tunnel-agent"
    assert event["impersonatedUser"] == {"username": "jane", "groups": ["viewers", "system:authenticated"]}


async def test_an_empty_impersonated_user_counts_as_none_unless_groups_stand_beside_it(admin: Client) -> None:
    assert (await admin.json("GET", MAPS, headers={"Impersonate-User": ""}))[0] == 200
    async with admin.ask("GET", MAPS, headers={"Impersonate-User": "", "Impersonate-Group": "a"}) as response:
        assert response.status == 500
        assert "without impersonating a user" in await response.text()


async def test_who_may_not_impersonate_is_refused(admin: Client) -> None:
    viewer = Client(admin.sim, admin.session, admin.sim.tokens["viewer"])
    code, answer = await viewer.json("GET", MAPS, headers={"Impersonate-User": "jane"})
    assert code == 403
    assert 'cannot impersonate resource "users"' in answer["message"]


async def test_a_stale_write_is_409(admin: Client) -> None:
    body = {"metadata": {"name": "x"}, "data": {"a": "1"}}
    _, first = await admin.json("POST", MAPS, json=body)
    await admin.json("PUT", f"{MAPS}/x", json=body | {"data": {"a": "2"}})
    code, answer = await admin.json("PUT", f"{MAPS}/x", json=first | {"data": {"a": "3"}})
    assert (code, answer["reason"]) == (409, "Conflict")


async def test_a_watch_delivers_each_event_as_it_happens_and_bookmarks_in_between(admin: Client) -> None:
    admin.sim.watches.bookmark_seconds = 0.1
    version = admin.sim.store.version
    path = f"{MAPS}?watch=1&resourceVersion={version}&allowWatchBookmarks=true"
    async with admin.ask("GET", path) as response:
        await admin.json("POST", MAPS, json={"metadata": {"name": "x"}})
        event = json.loads(await response.content.readline())
        assert (event["type"], event["object"]["metadata"]["name"]) == ("ADDED", "x")
        assert json.loads(await response.content.readline())["type"] == "BOOKMARK"


async def test_a_watch_from_before_the_compaction_gets_an_error_event(admin: Client) -> None:
    await admin.json("POST", "/kubesim/compact")
    async with admin.ask("GET", f"{MAPS}?watch=1&resourceVersion=1") as response:
        event = json.loads(await response.content.readline())
    assert (event["type"], event["object"]["code"]) == ("ERROR", 410)


async def test_a_closed_watch_is_gone(admin: Client) -> None:
    async with admin.ask("GET", f"{MAPS}?watch=1") as response:
        await response.content.readline()
        assert admin.sim.watches.open == 1
        response.close()
    async with asyncio.timeout(5):
        while admin.sim.watches.open:
            await asyncio.sleep(0)


@pytest.mark.parametrize("framing", ["", "&chunked=1"])
async def test_known_bytes_arrive_in_both_framings(admin: Client, framing: str) -> None:
    async with admin.ask("GET", f"/kubesim/bytes?n=200000{framing}") as response:
        body = await response.read()
        assert ("Content-Length" in response.headers) is (not framing)
    assert hashlib.sha256(body).digest() == hashlib.sha256(known_bytes(0, 200_000)).digest()


async def test_a_large_list_is_gzipped_where_the_client_takes_it(admin: Client) -> None:
    await admin.json("POST", MAPS, json={"metadata": {"name": "big"}, "data": {"a": "x" * 200_000}})
    async with admin.ask("GET", MAPS, headers={"Accept-Encoding": "gzip"}) as response:
        assert response.headers["Content-Encoding"] == "gzip"
        assert (await response.json())["items"]
    async with admin.ask("GET", MAPS, headers={"Accept-Encoding": "identity"}) as response:
        assert "Content-Encoding" not in response.headers


async def test_a_fault_strikes_as_often_as_it_says(admin: Client) -> None:
    fault = {"kind": "status", "path": "/configmaps", "count": 1, "code": 503, "retry_after": 1}
    assert (await admin.json("POST", "/kubesim/faults", json=fault))[0] == 201
    async with admin.ask("GET", MAPS) as response:
        assert (response.status, response.headers["Retry-After"]) == (503, "1")
    assert (await admin.json("GET", MAPS))[0] == 200


async def test_a_malformed_fault_is_400_and_names_what_is_wrong(admin: Client) -> None:
    code, answer = await admin.json("POST", "/kubesim/faults", json={"kind": "rain"})
    assert code == 400
    assert "'rain' is none of" in answer["message"]


@pytest.mark.parametrize("kind", ["reset", "close"])
async def test_a_connection_fault_gives_no_answer(admin: Client, kind: str) -> None:
    admin.sim.faults.add(kind, method="POST", path="/configmaps")
    with pytest.raises(aiohttp.ClientError):
        await admin.json("POST", MAPS, json={})


async def test_a_cut_body_does_not_end_cleanly(admin: Client) -> None:
    admin.sim.faults.add("cut", path="/kubesim/bytes", bytes=1000)
    async with admin.ask("GET", "/kubesim/bytes?n=5000&chunked=1") as response:
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()


async def test_containers_are_real_processes_with_a_file_system_of_their_own(tmp_path: Path) -> None:
    async with running(tmp_path, samples=True) as (sim, _):
        await ready(sim, "shell")
        process = await sim.runtime.exec(
            SHELL, "shell", ["sh", "-c", "cat > /tmp/f; cat /tmp/f; exit 7"], stdin=True, tty=False
        )
        assert process.stdin is not None
        process.stdin.write(b"abc\n")
        process.stdin.close()
        assert await process.stdout.read() == b"abc\n"
        assert await process.wait() == 7
        if sim.runtime.sandboxes.isolated:
            assert (sim.runtime.directory_of(SHELL) / "tmp" / "f").read_bytes() == b"abc\n"
        process.kill()


async def test_a_command_that_does_not_exist_is_not_started(tmp_path: Path) -> None:
    async with running(tmp_path, samples=True) as (sim, _):
        await ready(sim, "shell")
        with pytest.raises(CommandNotStarted, match=r'exec: "nope": executable file not found in \$PATH'):
            await sim.runtime.exec(SHELL, "shell", ["nope"], stdin=False, tty=False)
        with pytest.raises(ContainerRefusal, match="container other is not valid for pod shell"):
            sim.runtime.container_of(SHELL, "other")


async def test_a_followed_log_delivers_lines_while_they_are_written(tmp_path: Path) -> None:
    async with running(tmp_path, samples=True) as (sim, session):
        await ready(sim, "ticker")
        admin = Client(sim, session, sim.tokens["admin"])
        async with admin.ask("GET", "/api/v1/namespaces/default/pods/ticker/log?follow=true") as response:
            lines = [await response.content.readline() for _ in range(3)]
        assert lines == [b"tick 0\n", b"tick 1\n", b"tick 2\n"]


async def test_a_services_proxy_reaches_the_process_in_its_pod(tmp_path: Path) -> None:
    async with running(tmp_path, samples=True) as (sim, session):
        await ready(sim, "web-")
        admin = Client(sim, session, sim.tokens["admin"])
        async with admin.ask("GET", "/api/v1/namespaces/default/services/web:80/proxy/") as response:
            assert (await response.text()).startswith("hello from web-")
