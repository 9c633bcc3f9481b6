"""exec and attach: output, exit status, input and its end, terminals, long command lines."""

import contextlib
import os
import re
import select
import subprocess
import time
from collections.abc import Mapping

from tests.scenarios.catalogue import scenario
from tests.scenarios.kubectl import Kubectl, Result, Same
from tests.scenarios.normalise import normalise
from tests.scenarios.processes import Running

_SPDY = {"KUBECTL_REMOTE_COMMAND_WEBSOCKETS": "false"}
# The size of the window follows the start of the command, so the command waits for it.
_TERMINAL = 'tty; until [ "$(stty size)" = "33 101" ]; do sleep 0.1; done; stty size'
ECHO = "while read word; do echo got $word; done; exit 0"
# It says nothing before it has read a line: kubectl may throw away what comes before its own first byte (see `Kubectl.run`).
_COUNT = "read line; echo counts; wc -c"
_WEBSOCKET = {"KUBECTL_REMOTE_COMMAND_WEBSOCKETS": "true"}


@scenario(cases=(5,), every_version=True)
def exec_prints_output_and_keeps_errors_apart(kubectl: Kubectl) -> None:
    """exec prints what the command wrote, its standard error on standard error."""
    ran = kubectl.run("exec", "shell", "--", "sh", "-c", "echo hello; echo oops >&2")
    assert (ran.stdout, normalise(ran.stderr)) == ("hello\n", "oops\n")


@scenario(cases=(6,), every_version=True)
def exec_exits_with_the_commands_status(kubectl: Kubectl) -> None:
    """exec exits with the status of the command: 7 stays 7."""
    ran = kubectl.run("exec", "shell", "--", "sh", "-c", "exit 7", code=7)
    assert "exit code 7" in ran.stderr
    kubectl.run("exec", "shell", "--", "true")


@scenario(cases=(5, 6), since=29)
def exec_works_over_either_protocol(kubectl: Kubectl) -> None:
    """exec gives the same over SPDY and over WebSocket, whichever is asked for."""
    for settings in (_SPDY, _WEBSOCKET):
        ran = kubectl.run("exec", "shell", "--", "sh", "-c", "echo hello; exit 7", code=7, settings=settings)
        assert ran.stdout == "hello\n"
        echoed = _exec_until_answered(kubectl, "cat", written=b"abc\n", answer="abc", settings=settings)
        assert echoed.stdout == "abc\n"


@scenario(cases=(11,))
def exec_keeps_the_status_in_20_of_20_runs(kubectl: Kubectl) -> None:
    """The exit status of a command that ends at once is not lost, twenty times."""
    _exit_status_survives(kubectl, runs=20)


@scenario(cases=(11,), slow=True, seconds=300)
def exec_keeps_the_status_in_200_of_200_runs(kubectl: Kubectl) -> None:
    """The exit status of a command that ends at once is not lost, two hundred times."""
    _exit_status_survives(kubectl, runs=200)


def _exit_status_survives(kubectl: Kubectl, runs: int) -> None:
    for _ in range(runs):
        ran = kubectl.run("exec", "shell", "--", "sh", "-c", "echo out; exit 7", code=7)
        assert ran.stdout == "out\n", ran.described()


@scenario(cases=(9,), every_version=True)
def exec_brings_input_and_its_end(kubectl: Kubectl) -> None:
    """What is piped into exec -i reaches the command, and so does its end."""
    ran = _exec_until_answered(kubectl, "cat", written=b"abc\n", answer="abc")
    assert ran.stdout == "abc\n"
    counted = _exec_until_answered(kubectl, "sh", "-c", _COUNT, written=b"go\n", answer="counts")
    assert counted.stdout.split() == ["counts", "0"]


def _exec_until_answered(
    kubectl: Kubectl, *command: str, written: bytes, answer: str, settings: Mapping[str, str] | None = None
) -> Result:
    """Run exec -i, and end its input when the answer to what was written has come.

    containerd loses an end that comes before it has opened the command's input, and the command waits for ever (2 of 600
    `exec -i … wc -c </dev/null` on a busy machine, straight to the apiserver; containerd/containerd#4489 and #9423).
    """
    with kubectl.start("exec", "-i", "shell", "--", *command, settings=settings) as session:
        session.write(written)
        session.wait_for_text(answer)
        session.end_input()
        return kubectl.conclude(session)


@scenario(cases=(9,), every_version=True, on_cluster=False)
def exec_brings_an_end_that_comes_at_once(kubectl: Kubectl) -> None:
    """Input that is over before the command has begun: the bytes there are, and the end, still arrive."""
    ran = kubectl.run("exec", "-i", "shell", "--", "cat", stdin="abc\n")
    assert ran.stdout == "abc\n"
    kubectl.run("exec", "-i", "shell", "--", "wc", "-c", stdin="")


@scenario(cases=(9,))
def exec_brings_much_input_unchanged(kubectl: Kubectl) -> None:
    """Half a megabyte through cat come back byte for byte."""
    sent = os.urandom(250_000).hex()
    ran = kubectl.run("exec", "-i", "shell", "--", "cat", stdin=sent, same=Same.NOWHERE)
    assert ran.stdout == sent


@scenario()
def exec_answers_while_input_is_open(kubectl: Kubectl) -> None:
    """A line typed into exec -i is answered before the input ends."""
    with kubectl.start("exec", "-i", "shell", "--", "cat") as session:
        for word in (b"one\n", b"two\n"):
            session.write(word)
            session.wait_for_text(word.decode().strip())
        session.end_input()
        kubectl.conclude(session)


@scenario()
def exec_gives_a_terminal(kubectl: Kubectl) -> None:
    """exec -it runs the command on a terminal of the given size."""
    command = " ".join(kubectl.command("exec", "-it", "shell", "--", "sh", "-c", f"'{_TERMINAL}'"))
    ran = subprocess.run(
        ["script", "-qec", f"stty rows 33 cols 101; {command}", "/dev/null"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=kubectl.environment({"TERM": "xterm"}),
        timeout=30,
    )
    said = ran.stdout.decode()
    assert ran.returncode == 0, said
    assert re.search(r"/dev/(pts/|tty|console)", said), said
    assert "33 101" in said


@scenario()
def exec_in_a_terminal_is_interactive(kubectl: Kubectl) -> None:
    """A shell on a terminal answers what is typed and ends on exit with its status."""
    command = " ".join(kubectl.command("exec", "-it", "shell", "--", "sh"))
    environment = kubectl.environment({"TERM": "xterm"})
    arguments = ["script", "-qefc", command, "/dev/null"]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as shell:
        assert shell.stdin is not None
        assert shell.stdout is not None
        _read_until(shell.stdout.fileno(), rb"[#$] ")
        os.write(shell.stdin.fileno(), b"echo $((40+2))\n")
        _read_until(shell.stdout.fileno(), rb"\n42\r?\n")
        os.write(shell.stdin.fileno(), b"exit 5\n")
        assert shell.wait(20) == 5


def _read_until(descriptor: int, pattern: bytes, seconds: float = 20) -> bytes:
    read, deadline = b"", time.monotonic() + seconds
    while not re.search(pattern, read):
        ready, _, _ = select.select([descriptor], [], [], max(0, deadline - time.monotonic()))
        chunk = os.read(descriptor, 4096) if ready else b""
        assert chunk, f"{pattern!r} did not come: {read!r}"
        read += chunk
    return read


@scenario(cases=(24,))
def exec_takes_long_command_lines(kubectl: Kubectl) -> None:
    """20 KB and 60 KB of command line arrive whole, in arguments and in spaces and signs."""
    for size in (20_000, 60_000):
        script = ("echo ok; # " + "ä/+ %2F&=" * size)[:size]
        ran = kubectl.run("exec", "shell", "--", "sh", "-c", f"{script}\nexit 0", same=Same.PATHS)
        assert ran.stdout == "ok\n"
    counted = kubectl.run("exec", "shell", "--", "sh", "-c", 'echo "$#"', *("x" * 20 for _ in range(1000)))
    assert counted.stdout == "999\n"


@scenario(cases=(8,))
def exec_reports_why_it_was_refused(kubectl: Kubectl) -> None:
    """exec into what is not there says what the cluster said."""
    missing = kubectl.run("exec", kubectl.named("none"), "--", "true", code=1)
    assert "NotFound" in missing.stderr
    kubectl.run("exec", "shell", "-c", "other", "--", "true", code=1, same=Same.PATHS)
    unknown = kubectl.run("exec", "shell", "--", "no-such-command", code=None, same=Same.PATHS)
    assert unknown.code != 0


def say_until_answered(session: Running, word: str) -> None:
    """Type a word until `ECHO` answers it.

    A runtime may take the input of an attach before it delivers output, and what is said in between is lost.
    """
    for _ in range(40):
        session.write(f"{word}\n".encode())
        with contextlib.suppress(AssertionError):
            session.wait_for_text(f"got {word}", seconds=0.5)
            return
    raise AssertionError(f"{word} was not answered\n{session.described()}")


@scenario(every_version=True)
def attach_joins_a_running_process(kubectl: Kubectl) -> None:
    """attach -i brings input to the pod's own process and its output back, and ends with it."""
    name = kubectl.start_pod("catter", "sh", "-c", ECHO, container={"stdin": True, "stdinOnce": True})
    with kubectl.start("attach", "-i", name) as attached:
        say_until_answered(attached, "abc")
        attached.end_input()
        assert attached.wait() == 0, attached.described()
    phase = "--for=jsonpath={.status.phase}=Succeeded"
    kubectl.run("wait", phase, f"pod/{name}", "--timeout=20s")


@scenario()
def run_starts_a_pod_attaches_and_removes_it(kubectl: Kubectl) -> None:
    """run -i --rm shows the pod's output, exits with its status and leaves nothing behind."""
    name = kubectl.named("oneoff")
    options = (
        "--image",
        kubectl.access.image,
        "--image-pull-policy=IfNotPresent",
        "--restart=Never",
        "--rm",
        "-i",
    )
    with kubectl.start("run", name, *options, "--quiet", "--", "sh", "-c", f"{ECHO[:-1]}4") as session:
        say_until_answered(session, "abc")
        session.end_input()
        assert session.wait() == 4, session.described()
    kubectl.run("get", "pod", name, code=1)


@scenario(cases=(15,), slow=True, seconds=900)
def exec_idle_for_ten_minutes_is_alive(kubectl: Kubectl) -> None:
    """An exec in which nothing is said for ten minutes still answers."""
    with kubectl.start("exec", "-i", "shell", "--", "cat") as session:
        session.write(b"before\n")
        session.wait_for_text("before")
        time.sleep(600)
        session.write(b"after\n")
        session.wait_for_text("after", seconds=5)
        session.end_input()
        assert session.wait() == 0
