"""What the entries of one member amount to: how often it asked, and which streams of it are told."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.unit.core.test_audit_entry import entry

from narrowgate.core.audit_entry import AuditEntry
from narrowgate.core.tree_doings import LONGEST_WHAT, MOST_STREAMS, Did, by_pod, doings_of, stream_text

BEGAN = "2026-01-01T00:00:00.000000Z"


def request(audit_id: str = "a", **changed: Any) -> AuditEntry:
    """A request that was answered, and is over."""
    usual = {"subresource": "", "verb": "get", "code": 200, "request_uri": "/x", "audit_id": audit_id}
    return msgspec.structs.replace(entry(), **(usual | changed))


def session(audit_id: str, *, runs: bool = False, **changed: Any) -> AuditEntry:
    usual = {"subresource": "exec", "code": 101, "request_uri": "/x?command=sh&command=-c&command=ls+%2F"}
    over = {"finished_at": ""} if runs else {}
    return request(audit_id, **(usual | over | changed))


def test_requests_to_the_cluster_are_counted_and_calls_of_the_gate_are_not() -> None:
    asked = [request(), request(decision="deny"), request(decision="needs-approval"), request(cluster="")]
    assert doings_of(asked, is_cut_off=True).did == Did(requests=3, denied=2, last_at=BEGAN, is_cut_off=True)
    assert doings_of(()).did == Did(requests=0, denied=0, last_at="", is_cut_off=False)


@pytest.mark.parametrize(
    ("of", "told"),
    [
        (session("s"), "exec"),
        (session("s", subresource="attach"), "attach"),
        (session("s", subresource="portforward"), "portforward"),
        (request("s", verb="watch", finished_at=""), "watch"),
        (request("s", verb="watch", recording="r"), "watch"),
        (request("s", subresource="log", finished_at="", request_uri="/x?follow=true"), "log"),
        (request("s", subresource="log", recording="r"), "log"),
        (request("s", subresource="log", finished_at="", request_uri="/x?tailLines=1"), None),
        (request("s", subresource="log", finished_at="", request_uri="//[?follow=true"), None),
        (request("s", verb="watch"), None),
        (request("s", verb="watch", finished_at="", code=0), None),
        (request("s", verb="watch", finished_at="", code=403, decision="deny"), None),
        (session("s", code=403, decision="deny"), None),
        (session("s", code=500), None),
        (request("s"), None),
    ],
)
def test_told_are_sessions_and_of_all_else_what_runs_or_is_recorded(of: AuditEntry, told: str | None) -> None:
    assert [stream.kind for stream in doings_of([of]).streams] == ([told] if told else [])


def test_what_runs_comes_before_what_is_over_and_what_was_named_is_never_left_out() -> None:
    many = [session(f"s{number}") for number in range(2 * MOST_STREAMS)]
    doings = doings_of([*many, session("late", runs=True), request("asked")], named="asked")
    assert [stream.id for stream in doings.streams[:3]] == ["asked", "late", "s0"]
    assert (len(doings.streams), doings.more_streams) == (MOST_STREAMS, MOST_STREAMS + 2)
    assert [stream.is_named for stream in doings.streams[:2]] == [True, False]


def test_a_stream_is_told_on_one_line() -> None:
    runs, over = doings_of([session("s1", runs=True), session("s2", recording="r")]).streams
    assert stream_text(runs) == "exec `sh -c 'ls /'` in prod/db, since 2026-01-01T00:00:00Z  s1"
    until = "2026-01-01T00:00:05Z"
    assert stream_text(over) == f"exec `sh -c 'ls /'` in prod/db, from 2026-01-01T00:00:00Z until {until}, recorded  s2"


def test_a_command_of_any_length_is_told_in_part() -> None:
    (stream,) = doings_of([session("s", request_uri="/x?command=" + "y" * 10_000)]).streams
    assert len(stream.what) == LONGEST_WHAT


def test_a_pod_is_where_it_was_when_it_last_asked() -> None:
    asked = [request("1", pod_uid="p"), request("2", pod_uid="p", node="n2"), request("3", pod_uid="p", node="n1")]
    assert doings_of(asked).runs_on == "n2"
    assert {uid: len(found) for uid, found in by_pod([*asked, request("4"), request("5", pod_uid="q")]).items()} == {
        "p": 3,
        "q": 1,
    }
