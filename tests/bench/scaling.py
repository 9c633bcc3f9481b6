"""How much more a stub of several workers can carry, on a machine with fewer cores than that.

    python -m tests.bench.scaling [--workers N...] [--share CORES] [--rounds N] [--seconds N]

What bounds a stub that has a core for each worker is its busiest worker. So the figure is how many requests were answered in a second
of that one's CPU time, as the kernel accounts for it: neither who asks nor what else the machine does has a part in it, save by the
caches that they share. The users are as many for each worker. The agent has as many workers as the stub.

A worker that is not busy pays more for each request. With --share each is held to a part of a core by a control group, so that all of
them are busy and leave room for everybody else; this needs root.
"""

import argparse
import json
import os
import re
import statistics
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from tests.bench.installation import Installation, installation, make_folder
from tests.bench.processes import BenchFailed, Side, Worker, allow_open_files, worker
from tests.ports import free_port

CLIENTS: Final = 32
"""For each worker."""
KINDS: Final = {"requests": False, "connections": True}
"""And whether each request has a new connection."""
GROUPS: Final = Path("/sys/fs/cgroup")
PERIOD_MICROSECONDS: Final = 50_000
SESSIONS_SECONDS: Final = 60.0
SETTLING_SECONDS: Final = 1.5
FIGURES: Final = {
    "capacity": "a second of the busiest worker",
    "stub_us": "CPU, stub, us",
    "agent_us": "CPU, agent, us",
}

Figures = dict[str, float]
Round = Mapping[int, Mapping[str, Figures]]


def workers_of(stub: Side, count: int) -> list[int]:
    """Return the processes that serve. Raises BenchFailed."""
    if count == 1:
        return [stub.process.pid]
    children = Path(f"/proc/{stub.process.pid}/task/{stub.process.pid}/children").read_text().split()
    found = [int(pid) for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    if len(found) != count:
        raise BenchFailed(f"{len(found)} workers were found")
    return found


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process has used."""
    return (
        sum(int(path.read_text().split()[0]) for path in Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9
    )


@contextmanager
def held_to(pids: Sequence[int], share: float | None) -> Iterator[None]:
    """Let each process have at most `share` of a core until the block ends. Raises BenchFailed."""
    root = GROUPS / "cpu" if (GROUPS / "cpu").is_dir() else GROUPS
    made = [root / f"scaling-{pid}" for pid in pids if share is not None]
    try:
        for pid, group in zip(pids, made, strict=False):
            _make_group(group, int(PERIOD_MICROSECONDS * (share or 1)))
            (group / "cgroup.procs").write_text(str(pid))
        yield
    except OSError as error:
        raise BenchFailed(f"control groups cannot be used: {error}") from None
    finally:
        for group in filter(Path.is_dir, made):
            for held in (group / "cgroup.procs").read_text().split():
                (root / "cgroup.procs").write_text(held)
            group.rmdir()


def _make_group(group: Path, quota: int) -> None:
    group.mkdir()
    if (group / "cpu.max").exists():
        (group / "cpu.max").write_text(f"{quota} {PERIOD_MICROSECONDS}")
    else:
        (group / "cpu.cfs_period_us").write_text(str(PERIOD_MICROSECONDS))
        (group / "cpu.cfs_quota_us").write_text(str(quota))


def read_admin(port: int, path: str) -> str:
    """Return what the stub tells operators."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
        text: str = answer.read().decode()
        return text


def wait_for_sessions(admin_port: int, count: int) -> None:
    """Wait until each worker of the agent has a session with each worker of the stub. Raises BenchFailed."""
    deadline = time.monotonic() + SESSIONS_SECONDS
    while time.monotonic() < deadline:
        if sum(map(len, json.loads(read_admin(admin_port, "/clusters")).values())) == count * count:
            return
        time.sleep(0.1)
    raise BenchFailed("the agent has not found all workers")


@dataclass(frozen=True, slots=True)
class Account:
    """What was done, and spent, up to a moment."""

    requests: float
    workers: tuple[float, ...]
    sides: tuple[float, ...]

    @classmethod
    def of(cls, tunnel: Installation, admin_port: int, pids: Sequence[int]) -> Self:
        """Return the account as it is now."""
        page = read_admin(admin_port, "/metrics")
        counted = re.findall(r"^cluster_tunnel_stub_requests_total{.*} (\S+)$", page, re.MULTILINE)
        sides = tuple(each.cpu_seconds() for each in tunnel.sides)
        return cls(sum(map(float, counted)), tuple(map(cpu_seconds, pids)), sides)

    def figures_since(self, before: Self) -> Figures:
        """Return what has happened since."""
        requests = max(self.requests - before.requests, 1)
        busiest = max(after - start for after, start in zip(self.workers, before.workers, strict=True))
        stub, agent = (after - start for after, start in zip(self.sides, before.sides, strict=True))
        return {
            "capacity": requests / busiest,
            "stub_us": stub * 1e6 / requests,
            "agent_us": agent * 1e6 / requests,
        }


def measure(folder: Path, count: int, seconds: float, share: float | None) -> dict[str, Figures]:
    """Return the figures of one round with so many workers."""
    admin_port = free_port()
    flags = ("--workers", count, "--admin-listen", f"127.0.0.1:{admin_port}")
    with installation(folder, stub_flags=flags, agent_flags=("--workers", count)) as tunnel:
        wait_for_sessions(admin_port, count)
        pids = workers_of(tunnel.stub, count)
        with worker("load", tunnel.port, tunnel.folder) as users:

            def account() -> Account:
                return Account.of(tunnel, admin_port, pids)

            def held() -> AbstractContextManager[None]:
                return held_to(pids, share)

            return {
                kind: _load(users, account, held, CLIENTS * count, seconds, fresh=fresh)
                for kind, fresh in KINDS.items()
            }


def _load(
    users: Worker,
    account: Callable[[], Account],
    held: Callable[[], AbstractContextManager[None]],
    clients: int,
    seconds: float,
    *,
    fresh: bool,
) -> Figures:
    users.send(do="get", clients=clients, seconds=seconds + 2 * SETTLING_SECONDS, fresh=fresh)
    time.sleep(SETTLING_SECONDS)  # connections are made without a limit
    with held():
        time.sleep(SETTLING_SECONDS / 2)
        before = account()
        time.sleep(seconds)
        figures = account().figures_since(before)
    users.result()
    return figures


def table(rounds: Sequence[Round]) -> Iterator[str]:
    """Return the lines of a table: medians, ranges, and the median ratio to the first column."""
    counts = list(rounds[0])
    yield f"| | {' | '.join(f'{count} workers' for count in counts)} |"
    yield f"|---|{'---|' * len(counts)}"
    for kind in KINDS:
        for name, title in FIGURES.items():
            yield f"| {kind}: {title} | {' | '.join(_cell(rounds, count, kind, name) for count in counts)} |"


def _cell(rounds: Sequence[Round], count: int, kind: str, name: str) -> str:
    values = [each[count][kind][name] for each in rounds]
    ratio = statistics.median(
        each[count][kind][name] / next(iter(each.values()))[kind][name] for each in rounds
    )
    return f"{statistics.median(values):.0f} ({min(values):.0f} to {max(values):.0f}), {ratio:.2f} x"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--share", type=float, help="of a core, for each worker; default: all of it")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0, help="for each figure")
    options = parser.parse_args()
    allow_open_files()
    rounds = []
    try:
        with tempfile.TemporaryDirectory() as name:
            make_folder(Path(name))
            for _ in range(options.rounds):
                rounds.append(
                    {
                        count: measure(Path(name), count, options.seconds, options.share)
                        for count in options.workers
                    }
                )
                print(json.dumps(rounds[-1]), os.getloadavg()[0], file=sys.stderr, flush=True)
    except BenchFailed as error:
        print(f"scaling: {error}", file=sys.stderr)
        return 1
    print("\n".join(table(rounds)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
