"""What one process knows of who had pods made: remembered, looked up in the store, and in doubt asked of the cluster.

A pod that nobody has seen is read by its name (its UID must be the token's), its owners by the references that it has
then, up to whatever made them. What was found is kept in the store, and is not found again. Nobody who cannot be
asked makes a pod one of unknown origin: then nobody knows, and the caller is told so.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import quote

from narrowgate.authenticators.cluster_tokens import ClusterSilent
from narrowgate.core.lineage import (
    AFTER_SECONDS,
    Author,
    Owner,
    PendingWrite,
    Placement,
    Sighted,
    can_be_named,
    qualified,
)
from narrowgate.proxy.cluster import Cluster
from narrowgate.proxy.lineage_reader import LineageReader, path_of
from narrowgate.store.port import Lineage as KeptLineage
from narrowgate.store.port import StoreUnavailable

MOST_REMEMBERED: Final = 10_000
"""Pods of which a process remembers who had them made, each with some hundreds of bytes; the oldest goes."""

MOST_FOLLOWED: Final = 20_000
"""Objects that are known to be none of anybody's; the oldest goes, and is looked at again."""

PODS: Final = "pods"

MOST_OWNERS: Final = 16
"""Owners of one object that are looked at. Kubernetes' controllers set one."""

MOST_LEVELS: Final = 8
"""Owners of owners: an operator's resource, its CronJob, Job and pod are four."""

MOST_ABOVE: Final = 256
"""Objects whose authors are put together for one pod."""

STATEFUL_SET: Final = ("apps/v1", "StatefulSet")
REVISIONS: Final = "controllerrevisions.apps"

MOST_REVISIONS: Final = 10_000
"""Revisions that somebody wrote through the gate: controllers write them, and hardly anybody else ever does."""

MOST_ASKED: Final = 16
"""Pods that are looked for in a cluster at one time; the others wait."""


class Lineage:
    """One per process, made inside its event loop."""

    def __init__(
        self, kept: KeptLineage, clusters: Mapping[str, Cluster], *, most_remembered: int = MOST_REMEMBERED
    ) -> None:
        """`clusters` are those whose pods are placed, by name."""
        self._kept = kept
        self._clusters = frozenset(clusters)
        self._reader = LineageReader(clusters)
        self._most_remembered = most_remembered
        self._known: dict[tuple[str, str], Placement] = {}
        self._asking: dict[tuple[str, str], asyncio.Lock] = {}
        self._room = {name: asyncio.Semaphore(MOST_ASKED) for name in clusters}
        self._followed: dict[str, None] = {}
        """Pods that came up in a watch: of their later events nothing counts."""
        self._owners: dict[str, Sighted] = {}
        """What owners looked like that nobody had made: a list of a whole cluster asks for each of them once."""
        self._number = 0
        self._epoch = 0
        """Grows when something that is remembered does not hold any more: what was read before is not remembered."""
        self._changing = threading.Lock()
        """Of what is remembered and the epoch: `hear` runs in another thread. Held for moments, and over no call."""

    def __len__(self) -> int:
        """Pods remembered."""
        return len(self._known)

    def covers(self, cluster: str) -> bool:
        """Whether the pods of that cluster are placed."""
        return cluster in self._clusters

    def known(self, cluster: str, uid: str) -> Placement | None:
        """What is remembered of that pod."""
        return self._known.get((cluster, uid))

    async def placed(self, cluster: str, namespace: str, pod: str, uid: str) -> Placement | None:
        """Who had that pod made; None where it is not there any more, and nobody ever saw it.

        Raises ClusterSilent where that cannot be found out now.
        """
        key = (cluster, uid)
        lock = self._asking.setdefault(key, asyncio.Lock())
        try:
            async with lock:
                if (known := self._known.get(key)) is not None:
                    return known
                epoch = self._epoch
                found = await self._found(cluster, namespace, pod, uid)
                if found is not None:
                    self._remember(key, found, epoch)
                return found
        except StoreUnavailable as error:
            raise ClusterSilent(f"nobody knows who had this pod made: {error}") from None
        finally:
            if not lock.locked():
                self._asking.pop(key, None)

    async def follow(self, cluster: str, seen: Sighted) -> None:
        """Take an object in that comes up in a watch; kept is what somebody had made, and nothing else.

        Raises ClusterSilent, StoreUnavailable.
        """
        is_pod = seen.resource == PODS
        if is_pod and seen.uid in self._followed:
            return
        kept = await asyncio.to_thread(self._kept.get, cluster, seen.uid)
        owners = {owner.uid for owner in seen.owners[:MOST_OWNERS]}
        # What owns a pod later has not made it; a ReplicaSet's pods are made for whoever owns that now as well.
        if kept is None or not kept.is_settled or not (is_pod or owners <= set(kept.owners)):
            await self.settle(cluster, seen)
        if is_pod:
            if len(self._followed) >= MOST_FOLLOWED:
                del self._followed[next(iter(self._followed))]
            self._followed[seen.uid] = None

    async def settle(self, cluster: str, seen: Sighted, level: int = 0, *, is_asked: bool = False) -> Placement:
        """Keep who had an object made, as it is seen now; where nobody had, only if it is what `is_asked` for.

        Then nothing above it is taken from memory, either: it may have got another owner since.
        Raises StoreUnavailable, and ClusterSilent where somebody may be missing: then it is kept as not settled.
        """
        kept = await asyncio.to_thread(self._kept.get, cluster, seen.uid)
        pending = await asyncio.to_thread(self._kept.pending, cluster, seen.resource, seen.namespace)
        authors = [write.author for write in pending if write.author and write.may_have_made(seen)]
        doubt: ClusterSilent | None = None
        if len(seen.owners) > MOST_OWNERS:
            doubt = ClusterSilent(f"nobody knows who had this pod made: something has more than {MOST_OWNERS} owners")
        for owner in seen.owners[:MOST_OWNERS]:
            try:
                # One doubt is enough: whoever writes owner references shall not have all ways up be walked in vain.
                if doubt is None:
                    authors += await self._of_owner(cluster, seen.namespace, owner, level + 1, is_asked=is_asked)
                    continue
            except ClusterSilent as error:
                doubt = error
            authors += await asyncio.to_thread(self._above, cluster, owner.uid)
        if kept is not None and not kept.is_settled:
            former = set(kept.owners).difference(owner.uid for owner in seen.owners[:MOST_OWNERS])
            authors += await asyncio.to_thread(self._of_former, cluster, sorted(former))
            if doubt is None and former and not await asyncio.to_thread(self._are_settled, cluster, sorted(former)):
                doubt = ClusterSilent(
                    "nobody knows who had this pod made: what owned it at first could not be looked at, and owns it no "
                    "more; make it anew"
                )
        if any((owner.api_version, owner.kind) == STATEFUL_SET for owner in seen.owners):
            authors += await asyncio.to_thread(self._of_revisions, cluster, seen.namespace)
        placement = Placement(
            cluster=cluster,
            uid=seen.uid,
            resource=seen.resource,
            namespace=seen.namespace,
            name=seen.name,
            authors=tuple(authors),
            owners=tuple(owner.uid for owner in seen.owners[:MOST_OWNERS]),
            is_settled=doubt is None,
            first_at=time.time(),
        )
        if doubt is None and not authors and kept is None and not (is_asked and level == 0):
            return placement
        # In doubt as well: what is known of it by now stays known, whatever is taken from its references.
        placed = await asyncio.to_thread(self._kept.add, placement)
        if doubt is not None:
            raise doubt
        return placed

    async def is_gone(self, kept: Placement) -> bool:
        """Whether an object is not there any more that no watch follows. Raises ClusterSilent."""
        of = self._reader.served(kept.cluster, kept.resource)
        if of is None:
            # Its kind may be away for a moment only (an aggregated API).
            return False
        seen = await self._reader.read(kept.cluster, path_of(of, kept.namespace, kept.name), kept.resource)
        return seen is None or seen.uid != kept.uid

    async def find(self, write: PendingWrite) -> None:
        """Keep whoever sent a write of which nobody knows what became as an author of all that it may have made or
        changed. Where there is none nothing is said: what it made may own others by now.

        Raises ClusterSilent, StoreUnavailable.
        """
        of = self._reader.served(write.cluster, write.resource)
        if of is None or not write.author or (write.name and not can_be_named(write.name)):
            return
        if write.name:
            one = await self._reader.read(write.cluster, path_of(of, write.namespace, write.name), write.resource)
            there: Sequence[Sighted] = () if one is None else (one,)
        else:
            there = await self._reader.listed(write.cluster, path_of(of, write.namespace, ""), write.resource)
        made = [seen for seen in there if write.may_have_made(seen)]
        for seen in made:
            placement = Placement(
                cluster=write.cluster,
                uid=seen.uid,
                resource=write.resource,
                namespace=write.namespace,
                name=seen.name,
                authors=(write.author,),
                first_at=write.at,
                audit_id=write.audit_id,
            )
            await asyncio.to_thread(self._kept.add, placement)
        if made:
            await asyncio.to_thread(self._kept.drop, write.audit_id)

    def hear(self) -> None:
        """Forget what does not hold any more, because others added to it. Blocking; raises StoreUnavailable."""
        number, grown = self._kept.grown_since(self._number)
        if grown:
            with self._changing:
                self._epoch += 1
                for key in grown:
                    self._known.pop(key, None)
        self._number = number

    def _remember(self, key: tuple[str, str], placement: Placement, epoch: int) -> None:
        with self._changing:
            if epoch != self._epoch:
                return
            if len(self._known) >= self._most_remembered:
                del self._known[next(iter(self._known))]
            self._known[key] = placement

    # --- looking

    async def _found(self, cluster: str, namespace: str, pod: str, uid: str) -> Placement | None:
        kept = await asyncio.to_thread(self._kept.get, cluster, uid)
        if kept is not None and kept.is_settled:
            return await asyncio.to_thread(self._with_lost_writes, kept)
        async with self._room[cluster]:
            seen = await self._reader.read(cluster, f"/api/v1/namespaces/{quote(namespace)}/pods/{quote(pod)}", "pods")
            if seen is None or seen.uid != uid:
                # What is kept of it is not all that had it made, and there is nothing any more to be looked at.
                return None
            settled = await self.settle(cluster, seen, is_asked=True)
            # Whoever begins to change it from now on is heard; who began while it was looked at told nobody.
            return await asyncio.to_thread(self._with_lost_writes, settled)

    def _with_lost_writes(self, kept: Placement) -> Placement:
        """With the authors of changes of which nobody knows whether they were made."""
        writes = self._kept.pending(kept.cluster, kept.resource, kept.namespace)
        lost = [write for write in writes if write.may_have_changed(kept)]
        grown = kept.grown(write.author for write in lost)
        # What is under way right now will be answered, and may be refused.
        answered_by = time.time() - AFTER_SECONDS
        return self._kept.add(grown) if any(write.at < answered_by for write in lost) else grown

    async def _of_owner(
        self, cluster: str, namespace: str, owner: Owner, level: int, *, is_asked: bool
    ) -> tuple[Author, ...]:
        """Who made what owns an object, and what owns that, as far as it was ever seen."""
        if (owner.api_version, owner.kind) == ("v1", "Node"):
            # The kubelet's mirror of a static pod: nobody can make a node's own files through an API server.
            return ()
        if level > MOST_LEVELS:
            raise ClusterSilent(f"nobody knows who had this pod made: it has more than {MOST_LEVELS} owners above it")
        kept = await asyncio.to_thread(self._kept.get, cluster, owner.uid)
        found: tuple[Author, ...] = ()
        if kept is None or not kept.is_settled:
            remembered = None if is_asked else self._owners.get(owner.uid)
            seen = remembered or await self._read_owner(cluster, namespace, owner)
            if seen is not None:
                if len(self._owners) >= MOST_FOLLOWED:
                    del self._owners[next(iter(self._owners))]
                self._owners[owner.uid] = seen
                found = (await self.settle(cluster, seen, level, is_asked=is_asked)).authors
        above, is_all = await asyncio.to_thread(self._walked, cluster, owner.uid)
        if not is_all:
            # Whoever may write owner references could make some be passed over.
            raise ClusterSilent(f"nobody knows who had this pod made: more than {MOST_ABOVE} objects are above it")
        return (*found, *above)

    def _of_former(self, cluster: str, owners: Sequence[str]) -> list[Author]:
        """Who made what owned an object when it was first seen, as far as that is known."""
        return [author for uid in owners for author in self._above(cluster, uid)]

    def _are_settled(self, cluster: str, owners: Sequence[str]) -> bool:
        """Whether it is known of each of these who made it, and of all above it."""
        kept = [self._kept.get(cluster, uid) for uid in owners]
        settled = all(one is not None and one.is_settled for one in kept)
        return settled and all(self._walked(cluster, uid)[1] for uid in owners)

    def _of_revisions(self, cluster: str, namespace: str) -> tuple[Author, ...]:
        """Who wrote a revision there by hand: a StatefulSet makes pods of the one that it is at, which does not own
        them, and which of them that was the pod does not tell for certain. Controllers' own have no authors.
        """
        kept = self._kept.listed(cluster, REVISIONS, limit=MOST_REVISIONS, with_gone=True)
        found = [author for one in kept if one.namespace == namespace for author in one.authors]
        return (*found, *(write.author for write in self._kept.pending(cluster, REVISIONS, namespace)))

    def _above(self, cluster: str, uid: str) -> tuple[Author, ...]:
        """The authors of an object and of all that ever owned it, with those that were added since."""
        return self._walked(cluster, uid)[0]

    def _walked(self, cluster: str, uid: str) -> tuple[tuple[Author, ...], bool]:
        """The same, and whether that was all: of more than MOST_ABOVE objects some are left out."""
        found: list[Author] = []
        pending, seen = [uid], {uid}
        while pending and len(seen) <= MOST_ABOVE:
            kept = self._kept.get(cluster, pending.pop())
            if kept is None:
                continue
            found += kept.authors
            writes = self._kept.pending(cluster, kept.resource, kept.namespace)
            found += [write.author for write in writes if write.author and write.may_have_changed(kept)]
            pending += [owner for owner in kept.owners if owner not in seen]
            seen.update(kept.owners)
        return tuple(found), not pending

    async def _read_owner(self, cluster: str, namespace: str, owner: Owner) -> Sighted | None:
        """The owner as it is; None where it is gone, or another object has its name by now."""
        of = await self._reader.type_of(cluster, owner)
        if not can_be_named(owner.name):
            return None
        seen = await self._reader.read(cluster, path_of(of, namespace, owner.name), qualified(of.resource, of.group))
        return seen if seen is not None and seen.uid == owner.uid else None
