"""`cluster-tunnel can`, through the command's own entry."""

from pathlib import Path

import pytest

from tunnel.cli.main import main

Output = pytest.CaptureFixture[str]

ACCESS = """\
rules:
  - {name: look, users: [alice], clusters: [prod], readOnly: true, resources: [pods, deployments.apps], subresources: [log]}
  - {groups: [admins], clusters: ["*"]}
"""
CEILING = "{noExec: true, namespaces: [shop], forbiddenGroups: [interns]}"


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    (tmp_path / "access").write_text(ACCESS)
    (tmp_path / "ceiling").write_text(CEILING)
    return ["--access", str(tmp_path / "access"), "--ceiling", str(tmp_path / "ceiling")]


def can(line: str, *flags: str) -> int:
    return main(["can", *line.split(), "--cluster", "prod", *flags])


@pytest.mark.parametrize(
    "line",
    [
        "alice get pods/web -n shop",
        "alice list pods -n shop",
        "alice get pods/web --subresource log -n shop",
        "alice get deployments/web -n shop",
        "alice get deployments.apps/web -n shop",
        "alice get /apis",
        "alice create selfsubjectaccessreviews.authorization.k8s.io",
        "bob delete secrets/x -n shop -g admins",
        "bob get namespaces/shop -g admins",
        "bob create pods/web --subresource portforward -n shop -g devs -g admins",
    ],
)
def test_what_both_ends_allow_is_allowed(line: str, files: list[str], capsys: Output) -> None:
    assert can(line, *files) == 0, capsys.readouterr().out
    stub, agent = capsys.readouterr().out.splitlines()
    assert stub.startswith("allowed  stub   ")
    assert agent.startswith("allowed  agent  the ceiling")


@pytest.mark.parametrize(
    ("line", "end", "words"),
    [
        ("alice delete pods/web -n shop", "stub", "the rule 'look' allows reading only, not delete"),
        (
            "alice get secrets/x -n shop",
            "stub",
            "only the resources pods, deployments.apps, */log, not 'secrets'",
        ),
        ("carol get pods -n shop", "stub", "no rule names 'carol' for the cluster 'prod'"),
        ("alice get pods/web -n dev", "agent", "only the namespaces shop, not 'dev'"),
        ("alice list pods", "agent", "not all of them at once"),
        ("bob get nodes/n -g admins", "agent", "not what belongs to the whole cluster"),
        ("bob create pods/web --subresource exec -n shop -g admins", "agent", "no running commands in pods"),
        (
            "bob get pods/web -n shop -g admins -g interns",
            "agent",
            "forbiddenGroups: the group 'interns' is forbidden",
        ),
        ("bob get /metrics -g admins", "agent", "not '/metrics'"),
        ("bob get /api/v1/x/../y/z -g admins", "agent", "only paths that can be judged"),
    ],
)
def test_what_one_end_denies_is_denied_with_the_rule_and_the_end(
    line: str, end: str, words: str, files: list[str], capsys: Output
) -> None:
    assert can(line, *files) == 1
    (denied,) = [said for said in capsys.readouterr().out.splitlines() if said.startswith("denied")]
    assert denied.split()[1] == end
    assert words in denied


def test_without_files_it_says_what_holds_then(capsys: Output) -> None:
    assert can("alice delete nodes/n") == 0
    output = capsys.readouterr().out
    assert "no access file: every user may reach every cluster" in output
    assert "no ceiling file: only 'system:' names are refused" in output
    assert can("system:admin get pods") == 1


def test_names_are_judged_for_lists_as_kubectl_asks_them(tmp_path: Path, capsys: Output) -> None:
    ceiling = tmp_path / "ceiling"
    ceiling.write_text("names: [web]")
    assert can("alice watch pods/web", "--ceiling", str(ceiling)) == 0
    assert can("alice watch pods/other", "--ceiling", str(ceiling)) == 1
    assert can("alice list pods", "--ceiling", str(ceiling)) == 1


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("alice exec pods/web", "the API's words are: create pods/NAME --subresource exec"),
        ("alice lst pods", "unknown verb 'lst' (did you mean 'list'?)"),
        ("alice get pod", "RESOURCE: the core group has no 'pod' (did you mean 'pods'?)"),
        ("alice get pods/web/log", "a subresource is given with --subresource"),
        ("alice get *", "one resource is asked about"),
        ("alice get /é", "ASCII"),
        ("alice get pods --access /nowhere", "--access /nowhere: No such file"),
        ("alice", "required"),
    ],
)
def test_a_wrong_call_is_exit_2_with_what_would_be_right(line: str, words: str, capsys: Output) -> None:
    assert can(line) == 2
    assert words in capsys.readouterr().err


def test_a_wrong_cluster_or_file_is_exit_2(tmp_path: Path, capsys: Output) -> None:
    assert main(["can", "alice", "get", "pods", "--cluster", "Prod"]) == 2
    assert "--cluster: 'Prod' is not a cluster id" in capsys.readouterr().err
    (tmp_path / "c").write_text("readonly: true")
    assert can("alice get pods", "--ceiling", str(tmp_path / "c")) == 2
    assert "readonly: unknown key (did you mean 'readOnly'?)" in capsys.readouterr().err
