"""kubectl debug: another container beside the one that runs."""

from tests.scenarios.catalogue import scenario
from tests.scenarios.executing import ECHO, say_until_answered
from tests.scenarios.kubectl import Kubectl


@scenario()
def debug_adds_a_container_and_attaches(kubectl: Kubectl) -> None:
    """debug starts an ephemeral container, shows what it says and ends with it."""
    name = kubectl.start_pod("patient", "sleep", "600")
    options = (
        "--image",
        kubectl.access.image,
        "--image-pull-policy=IfNotPresent",
        "-c",
        "probe",
        "--quiet",
        "-i",
    )
    with kubectl.start("debug", name, *options, "--", "sh", "-c", ECHO) as session:
        say_until_answered(session, "abc")
        session.end_input()
        assert session.wait() == 0, session.described()
    added = kubectl.run("get", "pod", name, "-o", "jsonpath={.spec.ephemeralContainers[*].name}")
    assert added.stdout == "probe"
    kubectl.run("delete", "pod", name)


@scenario()
def debug_makes_a_copy_of_a_pod(kubectl: Kubectl) -> None:
    """debug --copy-to starts a copy of the pod with another command."""
    name = kubectl.start_pod("original", "sleep", "600")
    copy = kubectl.named("copy")
    kubectl.run("debug", name, f"--copy-to={copy}", "--container=main", "--", "sleep", "500")
    kubectl.run("wait", "--for=condition=Ready", f"pod/{copy}", "--timeout=30s")
    command = kubectl.run(
        "get", "pod", copy, "-o", "jsonpath={.spec.containers[0].command}{.spec.containers[0].args}"
    )
    assert "500" in command.stdout
    kubectl.run("delete", "pod", name, copy)
