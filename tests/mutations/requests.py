"""Requests that readers may disagree on, paths that lead elsewhere, and input without end."""

from typing import Final

from tests.mutations.mutation import Mutation

BODY: Final = "tunnel/core/http/body.py"
TARGET: Final = "tunnel/core/http/target.py"
FIELDS: Final = "tunnel/core/http/fields.py"
TEST_BODY: Final = ("tests/unit/core/http/test_body.py",)
TEST_TARGET: Final = ("tests/unit/core/http/test_target.py",)
TEST_FIELDS: Final = ("tests/unit/core/http/test_fields.py",)
TEST_CONNECTION: Final = ("tests/unit/stub/front/test_connection.py",)
TEST_PARSER: Final = ("tests/unit/stub/front/test_parser.py",)
INSPECTION: Final = "agent/inspection.py"
TEST_STUB: Final = ("tests/integration/test_hostile_stub.py",)

REQUESTS: Final = (
    Mutation("Content-Length and Transfer-Encoding", BODY, "    if lengths:\n", "    if False:\n", TEST_BODY),
    Mutation(
        "a transfer coding other than chunked",
        BODY,
        '    if len(codings) > 1 or codings[0].lower() != b"chunked":\n',
        '    if not codings[-1].lower().endswith(b"chunked"):\n',
        TEST_BODY,
    ),
    Mutation("two Content-Lengths", BODY, "    if len(lengths) > 1:\n", "    if False:\n", TEST_BODY),
    Mutation(
        "a length with a sign, in hexadecimal or as a list",
        BODY,
        "    if not lengths[0].isdigit() or len(lengths[0]) > _LENGTH_DIGITS:\n",
        '    if not lengths[0].replace(b"+", b"").replace(b"_", b"").strip().isdigit():\n',
        TEST_BODY,
    ),
    Mutation("chunks on HTTP/1.0", BODY, "        if not version_1_1:\n", "        if False:\n", TEST_BODY),
    Mutation(
        "any expectation is met",
        BODY,
        '        if value.lower() != b"100-continue":\n',
        "        if False:\n",
        TEST_BODY,
    ),
    Mutation(
        "another version of HTTP",
        TARGET,
        '    if version == "1.1":\n',
        '    if version > "1.0":\n',
        TEST_TARGET,
    ),
    Mutation(
        "an absolute target overrides Host, and * names no path",
        TARGET,
        '_TARGET: Final = re.compile(rb"/[',
        '_TARGET: Final = re.compile(rb"[^#]*[',
        TEST_TARGET,
    ),
    Mutation(
        "a fragment, a space or a control character in a target",
        TARGET,
        '(?:\\?[!\\"$-~]*)?\\Z")\n_FOREIGN',
        '(?:\\?[^\\n]*)?(?:#.*)?\\Z")\n_FOREIGN',
        TEST_TARGET,
    ),
    Mutation(
        "a method that is two requests",
        TARGET,
        "    if not _TOKEN.match(method):\n",
        "    if False:\n",
        TEST_TARGET,
    ),
    Mutation(
        "CONNECT and TRACE are carried",
        TARGET,
        "    if method in _REFUSED_METHODS:\n",
        "    if False:\n",
        TEST_TARGET,
    ),
    Mutation(
        "two Hosts, or none",
        FIELDS,
        "    if hosts > 1 or (not hosts and version_1_1):\n",
        "    if False:\n",
        TEST_FIELDS,
    ),
    Mutation(
        "a field that decides is repeated",
        FIELDS,
        "        if block.count(marked) > 1:\n",
        "        if False:\n",
        TEST_FIELDS,
    ),
    Mutation(
        "NUL, CR or LF in a value",
        FIELDS,
        "    if value_bytes.translate(None, VALUE_BYTES):\n        return _value_fault(fields)\n",
        "",
        TEST_FIELDS,
    ),
    Mutation(
        "a name that is no token",
        FIELDS,
        '    if name_bytes.translate(None, _TOKEN) or b"" in names:\n        return _name_fault(names)\n',
        "",
        TEST_FIELDS,
    ),
    Mutation(
        "trailers bring fields in behind the checks",
        "stub/front/parser.py",
        "        if not self.in_head:\n            return\n",
        "",
        TEST_PARSER,
    ),
    Mutation(
        "a request without end",
        "stub/front/parser.py",
        "        if self.head_bytes > limits.HEAD_BYTES:\n",
        "        if False:\n",
        TEST_CONNECTION,
    ),
    Mutation(
        "fields without end",
        "stub/front/parser.py",
        "        if len(self._fields) > limits.FIELD_COUNT:\n",
        "        if False:\n",
        TEST_PARSER,
    ),
    Mutation(
        "a slow head",
        "stub/front/connection.py",
        "            self._deadline.set(self.office.head_seconds)\n        self._feed(data)\n",
        "            pass\n        self._feed(data)\n",
        TEST_CONNECTION,
    ),
    Mutation(
        "requests without end are queued",
        "stub/front/connection.py",
        "        if self._requests.waiting or self._body_paused or",
        "        if self._body_paused or",
        ("tests/unit/stub/front/test_pipeline.py",),
    ),
    Mutation(
        "what follows bytes that could not be told apart is believed",
        "stub/front/connection.py",
        "        if self._ending or self._lingering or self.stream.closing:\n",
        "        if False:\n",
        TEST_CONNECTION,
    ),
    Mutation(
        "dot segments lead into another cluster",
        TARGET,
        '    if climbs_above_root(rest.partition(b"?")[0]):\n',
        "    if False:\n",
        TEST_TARGET,
    ),
    Mutation(
        "a prefix that only some readers see (escapes, doubled slashes, upper case)",
        TARGET,
        "            _refuse_hidden_prefix(target)\n",
        "            pass\n",
        TEST_TARGET,
    ),
    Mutation(
        "an upper-case prefix is the default cluster's",
        TARGET,
        ' or target[:9].lower() == b"/clusters":\n            _refuse',
        ":\n            _refuse",
        TEST_TARGET,
    ),
    Mutation(
        "an escaped prefix is not looked into",
        TARGET,
        '    return b"%" in path or b"/." in path or b"//" in path\n',
        '    return b"/." in path or b"//" in path\n',
        TEST_TARGET,
    ),
    Mutation(
        "a backslash is a slash to some",
        TARGET,
        '.replace(b"\\\\", b"/").split(b"/")',
        '.split(b"/")',
        TEST_TARGET,
    ),
    Mutation(
        "the agent believes the stub about the method",
        INSPECTION,
        "        check_method(head.method)\n",
        "",
        TEST_STUB,
    ),
    Mutation(
        "the agent believes the stub about the target",
        INSPECTION,
        "        check_target(head.target)\n",
        "",
        TEST_STUB,
    ),
    Mutation(
        "two clusters named at once",
        "stub/front/admission.py",
        "        if len(named) > 1:\n",
        "        if False:\n",
        ("tests/unit/stub/front/test_admission.py",),
    ),
    Mutation(
        "a body that stops coming",
        "stub/front/connection.py",
        "            self._deadline.set(self.office.body_idle_seconds)\n",
        "            pass\n",
        ("tests/unit/stub/front/test_body_timeout.py",),
    ),
    Mutation(
        "bytes behind an answer are the next one's",
        "agent/upstream/connection.py",
        "            self._keep_alive = self._keep_alive and take == len(data)\n",
        "            pass\n",
        ("tests/unit/agent/upstream/test_connection.py",),
    ),
)
