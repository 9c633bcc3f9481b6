"""A lease in a file: several stores in one process are as good as several processes, since `flock` is per open file."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from stub.election.errors import MalformedRecord, StoreConflict, StoreRefused, StoreUnavailable
from stub.election.record import LeaseRecord
from stub.election.stores.file import RECORD_BYTES, FileLeaseStore

DRAFT = LeaseRecord("one", 15, "t0", "t0", transitions=1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lease.json"


@pytest.fixture
async def one(path: Path) -> AsyncIterator[FileLeaseStore]:
    store = FileLeaseStore(path)
    yield store
    await store.close()


@pytest.fixture
async def two(path: Path) -> AsyncIterator[FileLeaseStore]:
    store = FileLeaseStore(path)
    yield store
    await store.close()


async def test_what_was_written_is_read_by_all(one: FileLeaseStore, two: FileLeaseStore) -> None:
    assert await one.read(1.0) is None
    stored = await one.write(DRAFT, 1.0)
    assert stored.version == "1"
    assert stored.uid
    assert await one.read(1.0) == stored
    assert await two.read(1.0) == stored


async def test_a_renewal_counts_the_version_up_and_keeps_the_uid(one: FileLeaseStore) -> None:
    stored = await one.write(DRAFT, 1.0)
    again = await one.write(replace(stored, renewed_at="t1"), 1.0)
    assert (again.version, again.uid, again.renewed_at) == ("2", stored.uid, "t1")


async def test_nobody_writes_while_another_holds_the_lock(one: FileLeaseStore, two: FileLeaseStore) -> None:
    stored = await one.write(DRAFT, 1.0)
    with pytest.raises(StoreConflict, match="another process holds the lock"):
        await two.write(replace(stored, holder="two"), 1.0)


async def test_an_old_version_is_a_conflict(one: FileLeaseStore) -> None:
    stored = await one.write(DRAFT, 1.0)
    await one.write(replace(stored, renewed_at="t1"), 1.0)
    with pytest.raises(StoreConflict, match="the record was changed"):
        await one.write(stored, 1.0)
    with pytest.raises(StoreConflict):
        await one.write(DRAFT, 1.0)


async def test_a_conflict_leaves_no_lock_behind(one: FileLeaseStore, two: FileLeaseStore) -> None:
    stored = await one.write(replace(DRAFT, holder=""), 1.0)
    with pytest.raises(StoreConflict):
        await two.write(replace(DRAFT, holder="two", version="99"), 1.0)
    assert (await one.write(replace(stored, holder="one"), 1.0)).holder == "one"


async def test_a_release_drops_the_lock(one: FileLeaseStore, two: FileLeaseStore) -> None:
    stored = await one.write(DRAFT, 1.0)
    released = await one.write(replace(stored, holder="", duration_seconds=1), 1.0)
    taken = await two.write(replace(released, holder="two", transitions=2), 1.0)
    assert (taken.holder, taken.transitions, taken.uid) == ("two", 2, stored.uid)


async def test_a_holder_that_closed_without_a_release_reads_as_nobody(
    one: FileLeaseStore, two: FileLeaseStore
) -> None:
    stored = await one.write(DRAFT, 1.0)
    await one.close()
    seen = await two.read(1.0)
    assert seen == replace(stored, holder="")
    assert (await two.write(replace(stored, holder="two"), 1.0)).holder == "two"


HOLD = """
import asyncio, sys
from pathlib import Path
from stub.election.record import LeaseRecord
from stub.election.stores.file import FileLeaseStore
store = FileLeaseStore(Path(sys.argv[1]))
asyncio.run(store.write(LeaseRecord("crashing", 15, "t", "t", transitions=1), 1.0))
print("holding", flush=True)
sys.stdin.read()
"""


async def test_the_lock_of_a_process_that_was_killed_is_gone_at_once(path: Path, two: FileLeaseStore) -> None:
    command = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert await asyncio.to_thread(process.stdout.readline) == b"holding\n"
        seen = await two.read(1.0)
        assert seen is not None
        assert seen.holder == "crashing"
        process.send_signal(signal.SIGKILL)
        process.wait()
    seen = await two.read(1.0)
    assert seen is not None
    assert (seen.holder, seen.transitions) == ("", 1)


async def test_the_lock_is_not_handed_to_programs_that_are_started(path: Path, one: FileLeaseStore) -> None:
    await one.write(DRAFT, 1.0)
    command = [sys.executable, "-c", "print('up', flush=True); input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, close_fds=False) as child:
        assert child.stdout is not None
        await asyncio.to_thread(child.stdout.readline)
        files = [link.readlink() for link in Path(f"/proc/{child.pid}/fd").iterdir()]
        child.communicate(b"\n")
    assert files
    assert path.with_name(f"{path.name}.lock") not in files


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[1]", b"\xff\xfe", b"[" * 10_000, b"x" * (RECORD_BYTES + 1)],
    ids=["empty", "cut", "no object", "no text", "deep", "large"],
)
async def test_a_file_that_is_no_record_is_refused_with_the_remedy(
    path: Path, one: FileLeaseStore, content: bytes
) -> None:
    path.write_bytes(content)
    with pytest.raises(MalformedRecord, match=r"lease\.json: is no lease record .*: remove it"):
        await one.read(1.0)
    with pytest.raises(MalformedRecord):
        await one.write(DRAFT, 1.0)


async def test_a_version_that_is_no_number_is_refused(path: Path, one: FileLeaseStore) -> None:
    path.write_text(json.dumps({"metadata": {"resourceVersion": "x"}, "spec": {}}))
    with pytest.raises(MalformedRecord):
        await one.read(1.0)


async def test_a_folder_that_is_gone_is_named(tmp_path: Path) -> None:
    store = FileLeaseStore(tmp_path / "none" / "lease.json")
    with pytest.raises(StoreUnavailable, match=r"none/lease\.json\.lock: No such file"):
        await store.write(DRAFT, 1.0)


async def test_the_record_is_replaced_as_a_whole(
    path: Path, one: FileLeaseStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crash in the middle of a write leaves the record as it was: the fresh one lies beside it."""
    stored = await one.write(DRAFT, 1.0)

    def crash(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", crash)
        with pytest.raises(StoreUnavailable, match="No space left"):
            await one.write(replace(stored, renewed_at="t1"), 1.0)
    assert await one.read(1.0) == stored


async def test_a_call_that_was_given_up_does_not_run_beside_the_next(one: FileLeaseStore) -> None:
    stored = await one.write(DRAFT, 1.0)
    drafts = [replace(stored, renewed_at=f"t{number}") for number in range(20)]
    results = await asyncio.gather(*(one.write(draft, 1.0) for draft in drafts), return_exceptions=True)
    assert sum(isinstance(result, LeaseRecord) for result in results) == 1
    assert sum(isinstance(result, StoreConflict) for result in results) == 19


# Watching ----------------------------------------------------------------------------------------


async def test_a_watch_tells_each_change_and_a_holder_that_is_gone(
    one: FileLeaseStore, two: FileLeaseStore
) -> None:
    changes = two.watch()
    assert await anext(changes) is None
    stored = await one.write(DRAFT, 1.0)
    assert await anext(changes) == stored
    again = await one.write(replace(stored, renewed_at="t1"), 1.0)
    assert await anext(changes) == again
    await one.close()
    assert await anext(changes) == replace(again, holder="")


async def test_a_record_that_stays_is_told_once(
    one: FileLeaseStore, two: FileLeaseStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stub.election.stores.file.LOOK_SECONDS", 0)
    looks = 0
    read = two._read

    def counted() -> LeaseRecord | None:
        nonlocal looks
        looks += 1
        return read()

    monkeypatch.setattr(two, "_read", counted)
    stored = await one.write(DRAFT, 1.0)
    changes = two.watch()
    assert await anext(changes) == stored
    async with asyncio.TaskGroup() as group:
        second: asyncio.Task[LeaseRecord | None] = group.create_task(anext(changes))  # type: ignore[arg-type]
        while looks < 10:
            await asyncio.sleep(0)
        assert not second.done()
        again = await one.write(replace(stored, renewed_at="t1"), 1.0)
    assert second.result() == again


async def test_a_watch_ends_with_a_record_that_cannot_be_read(path: Path, two: FileLeaseStore) -> None:
    path.write_bytes(b"{")
    with pytest.raises(MalformedRecord):
        await anext(two.watch())


# Opening -----------------------------------------------------------------------------------------


async def test_a_folder_that_is_gone_is_found_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(StoreRefused, match="none cannot be written to"):
        await FileLeaseStore(tmp_path / "none" / "lease.json").open()
