"""Reading and writing the record, hostile ones included."""

import re
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stub.election.errors import MalformedRecord
from stub.election.record import (
    LEASE_SECONDS_MAX,
    TRANSITIONS_MAX,
    LeaseRecord,
    micro_time,
    parse_lease,
    render_lease,
)

SPEC = {
    "holderIdentity": "stub-a_1",
    "leaseDurationSeconds": 15,
    "acquireTime": "2026-01-01T00:00:00.000000Z",
    "renewTime": "2026-01-01T00:00:02.000001Z",
    "leaseTransitions": 3,
}
LEASE = {"metadata": {"name": "n", "uid": "u", "resourceVersion": "7"}, "spec": SPEC}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (datetime(2026, 1, 1, tzinfo=UTC), "2026-01-01T00:00:00.000000Z"),
        (datetime(2026, 1, 1, 0, 0, 0, 7, tzinfo=UTC), "2026-01-01T00:00:00.000007Z"),
        (datetime(2026, 1, 1, 2, tzinfo=timezone(timedelta(hours=2))), "2026-01-01T00:00:00.000000Z"),
    ],
)
def test_a_micro_time_has_exactly_six_digits_in_utc(moment: datetime, text: str) -> None:
    assert micro_time(moment) == text


@given(st.datetimes(min_value=datetime(1000, 1, 1), timezones=st.just(UTC)))
def test_every_moment_has_six_digits(moment: datetime) -> None:
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", micro_time(moment))


def test_a_lease_is_read_and_written_back_as_it_was() -> None:
    record = parse_lease(LEASE)
    assert (record.holder, record.duration_seconds, record.transitions) == ("stub-a_1", 15, 3)
    written = render_lease(record, "ns", "n")
    assert written["spec"] == SPEC
    assert written["metadata"] == {"namespace": "ns", "name": "n", "uid": "u", "resourceVersion": "7"}


def test_what_others_put_into_the_object_stays() -> None:
    metadata = {**LEASE["metadata"], "labels": {"a": "b"}, "managedFields": [{"manager": "x"}]}
    foreign = {"metadata": metadata, "spec": {**SPEC, "strategy": "s"}}
    written = render_lease(parse_lease(foreign), "ns", "n")
    assert written["metadata"]["labels"] == {"a": "b"}
    assert "managedFields" not in written["metadata"]
    assert written["spec"]["strategy"] == "s"


def test_a_record_that_is_to_be_created_names_no_version() -> None:
    written = render_lease(LeaseRecord(holder="h", duration_seconds=15), "ns", "n")
    assert written["metadata"] == {"namespace": "ns", "name": "n"}


@pytest.mark.parametrize("missing", [*SPEC, "spec"])
@pytest.mark.parametrize("null", [True, False])
def test_fields_that_are_missing_or_null_are_read_as_empty(missing: str, null: bool) -> None:
    spec = {name: value for name, value in SPEC.items() if name != missing} | (
        {missing: None} if null else {}
    )
    record = parse_lease({**LEASE, "spec": None if missing == "spec" else spec})
    assert isinstance(record, LeaseRecord)


@pytest.mark.parametrize(
    ("given_", "read"),
    [(0, None), (-1, None), (True, None), (1.5, None), ("15", None), (10**30, LEASE_SECONDS_MAX)],
)
def test_a_duration_that_is_none_is_not_believed(given_: object, read: int | None) -> None:
    assert parse_lease({**LEASE, "spec": {**SPEC, "leaseDurationSeconds": given_}}).duration_seconds == read


@pytest.mark.parametrize("transitions", [TRANSITIONS_MAX, 10**30])
def test_transitions_that_cannot_grow_are_refused_with_the_remedy(transitions: int) -> None:
    with pytest.raises(MalformedRecord, match=r"used up .*: delete it"):
        parse_lease({**LEASE, "spec": {**SPEC, "leaseTransitions": transitions}})


@pytest.mark.parametrize("version", [None, "", 7])
def test_a_lease_without_a_version_is_refused_since_no_write_could_be_conditional(version: object) -> None:
    with pytest.raises(MalformedRecord, match="resourceVersion"):
        parse_lease({"metadata": {"resourceVersion": version}, "spec": SPEC})


@given(json_values, json_values, json_values)
def test_any_json_is_a_record_or_malformed(spec: object, metadata: object, value: object) -> None:
    hostile = {"metadata": {"resourceVersion": "1", "uid": value}, "spec": dict.fromkeys(SPEC, value)}
    for manifest in (value, {"metadata": metadata, "spec": spec}, hostile):
        try:
            record = parse_lease(manifest)
        except MalformedRecord:
            continue
        assert record.version
        assert 0 <= record.transitions < TRANSITIONS_MAX


def test_a_new_version_alone_is_no_sign_of_life() -> None:
    record = parse_lease(LEASE)
    labelled = parse_lease({**LEASE, "metadata": {**LEASE["metadata"], "resourceVersion": "8"}})
    renewed = parse_lease({**LEASE, "spec": {**SPEC, "renewTime": "2026-01-01T00:00:04.000000Z"}})
    assert record.says_the_same_as(labelled)
    assert not record.says_the_same_as(renewed)
