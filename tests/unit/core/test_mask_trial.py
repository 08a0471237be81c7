"""An object as somebody would see it: each by its own kind, in its own place, and what differs, value by value."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.deciding import TWO_OF_SRE, agent, person, policy, rule

from narrowgate.core.identity import Identity, chain_of
from narrowgate.core.malformed import Malformed
from narrowgate.core.mask_trial import KindUnknown, ResourceName, Seen, differences, resource_of_kind, see
from narrowgate.core.masking.masked_value import KEY_BYTES, ValueMasker
from narrowgate.core.policy import Mask, Policy, Reveal
from narrowgate.core.rulebook import compile_policies

SECRET = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "app", "namespace": "ci"},
    "stringData": {"word": "hush", "tls.key": "hush"},
}
CONFIG = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "conf", "namespace": "ci"},
    "data": {"colour": "red", "plain": "stays"},
}


def seen(document: Any, *policies: Policy, by: Identity | None = None, resource: ResourceName | None = None) -> Seen:
    book = compile_policies(policies, 0)
    values = ValueMasker(bytes(KEY_BYTES))
    return see(document, chain_of(by or agent()), "prod", book, values, resource)


def colours(**more: Any) -> Policy:
    mask = Mask(id="colour", api_groups=("",), resources=("configmaps",), fields=("data.colour",))
    masked = msgspec.structs.replace(policy(rule("allow", "get", "configmaps", namespaces="*")), masks=(mask,))
    return msgspec.structs.replace(masked, **more)


def paths(found: Seen) -> list[tuple[str, list[str]]]:
    return [(one.title, [each.path for each in one.differences]) for one in found.objects]


def test_an_agent_sees_keys_and_no_values_of_a_secret() -> None:
    found = seen(SECRET)
    assert paths(found) == [("Secret ci/app", ["stringData.word", 'stringData["tls.key"]'])]
    first, second = found.objects[0].differences
    assert (first.before, first.after) == ("hush", second.after)
    assert first.after.startswith("[masked:narrowgate/secret-data:")
    assert found.counts == {"narrowgate/secret-data": 2}
    assert SECRET["stringData"] == {"word": "hush", "tls.key": "hush"}


def test_a_person_sees_it_as_it_is() -> None:
    assert seen(SECRET, by=person("alice")).document == SECRET


def test_policies_mask_for_those_they_name_and_where_they_say() -> None:
    assert paths(seen(CONFIG, colours())) == [("ConfigMap ci/conf", ["data.colour"])]
    assert paths(seen(CONFIG, colours(), by=agent("other"))) == [("ConfigMap ci/conf", [])]
    reveal = Reveal(id="see", api_groups=("",), resources=("configmaps",), namespaces=("ci",), names=("conf",))
    assert paths(seen(CONFIG, colours(reveals=(reveal,)))) == [("ConfigMap ci/conf", [])]
    elsewhere = CONFIG | {"metadata": {"name": "conf", "namespace": "web"}}
    assert paths(seen(elsewhere, colours(reveals=(reveal,)))) == [("ConfigMap web/conf", ["data.colour"])]


def test_nobody_has_said_yes_to_what_asks_people() -> None:
    reveal = Reveal(id="see", api_groups=("",), resources=("configmaps",), approval=TWO_OF_SRE)
    assert paths(seen(CONFIG, colours(reveals=(reveal,)))) == [("ConfigMap ci/conf", ["data.colour"])]


def test_each_object_of_a_list_is_masked_by_its_own_kind() -> None:
    mixed = {"apiVersion": "v1", "kind": "List", "items": [SECRET, CONFIG]}
    found = seen(mixed, colours())
    assert [len(each) for _, each in paths(found)] == [2, 1]
    assert found.document["items"][1]["data"]["plain"] == "stays"
    typed = {
        "apiVersion": "v1",
        "kind": "SecretList",
        "items": [{"metadata": {"name": "a"}, "data": {"k": "aHVzaA=="}}],
    }
    assert paths(seen(typed)) == [("Secret a", ["data.k"])]


def test_other_kinds_need_to_be_told_of_what_resource_they_are() -> None:
    widget = {"apiVersion": "example.com/v1", "kind": "Widget", "spec": {"password": "hush", "size": 3}}
    with pytest.raises(KindUnknown, match=r"example\.com/v1/Widget"):
        seen(widget)
    found = seen(widget, resource=ResourceName("example.com", "widgets"))
    assert paths(found) == [("Widget (no name)", ["spec.password"])]


@pytest.mark.parametrize(
    ("version", "kind", "resource"),
    [
        ("v1", "Pod", ResourceName("", "pods")),
        ("apps/v1", "Deployment", ResourceName("apps", "deployments")),
        ("networking.k8s.io/v1", "NetworkPolicy", ResourceName("networking.k8s.io", "networkpolicies")),
        ("events.k8s.io/v1", "Event", ResourceName("events.k8s.io", "events")),
    ],
)
def test_kubernetes_own_kinds_are_known(version: str, kind: str, resource: ResourceName) -> None:
    assert resource_of_kind(version, kind) == resource


@pytest.mark.parametrize(("version", "kind"), [("example.com/v1", "Pod"), ("v1", "Deployment"), ("v1", "")])
def test_a_kind_in_another_group_is_another_kind(version: str, kind: str) -> None:
    with pytest.raises(KindUnknown):
        resource_of_kind(version, kind)


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        "text",
        {},
        {"kind": "Secret"},
        {"apiVersion": "v1"},
        {"apiVersion": "v1", "kind": "List", "items": [7]},
    ],
)
def test_what_is_no_object_is_refused(document: Any) -> None:
    with pytest.raises(Malformed, match="no Kubernetes object"):
        seen(document)


def test_differences_are_told_where_they_are() -> None:
    before = {"a": [{"b": 1}, {"b": 2}], "c": {"d": 1}, "e": {"x.y": {'q"': "z"}}}
    after = {"a": [{"b": 1}, {"b": "m"}], "c": {}, "e": {"x.y": {'q"': "m"}}}
    assert [(one.path, one.before, one.after) for one in differences(before, after)] == [
        ("a[1].b", 2, "m"),
        ("c", {"d": 1}, {}),
        ('e["x.y"]["q\\""]', "z", "m"),
    ]
    assert list(differences(before, before)) == []
