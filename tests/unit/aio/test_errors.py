"""Words for what went wrong."""

import ssl

import pytest

from tunnel.aio.errors import ConnectFailed, DialFailed, HandshakeFailed, ResolveFailed, describe_tls_error


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (ResolveFailed, "resolve stub:443: why"),
        (ConnectFailed, "connect to stub:443: why"),
        (HandshakeFailed, "TLS handshake with stub:443: why"),
    ],
)
def test_a_failed_dial_names_step_target_and_reason(kind: type[DialFailed], text: str) -> None:
    assert str(kind("stub:443", "why")) == text


def error_with(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, "[SSL: X] internals (_ssl.c:1)")
    error.reason = reason
    return error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (error_with("HTTP_REQUEST"), "plain HTTP was sent where TLS is spoken"),
        (error_with("TLSV13_ALERT_CERTIFICATE_REQUIRED"), "the peer demands a certificate"),
        (error_with("SOMETHING_NEW_AND_ODD"), "something new and odd"),
        (ValueError("bad name"), "bad name"),
        (ValueError(), "ValueError"),
    ],
)
def test_reasons_are_words_without_openssls_internals(error: Exception, words: str) -> None:
    assert describe_tls_error(error) == words
