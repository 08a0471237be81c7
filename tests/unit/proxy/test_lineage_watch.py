"""Pods and what owns them, followed in a cluster that plays tricks: events twice, late and out of order, objects that
cannot be read, lists that miss what is being made, watches that die."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path

import pytest
from tests.unit.proxy.lineage_world import BOT, CREATED, OTHER, PATHS, SILENT, World, a_world, owned_by
from tests.unit.proxy.loopback import run

from narrowgate.core.lineage import Ancestor, PendingWrite
from narrowgate.proxy.lineage_watch import LineageWatch, Pace


def lived(folder: Path, test: Callable[[World], Awaitable[None]]) -> None:
    async def main() -> None:
        async with a_world(folder) as world:
            await test(world)

    run(main())


def test_what_a_controller_makes_is_placed_before_anybody_asks(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        world.keep("Deployment", "web", BOT)
        world.put("Deployment", "web")
        async with world.followed():
            replicas = world.put("ReplicaSet", "web-1", "", owned_by("Deployment", "web", "uid-web"))
            await world.tell("ReplicaSet", "ADDED", replicas)
            await world.until(lambda: world.authors("uid-web-1") == (BOT,))
            pod = world.put("Pod", "web-1-a", "", owned_by("ReplicaSet", "web-1", "uid-web-1"))
            await world.tell("Pod", "ADDED", pod)
            await world.until(lambda: world.authors("uid-web-1-a") == (BOT,))

    lived(tmp_path, test)


def test_what_nobody_known_had_made_is_not_kept(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        world.keep("Job", "mine", BOT)
        async with world.followed():
            await world.tell("Pod", "ADDED", world.put("Pod", "free"))
            await world.tell("Pod", "ADDED", world.put("Pod", "of-mine", "", owned_by("Job", "mine", "uid-mine")))
            await world.until(lambda: world.authors("uid-of-mine") == (BOT,))
            assert world.store.lineage.get("dev", "uid-free") is None

    lived(tmp_path, test)


@pytest.mark.parametrize("doubt", ["refused", "unserved", "unknown kind"])
def test_one_owner_that_cannot_be_read_keeps_nobody_else_from_being_placed(tmp_path: Path, doubt: str) -> None:
    async def test(world: World) -> None:
        world.keep("Deployment", "web", BOT)
        world.refused |= {f"{PATHS['Team']}/red"} if doubt == "refused" else set()
        world.unserved |= {f"{PATHS['Team']}/red"} if doubt == "unserved" else set()
        bogus = owned_by("Nothing" if doubt == "unknown kind" else "Team", "red", "uid-red")
        # One that is there from the beginning, one that comes up; and behind each of them one of the agent's.
        world.put("ReplicaSet", "a", "", bogus)
        world.put("ReplicaSet", "b", "", owned_by("Deployment", "web", "uid-web"))
        async with world.followed():
            await world.until(lambda: world.authors("uid-b") == (BOT,))
            await world.tell("ReplicaSet", "ADDED", world.put("ReplicaSet", "c", "", bogus))
            later = world.put("ReplicaSet", "d", "", owned_by("Deployment", "web", "uid-web"))
            await world.tell("ReplicaSet", "ADDED", later)
            await world.until(lambda: world.authors("uid-d") == (BOT,))
            assert (world.authors("uid-a"), world.authors("uid-c"), world.lists) == (None, None, 3)

    lived(tmp_path, test)


def test_what_could_not_be_placed_is_placed_later_as_it_was_at_first(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        team = world.put("Team", "red", "", owned_by("Deployment", "web", "uid-web"))
        assert team["metadata"]["uid"] == "uid-red"
        world.keep("Deployment", "web", BOT)
        world.refused.add(f"{PATHS['Team']}/red")
        async with world.followed(SILENT._replace(again=0.05)):
            pod = world.put("Pod", "one", "", owned_by("Team", "red", "uid-red"))
            await world.tell("Pod", "ADDED", pod)
            await world.until(lambda: world.store.lineage.get("dev", "uid-one") is not None)
            assert world.authors("uid-one") is None
            world.put("Pod", "one")
            world.refused.clear()
            await world.until(lambda: world.authors("uid-one") == (BOT,))

    lived(tmp_path, test)


def test_events_twice_late_and_behind_the_end_take_nothing_away(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        world.keep("ReplicaSet", "web", BOT)
        async with world.followed():
            with_owner = world.put("Pod", "one", "", owned_by("ReplicaSet", "web", "uid-web"))
            without = world.put("Pod", "one")
            gone = world.take("Pod", "one")
            told = [("ADDED", with_owner), ("ADDED", with_owner), ("MODIFIED", without), ("DELETED", gone)]
            for event, there in [*told, ("MODIFIED", without), ("ADDED", with_owner), ("DELETED", gone)]:
                await world.tell("Pod", event, there)
            await world.tell("Pod", "ADDED", world.put("Pod", "last", "", owned_by("ReplicaSet", "web", "uid-web")))
            await world.until(lambda: world.authors("uid-last") == (BOT,))
            assert world.authors("uid-one") == (BOT,)
            assert not world.is_kept("uid-one")

    lived(tmp_path, test)


def test_the_same_name_with_another_uid_is_another_pod(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        world.keep("Job", "first", BOT)
        world.keep("Job", "second", OTHER)
        async with world.followed():
            for uid, job in (("u1", "first"), ("u2", "second")):
                there = world.put("Pod", "same", uid, owned_by("Job", job, f"uid-{job}"))
                await world.tell("Pod", "ADDED", there)
                await world.until(lambda uid=uid: world.authors(uid) is not None)
                await world.tell("Pod", "DELETED", there)
            await world.until(lambda: not world.is_kept("u2"))
            assert (world.authors("u1"), world.authors("u2")) == ((BOT,), (OTHER,))

    lived(tmp_path, test)


def test_whoever_adopts_a_replica_set_has_a_hand_in_its_later_pods(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        world.keep("Deployment", "first", BOT)
        world.keep("Deployment", "second", OTHER)
        async with world.followed():
            mine = world.put("ReplicaSet", "web", "", owned_by("Deployment", "first", "uid-first"))
            await world.tell("ReplicaSet", "ADDED", mine)
            await world.until(lambda: world.authors("uid-web") == (BOT,))
            await world.tell("ReplicaSet", "MODIFIED", world.put("ReplicaSet", "web"))
            adopted = world.put("ReplicaSet", "web", "", owned_by("Deployment", "second", "uid-second"))
            await world.tell("ReplicaSet", "MODIFIED", adopted)
            await world.until(lambda: world.authors("uid-web") == (BOT, OTHER))
            pod = world.put("Pod", "one", "", owned_by("ReplicaSet", "web", "uid-web"))
            await world.tell("Pod", "ADDED", pod)
            await world.until(lambda: world.authors("uid-one") == (BOT, OTHER))

    lived(tmp_path, test)


def test_what_came_and_went_while_no_watch_lived_is_found_in_the_next_list(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        world.keep("Deployment", "web", BOT)
        world.put("ReplicaSet", "old", "", owned_by("Deployment", "web", "uid-web"))
        async with world.followed():
            await world.until(lambda: world.authors("uid-old") == (BOT,))
            # As if it had been placed long ago.
            assert world.is_kept("uid-old")
            world.keep("ReplicaSet", "older", BOT, first_at=1.0)
            world.put("ReplicaSet", "new", "", owned_by("Deployment", "web", "uid-web"))
            world.watching["replicasets.apps"].cut()
            await world.until(lambda: world.authors("uid-new") == (BOT,))
            await world.until(lambda: not world.is_kept("uid-older"))
            assert world.is_kept("uid-old")

    lived(tmp_path, test)


def test_a_watch_that_has_silently_died_is_noticed_and_misses_nothing(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        world.keep("Deployment", "web", BOT)
        async with world.followed(Pace(watch=0.2, grace=0.2, sweep=600.0, again=600.0)):
            # Nobody tells of it: the connection is there, and nothing comes.
            world.put("ReplicaSet", "new", "", owned_by("Deployment", "web", "uid-web"))
            await world.until(lambda: world.authors("uid-new") == (BOT,))

    lived(tmp_path, test)


def test_what_is_being_made_while_a_list_is_read_is_not_taken_for_gone(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        world.keep("Pod", "just-now", BOT, first_at=time.time() - 1.0)
        world.keep("Pod", "long-ago", BOT, first_at=1.0)
        async with world.followed():
            await world.until(lambda: not world.is_kept("uid-long-ago"))
            assert world.is_kept("uid-just-now")

    lived(tmp_path, test)


def test_a_sweep_takes_down_what_is_gone_and_only_that(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        for name in ("refused", "unserved", "there", "anew", "gone"):
            world.keep("Team", name, BOT)
        world.refused.add(f"{PATHS['Team']}/refused")
        world.unserved.add(f"{PATHS['Team']}/unserved")
        world.put("Team", "there")
        world.put("Team", "anew", "uid-of-another")
        async with world.followed(SILENT._replace(sweep=0.05)):
            await world.until(lambda: not world.is_kept("uid-gone") and not world.is_kept("uid-anew"))
            assert all(world.is_kept(f"uid-{name}") for name in ("refused", "unserved", "there"))

    lived(tmp_path, test)


def test_a_sweep_finds_what_became_of_writes_that_were_never_answered(tmp_path: Path) -> None:
    at = datetime.fromisoformat(CREATED).timestamp() + 1.0

    def lost(name: str, *author: Ancestor, is_create: bool, at: float = at) -> PendingWrite:
        return PendingWrite(
            audit_id=f"{name}-{is_create}-{at}", cluster="dev", resource="teams.example.com", namespace="ci",
            name=name, is_create=is_create, author=author, at=at,
        )  # fmt: skip

    async def test(world: World) -> None:
        left = [
            lost("gone", *BOT, is_create=True),
            lost("refused", *BOT, is_create=True),
            lost("made", *OTHER, is_create=True, at=at + 7_200.0),
            lost("by-a-person", is_create=False),
            lost("just-now", *BOT, is_create=False, at=time.time()),
        ]
        for write in (*left, lost("made", *BOT, is_create=True), lost("changed", *BOT, is_create=False)):
            world.store.lineage.begin(write)
        for name in ("made", "changed", "refused", "by-a-person", "just-now"):
            world.put("Team", name)
        world.refused.add(f"{PATHS['Team']}/refused")
        async with world.followed(SILENT._replace(sweep=0.05)):
            await world.until(lambda: len(world.store.lineage.pending("dev", "teams.example.com", "ci")) == len(left))
        assert {write.audit_id for write in world.store.lineage.pending("dev", "teams.example.com", "ci")} == {
            write.audit_id for write in left
        }
        found = {one.name: one.authors for one in world.store.lineage.listed("dev")}
        assert found == {"made": (BOT,), "changed": (BOT,)}

    lived(tmp_path, test)


def test_an_account_that_may_not_watch_is_told_what_to_do(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def test(world: World) -> None:
        world.refused.add("/apis/batch/v1/jobs")
        watch = LineageWatch(world.cluster, world.lineage, world.store.lineage, SILENT)
        following = asyncio.ensure_future(watch.follow())
        await world.until(lambda: "may not list and watch jobs.batch (403)" in caplog.text)
        following.cancel()
        await asyncio.wait([following])
        assert "narrowgate clusters manifests" in caplog.text

    lived(tmp_path, test)


def test_what_was_made_under_a_name_that_nobody_was_told_is_found(tmp_path: Path) -> None:
    """Its answer was lost, and a week later nobody would know of it any more."""

    async def test(world: World) -> None:
        write = PendingWrite(
            audit_id="lost", cluster="dev", resource="teams.example.com", namespace="ci", generate_name="red-",
            is_create=True, author=BOT, at=datetime.fromisoformat(CREATED).timestamp(),
        )  # fmt: skip
        world.store.lineage.begin(write)
        world.put("Team", "red-x7q")
        world.put("Team", "blue-abc")
        async with world.followed(SILENT._replace(sweep=0.05)):
            await world.until(lambda: world.store.lineage.get("dev", "uid-red-x7q") is not None)
            await world.until(lambda: world.store.lineage.pending("dev", "teams.example.com", "ci") == ())
            world.put("Pod", "one", "", owned_by("Team", "red-x7q", "uid-red-x7q"))
            found = await world.lineage.placed("dev", "ci", "one", "uid-one")
            assert found is not None
            assert found.authors == (BOT,)
            assert world.store.lineage.get("dev", "uid-blue-abc") is None

    lived(tmp_path, test)
