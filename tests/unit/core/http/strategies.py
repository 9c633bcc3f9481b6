"""What hypothesis draws heads and targets from."""

import string

from hypothesis import strategies as st

TOKEN = string.ascii_letters + string.digits + "!#$%&'*+-.^_`|~"

SENSITIVE_NAMES = [
    "Authorization",
    "Proxy-Authorization",
    "Cookie",
    "X-Remote-User",
    "X-Remote-Extra-Scopes",
    "X-Forwarded-For",
    "X-Forwarded-Proto",
    "Forwarded",
    "X-Real-Ip",
    "Connection",
    "Keep-Alive",
    "Proxy-Connection",
    "TE",
    "Trailer",
    "Transfer-Encoding",
    "Upgrade",
    "HTTP2-Settings",
    "Content-Length",
    "Host",
    "Expect",
    "X-Cluster-Tunnel-Request-Id",
]


@st.composite
def respelt(draw: st.DrawFn, name: str) -> bytes:
    """`name` in any case, with any of its `-` as `_`."""
    letters = [draw(st.sampled_from([c.lower(), c.upper(), "_" if c == "-" else c])) for c in name]
    return "".join(letters).encode()


names = st.text(TOKEN, min_size=1, max_size=24).map(str.encode)
sensitive_names = st.sampled_from(SENSITIVE_NAMES).flatmap(respelt)
values = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x2FF, exclude_characters="\x7f")).map(
    lambda text: text.encode().strip()
)
connection_values = st.lists(names | sensitive_names | st.just(b""), max_size=5).map(b" ,\t".join)
fields = st.lists(
    st.tuples(names | sensitive_names, values)
    | st.tuples(respelt("Connection"), connection_values)
    | st.tuples(respelt("Sec-WebSocket-Protocol"), connection_values),
    max_size=20,
)

path_pieces = [
    "/",
    "//",
    "clusters",
    "CLUSTERS",
    "a",
    "b",
    "api",
    ".",
    "..",
    "%2e",
    "%2E%2e",
    "%2f",
    "%2F..",
    "%5c",
    "%63lusters",
    ";",
    "?",
    "x%2Fy",
    "é",
    "#",
    "\\",
    " ",
]
targets = st.lists(st.sampled_from(path_pieces), max_size=12).map(
    lambda pieces: "".join(["/", *pieces]).encode()
)
