"""logs and logs -f: every line, as it comes, until the pod ends."""

from tests.scenarios.catalogue import scenario
from tests.scenarios.kubectl import Kubectl, Same

# The loop waits for a file, so that a follower is surely there before the first line is written.
_GATED = "echo ready; until [ -e {gate} ]; do sleep 0.05; done; for n in 1 2 3 4 5; do echo line $n; sleep 0.3; done"


@scenario(every_version=True)
def logs_follow_shows_lines_as_they_come_and_ends_with_the_pod(kubectl: Kubectl) -> None:
    """logs -f shows each line when it is written and ends with exit status 0 when the pod ends."""
    gate = f"/tmp/gate{kubectl.suffix}"
    name = kubectl.start_pod("talker", "sh", "-c", _GATED.format(gate=gate))
    with kubectl.start("logs", "-f", name) as follow:
        follow.wait_for_text("ready")
        kubectl.run("exec", name, "--", "touch", gate)
        kubectl.conclude(follow)
    assert [line.text for line in follow.output] == ["ready", *(f"line {n}" for n in range(1, 6))]
    gaps = [later.at - line.at for line, later in zip(follow.output[1:], follow.output[2:], strict=False)]
    assert min(gaps) > 0.1, f"lines came together: {gaps}"
    kubectl.measured["logs -f, shortest gap of lines written 300 ms apart, ms"] = min(gaps) * 1000


@scenario()
def logs_of_an_ended_pod_are_whole(kubectl: Kubectl) -> None:
    """logs prints everything an ended pod wrote; --tail and --limit-bytes cut it."""
    kubectl.apply(
        kubectl.pod("spoke", "sh", "-c", "for n in 1 2 3; do echo line $n; done; echo oops >&2; exit 3")
    )
    kubectl.run(
        "wait", "--for=jsonpath={.status.phase}=Failed", f"pod/{kubectl.named('spoke')}", "--timeout=30s"
    )
    whole = kubectl.run("logs", kubectl.named("spoke"), same=Same.NOWHERE)
    assert sorted(whole.stdout.splitlines()) == ["line 1", "line 2", "line 3", "oops"]
    tail = kubectl.run("logs", kubectl.named("spoke"), "--tail=2", same=Same.NOWHERE)
    assert len(tail.stdout.splitlines()) == 2
    cut = kubectl.run("logs", kubectl.named("spoke"), "--limit-bytes=4", same=Same.NOWHERE)
    assert len(cut.stdout.encode()) == 4
    kubectl.run("logs", kubectl.named("spoke"), "-c", "other", code=1, same=Same.PATHS)
    kubectl.run("logs", kubectl.named("none"), code=1)


@scenario()
def logs_carry_much_at_once(kubectl: Kubectl) -> None:
    """A long log comes whole and in order."""
    lines = 50_000
    kubectl.apply(kubectl.pod("loud", "sh", "-c", f"seq 1 {lines}; sleep 0.5"))
    kubectl.run(
        "wait", "--for=jsonpath={.status.phase}=Succeeded", f"pod/{kubectl.named('loud')}", "--timeout=30s"
    )
    got = kubectl.run("logs", kubectl.named("loud"), same=Same.NOWHERE)
    assert got.stdout.split() == [str(n) for n in range(1, lines + 1)]
