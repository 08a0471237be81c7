"""What stands in an object where a rule says that pods are kept."""

from __future__ import annotations

from typing import Any

import pytest

from narrowgate.core.named_templates import PLACES_LIMIT, NamedPods, named_pods, path_of

SPEC = {"containers": [{"name": "c", "image": "i"}], "serviceAccountName": "runner"}
NOTED = {"metadata": {"annotations": {"a": "b"}}, "spec": SPEC}


def at(written: Any, *texts: str) -> NamedPods:
    paths = [path_of(text) for text in texts]
    return named_pods([path for path in paths if path is not None], written)


@pytest.mark.parametrize(
    "text",
    ["", ".", "spec.", "spec..x", "*", "*.spec", "spec[0]", "spec[*", "spec.[*]", "spec.a b", "metadata.name", "status",
     "kind", "[*].spec", "spec." * 40 + "x", "spec.x??", "/spec/x"],
)  # fmt: skip
def test_what_is_no_path_is_none(text: str) -> None:
    assert path_of(text) is None


def test_a_path_may_say_that_it_need_not_be_there() -> None:
    path = path_of("spec.a[*].b?")
    assert path is not None
    assert (path.text, path.steps, path.optional) == ("spec.a[*].b", ("spec", "a", "[*]", "b"), True)


def test_a_template_and_a_spec_are_both_a_pod() -> None:
    (of_template,) = at({"spec": {"template": NOTED}}, "spec.template").templates
    assert (of_template.at, of_template.annotations) == ("spec.template.spec", {"a": "b"})
    assert of_template.steps == ("spec", "template", "spec")
    (of_spec,) = at({"spec": {"pod": SPEC}}, "spec.pod").templates
    assert (of_spec.at, of_spec.accounts, of_spec.steps) == ("spec.pod", ("runner",), ("spec", "pod"))


@pytest.mark.parametrize("value", [{}, {"metadata": {}}, {"spec": {}}])
def test_a_template_that_says_nothing_runs_as_the_default_account(value: Any) -> None:
    found = at({"spec": {"podTemplate": value}}, "spec.podTemplate")
    assert [template.steps for template in found.templates] == [("spec", "podTemplate", "spec")]
    assert found.names == ("default",)
    assert found.templates[0].mounts_token


@pytest.mark.parametrize("last", ["template", "head", "podTemplateSpec"])
@pytest.mark.parametrize(
    "beside", [{"containers": []}, {"hostNetwork": True}, {"serviceAccountName": "runner"}, {"volumes": None}]
)
def test_of_what_reads_as_a_template_and_as_a_spec_both_are_judged(last: str, beside: Any) -> None:
    found = at({"spec": {last: {"spec": {}, **beside}}}, f"spec.{last}")
    assert [template.steps for template in found.templates] == [("spec", last, "spec"), ("spec", last)]
    assert "default" in found.names


@pytest.mark.parametrize("beside", [{"metadata": {}}, {"spec": {"serviceAccountName": "runner"}}])
def test_where_a_spec_stands_by_its_name_nothing_in_it_takes_its_place(beside: Any) -> None:
    for last in ("podSpec", "spec"):
        found = at({"spec": {last: beside}}, f"spec.{last}")
        assert [template.steps for template in found.templates] == [("spec", last)]
        assert found.names == ("default",)


def test_a_key_that_its_sender_chose_makes_no_template_of_a_spec() -> None:
    found = at({"spec": {"groups": {"a-template": {"hostPID": True}}}}, "spec.groups.*")
    assert [template.spec for template in found.templates] == [{"hostPID": True}]


def test_a_spec_with_labels_beside_its_fields_is_a_spec() -> None:
    (found,) = at({"spec": {"pod": {"metadata": {"annotations": {"a": "b"}}, **SPEC}}}, "spec.pod").templates
    assert (found.steps, found.accounts, found.annotations) == (("spec", "pod"), ("runner",), {"a": "b"})


def test_a_path_goes_through_lists_and_mappings() -> None:
    written = {"spec": {"workers": [{"pod": SPEC}, {"pod": {"x": 1}}], "groups": {"a": SPEC, "b": {"x": 1}}}}
    found = at(written, "spec.workers[*].pod", "spec.groups.*")
    assert [template.at for template in found.templates] == [
        "spec.workers[0].pod",
        "spec.workers[1].pod",
        "spec.groups.a",
        "spec.groups.b",
    ]
    assert found.templates[1].steps == ("spec", "workers", "[1]", "pod")
    assert found.names == ("runner", "default")


def test_a_text_names_an_account() -> None:
    found = at({"spec": {"runAs": "builder", "other": ""}}, "spec.runAs", "spec.other")
    assert found.accounts == (("spec.runAs", "builder"), ("spec.other", "default"))
    assert found.names == ("builder", "default")


@pytest.mark.parametrize(
    ("written", "missing"),
    [
        ({}, "spec.workers[*].pod"),
        ({"spec": {"workers": []}}, "spec.workers[*].pod"),
        ({"spec": {"workers": None}}, "spec.workers[*].pod"),
        ({"spec": {"workers": {"0": {"pod": SPEC}}}}, "spec.workers[*].pod"),
        ({"spec": {"workers": [{}]}}, "spec.workers[0].pod"),
        ({"spec": {"workers": [{"pod": None}]}}, "spec.workers[0].pod"),
        ([], "spec.workers[*].pod"),
        (None, "spec.workers[*].pod"),
    ],
)
def test_what_is_not_there_is_missing_unless_it_need_not_be(written: Any, missing: str) -> None:
    assert at(written, "spec.workers[*].pod") == NamedPods(missing=(missing,))
    assert at(written, "spec.workers[*].pod?") == NamedPods()


def test_every_item_must_have_it() -> None:
    assert at({"spec": {"w": [{"pod": SPEC}, {}]}}, "spec.w[*].pod").missing == ("spec.w[1].pod",)


@pytest.mark.parametrize("value", [1, True, [SPEC], []])
def test_what_is_no_pod_and_no_name_is_not_read(value: Any) -> None:
    assert at({"spec": {"pod": value}}, "spec.pod").unread == ("spec.pod",)


def test_a_place_counts_once_however_many_paths_lead_to_it() -> None:
    assert len(at({"spec": {"a": SPEC}}, "spec.a", "spec.*").templates) == 1


def test_places_that_read_alike_are_two() -> None:
    written = {"spec": {"groups": {"a.b": SPEC, "a": {"b": {"hostPID": True}}}}}
    found = at(written, "spec.groups.*", "spec.groups.a.b", "spec.groups.*.c?")
    specs = [template.spec for template in found.templates if template.at == "spec.groups.a.b"]
    assert specs == [SPEC, {"hostPID": True}]


def test_a_key_that_reads_like_a_place_in_a_list_is_no_place_to_write_to() -> None:
    found = at({"spec": {"groups": {"[0]": SPEC, "0": SPEC}}}, "spec.groups.*")
    assert [template.steps for template in found.templates] == [(), ("spec", "groups", "0")]
    assert at({"spec": {"groups": [SPEC]}}, "spec.groups[*]").templates[0].steps == ("spec", "groups", "[0]")


def test_of_more_than_anybody_has_it_says_so() -> None:
    found = at({"spec": {"w": [SPEC] * (PLACES_LIMIT + 1)}}, "spec.w[*]")
    assert found.too_many
    assert len(found.templates) == PLACES_LIMIT
