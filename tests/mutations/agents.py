"""A stub that an agent does not trust."""

from typing import Final

from tests.mutations.mutation import Mutation

CHANNEL: Final = "agent/channel.py"
CHANNELS: Final = "agent/channels.py"
TEST_CHANNELS: Final = ("tests/unit/agent/test_channels.py", "tests/unit/agent/test_channel.py")
TEST_SESSION: Final = ("tests/unit/agent/test_session.py",)
TEST_EXCHANGE: Final = ("tests/unit/agent/test_exchange.py",)
TEST_FILED: Final = ("tests/unit/agent/dialling/test_channels.py",)

AGENTS: Final = (
    Mutation(
        "a stub gets another stub's token by claiming to be it",
        "agent/dialling/roster.py",
        "    return Worker(server_name, hello.instance, hello.worker)\n",
        '    return Worker("", hello.instance, hello.worker)\n',
        TEST_FILED,
    ),
    Mutation(
        "a stub keeps an agent's session with another stub away by claiming to be it",
        "agent/dialling/session.py",
        "        worker = worker_of(self._server_name, hello)\n",
        '        worker = worker_of("", hello)\n',
        ("tests/unit/agent/test_dialer.py",),
    ),
    Mutation(
        "a stub leaves answers unread and the agent writes more behind them",
        CHANNEL,
        "        if self.core.state is ChannelState.IDLE and not self.write_paused:\n",
        "        if self.core.state is ChannelState.IDLE:\n",
        TEST_CHANNELS,
    ),
    Mutation(
        "a stub says no HELLO on channels and they pile up",
        CHANNEL,
        '        self._hello_timer = self._loop.call_later(limits.HELLO_SECONDS, self._gone, "no HELLO came in time")\n',
        "",
        TEST_CHANNELS,
    ),
    Mutation(
        "channels that were never greeted outlive a dead session",
        CHANNELS,
        "        for channel in [each for each in self._open if each.opened] if abort else list(self._idle):\n",
        "        for channel in list(self._open - self._greeting if abort else self._idle):\n",
        TEST_CHANNELS,
    ),
    Mutation(
        "a stub leaves refusals unread and asks for more",
        "agent/session.py",
        "        if self._core.lane_waiting_bytes + self.runner.waiting_bytes > BACKLOG_BYTES:\n",
        "        if False:\n",
        TEST_SESSION,
    ),
    Mutation(
        "requests are carried out although every channel is held by a slow client",
        "agent/session.py",
        "        if len(self._exchanges) + self.channels.lingering >= self._settings.channels_limit:\n",
        "        if len(self._exchanges) >= self._settings.channels_limit:\n",
        TEST_SESSION,
    ),
    Mutation(
        "a read through a proxy is carried out twice",
        "agent/exchange.py",
        "        return is_safe_to_repeat(\n",
        '        return request.head.method in (b"GET", b"HEAD") or is_safe_to_repeat(\n',
        TEST_EXCHANGE,
    ),
    Mutation(
        "a service's own 401 delivers a POST twice and renews the agent's credential",
        "agent/exchange.py",
        "        return not parse_request_info(self.request.head.method, self.request.head.target).is_proxied\n",
        "        return True\n",
        TEST_EXCHANGE,
    ),
    Mutation(
        "an odd answer to one user's token ends the agent",
        "agent/session.py",
        "        except Exception:\n",
        "        except LookupError:\n",
        TEST_EXCHANGE,
    ),
    Mutation(
        "a stub fills the agent's memory with large callers",
        "agent/ceiling.py",
        "            if len(caller) <= REMEMBERED_BYTES:\n",
        "            if True:\n",
        ("tests/unit/agent/test_ceiling.py",),
    ),
    Mutation(
        "a stub fills the agent's memory with large users of service accounts",
        "agent/upstream/tokens.py",
        "            if is_remembered(identity):\n",
        "            if True:\n",
        ("tests/unit/agent/upstream/test_tokens.py",),
    ),
    Mutation(
        "a session ends and the agent's log does not say so",
        "agent/session.py",
        '            _log.log(worth, "disconnected", extra={**self._facts(self.stub), "reason": reason})\n',
        "",
        TEST_SESSION,
    ),
)
