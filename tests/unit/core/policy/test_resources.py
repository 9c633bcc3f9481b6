"""How resources are named in policies."""

import pytest

from tunnel.core.policy.resources import ResourcePatterns


@pytest.mark.parametrize(
    ("patterns", "covered", "not_covered"),
    [
        (["pods"], ["/pods/"], ["/pods/log", "metrics.k8s.io/pods/", "/services/"]),
        (["pods/log"], ["/pods/log"], ["/pods/", "/pods/exec"]),
        (["pods/*"], ["/pods/log", "/pods/exec", "/pods/"], ["/services/proxy"]),
        (
            ["deployments.apps"],
            ["apps/deployments/"],
            ["/deployments/", "extensions/deployments/", "apps/deployments/scale"],
        ),
        (["*.apps"], ["apps/deployments/", "apps/replicasets/"], ["/pods/", "apps/deployments/scale"]),
        (["*.apps/*"], ["apps/deployments/scale"], ["/pods/log"]),
        (["*/scale"], ["apps/deployments/scale", "/replicationcontrollers/scale"], ["/pods/"]),
        (["things.example.com"], ["example.com/things/"], ["other.com/things/"]),
        (["*"], ["/pods/exec", "apps/deployments/"], []),
    ],
)
def test_a_pattern_covers_what_it_says_and_no_more(
    patterns: list[str], covered: list[str], not_covered: list[str]
) -> None:
    resources = ResourcePatterns.of(tuple(patterns), ())
    assert [each for each in covered + not_covered if resources.cover(*each.split("/"))] == covered


def test_subresources_go_with_each_resource_that_names_none() -> None:
    resources = ResourcePatterns.of(("pods", "services/status"), ("log",))
    assert resources.cover("", "pods", "")
    assert resources.cover("", "pods", "log")
    assert not resources.cover("", "pods", "exec")
    assert not resources.cover("", "services", "log")
    assert str(resources) == "pods, services/status, */log"


def test_subresources_alone_go_with_every_resource() -> None:
    resources = ResourcePatterns.of(None, ("scale",))
    assert resources.cover("apps", "deployments", "")
    assert resources.cover("apps", "deployments", "scale")
    assert not resources.cover("", "pods", "exec")


def test_only_the_lone_asterisk_is_everything() -> None:
    assert ResourcePatterns.of(("*",), ()).everything
    assert ResourcePatterns.of(None, ("*",)).cover("", "pods", "exec")
    assert not ResourcePatterns.of(("*.apps/*",), ()).everything
