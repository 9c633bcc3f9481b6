"""A stub, an agent of its cluster, and a channel on which that one answers."""

import pytest

from tests.unit.fakes import Clock
from tests.unit.stub.parts import FarAgent, FarChannel, Stub


@pytest.fixture
async def stub(clock: Clock) -> Stub:
    return Stub()


@pytest.fixture
async def agent(stub: Stub) -> FarAgent:
    return stub.agent()


@pytest.fixture
async def channel(agent: FarAgent) -> FarChannel:
    return agent.channel()
