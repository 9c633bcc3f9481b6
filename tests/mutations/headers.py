"""Fields that say who somebody is."""

from typing import Final

from tests.mutations.mutation import Mutation

FIELDS: Final = "tunnel/core/http/fields.py"
IDENTITY: Final = "tunnel/core/identity.py"
TEST_FIELDS: Final = ("tests/unit/core/http/test_fields.py",)
TEST_IDENTITY: Final = ("tests/unit/core/test_identity.py",)

HEADERS: Final = (
    Mutation(
        "fields that Connection names travel on (CVE-2021-31999 and others)",
        FIELDS,
        '    if b"connection" in notable:\n        dropped = dropped.union(_nominated(fields))\n',
        "",
        TEST_FIELDS,
    ),
    Mutation(
        "a Connection field with white space around its tokens (the first fix of CVE-2022-23652)",
        FIELDS,
        'frozenset(token.strip(b" \\t") for token in b",".join(lines).lower().split(b","))',
        'frozenset(b",".join(lines).lower().split(b","))',
        TEST_FIELDS,
    ),
    Mutation(
        "a Connection field in upper case",
        FIELDS,
        'b",".join(lines).lower().split',
        'b",".join(lines).split',
        TEST_FIELDS,
    ),
    Mutation(
        "a Connection field over two lines",
        FIELDS,
        'b",".join(lines).lower()',
        "lines[0].lower()",
        TEST_FIELDS,
    ),
    Mutation(
        "a client's own impersonation passes",
        FIELDS,
        '    if b"impersonate" in notable:\n        raise _impersonation(fields)\n',
        "",
        TEST_FIELDS,
    ),
    Mutation(
        "underscores make another name of a field (CVE-2025-64484)",
        FIELDS,
        'bytes.maketrans(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ_", b"abcdefghijklmnopqrstuvwxyz-")',
        'bytes.maketrans(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ", b"abcdefghijklmnopqrstuvwxyz")',
        TEST_FIELDS,
    ),
    Mutation(
        "upper case makes another name of a field",
        FIELDS,
        '"ABCDEFGHIJKLMNOPQRSTUVWXYZ_", b"abcdefghijklmnopqrstuvwxyz-"',
        '"_", b"-"',
        TEST_FIELDS,
    ),
    *(
        Mutation(f"{name} travels on", FIELDS, text, "", TEST_FIELDS)
        for name, text in (
            ("X-Remote-*", 'b"x-remote-", '),
            ("X-Forwarded-*", 'b"x-forwarded-", '),
            ("Forwarded", '    b"forwarded",\n'),
            ("X-Real-Ip", '    b"x-real-ip",\n'),
            ("Proxy-Authorization", '    b"proxy-authorization",\n'),
            ("TE", '        b"te",\n'),
            ("Trailer", '        b"trailer",\n'),
            ("Keep-Alive", '        b"keep-alive",\n'),
            ("Proxy-Connection", '        b"proxy-connection",\n'),
            ("HTTP2-Settings", '        b"http2-settings",\n'),
        )
    ),
    Mutation(
        "the user's own token travels on",
        FIELDS,
        "    | (frozenset() if authorization else _AUTHORIZATION)\n",
        "",
        TEST_FIELDS,
    ),
    Mutation(
        "cookies travel on",
        FIELDS,
        "    | (frozenset() if cookies else _COOKIE)\n",
        "",
        TEST_FIELDS,
    ),
    Mutation(
        "the client's word for its address is believed",
        FIELDS,
        "_CLIENT_ADDRESS if forward_client_address else b",
        "_CLIENT_ADDRESS or b",
        TEST_FIELDS,
    ),
    Mutation(
        "an empty user runs as the agent",
        IDENTITY,
        "{{1,{NAME_CHARACTERS}}}",
        "{{0,{NAME_CHARACTERS}}}",
        TEST_IDENTITY,
    ),
    Mutation(
        "a name with a line break splits the head",
        IDENTITY,
        r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]",
        r"[^\ud800-\udfff]",
        TEST_IDENTITY,
    ),
    Mutation("a name that begins with white space", IDENTITY, r'rf"(?!\s)[', r'rf"[', TEST_IDENTITY),
    Mutation("a name that ends with white space", IDENTITY, r"(?<!\s)\Z", r"\Z", TEST_IDENTITY),
    Mutation(
        "a user of the cluster's own",
        IDENTITY,
        "    if _is_system(identity.user) and identity.user not in allow_users:\n",
        "    if False:\n",
        TEST_IDENTITY,
    ),
    Mutation(
        "system:masters and its like among the groups",
        IDENTITY,
        "        if _is_system(group) and group not in allow_groups:\n",
        "        if False:\n",
        TEST_IDENTITY,
    ),
    Mutation(
        "System:Masters, as some readers fold it",
        IDENTITY,
        "    return name[:7].lower() == _SYSTEM\n",
        "    return name[:7] == _SYSTEM\n",
        TEST_IDENTITY,
    ),
    Mutation(
        "two common names in a certificate",
        "certs/peer.py",
        "    if len(peer.common_names) > 1:\n",
        "    if False:\n",
        ("tests/unit/certs/test_peer.py",),
    ),
    Mutation(
        "the uid is forgotten",
        IDENTITY,
        "    if identity.uid is not None:\n        yield",
        "    if False:\n        yield",
        TEST_IDENTITY,
    ),
    Mutation(
        "one group of several is told",
        IDENTITY,
        "    for group in identity.groups:\n        yield",
        "    for group in identity.groups[-1:]:\n        yield",
        TEST_IDENTITY,
    ),
    Mutation(
        "names beyond ASCII are told in another encoding than UTF-8",
        IDENTITY,
        '    yield b"Impersonate-User", identity.user.encode()\n',
        '    yield b"Impersonate-User", identity.user.encode("latin-1", "replace")\n',
        TEST_IDENTITY,
    ),
    Mutation(
        "the agent believes that the stub has taken everything out",
        "agent/inspection.py",
        "        return field_lines(self._sanitise(fields)), read_acting(acting) if acting else None\n",
        "        return field_lines(fields), read_acting(acting) if acting else None\n",
        ("tests/unit/agent/test_inspection.py",),
    ),
    Mutation(
        "the agent believes the stub about who asks",
        "tunnel/core/policy/ceiling.py",
        "            check_identity(identity, allow_users=self.allow_users, allow_groups=self.allow_groups)\n",
        "            pass\n",
        ("tests/unit/agent/test_ceiling.py",),
    ),
    Mutation(
        "somebody acts as another without the cluster's leave (kubectl --as)",
        "agent/session.py",
        "        needed = permission or account\n",
        "        needed = account\n",
        ("tests/unit/agent/test_exchange_acting.py",),
    ),
    Mutation(
        "a 401 to an upload blames the user for the agent's own token, which was replaced",
        "agent/exchange.py",
        "            self.not_connected(Unavailable(_REPLACED))\n",
        "            self._get_channel()\n",
        ("tests/unit/agent/test_exchange_renewal.py",),
    ),
    Mutation(
        "a 401 that is the user's is hidden behind a 503",
        "agent/exchange.py",
        "        elif self._link.credential_of(self).fields(self._link.now()) == self._shown:\n",
        "        elif False:\n",
        ("tests/unit/agent/test_exchange_renewal.py",),
    ),
    Mutation(
        "what is remembered of a head by its names counts although values matter",
        "tunnel/core/http/shapes.py",
        '        b"connection",\n',
        "",
        ("tests/unit/stub/front/test_admission.py", "tests/integration/test_identity.py"),
    ),
    Mutation(
        "the agent's client certificate speaks for users who bring tokens, or are given some",
        "agent/upstream/target.py",
        '    if settings.mode in {"passthrough", "tokenrequest"}:\n',
        "    if False:\n",
        ("tests/unit/agent/upstream/test_target.py",),
    ),
    Mutation(
        "a token that the apiserver passes over lets nobody in as system:anonymous",
        "tunnel/core/bearer.py",
        'rb"(?i:bearer) [!-~]+"',
        'rb"(?i:bearer) .+"',
        ("tests/unit/core/test_bearer.py",),
    ),
    Mutation(
        "a subprotocol of a request that is no WebSocket's lets nobody in as system:anonymous",
        "tunnel/core/bearer.py",
        "    return websocket and any(",
        "    return any(",
        ("tests/unit/stub/front/test_admission_bearer.py", "tests/unit/agent/test_inspection.py"),
    ),
)
