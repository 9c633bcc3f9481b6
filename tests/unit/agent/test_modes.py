"""What each mode shows the apiserver."""

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from agent.modes import make_inspection, shown_credential
from agent.settings import AgentSettings
from agent.upstream.credential import NoToken, StaticToken
from agent.upstream.target import UpstreamTarget
from agent.upstream.tokens import open_accounts
from tests.unit.agent.parts import Upstreams, request
from tests.unit.agent.test_settings import SETTINGS
from tests.unit.fakes import Clock
from tunnel.core.errors import Unauthorized
from tunnel.core.http.message import Field
from tunnel.kit.failures import UsageError

OWN = StaticToken("agents-own")
TARGET = UpstreamTarget("10.0.0.1", 6443, b"10.0.0.1:6443", b"", None, "10.0.0.1", OWN)
TOKEN: Field = (b"Authorization", b"Bearer users-own")


def sent(settings: AgentSettings, *fields: Field) -> dict[bytes, bytes]:
    """The fields that a request reaches the apiserver with."""
    inspection = make_inspection(settings, TARGET, cast("Any", Upstreams()))
    asked = request(fields=list(fields))
    checked = inspection.check(asked)
    head = inspection.render(asked, checked.lines, checked.upgrade, 0.0, inspection.account(asked))
    pairs = [line.split(b": ", 1) for line in head.split(b"\r\n")[1:-2]]
    return {name: value for name, value in pairs if name in {b"Impersonate-User", b"Authorization"}}


async def test_impersonating_the_agent_asks_on_a_users_behalf(clock: Clock) -> None:
    assert sent(SETTINGS, TOKEN) == {b"Impersonate-User": b"alice", b"Authorization": b"Bearer agents-own"}


async def test_with_its_token_the_agent_asks_for_itself(clock: Clock) -> None:
    assert sent(replace(SETTINGS, mode="token"), TOKEN) == {b"Authorization": b"Bearer agents-own"}


async def test_passing_through_nothing_is_shown_but_the_users_own_token(clock: Clock) -> None:
    through = replace(SETTINGS, mode="passthrough")
    assert isinstance(shown_credential(through, TARGET), NoToken)
    assert sent(through, TOKEN) == {b"Authorization": b"Bearer users-own"}
    with pytest.raises(Unauthorized):
        sent(through)


async def test_a_users_service_account_is_shown_and_not_the_agent(clock: Clock, tmp_path: Path) -> None:
    path = tmp_path / "accounts.yaml"
    path.write_text("accounts: [{users: [alice], serviceAccount: ns/a}]")
    mapped = replace(SETTINGS, mode="tokenrequest", accounts=path)
    inspection = make_inspection(mapped, TARGET, cast("Any", Upstreams()))
    account = inspection.account(request())
    assert account is not None
    assert str(account.account) == "ns/a"
    assert sent(mapped, TOKEN) == {}  # before its token is there


def test_an_accounts_file_that_is_wrong_is_named_with_its_flag(tmp_path: Path) -> None:
    path = tmp_path / "accounts.yaml"
    path.write_text("accounts: [{users: [alice]}]")
    with pytest.raises(UsageError, match=r"--accounts .*accounts\[0\]\.serviceAccount"):
        open_accounts(path)
