"""Bodies and answers of the calls that get certificates."""

import json

import pytest

from certs.call import Answer
from certs.csr import make_key, make_request, private_pem
from certs.errors import CertificateProblem
from certs.issue import sign_user
from certs.signed import (
    Signed,
    SigningRefused,
    authority_body,
    issued,
    join_body,
    login_body,
    read_authority,
    read_body,
    read_signed,
    renew_body,
)
from tests.unit.certs.installation import Installation, lasting

KEY = make_key()
REQUEST = make_request(KEY)


def test_what_one_side_writes_the_other_reads() -> None:
    text = REQUEST.decode()
    assert read_body(join_body("t", REQUEST, "u"), "token", "request", "clusterUid") == {
        "token": "t",
        "request": text,
        "clusterUid": "u",
    }
    assert read_body(renew_body(REQUEST, "u"), "request") == {"request": text, "clusterUid": "u"}
    assert read_body(login_body(REQUEST, None)) == {"request": text}
    assert read_body(login_body(REQUEST, "i"))["idToken"] == "i"


def test_a_certificate_comes_back_with_the_authority_and_fits_its_key(installation: Installation) -> None:
    authority = installation.store.authority("user-ca")
    pem = installation.store.authority_pem("server-ca")
    certificate = sign_user(authority, "alice", [], KEY.public_key(), lasting())
    answer = issued(certificate, pem)
    signed = read_signed(Answer(200, answer.body))
    assert signed.authority == pem
    assert signed.check(private_pem(KEY)) == answer.expires == certificate.not_valid_after_utc
    assert int(answer.serial, 16) == certificate.serial_number
    assert read_authority(Answer(200, authority_body(pem))) == pem


@pytest.mark.parametrize("spoilt", ["certificate", "authority", "key"])
def test_an_answer_that_cannot_be_used_is_refused_before_anything_is_kept(
    installation: Installation, spoilt: str
) -> None:
    authority = installation.store.authority("user-ca")
    certificate = installation.user().certificate_pem
    signed = Signed(
        b"x" if spoilt == "certificate" else certificate,
        b"x" if spoilt == "authority" else authority.pair.certificate_pem,
    )
    with pytest.raises(CertificateProblem):
        signed.check(private_pem(KEY))


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"7", b'{"request": 1}', b"\xff", b"[" * 100_000])
def test_a_body_that_is_no_object_of_texts_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match="the body is not"):
        read_body(body)


def test_a_text_that_cannot_be_encoded_is_refused() -> None:
    """JSON can hold half of a surrogate pair; whoever reads the text encodes it, and would fail there."""
    with pytest.raises(ValueError, match="not Unicode"):
        read_body(b'{"request": "\\ud800"}', "request")
    with pytest.raises(SigningRefused, match="something else in front of"):
        read_signed(Answer(200, b'{"certificate": "\\ud800", "authority": "x"}'))


@pytest.mark.parametrize("body", [b"{}", b'{"request": ""}'])
def test_a_missing_text_is_named(body: bytes) -> None:
    with pytest.raises(ValueError, match="the body has no 'request'"):
        read_body(body, "request")


@pytest.mark.parametrize(
    ("status", "lasting"), [(400, True), (401, True), (403, True), (404, True), (429, False), (503, False)]
)
def test_a_refusal_has_the_stub_s_words_and_says_whether_to_ask_again(status: int, lasting: bool) -> None:
    body = json.dumps({"kind": "Status", "message": "stub: no\x1b[31m\n" + "x" * 600}).encode()
    with pytest.raises(SigningRefused) as raised:
        read_signed(Answer(status, body))
    assert str(raised.value).startswith("stub: no [31m x")
    assert len(str(raised.value)) == 500
    assert raised.value.lasting is lasting


@pytest.mark.parametrize("answer", [Answer(404, b"<html>"), Answer(502, b"{}"), Answer(200, b"hello")])
def test_an_answer_of_somebody_else_is_told(answer: Answer) -> None:
    with pytest.raises(SigningRefused, match="something else in front of"):
        read_signed(answer)
