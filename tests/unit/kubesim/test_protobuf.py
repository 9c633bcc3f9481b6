import base64

import pytest

from tests.kubesim import protobuf
from tests.kubesim.status import ApiError


def field(number: int, data: bytes) -> bytes:
    """Return a length-delimited field; one byte is enough for every length here."""
    return bytes([number << 3 | 2, len(data)]) + data


# The form in which a typed client posts it: every field that is no pointer is there, empty or not.
META = field(1, b"c1") + field(2, b"") + field(3, b"ns") + field(5, b"") + b"\x38\x00" + field(8, b"")
BODY = field(1, META) + field(2, field(1, b"a") + field(2, b"1"))
CONFIG_MAP = b"k8s\x00" + field(1, field(1, b"v1") + field(2, b"ConfigMap")) + field(2, BODY)


def test_a_config_map_is_read_with_its_map_and_without_empty_fields() -> None:
    assert protobuf.decode(CONFIG_MAP) == {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "c1", "namespace": "ns"},
        "data": {"a": "1"},
    }


@pytest.mark.parametrize("cut", [10, len(CONFIG_MAP) - 1])
def test_a_message_that_breaks_off_is_400(cut: int) -> None:
    with pytest.raises(ApiError) as caught:
        protobuf.decode(CONFIG_MAP[:cut])
    assert caught.value.code in (400, 415)


def test_what_has_no_envelope_is_400() -> None:
    with pytest.raises(ApiError, match="envelope"):
        protobuf.decode(base64.b64encode(CONFIG_MAP))


def test_a_kind_without_a_schema_is_415() -> None:
    with pytest.raises(ApiError) as caught:
        protobuf.decode(b"k8s\x00" + field(1, field(1, b"v1") + field(2, b"Nope")))
    assert caught.value.code == 415
