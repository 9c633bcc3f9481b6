"""What upgrades make possible."""

from typing import Final

from tests.mutations.mutation import Mutation

UPGRADE: Final = "tunnel/core/http/upgrade.py"
FRONT: Final = "tests/unit/stub/front/test_exchange.py"
CORE: Final = "tests/unit/core/http/test_upgrade.py"

UPGRADES: Final = (
    Mutation(
        "a second request behind a refused upgrade (CVE-2018-1002105)",
        "stub/front/exchange.py",
        "        if admitted.upgrade is not None or not self._upload.complete:\n",
        "        if not self._upload.complete:\n",
        (FRONT,),
        also=(
            (
                "stub/front/parser.py",
                "bool(self._parser.should_keep_alive()) and not self._parser.should_upgrade()",
                "bool(self._parser.should_keep_alive())",
            ),
        ),
    ),
    Mutation(
        "an answer other than 101 or an error to an upgrade is relayed (CVE-2020-8559)",
        UPGRADE,
        "    if 400 <= status <= 599:\n        return UpgradeOutcome.RELAY_THEN_CLOSE\n",
        "    if status != 101:\n        return UpgradeOutcome.RELAY_THEN_CLOSE\n",
        (CORE, FRONT),
    ),
    Mutation(
        "a redirect to another host (CVE-2018-1002102, CVE-2022-3172)",
        "tunnel/core/http/location.py",
        "    if match is None or own is None or _normal(match[0]) != _normal(own[0]):\n",
        "    if match is None:\n",
        ("tests/unit/core/http/test_location.py",),
    ),
    Mutation(
        "a redirect of an upstream below a path names that path twice",
        "tunnel/core/http/location.py",
        "    value = _without_base_path(value, upstream_url)\n",
        "",
        ("tests/unit/core/http/test_location.py",),
    ),
    Mutation(
        "what stands behind the upstream's own path reads as a host",
        "tunnel/core/http/location.py",
        "    return _rooted(rest)\n",
        '    return rest or b"/"\n',
        ("tests/unit/core/http/test_location.py",),
    ),
    Mutation(
        "a redirect out of the cluster's prefix (CVE-2022-3172)",
        "tunnel/core/http/location.py",
        "        return climbs_above_root(path)\n",
        "        return False\n",
        ("tests/unit/core/http/test_location.py",),
    ),
    Mutation(
        "a redirect from the default cluster into another",
        "tunnel/core/http/location.py",
        "    return not upstream_url and is_stubs_own(path)\n",
        "    return False\n",
        ("tests/unit/stub/front/test_response.py",),
    ),
    Mutation(
        "any protocol is upgraded to",
        UPGRADE,
        "    if kind is None:\n",
        "    if kind is None and False:\n",
        (CORE,),
    ),
    Mutation(
        "several protocols are asked for at once",
        UPGRADE,
        "    kind = _KINDS.get(wanted[0].lower()) if len(wanted) == 1 else None\n",
        "    kind = _KINDS.get(wanted[0].lower())\n",
        (CORE,),
    ),
    Mutation(
        "bytes behind an upgrade that fails are a request (RFC 9931)",
        "stub/front/connection.py",
        "        if self._upgrading:\n            self._keep_early(data)\n            return\n",
        "",
        (FRONT, "tests/unit/stub/front/test_connection.py"),
    ),
    Mutation(
        "early bytes reach the upstream before its 101",
        "stub/front/connection.py",
        "        if len(self._early) >= limits.EARLY_BYTES:\n",
        "        if False:\n",
        (FRONT,),
    ),
    Mutation(
        "an upgrade with a body (CVE-2026-69243)",
        "tunnel/core/http/body.py",
        '    if length and (lookup(fields, b"upgrade") or b"upgrade" in connection_tokens(fields)):\n',
        "    if False:\n",
        ("tests/unit/core/http/test_body.py",),
    ),
    Mutation(
        "fields are sanitised on the plain path only",
        "stub/front/admission.py",
        "            rest, self._sanitise(others), server_name, body_length, upgrade, waits=waits\n",
        "            rest, others if upgrade else self._sanitise(others), server_name, body_length, upgrade, waits=waits\n",
        ("tests/integration/test_identity.py",),
    ),
    Mutation(
        "a 101 that nobody asked for opens a pipe",
        UPGRADE,
        "    if not 200 <= status <= 599:\n",
        "    if status < 100:\n",
        (CORE, FRONT),
    ),
    Mutation(
        "a 101 that grants another protocol opens a pipe",
        UPGRADE,
        "    if head.status != 101 or len(granted) != 1 or granted[0].lower() != kind.value.lower():\n",
        "    if head.status != 101:\n",
        (CORE,),
    ),
    Mutation(
        "the token among a WebSocket's subprotocols goes upstream",
        "tunnel/core/http/fields.py",
        '    if b"sec-websocket-protocol" in notable and not forward_authorization:\n',
        "    if False:\n",
        ("tests/unit/core/http/test_fields.py",),
    ),
    Mutation(
        "the 101 shares its record with what follows",
        "stub/front/exchange.py",
        "write_record(",
        "write(",
        (FRONT,),
    ),
    Mutation(
        "a cut over plain TCP looks like an end",
        "tunnel/aio/plain.py",
        "        self._transport.close_by_reset()\n",
        "",
        ("tests/integration/test_tls_streams.py",),
    ),
)
