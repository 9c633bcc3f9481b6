"""What of an agent's answer a client may see."""

import pytest

from certs.signed import LOGIN
from tests.unit.stub.parts import FarAgent, FarChannel, Stub


@pytest.mark.parametrize(
    "location",
    [b"/clusters/prod/api/v1/x", b"../../clusters/prod/api/v1/x", b"/x/../clusters/prod", LOGIN.encode()],
)
@pytest.mark.parametrize("server_name", [None, "blue.k8s.test"])
async def test_a_cluster_that_no_path_named_cannot_redirect_into_another(
    location: bytes, server_name: str | None
) -> None:
    """A client would repeat a DELETE there, with its certificate."""
    stub = Stub(domain="k8s.test")
    agent = stub.agent()
    user = stub.user(server_name=server_name)
    user.ask("DELETE /api/v1/x")
    agent.channel().answer(1, b"", 307, [(b"Location", location)])
    status, fields, _ = user.answer()
    assert (status, "location" in fields) == (502, False)


async def test_it_may_redirect_within_itself(stub: Stub, agent: FarAgent, channel: FarChannel) -> None:
    user = stub.user()
    user.ask("GET /api/v1/x")
    channel.answer(1, b"", 307, [(b"Location", b"/api/v1/y")])
    status, fields, _ = user.answer()
    assert (status, fields["location"]) == (307, "/api/v1/y")
