"""What a request opens, and which requests cannot be judged."""

import posixpath
import re
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.core.policy.asked import asked, under
from tunnel.core.policy.request import is_self_review, selected_name

POD = "/api/v1/namespaces/dev/pods/web"


@pytest.mark.parametrize(
    ("line", "door"),
    [
        (f"GET {POD}/exec?command=sh", "exec"),
        (f"UPGRADE GET {POD}/exec", "exec"),
        (f"POST {POD}/EXEC", "exec"),
        (f"POST {POD}/attach", "exec"),
        (f"PATCH {POD}/ephemeralcontainers", "exec"),
        (f"GET {POD}/ephemeralcontainers", ""),
        (f"POST {POD}/portforward", "portforward"),
        (f"GET {POD}/proxy/x", "proxy"),
        ("GET /api/v1/namespaces/dev/services/s/proxy", "proxy"),
        ("GET /api/v1/nodes/n/proxy/run/dev/web/c", "nodeproxy"),
        ("GET /api/v1/proxy/nodes/n/run/dev/web/c", "nodeproxy"),
        ("GET /api/v1/proxy/namespaces/dev/pods/web/x", "proxy"),
        (
            "UPGRADE GET /apis/subresources.kubevirt.io/v1/namespaces/dev/virtualmachineinstances/v/console",
            "exec",
        ),
        ("UPGRADE GET /unknown", "exec"),
        (f"UPGRADE GET {POD}", "exec"),
        ("UPGRADE GET /api/v1/pods?watch=1", ""),
        ("UPGRADE GET /api/v1/pods", "exec"),
        (f"UPGRADE GET {POD}/log?follow=1", ""),
        (f"GET {POD}/log", ""),
        (f"GET {POD}", ""),
        ("GET /api/v1/namespaces/dev/pods/exec", ""),
    ],
)
def test_what_a_request_opens(line: str, door: str) -> None:
    assert asked(line).door == door


@pytest.mark.parametrize(
    "line",
    [
        f"GET /{POD}",
        f"GET {POD}//exec",
        "GET /api/v1/namespaces//pods",
        "GET /api/v1/namespaces/dev/../prod/pods",
        "GET /api/v1/namespaces/dev/./pods",
        "GET /api/v1/namespaces/dev/%2e%2E/prod/pods",
        "GET /api/v1/namespaces/dev%2Fpods",
        "GET /api/v1/namespaces/dev%5cpods",
        "GET /api/v1/namespaces/dev%252Fpods",
        "GET /api/v1/namespaces/dev%00/pods",
        "GET /api/v1/namespaces/dev%ff/pods",
        "GET /api/v1/namespaces/dev%zz/pods",
        "GET /api/v1/namespaces/dev;x=1/pods",
        f"GET /{'%41' * 9000}",
        f"GET /api/v1{'/%41' * 63}",
        "GET /api/v1/namespaces/dev/services/s/proxy/../../../../prod/pods",
        "GET /api/v1/namespaces/dev/services/s/proxy/%2e%2e/x",
        "GET /api/v1/namespaces/dev/services/s/proxy/%252e%252e/x",
        "GET /api/v1/namespaces/dev/services/s/proxy/..;a/x",
        "GET /api/v1/namespaces/dev/services//proxy/x",
        "GET /api/v1/namespaces/dev/proxy/x%2Fexec",
        "GET /api/v1/namespaces/dev/proxy/a%2Fproxy",
        "GET /api/v1/watch/pods/proxy//exec",
        "DELETE /api/v1/watch/namespaces/dev/pods",
        "GET /api/v1/pods?watch=1;x",
        "GET /api/v1/pods?fieldSelector=%zz",
        "GET /api/v1/pods?x=%41%4",
        "GET /api/v1/pods?x=%%4141",
        f"GET /api/v1/pods?watch=1{'&' * 256}",
        f"GET /api/v1/watch/pods?{'a=b&' * 256}",
    ],
)
def test_what_two_readers_may_take_for_different_things_is_unclear(line: str) -> None:
    assert asked(line).unclear


@pytest.mark.parametrize(
    "line",
    [
        "GET /",
        "GET /api/v1/namespaces/dev/pods/",
        "GET /apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Anode",
        "GET /.well-known/openid-configuration",
        f"GET /openapi/v3{'/%41' * 62}",
        "GET /api/v1/pods?x=%00%fF%A9%255",
        "GET /api/v1/namespaces/dev/services/https:s:443/proxy/a//b/x%2Fy/../z;p?q=;%",
        "GET /api/v1/namespaces/dev/services/s/proxy/",
        "POST /api/v1/namespaces/dev/pods/web/exec?command=a;b",
        "GET /api/v1/pods?labelSelector=a%3Db&limit=500",
        f"GET /api/v1/pods?watch=1{'&' * 255}",
        f"POST /api/v1/namespaces/dev/pods/web/exec?{'command=a&' * 1000}",
        "GET /api/v1/namespaces/dev/configmaps/.hidden",
    ],
)
def test_ordinary_requests_are_clear(line: str) -> None:
    assert not asked(line).unclear


@pytest.mark.parametrize(
    ("line", "name"),
    [
        (f"GET {POD}", "web"),
        ("GET /api/v1/pods?fieldSelector=metadata.name%3Dweb&watch=true", "web"),
        ("GET /api/v1/pods?fieldSelector=metadata.name=web", "web"),
        ("GET /api/v1/pods", ""),
        ("GET /api/v1/pods?field%53elector=metadata.name%3Dother&fieldSelector=metadata.name%3Dweb", ""),
        ("GET /api/v1/pods?fieldSelector=metadata.name%3Dweb&fieldSelector=metadata.name%3Dother", ""),
        ("GET /api/v1/pods?fieldSelector=metadata.name%3Dweb%2Cspec.nodeName%3Dn", ""),
        ("GET /api/v1/pods?fieldSelector=metadata.name%21%3Dweb", ""),
        ("GET /api/v1/pods?x&fieldSelector&fieldSelector=metadata.name%3Dweb", ""),
        (f"GET /api/v1/pods?fieldSelector=metadata.name%3D{'w' * 4100}", ""),
        ("GET /api/v1/watch/namespaces/dev/pods/other?fieldSelector=metadata.name%3Dweb", ""),
        ("GET /api/v1/watch/namespaces/dev/pods?fieldSelector=metadata.name%3Dweb", ""),
        ("DELETE /api/v1/namespaces/dev/pods?fieldSelector=metadata.name%3Dweb", ""),
    ],
)
def test_a_selector_names_an_object_only_where_nothing_can_undo_it(line: str, name: str) -> None:
    assert selected_name(asked(line)) == name


@pytest.mark.parametrize(
    ("line", "review"),
    [
        ("POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews", True),
        ("POST /apis/authentication.k8s.io/v1/selfsubjectreviews", True),
        ("POST /apis/authorization.k8s.io/v1/subjectaccessreviews", False),
        ("POST /apis/authorization.k8s.io/v1/namespaces/dev/selfsubjectaccessreviews", False),
        ("POST /apis/example.com/v1/selfsubjectreviews", False),
        ("DELETE /apis/authentication.k8s.io/v1/selfsubjectreviews", False),
    ],
)
def test_only_questions_about_oneself_are_self_reviews(line: str, review: bool) -> None:
    assert is_self_review(asked(line)) is review


# Spellings -------------------------------------------------------------------------------------

_SPECIAL_VERBS = ("proxy", "watch")


def apiserver_reads(path: str) -> tuple[str, str]:
    """The resource and subresource that the apiserver's RequestInfo resolver finds in a decoded path."""
    parts = path.strip("/").split("/") if path.strip("/") else []
    if len(parts) < 3 or parts[0] not in ("api", "apis"):
        return "", ""
    parts = parts[1:] if parts[0] == "api" else parts[2:]
    if len(parts) < 2:
        return "", ""
    parts = parts[1:]
    verb = parts[0] if parts[0] in _SPECIAL_VERBS else ""
    parts = parts[1:] if verb else parts
    if len(parts) > 2 and parts[0] == "namespaces" and parts[2] not in ("status", "finalize"):
        parts = parts[2:]
    return (parts[0] if parts else ""), (parts[2] if len(parts) > 2 and verb != "proxy" else "")


def cleaned(path: str) -> str:
    return posixpath.normpath("/" + path.replace("\\", "/")).replace("//", "/")


READERS = {
    "the apiserver": unquote,
    "one that cleans": lambda path: cleaned(unquote(path)),
    "one that decodes twice": lambda path: cleaned(unquote(unquote(path))),
    "one that drops parameters": lambda path: cleaned(re.sub(r";[^/]*", "", unquote(path))),
}
"""How hops in front of an apiserver, and it itself, may understand a path."""


@st.composite
def spelt(draw: st.DrawFn) -> str:
    """A path to exec or attach, in some spelling that some reader may still take for it."""
    pieces: list[str] = []
    word = draw(st.sampled_from(["exec", "attach"]))
    start = draw(st.sampled_from(["/api/v1", "/apis/x.io/v1", "/api/v1/watch", "/version/../api/v1"]))
    way = draw(
        st.sampled_from(
            ["/namespaces/dev/pods/web/", "/pods/web/", "/namespaces/dev/services/s/proxy/../../../pods/web/"]
        )
    )
    for letter in f"{start}{way}{word}":
        choices = [letter] * 8 + [f"%{ord(letter):02x}", f"%25{ord(letter):02X}"]
        choices += ["//", "/./", "/x/../", "%2f", "%5c", ";p/", "/%2e/"] if letter == "/" else []
        pieces.append(draw(st.sampled_from(choices)))
    return "".join(pieces) + draw(st.sampled_from(["", "", "/", "//", "/more", ";p", "/."]))


@given(spelt(), st.sampled_from(["GET", "POST", "UPGRADE GET"]))
def test_however_a_path_to_exec_is_spelt_a_ceiling_without_exec_refuses_it(path: str, method: str) -> None:
    readings = [apiserver_reads(read(path)) for read in READERS.values()]
    if any(subresource in ("exec", "attach") for _, subresource in readings):
        assert not under({"noExec": True}, f"{method} {path}").allowed, path


@given(spelt())
def test_what_is_clear_means_the_same_to_every_reader(path: str) -> None:
    request = asked(f"GET {path}")
    if not request.unclear and request.subresource != "proxy":
        assert {apiserver_reads(read(path)) for read in READERS.values()} == {
            (request.info.resource, request.info.subresource)
        }
