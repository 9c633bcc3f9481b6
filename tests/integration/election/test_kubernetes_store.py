"""The Lease store over real sockets, with an apiserver that can be made to fail in every way."""

import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stub.election.api import ANSWER_BYTES, KubernetesApi
from stub.election.errors import (
    MalformedRecord,
    StoreConflict,
    StoreError,
    StoreRefused,
    StoreUnavailable,
)
from stub.election.record import LeaseRecord
from stub.election.stores.kubernetes import KubernetesLeaseStore
from tests.integration.election.apiserver import LEASE, Apiserver, running_apiserver, write_kubeconfig

T0 = "2026-01-01T00:00:00.000000Z"
DRAFT = LeaseRecord("one", 15, T0, T0, transitions=1)


@pytest.fixture
def store(api: KubernetesApi) -> KubernetesLeaseStore:
    return KubernetesLeaseStore(api, "ns", "lease")


# Reading and writing -----------------------------------------------------------------------------


async def test_a_lease_is_created_where_there_is_none(server: Apiserver, store: KubernetesLeaseStore) -> None:
    assert await store.read(2.0) is None
    stored = await store.write(DRAFT, 2.0)
    assert (stored.version, stored.uid, stored.holder) == ("1", "uid-1", "one")
    assert await store.read(2.0) == stored
    assert server.lease is not None
    assert server.lease["spec"]["renewTime"] == T0


async def test_a_renewal_is_one_request(server: Apiserver, store: KubernetesLeaseStore) -> None:
    stored = await store.write(DRAFT, 2.0)
    server.seen.clear()
    for _ in range(3):
        stored = await store.write(stored, 2.0)
    assert server.lines() == [f"PUT {LEASE}/lease"] * 3


async def test_labels_that_others_set_survive_a_renewal(
    server: Apiserver, store: KubernetesLeaseStore
) -> None:
    await store.write(DRAFT, 2.0)
    assert server.lease is not None
    server.lease["metadata"]["labels"] = {"app": "stub"}
    record = await store.read(2.0)
    assert record is not None
    await store.write(record, 2.0)
    assert server.lease["metadata"]["labels"] == {"app": "stub"}


async def test_an_old_version_and_a_second_creation_and_a_vanished_lease_are_conflicts(
    server: Apiserver, store: KubernetesLeaseStore
) -> None:
    stored = await store.write(DRAFT, 2.0)
    with pytest.raises(StoreConflict, match="409: already exists"):
        await store.write(DRAFT, 2.0)
    await store.write(stored, 2.0)
    with pytest.raises(StoreConflict, match="409: the object has been modified"):
        await store.write(stored, 2.0)
    server.lease = None
    with pytest.raises(StoreConflict, match="404"):
        await store.write(stored, 2.0)


async def test_the_token_is_sent_without_the_newline_of_its_file(
    server: Apiserver, store: KubernetesLeaseStore
) -> None:
    await store.read(2.0)
    assert server.seen[0][2] == "Bearer secret"


# Failures ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [500, 502, 503, 504, 429, 408, 302])
async def test_a_page_in_html_is_an_answer_that_says_nothing(
    server: Apiserver, store: KubernetesLeaseStore, status: int
) -> None:
    server.fault = (status, "<html>Bad Gateway</html>")
    with pytest.raises(StoreUnavailable, match=rf"^the apiserver answered {status}$"):
        await store.write(DRAFT, 2.0)


@pytest.mark.parametrize("body", ["<html>", "[]", "", "[" * 100_000], ids=["html", "list", "empty", "deep"])
async def test_a_good_status_without_an_object_is_no_answer(
    server: Apiserver, store: KubernetesLeaseStore, body: str
) -> None:
    server.fault = (200, body)
    with pytest.raises(StoreUnavailable):
        await store.read(2.0)


async def test_an_endless_answer_is_not_read(server: Apiserver, store: KubernetesLeaseStore) -> None:
    server.fault = (200, "x" * (ANSWER_BYTES + 1))
    with pytest.raises(StoreUnavailable, match="larger than"):
        await store.read(10.0)


@pytest.mark.parametrize("status", [400, 401, 403, 422])
async def test_a_clear_no_is_told_with_its_reason_and_at_bounded_length(
    server: Apiserver, store: KubernetesLeaseStore, status: int
) -> None:
    server.fault = (status, json.dumps({"message": "because " + "x" * 5000}))
    with pytest.raises(StoreRefused, match=rf"^the apiserver answered {status}: because x+$") as caught:
        await store.write(DRAFT, 2.0)
    assert len(str(caught.value)) < 300


async def test_a_namespace_that_does_not_exist_is_named(
    server: Apiserver, store: KubernetesLeaseStore
) -> None:
    server.fault = (404, json.dumps({"message": 'namespaces "ns" not found'}))
    with pytest.raises(StoreRefused, match=r"^namespace ns: .*not found$"):
        await store.write(DRAFT, 2.0)


async def test_a_connection_that_is_reset_is_no_answer(
    server: Apiserver, store: KubernetesLeaseStore
) -> None:
    await store.read(2.0)
    server.fault = "reset"
    with pytest.raises(StoreUnavailable):
        await store.read(2.0)
    server.fault = None
    assert await store.read(2.0) is None


async def test_an_apiserver_that_hangs_is_given_up_in_time(
    server: Apiserver, store: KubernetesLeaseStore
) -> None:
    await store.read(2.0)
    server.fault = "hang"
    began = time.monotonic()
    with pytest.raises(StoreUnavailable, match="did not answer in time"):
        await store.read(0.2)
    assert time.monotonic() - began < 1.5


async def test_a_lease_that_no_write_could_be_conditional_on_is_refused(
    server: Apiserver, store: KubernetesLeaseStore
) -> None:
    server.fault = (200, json.dumps({"metadata": {}, "spec": {}}))
    with pytest.raises(MalformedRecord):
        await store.read(2.0)


async def test_an_apiserver_that_is_not_there_is_no_answer(tmp_path: Path) -> None:
    async with running_apiserver() as gone:
        url = gone.url
    api = KubernetesApi(write_kubeconfig(tmp_path / "kubeconfig", url, {"token": "secret"}))
    await api.open()
    with pytest.raises(StoreUnavailable, match="cannot be reached") as caught:
        await KubernetesLeaseStore(api, "ns", "lease").read(2.0)
    await api.close()
    assert "secret" not in str(caught.value)


async def test_no_failure_shows_the_token(server: Apiserver, store: KubernetesLeaseStore) -> None:
    for fault in ("reset", (401, "no"), (500, "no"), (200, "no")):
        server.fault = fault
        with pytest.raises(StoreError) as caught:
            await store.read(2.0)
        assert "secret" not in repr(caught.value)


# Credentials -------------------------------------------------------------------------------------


async def test_a_token_that_was_replaced_is_read_again_behind_a_401(
    server: Apiserver, store: KubernetesLeaseStore, tmp_path: Path
) -> None:
    await store.read(2.0)
    write_kubeconfig(tmp_path / "kubeconfig", server.url, {"token": "newer"})
    server.fault = (401, "")
    with pytest.raises(StoreRefused):
        await store.read(2.0)
    server.fault = None
    await store.read(2.0)
    assert server.seen[-1][2] == "Bearer newer"


async def test_neither_a_proxy_nor_a_password_of_the_environment_is_used(
    server: Apiserver, store: KubernetesLeaseStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login somebody password something\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    assert await store.read(2.0) is None
    assert server.seen[0][2] == "Bearer secret"


async def test_a_pods_token_is_read_anew_without_a_restart(
    server: Apiserver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = tmp_path / "token"
    token.write_text("first\n")

    def configure(configuration: object, **_: object) -> None:
        configuration.host = server.url  # type: ignore[attr-defined]

    monkeypatch.setattr("kubernetes_asyncio.config.load_incluster_config", configure)
    api = KubernetesApi(None, token_file=token)
    store = KubernetesLeaseStore(api, "ns", "lease")
    await store.read(2.0)
    token.write_text("second")
    await store.read(2.0)
    await api.close()
    assert [authorization for _, _, authorization in server.seen] == ["Bearer first", "Bearer second"]


# Watching ----------------------------------------------------------------------------------------


def event(kind: str, version: str) -> bytes:
    lease = {"metadata": {"resourceVersion": version, "uid": "u"}, "spec": {"holderIdentity": "one"}}
    return json.dumps({"type": kind, "object": lease}).encode() + b"\n"


async def test_a_watch_tells_states_and_the_end_of_the_lease(
    server: Apiserver, store: KubernetesLeaseStore
) -> None:
    lines = [event("ADDED", "1"), event("MODIFIED", "2"), event("BOOKMARK", "3"), event("DELETED", "4")]
    server.watch_lines = lines
    told = [record and record.version async for record in store.watch()]
    assert told == ["1", "2", None]
    assert server.queries[0]["fieldSelector"] == "metadata.name=lease"
    assert int(server.queries[0]["timeoutSeconds"]) > 0


@pytest.mark.parametrize(
    "line",
    [
        b'{"type": "ERROR", "object": {"code": 410, "message": "too old resource version"}}\n',
        b"<html>\n",
        b'{"type": 7, "object": {}}\n',
        b'{"type": "ADDED", "object": {"metadata": {}}}\n',
        b"x" * 5_000_000 + b"\n",
    ],
    ids=["gone", "html", "no event", "no version", "endless line"],
)
async def test_a_watch_that_tells_nonsense_ends(
    server: Apiserver, store: KubernetesLeaseStore, line: bytes
) -> None:
    server.watch_lines = [event("ADDED", "1"), line]
    changes = store.watch()
    assert await anext(changes) is not None
    with pytest.raises(StoreError):
        await anext(changes)


async def test_a_watch_that_is_refused_says_so(server: Apiserver, store: KubernetesLeaseStore) -> None:
    server.fault = (403, json.dumps({"message": "cannot watch"}))
    with pytest.raises(StoreRefused, match="cannot watch"):
        await anext(store.watch())


# Weight ------------------------------------------------------------------------------------------


async def test_the_library_is_imported_at_the_first_call_and_not_before() -> None:
    code = (
        "import sys, stub.election.choice, stub.election.label, stub.election.loop; "
        "print([name for name in ('kubernetes_asyncio', 'aiohttp') if name in sys.modules])"
    )
    done = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=subprocess.PIPE)
    output, _ = await done.communicate()
    assert output.decode().strip() == "[]"
