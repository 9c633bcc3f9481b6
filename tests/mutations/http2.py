"""HTTP/2 between stub and agent, in either direction."""

from typing import Final

from tests.mutations.mutation import Mutation

HTTP2_PATH: Final = "tunnel/core/session/http2.py"
TEST_HTTP2: Final = ("tests/unit/core/session/test_http2.py",)
TEST_TURNS: Final = ("tests/unit/core/session/test_turns.py",)
TEST_CHANNEL_TURNS: Final = ("tests/unit/stub/agents/test_channel.py",)

HTTP2: Final = (
    Mutation(
        "rapid reset (CVE-2023-44487), MadeYouReset (CVE-2025-8671)",
        HTTP2_PATH,
        "self._stream_frames if kind in (HeadersFrame, RstStreamFrame) else self._control_frames",
        "self._credit_frames if kind in (HeadersFrame, RstStreamFrame) else self._control_frames",
        TEST_HTTP2,
    ),
    Mutation(
        "floods of PING, SETTINGS, PRIORITY and unknown frames",
        HTTP2_PATH,
        "            self._count(frame)\n            return super()._receive_frame(frame)\n",
        "            return super()._receive_frame(frame)\n",
        TEST_HTTP2,
    ),
    Mutation(
        "a flood of empty DATA",
        HTTP2_PATH,
        '        if not frame.data and "END_STREAM" not in frame.flags:\n            self._count(frame)\n',
        "",
        TEST_HTTP2,
    ),
    Mutation(
        "a flood of WINDOW_UPDATE",
        HTTP2_PATH,
        "            rate = self._credit_frames\n",
        "            return\n",
        TEST_HTTP2,
    ),
    Mutation(
        "a turn full of small frames of HTTP/2",
        HTTP2_PATH,
        "        self.frames_left -= 1\n",
        "",
        TEST_TURNS,
    ),
    Mutation(
        "a turn full of frames that cost more",
        HTTP2_PATH,
        "            self.frames_left -= _H2_COUNTS_MORE\n",
        "",
        TEST_TURNS,
    ),
    Mutation(
        "a turn full of the lane's small frames",
        "tunnel/core/session/lane.py",
        "            connection.frames_left -= 1\n",
        "",
        TEST_TURNS,
    ),
    Mutation(
        "what waits on the lane is overtaken",
        "tunnel/core/session/lane.py",
        "                self.unread = True\n",
        "                self.unread = False\n",
        TEST_TURNS,
    ),
    Mutation(
        "a turn full of a response channel's small frames",
        "tunnel/core/channel/stub_side.py",
        "            steps_left -= 1\n",
        "",
        TEST_CHANNEL_TURNS,
    ),
    Mutation(
        "a response channel is read for a client that takes nothing",
        "stub/agents/channel.py",
        "        if not self._held:\n",
        "        if True:\n",
        TEST_CHANNEL_TURNS,
    ),
    Mutation(
        "what waits of a response is overtaken by what comes later",
        "stub/agents/channel.py",
        "        if not self._behind:\n            self.stream.resume_reading()\n",
        "        self.stream.resume_reading()\n",
        TEST_CHANNEL_TURNS,
    ),
    Mutation(
        "a session is read on while the rest of a read waits",
        "tunnel/aio/session.py",
        "            self._stream.pause_reading()\n",
        "",
        ("tests/unit/aio/test_session.py",),
    ),
    Mutation(
        "a frame larger than announced is gathered",
        HTTP2_PATH,
        "        if length > self.max_inbound_frame_size:\n",
        "        if False:\n",
        TEST_HTTP2,
    ),
    Mutation(
        "a header table as large as the peer likes (CVE-2016-6581 and its like)",
        HTTP2_PATH,
        "        self.header_table.maxsize = min(value, limits.HEADER_TABLE_BYTES)\n",
        "        self.header_table.maxsize = value\n",
        TEST_HTTP2,
    ),
    Mutation(
        "changes of the header table without end",
        HTTP2_PATH,
        "            self.table_size_changes = [min(changes), changes[-1]]\n",
        "            self.table_size_changes = changes\n",
        TEST_HTTP2,
    ),
    Mutation(
        "streams without end",
        HTTP2_PATH,
        "        return len(self.streams) if remainder == 1 else 0\n",
        "        return 0\n",
        TEST_HTTP2,
    ),
    Mutation(
        "pushes are taken",
        HTTP2_PATH,
        "        if kind is PushPromiseFrame:\n",
        "        if False:\n",
        TEST_HTTP2,
    ),
    Mutation(
        "late DATA is answered frame by frame",
        HTTP2_PATH,
        "        return [], events\n\n    def _return_connection_credit",
        "        return super()._handle_data_on_closed_stream(events, exc, frame)\n\n    def _return_connection_credit",
        TEST_HTTP2,
    ),
    Mutation(
        "what h2 raises on hostile input ends more than its session",
        HTTP2_PATH,
        "        except (ValueError, LookupError, TypeError, AttributeError, AssertionError) as error:\n",
        "        except ZeroDivisionError as error:\n",
        TEST_HTTP2,
    ),
    Mutation(
        "a body beyond its window",
        HTTP2_PATH,
        "            stream._inbound_window_manager.window_consumed(size)\n",
        "",
        ("tests/unit/core/session/test_http2_data.py",),
    ),
    Mutation(
        "a stream that no request announced is taken for a body",
        "tunnel/core/session/incoming.py",
        '        if length is None:\n            raise PeerViolation("a body without its REQUEST")\n',
        "        length = length or 0\n",
        ("tests/unit/core/session/test_incoming.py",),
    ),
    Mutation(
        "an agent answers another one's request",
        "stub/agents/link.py",
        "        asker = self._waiting.pop(number, None)\n        if asker is None and",
        "        asker = self._waiting.pop(number, None)\n        if False and",
        ("tests/unit/stub/agents", "tests/integration/test_hostile_agent.py"),
    ),
    Mutation(
        "a channel under another agent's token",
        "stub/agents/channel.py",
        "        if link is None or link.fingerprint != self._fingerprint:\n",
        "        if link is None:\n",
        ("tests/unit/stub/agents/test_channel.py",),
    ),
    Mutation(
        "a control message that takes long to read",
        "tunnel/core/wire/control.py",
        "    if len(payload) > limits.CONTROL_BYTES:\n",
        "    if False:\n",
        ("tests/unit/core/wire/test_control.py",),
    ),
    Mutation(
        "a flood of control messages",
        "tunnel/core/session/lane.py",
        "        if not self._control.take(self._connection.now):\n",
        "        if False:\n",
        ("tests/unit/core/session/test_control_messages.py",),
    ),
)
