import pytest

from tests.kubesim import selectors
from tests.kubesim.status import ApiError

LABELS = {"app": "web", "tier": "front", "weight": "5"}


@pytest.mark.parametrize(
    "selector",
    [
        "",
        "app",
        "app=web",
        "app==web,tier!=back",
        "tier in (front, back)",
        "tier notin (back)",
        "!old",
        "app,!old,tier in (front)",
        "weight>4",
        "missing!=x",
    ],
)
def test_a_selector_that_fits_selects(selector: str) -> None:
    assert selectors.parse_labels(selector)(LABELS)


@pytest.mark.parametrize(
    "selector", ["old", "app=api", "!app", "tier notin (front)", "app=web,tier=back", "weight<5"]
)
def test_a_selector_that_does_not_fit_selects_nothing(selector: str) -> None:
    assert not selectors.parse_labels(selector)(LABELS)


@pytest.mark.parametrize("selector", ["a===b", "a in b", "=x", "a,,b", "a b"])
def test_what_is_no_selector_is_400(selector: str) -> None:
    with pytest.raises(ApiError) as caught:
        selectors.parse_labels(selector)
    assert caught.value.code == 400


def test_field_selectors_compare_text_and_negate() -> None:
    pod = {
        "metadata": {"name": "p", "namespace": "n"},
        "spec": {"nodeName": "k"},
        "status": {"phase": "Running"},
    }
    assert selectors.parse_fields("metadata.name=p,status.phase!=Failed,spec.nodeName==k", "pods")(pod)
    assert not selectors.parse_fields("metadata.namespace=other", "pods")(pod)


def test_a_field_that_is_not_selectable_is_400() -> None:
    with pytest.raises(ApiError, match=r"field label not supported: spec\.image"):
        selectors.parse_fields("spec.image=x", "pods")


def test_a_label_selector_object_needs_all_of_its_terms() -> None:
    rules = [
        {"key": "tier", "operator": "In", "values": ["front"]},
        {"key": "old", "operator": "DoesNotExist"},
    ]
    selector = {"matchLabels": {"app": "web"}, "matchExpressions": rules}
    assert selectors.matches(selector, LABELS)
    assert not selectors.matches(selector, LABELS | {"old": ""})
    assert selectors.matches({}, LABELS)
    assert not selectors.matches(None, LABELS)
