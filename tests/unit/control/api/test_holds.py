"""Holds by the API: what keeps a recording, who may say so, and what the record is told before."""

from __future__ import annotations

import pytest
from tests.unit.control.api.calling import PEOPLE, ROOT, Api, detail, document
from tests.unit.control.api.recorded import BEGAN, began, keep

from narrowgate.recordings.folder import FolderStore
from narrowgate.recordings.retention import Kept, KnownKinds, remove_old

DAY = 86_400


@pytest.fixture
def kept(api: Api) -> FolderStore:
    began(api.folder / "trail", *((one, "agent:hers", "person:olga", "exec", False) for one in ("s1", "s2")))
    keep(api.folder / "spool", api.recordings, "s1")
    return api.recordings


def test_a_hold_keeps_a_recording_from_retention_until_it_is_lifted(api: Api, kept: FolderStore) -> None:
    name = "2026-01-02/s1.recording"
    held = api.call("POST", "/sessions/s1/hold", {"because": "case 12"}, who=PEOPLE["auditor"])
    assert held.status == 200, held.text
    found = document(held)
    assert (found["session"], found["by"], found["because"]) == ("s1", "person:otto", "case 12")
    hold = kept.held(name)
    assert hold is not None
    assert (hold.by, hold.reason, hold.at) == ("person:otto", "case 12", found["at"])
    late = 4_000_000_000.0
    assert remove_old(kept, Kept(DAY), late, 10, KnownKinds(kept, ())) == ()
    lifted = api.call("POST", "/sessions/s1/lift", who=ROOT)
    assert (lifted.status, document(lifted)) == (200, found)
    assert remove_old(kept, Kept(DAY), late, 10, KnownKinds(kept, ())) == (name,)


def test_the_record_has_both_with_who_and_why_before_they_take_effect(api: Api, kept: FolderStore) -> None:
    api.call("POST", "/sessions/s1/hold", {"because": "case 12"}, who=PEOPLE["auditor"])
    api.call("POST", "/sessions/s1/lift", who=PEOPLE["auditor"])
    told = [
        (
            entry["stage"],
            entry["verb"],
            entry["objectRef"]["name"],
            entry["annotations"].get("narrowgate.dev/asked-because"),
        )
        for entry in api.entries()
    ]
    assert told == [
        ("RequestReceived", "hold", "s1", "case 12"),
        ("ResponseComplete", "hold", "s1", "case 12"),
        ("RequestReceived", "lift", "s1", None),
        ("ResponseComplete", "lift", "s1", None),
    ]
    assert {entry["user"]["username"] for entry in api.entries()} == {"person:otto"}
    assert kept.held("2026-01-02/s1.recording") is None


def test_what_cannot_be_recorded_is_not_held(api: Api, kept: FolderStore) -> None:
    api.memory.full = True
    assert api.call("POST", "/sessions/s1/hold", {"because": "case 12"}).status == 503
    assert kept.held("2026-01-02/s1.recording") is None


def test_a_recording_that_began_after_midnight_is_found(api: Api, kept: FolderStore) -> None:
    name = keep(api.folder / "spool", kept, "s2", BEGAN + DAY * 1_000_000)
    assert api.call("POST", "/sessions/s2/hold", {"because": "case 12"}).status == 200
    assert kept.held(name) is not None


@pytest.mark.parametrize("who", ["member", "owner", "group-owner", "approver", "policy-author"])
def test_nobody_else_holds_or_lifts(api: Api, kept: FolderStore, who: str) -> None:
    api.call("POST", "/sessions/s1/hold", {"because": "case 12"})
    assert api.call("POST", "/sessions/s1/lift", who=PEOPLE[who]).status == 403
    assert api.call("POST", "/sessions/s1/hold", {"because": "x"}, who=PEOPLE[who]).status == 403
    hold = kept.held("2026-01-02/s1.recording")
    assert hold is not None
    assert hold.reason == "case 12"


def test_what_is_not_there_cannot_be_held_nor_lifted(api: Api, kept: FolderStore) -> None:
    assert api.call("POST", "/sessions/nope/hold", {"because": "x"}).status == 404
    assert api.call("POST", "/sessions/nope/lift").status == 404
    unkept = api.call("POST", "/sessions/s2/hold", {"because": "x"})
    assert (unkept.status, "no recording in the store" in detail(unkept)) == (409, True)
    assert api.call("POST", "/sessions/s1/lift").status == 409
    assert kept.days() == ["2026-01-02"]


@pytest.mark.parametrize("because", ["", " ", "two\nlines", "\x1b[2J", "x" * 201])
def test_a_reason_is_one_line(api: Api, kept: FolderStore, because: str) -> None:
    assert api.call("POST", "/sessions/s1/hold", {"because": because}).status in (400, 422)
    assert kept.held("2026-01-02/s1.recording") is None


def test_a_recording_that_is_being_removed_is_not_said_to_be_held(api: Api, kept: FolderStore) -> None:
    assert kept.held("2026-01-02/s1.recording") is None
    (api.folder / "recordings/2026-01-02/s1.recording.removing").touch()
    answer = api.call("POST", "/sessions/s1/hold", {"because": "x"})
    assert (answer.status, "being removed at this moment" in detail(answer)) == (503, True)
