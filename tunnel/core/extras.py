"""Extra attributes of a user that the tunnel itself makes. In RBAC each is a resource of its own, `userextras/KEY`."""

from typing import Final

PREFIX: Final = "cluster-tunnel/"
"""All keys that begin so are the tunnel's: nobody else's attribute may pass for one."""

CERTIFICATE: Final = PREFIX + "certificate-sha256"
"""The fingerprint of the certificate that the user showed: SHA-256 of its DER in lower-case hexadecimal. The stub tells it."""

ADDRESS: Final = PREFIX + "client-address"
"""The IP address that the user connected from, as the stub saw it."""

REQUEST: Final = PREFIX + "request-id"
"""The request's id in every log of the tunnel, which is its Audit-ID too."""

ORIGINAL_USER: Final = PREFIX + "original-user"
"""Who it was that asked to act as somebody else (`kubectl --as`)."""
