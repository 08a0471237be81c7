"""What is seen of objects by their metadata: one, all of a sort, none; and what is a doubt and no answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from tests.unit.proxy.lineage_world import PATHS, World, a_world, owned_by
from tests.unit.proxy.loopback import run

from narrowgate.authenticators.cluster_tokens import ClusterSilent
from narrowgate.core.lineage import Owner
from narrowgate.proxy.lineage_reader import LineageReader, path_of, sighted


def asked(folder: Path, test: Callable[[World, LineageReader], Awaitable[None]]) -> None:
    async def main() -> None:
        async with a_world(folder) as world:
            await test(world, LineageReader({"dev": world.cluster}))

    run(main())


def test_an_object_that_says_too_little_is_a_doubt() -> None:
    whole = b'{"metadata": {"uid": "u", "name": "n", "namespace": "ci", "creationTimestamp": "2026-01-01T00:00:00Z"}}'
    assert sighted(whole, "pods").uid == "u"
    for broken in (b"{}", b'{"metadata": {"uid": "u", "name": "n"}}', whole.replace(b'"u"', b'""')):
        with pytest.raises(ClusterSilent):
            sighted(broken, "pods")


def test_one_object_is_seen_with_its_owners_or_is_missing_by_name(tmp_path: Path) -> None:
    async def test(world: World, reader: LineageReader) -> None:
        world.put("Pod", "one", "", owned_by("Job", "mine", "uid-mine"))
        of = reader.served("dev", "pods")
        assert of is not None
        seen = await reader.read("dev", path_of(of, "ci", "one"), "pods")
        assert seen is not None
        assert (seen.uid, seen.name, [owner.uid for owner in seen.owners]) == ("uid-one", "one", ["uid-mine"])
        assert await reader.read("dev", path_of(of, "ci", "two"), "pods") is None

    asked(tmp_path, test)


@pytest.mark.parametrize("how", ["refused", "unserved"])
def test_what_does_not_speak_of_the_object_is_a_doubt(tmp_path: Path, how: str) -> None:
    async def test(world: World, reader: LineageReader) -> None:
        getattr(world, how).add(f"{PATHS['Team']}/red")
        of = reader.served("dev", "teams.example.com")
        assert of is not None
        with pytest.raises(ClusterSilent, match=r"may not get teams\.example\.com|answers 404"):
            await reader.read("dev", path_of(of, "ci", "red"), "teams.example.com")

    asked(tmp_path, test)


def test_all_of_a_sort_are_listed_in_their_namespace(tmp_path: Path) -> None:
    async def test(world: World, reader: LineageReader) -> None:
        of = reader.served("dev", "deployments.apps")
        assert of is not None
        path = path_of(of, "ci", "")
        assert await reader.listed("dev", path, "deployments.apps") == []
        world.put("Deployment", "a")
        world.put("Deployment", "b")
        assert [one.name for one in await reader.listed("dev", path, "deployments.apps")] == ["a", "b"]
        world.refused.add(path)
        with pytest.raises(ClusterSilent, match=r"may not list deployments\.apps"):
            await reader.listed("dev", path, "deployments.apps")

    asked(tmp_path, test)


def test_a_kind_that_is_not_served_is_a_doubt(tmp_path: Path) -> None:
    async def test(world: World, reader: LineageReader) -> None:
        assert world.lists == 0
        assert reader.served("dev", "things.example.com") is None
        with pytest.raises(ClusterSilent, match="does not serve now"):
            await reader.type_of("dev", Owner(api_version="example.com/v1", kind="Thing", name="x", uid="u"))

    asked(tmp_path, test)
