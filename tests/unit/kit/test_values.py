"""How the values of settings are read from text, and written back."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnel.kit import values
from tunnel.kit.values import Address, Form

ADDRESSES = {
    "0.0.0.0:8443": Address("0.0.0.0", 8443),
    "[::1]:8443": Address("::1", 8443),
    ":8443": Address("", 8443),
    "stub.example.com:443": Address("stub.example.com", 443),
    "127.0.0.1:0": Address("127.0.0.1", 0),
}


@pytest.mark.parametrize(("text", "expected"), ADDRESSES.items())
def test_an_address_is_read_and_written(text: str, expected: Address) -> None:
    assert values.address(text) == expected
    assert str(expected) == text


NO_ADDRESSES = (
    *("", "8443", "host", "host:", "host:x", "host:65536", "host:-1", "host:\uff11", "host:1\n"),
    *("::1:8443", "[::1:8443", "[host]:1", "a b:1", "https://host:1", "user@host:1"),
)


@pytest.mark.parametrize("text", NO_ADDRESSES)
def test_what_is_no_address_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="is not an address"):
        values.address(text)


@pytest.mark.parametrize("text", [":8443", "host:0"])
def test_an_endpoint_needs_host_and_port(text: str) -> None:
    with pytest.raises(ValueError, match="cannot be dialled"):
        values.endpoint(text)


DURATIONS = {
    "30s": 30,
    "5m": 300,
    "1h30m": 5400,
    "90d": 7_776_000,
    "250ms": 0.25,
    "1.5s": 1.5,
    "0": 0,
    "0s": 0,
}


@pytest.mark.parametrize(("text", "expected"), DURATIONS.items())
def test_a_duration_is_read_in_seconds(text: str, expected: float) -> None:
    assert values.duration(text) == pytest.approx(expected)


@pytest.mark.parametrize("text", ["", "30", "s", "30m1h", "-1s", "1 h", "1w", "1h30", "٣s", "1s\n"])
def test_a_duration_needs_its_unit_and_order(text: str) -> None:
    with pytest.raises(ValueError, match="give a number with its unit"):
        values.duration(text)


def test_a_timeout_is_not_zero() -> None:
    with pytest.raises(ValueError, match="no time at all"):
        values.timeout("0s")


@pytest.mark.parametrize(
    ("text", "expected"), {"64KiB": 65536, "1MiB": 2**20, "2GiB": 2**31, "512B": 512, "7": 7}.items()
)
def test_a_size_is_read_in_bytes(text: str, expected: int) -> None:
    assert values.size(text) == expected


@pytest.mark.parametrize("text", ["", "64k", "64KB", "1.5MiB", "-1B", "KiB"])
def test_a_size_has_binary_units_only(text: str) -> None:
    with pytest.raises(ValueError, match="KiB"):
        values.size(text)


@pytest.mark.parametrize("form", [values.size, values.count(0, 2**40)])
@given(number=st.integers(0, 2**36))
def test_whole_numbers_are_written_so_that_they_read_the_same(form: Form[int], number: int) -> None:
    assert form(form.write(number)) == number


@given(milliseconds=st.integers(0, 10**11))
def test_durations_are_written_so_that_they_read_the_same(milliseconds: int) -> None:
    seconds = milliseconds / 1000
    assert values.duration(values.duration.write(seconds)) == pytest.approx(seconds)


@given(text=st.text())
@pytest.mark.parametrize("form", [values.address, values.duration, values.size, values.boolean, values.url])
def test_any_text_is_a_value_or_a_value_error(form: Form[Any], text: str) -> None:
    try:
        value = form(text)
    except ValueError as error:
        assert str(error)  # noqa: PT017 no exception is right as well
    else:
        assert form(form.write(value)) == value


@pytest.mark.parametrize("text", ["-1", "", "1e3", "11", "٣", "9" * 500])
def test_a_count_is_a_whole_number_within_its_bounds(text: str) -> None:
    with pytest.raises(ValueError, match="from 0 to 10"):
        values.count(0, 10)(text)


def test_a_switch_takes_the_words_that_yaml_and_people_use() -> None:
    assert [values.boolean(text) for text in ("true", "Yes", "on", "1")] == [True] * 4
    assert [values.boolean(text) for text in ("false", "No", "OFF", "0")] == [False] * 4
    with pytest.raises(ValueError, match="neither true nor false"):
        values.boolean("maybe")


def test_a_url_loses_its_trailing_slash() -> None:
    assert values.url("https://10.0.0.1:6443/k8s/") == "https://10.0.0.1:6443/k8s"


@pytest.mark.parametrize(
    "text", ["10.0.0.1:6443", "ftp://x", "https://", "https://x:99999", "https://x:0", "https://[::1"]
)
def test_what_is_no_url_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a URL"):
        values.url(text)


def test_a_url_with_a_password_is_refused_without_repeating_it() -> None:
    with pytest.raises(ValueError, match="no user name") as caught:
        values.url("https://ann:geheim@host")
    assert "geheim" not in str(caught.value)


def test_a_missing_file_and_a_folder_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such file"):
        values.existing_file(str(tmp_path / "none"))
    with pytest.raises(ValueError, match="is not a file"):
        values.existing_file(str(tmp_path))
    with pytest.raises(ValueError, match="no such folder"):
        values.existing_folder(str(tmp_path / "none"))
    assert values.existing_folder(str(tmp_path)) == tmp_path


def test_off_is_none_where_a_value_is_optional() -> None:
    form = values.optional(values.address)
    assert form("off") is None
    assert form.write(None) == "off"
    assert form(":1") == Address("", 1)
    assert form.metavar == "HOST:PORT|off"
