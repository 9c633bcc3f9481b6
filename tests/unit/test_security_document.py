"""docs/security.md names a test for each defence; a name that is no test would be a claim without proof."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text()
TEXTS = [path.read_text() for path in (ROOT / "tests").rglob("test_*.py")]


def test_each_test_that_the_page_names_exists() -> None:
    named = set(re.findall(r"`(test_[a-z0-9_]+)`", PAGE))
    written = {name for text in TEXTS for name in re.findall(r"def (test_[a-z0-9_]+)\(", text)}
    assert len(named) > 30
    assert named - written == set()


def test_each_file_that_the_page_names_exists() -> None:
    named = re.findall(r"(tests/[a-z0-9_/.]+\.py)", PAGE)
    assert [path for path in named if not (ROOT / path).is_file()] == []


def test_each_row_of_a_threat_names_a_test() -> None:
    threats = PAGE[PAGE.index("## Threats") : PAGE.index("### From one stub to another")]
    rows = [line for line in threats.splitlines() if line.startswith("| ") and "---" not in line]
    rows = [row for row in rows if not row.startswith("| threat |")]
    assert len(rows) > 20
    assert [row for row in rows if "test" not in row.split("|")[3]] == []


CASES = {
    25: (
        "whoami shows the certificate's names",
        "test_case_25_whoami_names_the_certificates_user_and_groups",
        None,
    ),
    32: (
        "an answer that never comes is 502 and was asked once",
        "test_case_32_an_answer_that_never_comes_is_502_and_was_asked_once[plain]",
        "test_case_32_an_answer_that_never_comes_is_502_and_was_asked_once[upgrade]",
    ),
    33: (
        "a cluster that does not exist is named, or hidden with those that are not one's own",
        "test_case_33_a_hidden_cluster_looks_like_one_that_does_not_exist",
        "test_case_33_a_cluster_that_does_not_exist_is_named[upgrade]",
    ),
    37: (
        "Connection cannot name the identity away",
        "test_connection_cannot_name_the_identity_away[plain]",
        "test_connection_cannot_name_the_identity_away[upgrade]",
    ),
    38: (
        "a client's own impersonation is refused",
        "test_a_clients_own_impersonation_is_refused[plain]",
        "test_a_clients_own_impersonation_is_refused[upgrade]",
    ),
    39: (
        "what a client says of itself is dropped",
        "test_what_a_client_says_of_itself_is_dropped[plain]",
        "test_what_a_client_says_of_itself_is_dropped[upgrade]",
    ),
    40: ("a token among subprotocols is taken out", None, "test_the_bearer_among_subprotocols_is_taken_out"),
    41: (
        "names that are not a user's are refused",
        "test_names_that_are_not_a_users_are_refused",
        "test_case_41_names_that_are_not_a_users_are_refused[upgrade]",
    ),
    42: (
        "ambiguous requests are refused",
        "test_an_ambiguous_request_is_400",
        "test_case_42_an_ambiguous_request_is_refused[upgrade]",
    ),
    43: (
        "what is not carried is refused",
        "test_what_is_not_carried_is_refused",
        "test_any_other_upgrade_is_refused_and_the_connection_ends",
    ),
    44: (
        "the agent checks again",
        "test_a_head_that_is_not_sound_is_refused[plain]",
        "test_a_head_that_is_not_sound_is_refused[upgrade]",
    ),
    45: (
        "no detour leads to another cluster",
        "test_no_detour_leads_to_another_cluster",
        "test_case_45_no_detour_leads_to_another_cluster[upgrade]",
    ),
    46: (
        "a user of one cluster reaches another by no name",
        "test_case_46_a_user_of_one_cluster_reaches_another_by_no_name[plain]",
        "test_case_46_a_user_of_one_cluster_reaches_another_by_no_name[upgrade]",
    ),
    47: ("a saved login cannot be resumed", "test_a_saved_login_cannot_be_resumed", None),
    48: (
        "an expired certificate gets 401 and ends an exec",
        "test_a_certificate_that_expires_gets_401_on_the_same_connection",
        "test_case_48_a_certificate_that_expires_ends_an_open_exec",
    ),
    49: (
        "a revoked user gets 401 and loses what is open",
        "test_a_user_who_is_revoked_loses_what_is_open",
        "test_case_49_a_revoked_user_gets_401_at_once_and_loses_an_open_exec_and_a_watch",
    ),
    50: (
        "an unknown authority fails at once",
        "test_a_certificate_of_an_unknown_authority_fails_at_once",
        None,
    ),
    51: (
        "another agent's request cannot be answered",
        "test_another_agents_request_cannot_be_answered[plain]",
        "test_another_agents_request_cannot_be_answered[upgrade]",
    ),
    52: ("only agents speak as agents", "test_only_agents_may_speak_as_agents", None),
    53: (
        "no answer is split",
        "test_fields_that_are_not_http_are_502[plain]",
        "test_fields_that_are_not_http_are_502[upgrade]",
    ),
    54: (
        "a flood ends the session that sends it",
        "test_case_54_a_flood_ends_the_session_that_sends_it",
        None,
    ),
    55: (
        "slow heads and idle handshakes keep nobody out",
        "test_case_55_handshakes_that_never_begin_keep_nobody_out",
        None,
    ),
    56: (
        "a reader that stops holds nobody up",
        "test_10_stalled_downloads_leave_the_others_alone",
        "test_a_pipe_holds_back_a_fast_side",
    ),
    60: (
        "a rotated token costs nobody a request",
        "test_a_rotated_token_costs_nobody_a_request",
        "test_case_60_a_rotated_token_costs_nobody_an_exec",
    ),
}
"""What each acceptance case says, and the tests that try it: as a plain request, and as an upgrade where that makes a difference."""


@pytest.mark.parametrize("case", CASES)
def test_each_case_has_a_test_as_a_plain_request_and_as_an_upgrade(case: int) -> None:
    says, *tests = CASES[case]
    named = [test for test in tests if test is not None]
    assert says
    assert named
    for name, _, kind in (test.partition("[") for test in named):
        defined = [text for text in TEXTS if f"def {name}(" in text]
        assert defined, f"there is no {name}"
        # `both` runs a test as either kind; one that names its kind must be among those.
        assert not kind or any(_decorated(text, name) for text in defined), f"{name} runs as one kind alone"


def test_the_page_names_the_tests_of_each_case() -> None:
    tests = {test.partition("[")[0] for _, *both in CASES.values() for test in both if test is not None}
    assert {test for test in tests if f"`{test}`" not in PAGE} == set()


def _decorated(text: str, name: str) -> bool:
    return "@both" in text[: text.index(f"def {name}(")].rpartition("\n\n\n")[2]
