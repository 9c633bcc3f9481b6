"""The process that starts all others: a small, single-threaded fork server, so that the simulator itself never forks.

It is run as a program of its own, with one SOCK_SEQPACKET socket as its standard input. Each message is a JSON object,
file descriptors come beside it:

    {"op": "pod", "id", "pod", "root", "hostname", "binds"}        make a pod's sandbox; answer {"id", "isolated"}
    {"op": "run", "id", "pod"} + memfd, stdin, stdout, stderr      run {"argv", "env", "cwd", "tty"}; answer {"id"} or
                                                                   {"id", "error"}, later {"exited": id, "code"}
    {"op": "kill", "run", "signal"}                                signal a command's process group
    {"op": "dial", "id", "pod", "port"}                            connect inside the pod; answer {"id"} + socket
    {"op": "end", "pod"}                                           kill everything in a pod

A sandbox is a mount, network, pid and host-name namespace, held by a process that does nothing else. Its root is a
private directory into which the host's top-level directories are bound (read-only where this runs as root), with
its own /tmp, so that commands of the host are the commands of every image. Without root a user namespace with the
caller's own uid is added. Where the kernel allows none of it, commands run on the host as it is, in the pod's private
directory: pods then share /tmp and all ports, and two that listen on the same port disturb each other.
"""

import array
import ctypes
import errno
import fcntl
import json
import os
import select
import signal
import socket
import struct
import sys
import termios
from typing import Any

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWUSER = 0x20000, 0x4000000, 0x10000000
CLONE_NEWPID, CLONE_NEWNET = 0x20000000, 0x40000000
MS_RDONLY, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 1, 32, 4096, 16384, 1 << 18
SIOCSIFFLAGS, IFF_UP = 0x8914, 1
OWN = ("tmp", "proc", "mnt", "srv", "run")
"""Top-level directories that a pod has for itself."""

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")


def _unshare(flags: int) -> None:
    _check(_libc.unshare(flags), "unshare")


def _mount(source: str, target: str, kind: str | None, flags: int) -> None:
    fs = kind.encode() if kind else None
    _check(_libc.mount(source.encode(), target.encode(), fs, flags, None), f"mount {target}")


def enter_namespaces() -> None:
    """Give this process namespaces of its own, with a user namespace where it may not do so otherwise.

    Raises:
        OSError: the kernel allows neither.
    """
    flags = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWPID | CLONE_NEWNET
    uid, gid = os.getuid(), os.getgid()
    try:
        _unshare(flags)
    except PermissionError:
        _unshare(flags | CLONE_NEWUSER)
        for name, text in (
            ("setgroups", "deny"),
            ("uid_map", f"{uid} {uid} 1"),
            ("gid_map", f"{gid} {gid} 1"),
        ):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)


def furnish(root: str, hostname: str, binds: dict[str, str]) -> None:
    """Make `root` a place to live in: the host's directories, an own /tmp and /proc, a loopback interface.

    Raises:
        OSError: a step failed that nothing works without.
    """
    _mount("none", "/", None, MS_REC | MS_PRIVATE)
    read_only = os.getuid() == 0
    for entry in sorted(os.scandir("/"), key=lambda e: e.name):
        target = os.path.join(root, entry.name)
        if entry.is_symlink():
            if not os.path.lexists(target):
                os.symlink(os.readlink(entry.path), target)
        elif entry.is_dir():
            os.makedirs(target, exist_ok=True)
            if entry.name not in OWN:
                _mount(entry.path, target, None, MS_BIND | MS_REC)
                if read_only and entry.name not in ("dev", "sys"):
                    _mount("none", target, None, MS_BIND | MS_REMOUNT | MS_RDONLY)
    for inside, source in binds.items():
        target = os.path.join(root, inside.lstrip("/"))
        os.makedirs(target, exist_ok=True)
        _mount(source, target, None, MS_BIND)
    os.chmod(os.path.join(root, "tmp"), 0o1777)
    try:
        _mount("proc", os.path.join(root, "proc"), "proc", 0)
    except PermissionError:
        # In a container whose own /proc is masked the kernel refuses a fresh one; the host's does as well.
        _mount("/proc", os.path.join(root, "proc"), None, MS_BIND | MS_REC)
    socket.sethostname(hostname)
    _raise_loopback()


def _raise_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP))
    try:
        with open("/proc/sys/net/ipv4/ip_unprivileged_port_start", "w") as file:
            file.write("0")
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT):
            raise


class Sandbox:
    """A pod's namespaces, by the process that holds them; without one, the host itself."""

    def __init__(self, holder: int | None, root: str) -> None:
        self.holder = holder
        self.root = root
        self.pidfd = os.pidfd_open(holder) if holder else -1

    def enter(self) -> None:
        """Move this process into the namespaces; its children are in the pid namespace too."""
        if self.holder:
            user = CLONE_NEWUSER if _in_other_user_namespace(self.holder) else 0
            flags = user | CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWPID | CLONE_NEWNET
            _check(_libc.setns(self.pidfd, flags), "setns")
            os.chroot(self.root)
        os.chdir("/" if self.holder else self.root)

    def close(self) -> None:
        """Kill everything that lives in it."""
        if self.holder:
            os.kill(self.holder, signal.SIGKILL)
            os.close(self.pidfd)


def _in_other_user_namespace(pid: int) -> bool:
    return os.readlink(f"/proc/{pid}/ns/user") != os.readlink("/proc/self/ns/user")


def make_sandbox(root: str, hostname: str, binds: dict[str, str]) -> Sandbox:
    """Return a new sandbox, isolated where the kernel allows it."""
    os.makedirs(os.path.join(root, "tmp"), exist_ok=True)
    read, write = os.pipe()
    outer = os.fork()
    if outer == 0:
        os.close(read)
        _hold(write, root, hostname, binds)
    os.close(write)
    with os.fdopen(read, "rb") as file:
        answer = file.read(4)
    os.waitpid(outer, 0)
    return Sandbox(struct.unpack("i", answer)[0] if len(answer) == 4 else None, root)


def _hold(write: int, root: str, hostname: str, binds: dict[str, str]) -> None:
    """Fork the holder of new namespaces and tell its pid once they are ready; never returns."""
    alive, keep = os.pipe()
    try:
        enter_namespaces()
        inner = os.fork()
        if inner:
            os.close(keep)
            if os.read(alive, 1):
                os.write(write, struct.pack("i", inner))
            os._exit(0)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        os.setsid()
        furnish(root, hostname, binds)
        os.write(keep, b"r")
    except OSError as error:
        print(f"launcher: pods share the host: {error}", file=sys.stderr, flush=True)
        os._exit(1)
    # The control socket is this process's standard input as well; its end is the simulator's end.
    for fd in (write, alive, keep):
        os.close(fd)
    poll = select.poll()
    poll.register(0, 0)
    poll.poll()
    os._exit(0)


class Launcher:
    """The loop that serves the control socket."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._pods: dict[str, Sandbox] = {}
        self._runs: dict[int, tuple[int, int, str]] = {}
        self._over = False
        self._wake, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def serve(self) -> None:
        """Serve until the simulator is gone; then everything is killed."""
        while not self._over:
            ready, _, _ = select.select([self._control.fileno(), self._wake], [], [])
            if self._wake in ready:
                os.read(self._wake, 4096)
                self._reap()
            if self._control.fileno() in ready:
                data, fds = self._receive()
                for fd in fds:
                    # recv_fds of Python 3.11 ignores its flags, so MSG_CMSG_CLOEXEC would not help.
                    os.set_inheritable(fd, False)
                if not data:
                    break
                self._obey(json.loads(data), fds)
                for fd in fds:
                    os.close(fd)
        self._end_all()

    def _receive(self) -> tuple[bytes, list[int]]:
        try:
            data, fds, _, _ = socket.recv_fds(self._control, 65536, 8)
        except ConnectionResetError:
            return b"", []
        return data, list(fds)

    def _end_all(self) -> None:
        for run in list(self._runs):
            self._kill(run, signal.SIGKILL)
        for sandbox in self._pods.values():
            sandbox.close()

    def _answer(self, message: dict[str, Any], fds: list[int] | None = None) -> None:
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        try:
            self._control.sendmsg([json.dumps(message).encode()], ancillary)
        except (BrokenPipeError, ConnectionResetError):
            self._over = True

    def _obey(self, message: dict[str, Any], fds: list[int]) -> None:
        op = message["op"]
        if op == "pod":
            sandbox = make_sandbox(message["root"], message["hostname"], message["binds"])
            self._pods[message["pod"]] = sandbox
            self._answer({"id": message["id"], "isolated": sandbox.holder is not None})
        elif op == "run":
            self._run(message, fds)
        elif op == "kill":
            self._kill(message["run"], message["signal"])
        elif op == "dial":
            self._dial(message)
        elif op == "end":
            self._end(message["pod"])

    def _end(self, pod: str) -> None:
        for run, (_, _, owner) in list(self._runs.items()):
            if owner == pod:
                self._kill(run, signal.SIGKILL)
        sandbox = self._pods.pop(pod, None)
        if sandbox:
            sandbox.close()

    def _kill(self, run: int, number: int) -> None:
        if run in self._runs:
            try:
                os.killpg(self._runs[run][1], number)
            except ProcessLookupError:
                # It has ended, and its end is about to be reaped and told.
                return

    def _reap(self) -> None:
        while self._runs or self._pods:
            try:
                pid, code = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            for run, (parent, _, _) in list(self._runs.items()):
                if parent == pid:
                    del self._runs[run]
                    self._answer({"exited": run, "code": os.waitstatus_to_exitcode(code)})

    def _run(self, message: dict[str, Any], fds: list[int]) -> None:
        sandbox = self._pods.get(message["pod"])
        if sandbox is None:
            self._answer({"id": message["id"], "error": "the pod is gone", "errno": errno.ESRCH})
            return
        with open(fds[0], "rb", closefd=False) as file:
            file.seek(0)
            task = json.loads(file.read())
        read, write = os.pipe2(os.O_CLOEXEC)
        parent = os.fork()
        if parent == 0:
            os.close(read)
            _start(sandbox, task, fds[1:], write)
        os.close(write)
        with os.fdopen(read, "rb") as pipe:
            answer = pipe.read()
        pid, code = struct.unpack("ii", (answer + bytes(8))[:8])
        if len(answer) >= 8 and code:
            os.waitpid(parent, 0)
            self._answer({"id": message["id"], "error": os.strerror(code), "errno": code})
            return
        self._runs[message["id"]] = (parent, pid, message["pod"])
        self._answer({"id": message["id"]})

    def _dial(self, message: dict[str, Any]) -> None:
        """Connect from a child inside the pod's network; refused connections come back as an errno."""
        sandbox = self._pods.get(message["pod"])
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        child = os.fork()
        if child == 0:
            _connect(sandbox, message["port"], theirs)
        theirs.close()
        data, fds, _, _ = socket.recv_fds(ours, 64, 1)
        ours.close()
        os.waitpid(child, 0)
        code = struct.unpack("i", data)[0] if data else errno.EIO
        self._answer(
            {"id": message["id"]} | ({"error": os.strerror(code), "errno": code} if code else {}), fds
        )
        for fd in fds:
            os.close(fd)


def _connect(sandbox: Sandbox | None, port: int, answer: socket.socket) -> None:
    """In a child: connect, hand the socket over, end."""
    code, fds = 0, []
    try:
        if sandbox is not None:
            sandbox.enter()
        sock = socket.create_connection(("127.0.0.1", port), 10)
        sock.setblocking(True)
        fds = [sock.fileno()]
    except OSError as error:
        code = error.errno or errno.ECONNREFUSED
    socket.send_fds(answer, [struct.pack("i", code)], fds)
    os._exit(0)


def _start(sandbox: Sandbox, task: dict[str, Any], fds: list[int], answer: int) -> None:
    """In a child: fork the command into the pod, tell its pid or why it cannot start, and end as it ends."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        sandbox.enter()
    except OSError as error:
        os.write(answer, struct.pack("ii", 0, error.errno or errno.EIO))
        os._exit(1)
    go_on, go = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        os.close(go)
        os.read(go_on, 1)
        _become(task, fds, answer)
    # The pid first, the exec's error behind it: both arrive in the order of the pipe.
    os.write(answer, struct.pack("i", pid))
    os.close(go)
    null = os.open(os.devnull, os.O_RDWR)
    os.close(answer)
    for fd in (0, 1, *fds):
        os.dup2(null, fd)
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    os._exit(code if code >= 0 else 128 - code)


def _become(task: dict[str, Any], fds: list[int], answer: int) -> None:
    """In the command's process: take its place, its terminal and its descriptors, and execute it."""
    try:
        os.setsid()
        for number, fd in enumerate(fds):
            os.dup2(fd, number)
        if task["tty"]:
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        for number in (signal.SIGPIPE, signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        if task["cwd"] != "/":
            # "/" is where this process stands already; without a sandbox that is the pod's own directory.
            os.chdir(task["cwd"])
        os.environ.clear()
        os.environ.update(task["env"])
        os.execvpe(task["argv"][0], task["argv"], task["env"])
    except OSError as error:
        os.write(answer, struct.pack("i", error.errno or errno.EIO))
    os._exit(127)


def main() -> None:
    """Serve the socket that is standard input."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # They are for the simulator; its end, by whatever way, closes the socket.
        signal.signal(number, signal.SIG_IGN)
    Launcher(socket.socket(fileno=os.dup(0))).serve()


if __name__ == "__main__":
    main()
