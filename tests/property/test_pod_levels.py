"""Laws of what is said about pods: levels contain each other, and a patch that nobody tried out hides no account."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from tests.contract.pod_specs import CHANGES, changed
from tests.deciding import asks

from narrowgate.core.body import APPLY, MERGE_PATCH
from narrowgate.core.patched_accounts import accounts_after, changes_pods
from narrowgate.core.pod_rules import Level
from narrowgate.core.pod_security import violations
from narrowgate.core.pod_templates import templates_of
from narrowgate.core.uses import JSON_PATCH

INFO = asks("patch", "deployments", "w", namespace="ci", group="apps").info
SPEC_PATH = ("spec", "template", "spec")

changes = st.lists(st.sampled_from(CHANGES), max_size=5)
names = st.sampled_from(["default", "weak", "strong"])
account_fields = st.dictionaries(st.sampled_from(["serviceAccountName", "serviceAccount"]), names)
patched_fields = st.dictionaries(
    st.sampled_from(["serviceAccountName", "serviceAccount", "hostname"]), st.one_of(names, st.none())
)


def laid_out(spec: Any) -> dict[str, Any]:
    return {"spec": {"template": {"spec": spec}}}


def merged(value: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    found = dict(value) if isinstance(value, dict) else {}
    for key, below in patch.items():
        if below is None:
            found.pop(key, None)
        else:
            found[key] = merged(found.get(key), below)
    return found


def accounts_of(document: Any) -> set[str]:
    return {name for template in templates_of(INFO, document) for name in template.accounts}


@given(changes)
def test_what_is_restricted_is_baseline(applied: list[Any]) -> None:
    spec = changed(*applied)
    of_baseline = set(violations(spec, {}, Level.BASELINE))
    of_restricted = set(violations(spec, {}, Level.RESTRICTED))
    assert of_baseline <= of_restricted


@given(changes)
def test_looking_at_a_spec_leaves_it_as_it_is(applied: list[Any]) -> None:
    spec = changed(*applied)
    before = copy.deepcopy(spec)
    list(violations(spec, {}, Level.RESTRICTED))
    assert spec == before


@given(account_fields, patched_fields)
def test_a_merge_patch_runs_as_nobody_who_was_not_told(old: dict[str, Any], fields: dict[str, Any]) -> None:
    before, patch = laid_out({"containers": [{}], **old}), laid_out(fields)
    told = set(accounts_after(INFO, MERGE_PATCH, patch, before))
    assert accounts_of(merged(before, patch)) <= told


@given(account_fields, account_fields)
def test_every_form_of_the_same_write_tells_of_the_account_that_comes_of_it(
    old: dict[str, Any], new: dict[str, Any]
) -> None:
    before, after = laid_out({"containers": [{}], **old}), {"containers": [{}], **new}
    cleared = {field: None for field in old if field not in new}
    forms = [
        (MERGE_PATCH, laid_out({**after, **cleared})),
        (APPLY, laid_out(after)),
        (JSON_PATCH, [{"op": "replace", "path": "/" + "/".join(SPEC_PATH), "value": after}]),
    ]
    for form, patch in forms:
        assert changes_pods(INFO, form, patch)
        assert accounts_of(laid_out(after)) <= set(accounts_after(INFO, form, patch, before))
