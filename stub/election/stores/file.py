"""A lease in a file, for several stubs on one machine without a cluster.

The holder keeps a lock (`flock`) on `PATH.lock` for as long as it holds the lease. The kernel drops the lock when the process
ends, however it ends, so a crashed holder is followed at once and not after the lease has run out. A holder that hangs or is
stopped keeps it: then nobody takes over until it is killed. The record itself, with the epoch that counts up, is `PATH`, always
replaced as a whole and synced: an epoch that went back after a power cut would be refused by every agent.

For one machine and a local file system only. Over NFS and the like, `flock` may be local to each machine, or be dropped in a
network fault without a word to the holder; neither is noticed here. A process that forks without exec shares its lock with the child.
"""

import asyncio
import contextlib
import fcntl
import json
import os
import threading
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Final, TypeVar

from stub.election.errors import MalformedRecord, StoreConflict, StoreRefused, StoreUnavailable
from stub.election.record import LeaseRecord, parse_lease, render_lease

LOOK_SECONDS: Final = 0.1
"""Nothing tells when a lock is dropped, so a standby looks this often; a look costs 0.2 ms of CPU."""

RECORD_BYTES: Final = 64 * 1024
"""A record is half a kilobyte; a larger file is none."""

T = TypeVar("T")


class FileLeaseStore:
    """The store.

    Args:
        path: the record; its folder must be there and writable, and be for this cluster-tunnel's stubs alone.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock_path = path.with_name(f"{path.name}.lock")
        self._lock: int | None = None
        # A call that was given up may still be running in its thread; the next one waits for it.
        self._one_call = threading.Lock()

    async def open(self) -> None:
        """As `LeaseStore.open`."""
        folder = self._path.parent
        if not os.access(folder, os.W_OK | os.X_OK):
            raise StoreRefused(f"the folder {folder} cannot be written to")

    async def read(self, timeout_seconds: float) -> LeaseRecord | None:
        """As `LeaseStore.read`. The record of a holder that is gone reads as released."""
        return await self._in_thread(self._read)

    async def write(self, record: LeaseRecord, timeout_seconds: float) -> LeaseRecord:
        """As `LeaseStore.write`."""
        return await self._in_thread(lambda: self._write(record))

    def watch(self) -> AsyncIterator[LeaseRecord | None]:
        """As `LeaseStore.watch`, by looking."""
        return self._watch()

    async def _watch(self) -> AsyncIterator[LeaseRecord | None]:
        record = await self._in_thread(self._read)
        yield record
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            before, record = record, await self._in_thread(self._read)
            if record != before:
                yield record

    async def close(self) -> None:
        """Drop the lock, if it is held."""
        await self._in_thread(self._unlock)

    async def _in_thread(self, call: Callable[[], T]) -> T:
        """A disk may take seconds to sync; the event loop must not."""
        try:
            return await asyncio.to_thread(self._alone, call)
        except OSError as error:
            raise StoreUnavailable(f"{error.filename or self._path}: {error.strerror or error}") from error

    def _alone(self, call: Callable[[], T]) -> T:
        with self._one_call:
            return call()

    # In a thread -----------------------------------------------------------------------------------

    def _read(self) -> LeaseRecord | None:
        record = self._load()
        if record is None or not record.holder or self._lock is not None:
            return record
        if not self._try_lock():
            return record
        # Nobody has the lock, so whoever is named in the record is gone; read again what it may have written last.
        try:
            record = self._load()
        finally:
            self._unlock()
        return replace(record, holder="") if record else None

    def _write(self, record: LeaseRecord) -> LeaseRecord:
        was_locked = self._lock is not None
        if not was_locked and not self._try_lock():
            raise StoreConflict(f"{self._lock_path}: another process holds the lock")
        stored = None
        try:
            stored = self._replace(record)
        finally:
            if not was_locked and stored is None:
                self._unlock()
        if not stored.holder:
            self._unlock()
        return stored

    def _replace(self, record: LeaseRecord) -> LeaseRecord:
        current = self._load()
        if (current.version if current else "") != record.version:
            raise StoreConflict(f"{self._path}: the record was changed")
        version = str(int(record.version or "0") + 1)
        stored = replace(record, version=version, uid=record.uid or str(uuid.uuid4()))
        self._save(json.dumps(render_lease(stored, "", self._path.name), indent=1))
        return stored

    def _load(self) -> LeaseRecord | None:
        try:
            with self._path.open("rb") as file:
                data = file.read(RECORD_BYTES + 1)
        except FileNotFoundError:
            return None
        try:
            if len(data) > RECORD_BYTES:
                raise ValueError("too large")
            record = parse_lease(json.loads(data))
            int(record.version)
        except (ValueError, RecursionError, MalformedRecord) as error:
            raise MalformedRecord(f"{self._path}: is no lease record ({error}): remove it") from None
        return record

    def _save(self, text: str) -> None:
        fresh = self._path.with_name(f"{self._path.name}.new")
        with fresh.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._path)
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _try_lock(self) -> bool:
        """Whether the lock is held now. The file stays for ever: locking one that somebody unlinks locks nothing."""
        lock = os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return False
        except OSError:
            os.close(lock)
            raise
        self._lock = lock
        return True

    def _unlock(self) -> None:
        if self._lock is not None:
            lock, self._lock = self._lock, None
            with contextlib.closing(os.fdopen(lock, "rb")):
                fcntl.flock(lock, fcntl.LOCK_UN)
