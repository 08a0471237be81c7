"""What a template says, read as the API server reads it."""

from __future__ import annotations

from typing import Any

import pytest

from narrowgate.core.pods_seen import Template, mappings


def of(**spec: Any) -> Template:
    return Template("spec", spec)


@pytest.mark.parametrize(
    ("spec", "accounts"),
    [
        ({}, ("default",)),
        ({"serviceAccountName": "a"}, ("a",)),
        ({"serviceAccount": "b"}, ("b",)),
        ({"serviceAccountName": "a", "serviceAccount": "b"}, ("a", "b")),
        ({"serviceAccountName": "", "serviceAccount": None}, ("default",)),
    ],
)
def test_the_account_of_a_pod(spec: dict[str, Any], accounts: tuple[str, ...]) -> None:
    assert of(**spec).accounts == accounts


def test_a_token_is_mounted_unless_it_is_said_not_to_be() -> None:
    assert of().mounts_token
    assert of(automountServiceAccountToken=True).mounts_token
    assert of(automountServiceAccountToken="false").mounts_token
    assert not of(automountServiceAccountToken=False).mounts_token


def test_the_audiences_of_projected_tokens() -> None:
    sources = [{"serviceAccountToken": {"path": "a"}}, {"serviceAccountToken": {"path": "b", "audience": "vault"}}]
    sources.append({"podCertificate": {"signerName": "corp.example.com/pods"}})
    seen = of(volumes=[{"projected": {"sources": sources}}, {"secret": {}}])
    assert seen.audiences == ("", "vault", "corp.example.com/pods")


def test_images_are_those_of_every_sort_of_container_and_of_volumes() -> None:
    found = of(
        containers=[{"image": "a"}, {}],
        initContainers=[{"image": "b"}],
        ephemeralContainers=[{"image": "c"}],
        volumes=[{"image": {"reference": "d"}}],
    )
    assert sorted(found.images) == ["", "a", "b", "c", "d"]


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({}, ""),
        ({"nodeName": "n"}, "nodeName"),
        ({"nodeSelector": {"a": "b"}}, "nodeSelector"),
        ({"tolerations": [{}]}, "tolerations"),
        ({"affinity": {"nodeAffinity": {"x": 1}}}, "affinity.nodeAffinity"),
        ({"affinity": {"podAffinity": {"x": 1}}}, ""),
    ],
)
def test_how_a_pod_chooses_its_node(spec: dict[str, Any], field: str) -> None:
    assert of(**spec).chooses_node == field


def test_mappings_are_those_of_a_list() -> None:
    assert mappings([{"a": 1}, 2, None]) == [{"a": 1}]
    assert mappings({"a": 1}) == []
