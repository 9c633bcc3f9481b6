"""Which cluster the agent is in."""

import json
from typing import Any, cast

import pytest

from agent.enrolment_cluster import ClusterUnknown, read_cluster_uid
from agent.facts.apiserver import Apiserver
from agent.upstream.question import NoAnswer
from tests.unit.agent.facts.scripted import Scripted
from tunnel.kit.failures import CommandFailed

NAMESPACE = json.dumps({"kind": "Namespace", "metadata": {"name": "kube-system", "uid": "0f-1e"}}).encode()


async def read(scripted: Scripted) -> str:
    return await read_cluster_uid(cast("Apiserver", scripted))


def answering(*answers: Any, renews: bool = False) -> Scripted:
    scripted = Scripted.of(**{"kube-system": list(answers)})
    scripted.renews = renews
    return scripted


async def test_the_uid_of_kube_system_is_the_cluster_s() -> None:
    apiserver = answering(NAMESPACE)
    assert await read(apiserver) == "0f-1e"
    assert apiserver.asked == ["/api/v1/namespaces/kube-system"]


async def test_a_credential_that_has_run_out_is_renewed_once() -> None:
    apiserver = answering(401, NAMESPACE, renews=True)
    assert await read(apiserver) == "0f-1e"
    assert apiserver.renewed == 1


@pytest.mark.parametrize("status", [401, 403])
async def test_an_agent_that_may_not_read_it_is_told_what_to_grant(status: int) -> None:
    with pytest.raises(CommandFailed, match=r"grant it get on namespaces, resourceNames \[kube-system\]"):
        await read(answering(status))


@pytest.mark.parametrize(
    "answer",
    [NoAnswer("no route"), 404, 500, b"{}", b"x", b'{"metadata": {"uid": "a/b"}}', b'{"metadata": 1}'],
)
async def test_anything_else_is_no_answer_yet(answer: Any) -> None:
    with pytest.raises(ClusterUnknown, match="the apiserver"):
        await read(answering(answer))
