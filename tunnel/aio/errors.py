"""What can go wrong with a byte stream, and the words for it.

StreamError
├── DialFailed             a connection could not be made; `step` says where it failed
│   ├── ResolveFailed      the name has no address
│   ├── ConnectFailed      no address answered
│   └── HandshakeFailed    TLS was not agreed on (also told to a listener's `on_handshake_failed`)
├── TruncatedError         the peer closed without saying that it had sent everything
├── TlsBroken              the peer's TLS went wrong behind the handshake, or it sent an alert
└── CloseTimeout           a polite close did not end in time and bytes were thrown away
"""

import ssl
from typing import ClassVar, Final

from tunnel.core.errors import TunnelError


class StreamError(TunnelError):
    """Root of everything a byte stream reports."""


class DialFailed(StreamError):
    """A connection could not be made.

    Args:
        target: `host:port` as it was asked for.
        reason: what went wrong, in words for the user.
    """

    step: ClassVar[str] = "dial"

    def __init__(self, target: str, reason: str) -> None:
        super().__init__(f"{self.step} {target}: {reason}")
        self.target = target
        self.reason = reason


class ResolveFailed(DialFailed):
    """The host's name has no address, or the resolver did not answer."""

    step = "resolve"


class ConnectFailed(DialFailed):
    """No address of the host accepted the connection."""

    step = "connect to"


class HandshakeFailed(DialFailed):
    """The TLS handshake did not succeed; `reason` names the certificate's or the protocol's fault."""

    step = "TLS handshake with"


class TruncatedError(StreamError):
    """The peer closed the connection without close_notify: what came before may not be all of it.

    An owner whose protocol has framing of its own may treat this as the end.
    """


class TlsBroken(StreamError):
    """TLS failed behind the handshake: a broken record, or an alert of the peer.

    A TLS 1.3 server that dislikes the client's certificate says so only here, because the client's handshake is over first.
    """


class CloseTimeout(StreamError):
    """The peer did not take what was left to send before the time for closing was over."""


_WORDS: Final = {
    "HTTP_REQUEST": "plain HTTP was sent where TLS is spoken",
    "WRONG_VERSION_NUMBER": "the peer does not speak TLS",
    "UNKNOWN_PROTOCOL": "the peer does not speak TLS",
    "RECORD_LAYER_FAILURE": "the peer does not speak TLS",
    "UNSUPPORTED_PROTOCOL": "no TLS version in common",
    "VERSION_TOO_LOW": "no TLS version in common",
    "TLSV1_ALERT_PROTOCOL_VERSION": "the peer accepts none of our TLS versions",
    "NO_SHARED_CIPHER": "no cipher suite in common",
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "the peer showed no certificate",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "the peer demands a certificate",
    "TLSV1_ALERT_UNKNOWN_CA": "the peer does not trust the authority behind our certificate",
    "SSLV3_ALERT_BAD_CERTIFICATE": "the peer refuses our certificate",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "the peer finds our certificate expired or not yet valid",
    "SSLV3_ALERT_CERTIFICATE_REVOKED": "the peer finds our certificate revoked",
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": "the peer finds our certificate unfit for this use",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "the peer refuses our certificate",
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "the peer refuses the handshake",
    "TLSV1_ALERT_ACCESS_DENIED": "the peer denies access",
    "TLSV1_ALERT_NO_APPLICATION_PROTOCOL": "no application protocol (ALPN) in common",
    "TLSV1_UNRECOGNIZED_NAME": "the peer does not know the server name",
    "DECRYPTION_FAILED_OR_BAD_RECORD_MAC": "a record was altered on its way",
    "SSLV3_ALERT_BAD_RECORD_MAC": "the peer found a record altered on its way",
}


def describe_tls_error(error: Exception) -> str:
    """Return why TLS failed, in words for a log; without OpenSSL's codes and source lines."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the peer's certificate is refused: {error.verify_message}"
    if not isinstance(error, ssl.SSLError):
        return str(error) or type(error).__name__
    reason = error.reason or str(error)
    return _WORDS.get(reason) or reason.replace("_", " ").lower()
