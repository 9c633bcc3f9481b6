"""kubectl as a scenario sees it: a binary, a way to a cluster, and a record of what was said."""

import contextlib
import enum
import itertools
import json
import os
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.scenarios.binaries import Binary
from tests.scenarios.normalise import normalise
from tests.scenarios.processes import Running, running

# kubectl (1.33.1 still) reads a WebSocket before it has made the streams that the messages are for, and throws away what comes
# at once: empty messages mostly, on a busy machine the output and the exit status too (kubernetes/kubernetes#131189).
_THROWN_AWAY: Final = "Unknown stream id"
_RUNS_AGAIN: Final = 3

# Names of one play end in a number of their own, so that plays of one namespace do not meet; `normalise` drops it.
_plays = itertools.count(1)


class Same(enum.Enum):
    """Between whom an output is compared; exit codes always are."""

    EVERYWHERE = "everywhere"  # two paths to one cluster, and the simulator with a real cluster
    PATHS = "paths"  # two paths to one cluster only: another cluster rightly says something else
    NOWHERE = "nowhere"  # it differs from run to run


@dataclass(frozen=True)
class Access:
    """One way to one cluster, shared by many plays.

    `namespace` exists there and holds the pod `shell`. `simulated` tells scenarios that a pod's processes run on this
    machine, with its commands and its ports.
    """

    name: str
    kubeconfig: Path
    namespace: str
    image: str
    home: Path
    simulated: bool

    def environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """What kubectl gets: a home of its own and nothing of the caller's Kubernetes settings."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("KUBE", "CTUN_"))}
        own = {"HOME": str(self.home), "KUBECONFIG": str(self.kubeconfig), "TZ": "UTC"}
        return {**kept, **own, **(extra or {})}


@dataclass(frozen=True)
class Result:
    """What one kubectl said."""

    command: str
    code: int
    stdout: str
    stderr: str
    seconds: float

    @property
    def threw_messages_away(self) -> bool:
        """Whether kubectl says that messages which did reach it went nowhere, which is its own defect."""
        return _THROWN_AWAY in self.stderr

    def described(self) -> str:
        return f"$ {self.command}\nexit status {self.code} after {self.seconds:.2f} s\n{self.stdout}{self.stderr}"


@dataclass(frozen=True)
class Step:
    """A result made comparable: without what may differ."""

    command: str
    code: int
    stdout: str
    stderr: str
    same: Same

    def seen_by(self, widest: Same) -> "Step":
        """The part of it that two runs `widest` apart must agree on."""
        if self.same is Same.EVERYWHERE or self.same is widest:
            return Step(self.command, self.code, self.stdout, self.stderr, Same.EVERYWHERE)
        # What varies in the output (a port, a folder) stands in the command as well.
        varies = self.same is Same.NOWHERE
        shown = " ".join(self.command.split()[:2]) if varies else self.command
        return Step(shown, self.code, "", "", Same.EVERYWHERE)


@dataclass
class Kubectl:
    """One binary on one access, for the length of one play."""

    binary: Binary
    access: Access
    settings: Mapping[str, str] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    measured: dict[str, float] = field(default_factory=dict)
    suffix: str = ""

    def __post_init__(self) -> None:
        self.suffix = self.suffix or f"-n{os.getpid()}x{next(_plays)}"

    def named(self, name: str) -> str:
        """A name of this play's own, which a comparison shows without its suffix."""
        return f"{name}{self.suffix}"

    def run(
        self,
        *arguments: str,
        stdin: str | bytes | None = None,
        code: int | None = 0,
        same: Same = Same.EVERYWHERE,
        settings: Mapping[str, str] | None = None,
        seconds: float = 40,
    ) -> Result:
        """Run kubectl to its end and record what it said. One that throws away what reached it is run again, up to three times; what
        the last one says counts.

        Args:
            code: the exit status it must have; None for any.
            settings: more environment variables.
            seconds: after this long it is killed and the play fails.
        """
        written = stdin.encode() if isinstance(stdin, str) else stdin
        result = self._run_once(arguments, written, settings, seconds)
        for _ in range(_RUNS_AGAIN):
            if not result.threw_messages_away:
                break
            result = self._run_once(arguments, written, settings, seconds)
        assert code is None or result.code == code, f"exit status {code} expected\n{result.described()}"
        self.record(result, same)
        return result

    def _run_once(
        self,
        arguments: Sequence[str],
        written: bytes | None,
        settings: Mapping[str, str] | None,
        seconds: float,
    ) -> Result:
        begun = time.monotonic()
        done = subprocess.run(
            self.command(*arguments),
            input=written,
            stdin=subprocess.DEVNULL if written is None else None,
            capture_output=True,
            env=self.environment(settings),
            timeout=seconds,
        )
        out, err = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
        shown = "kubectl " + " ".join(arguments)[:400]
        return Result(shown, done.returncode, out, err, time.monotonic() - begun)

    @contextlib.contextmanager
    def start(self, *arguments: str, settings: Mapping[str, str] | None = None) -> Iterator[Running]:
        """kubectl in the background for as long as the block lasts; what it says is not recorded."""
        with running(self.command(*arguments), self.environment(settings)) as process:
            yield process

    def record(self, result: Result, same: Same = Same.EVERYWHERE) -> None:
        """Keep a result for the comparison; `run` does so by itself."""
        out, err = self._comparable(result.stdout), self._comparable(result.stderr)
        self.steps.append(Step(self._comparable(result.command), result.code, out, err, same))

    def conclude(
        self, process: Running, code: int = 0, *, seconds: float = 20, same: Same = Same.EVERYWHERE
    ) -> Result:
        """Wait for the end of a background kubectl, check its exit status and record what it said."""
        got = process.wait(seconds)
        shown = "kubectl " + " ".join(process.arguments[3:])[:400]
        result = Result(shown, got, process.stdout, process.stderr, time.monotonic() - process.started)
        assert got == code, f"exit status {code} expected\n{result.described()}"
        self.record(result, same)
        return result

    def apply(self, *manifests: Mapping[str, Any], same: Same = Same.EVERYWHERE) -> Result:
        """Apply manifests in one go."""
        return self.run("apply", "-f", "-", stdin=as_list(manifests), same=same)

    def pod(self, name: str, *command: str, **specification: Any) -> dict[str, Any]:
        """The manifest of a pod of one container that runs the command."""
        container = {"name": "main", "image": self.access.image, "imagePullPolicy": "IfNotPresent"}
        container |= {"command": list(command)} | specification.pop("container", {})
        details = {"terminationGracePeriodSeconds": 0, "restartPolicy": "Never", "containers": [container]}
        metadata = {"name": self.named(name), "labels": {"play": self.play}}
        return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": details | specification}

    def start_pod(self, name: str, *command: str, **specification: Any) -> str:
        """Start such a pod, wait until it is ready and return its name."""
        self.apply(self.pod(name, *command, **specification))
        self.run("wait", "--for=condition=Ready", f"pod/{self.named(name)}", "--timeout=30s")
        return self.named(name)

    def configmap(self, name: str, **data: str) -> dict[str, Any]:
        """The manifest of a ConfigMap."""
        metadata = {"name": self.named(name), "labels": {"play": self.play}}
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}

    @property
    def play(self) -> str:
        """The value of the label `play` of everything this play makes."""
        return f"play{self.suffix}"

    def command(self, *arguments: str) -> list[str]:
        """The whole command line, for whoever starts the process."""
        return [str(self.binary.path), "--namespace", self.access.namespace, *arguments]

    def environment(self, settings: Mapping[str, str] | None = None) -> dict[str, str]:
        return self.access.environment({**self.settings, **(settings or {})})

    def _comparable(self, text: str) -> str:
        names = {self.suffix: "", self.access.namespace: "NAMESPACE", self.access.image: "IMAGE"}
        return normalise(text, names | {str(self.access.home): "HOME"})


def as_list(manifests: Sequence[Mapping[str, Any]]) -> str:
    """Several manifests as one JSON document."""
    if len(manifests) == 1:
        return json.dumps(manifests[0])
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": list(manifests)})
