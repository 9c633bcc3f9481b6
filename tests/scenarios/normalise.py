"""Taking out of kubectl's output what differs between two runs of the same thing."""

import re
from collections.abc import Mapping

# The alphabet of names that Kubernetes generates: without vowels and without what looks like them.
_GENERATED = "[bcdfghjklmnpqrstvwxz2456789]"

_RULES = [
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)"), "TIME"),
    (re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"), "UID"),
    (re.compile(r"(containerd|docker|cri-o|kubesim)://[0-9a-f]+"), "CONTAINER"),
    (re.compile(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d [+-]\d{4}"), "TIME"),
    (re.compile(r"\b[0-9a-f]{64}\b"), "CONTAINER"),
    (re.compile(r'("?resourceVersion"?: ?)"\d+"'), r'\1"VERSION"'),
    (re.compile(rf"\b(kube-api-access)-{_GENERATED}{{5}}\b"), r"\1-HASH"),
    (
        re.compile(rf"-[0-9a-f]{{8,10}}-{_GENERATED}{{5}}\b|-{_GENERATED}{{8,10}}-{_GENERATED}{{5}}\b"),
        "-HASH",
    ),
    (re.compile(r"(pod-template-hash[\"=: ]+)[0-9a-z]{8,10}"), r"\1HASH"),
    (re.compile(r"https?://[\w.\[\]:-]+"), "URL"),
    (re.compile(r"\b\d{1,3}(\.\d{1,3}){3}(:\d+)?\b"), "ADDRESS"),
    (re.compile(r"\[::1\]:\d+"), "ADDRESS"),
    (re.compile(r"\b(debugger)-\w{5}\b"), r"\1-HASH"),
    # An age stands alone in a table's column; `3s` inside a word is none.
    (re.compile(r"(?<![^\s(])(\d+[ydhms]){1,2}(?= ago|\)|\s|$)"), "AGE"),
    (re.compile(r"<invalid>"), "AGE"),
    # kubectl reads the first, empty messages of an exec before it has made the streams they are for.
    (re.compile(r"^.*Unknown stream id \d, discarding message\n", re.MULTILINE), ""),
    (re.compile(r"^.*HTTP2 has been explicitly disabled\n", re.MULTILINE), ""),
    (re.compile(r"^[EWI]\d{4} \d\d:\d\d:\d\d\.\d+ +\d+ ", re.MULTILINE), ""),
    (re.compile(r"\bport \d{4,5}\b"), "port PORT"),
    (re.compile(r"-> \d{4,5}\b"), "-> PORT"),
    (re.compile(r"for \d{4,5}\b"), "for PORT"),
    (re.compile(r"(?<=\w):\d{4,5}(?=[/\s])"), ":PORT"),
    (re.compile(r"/tmp/tmp\w+"), "FOLDER"),
    (re.compile(r"/\S*kubectl-edit-\d+\.yaml"), "EDITED"),
    # Columns are padded to the longest cell, which may be one of the above.
    (re.compile(r" {2,}"), "  "),
    (re.compile(r" +$", re.MULTILINE), ""),
]


def normalise(text: str, names: Mapping[str, str] | None = None) -> str:
    """The text with ages, times, uids, versions, addresses, ports and generated names replaced by words.

    Args:
        names: further strings to replace, the longest first.
    """
    for name in sorted(names or {}, key=len, reverse=True):
        text = text.replace(name, (names or {})[name])
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return text
