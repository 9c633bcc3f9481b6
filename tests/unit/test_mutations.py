"""The rows of tests/mutations still fit the code: `make mutations` runs them."""

import pytest

from tests.mutations.__main__ import COPIED, ROOT
from tests.mutations.mutation import Mutation
from tests.mutations.rows import MUTATIONS


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda each: each.threat)
def test_what_is_taken_out_stands_once_in_the_source(mutation: Mutation) -> None:
    for path, text, instead in mutation.edits:
        assert (ROOT / path).read_text().count(text) == 1
        assert text != instead


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda each: each.threat)
def test_its_tests_exist_in_what_is_copied(mutation: Mutation) -> None:
    assert mutation.tests
    for test in mutation.tests:
        assert (ROOT / test.partition("::")[0]).exists()
        assert test.split("/")[0] in COPIED


def test_threats_have_names_of_their_own() -> None:
    names = [each.threat for each in MUTATIONS]
    assert len(set(names)) == len(names)
