"""What each way to end early means for the record and for the caller."""

from __future__ import annotations

import json
import logging

import pytest

from narrowgate.core import status
from narrowgate.core.audit import Failed
from narrowgate.core.decision import Deny
from narrowgate.core.malformed import Malformed
from narrowgate.proxy.cluster import ClusterNotReady
from narrowgate.proxy.endings import (
    REASONS,
    Misdirected,
    NobodyVouches,
    Unauthenticated,
    reads_text_only,
    refusal_for,
    whole_answer,
)
from narrowgate.proxy.forward import NoLongerAllowed
from narrowgate.proxy.reduction import InPieces
from narrowgate.proxy.state import StateStale
from narrowgate.proxy.upstream import UpstreamBroken, UpstreamUnreachable
from narrowgate.store.port import StoreUnavailable
from narrowgate.trail.segment_file import TrailUnwritable
from narrowgate.wire.http1 import read_request_head


@pytest.mark.parametrize(
    ("error", "verdict", "code"),
    [
        (Malformed("why", 415), Malformed, 415),
        (Unauthenticated("why"), Deny, 401),
        (Misdirected("why"), Malformed, 400),
        (Misdirected("why", 403), Malformed, 403),
        (NoLongerAllowed("why"), Deny, 403),
        (InPieces("why"), Deny, 403),
        (UpstreamBroken("why"), Failed, 502),
        (UpstreamUnreachable("why"), Failed, 503),
        (ClusterNotReady("why"), Failed, 503),
        (StateStale("why"), Failed, 503),
        (NobodyVouches("why"), Failed, 503),
        (StoreUnavailable("why"), Failed, 503),
        (TrailUnwritable("why"), Failed, 500),
    ],
    ids=lambda value: getattr(value, "__name__", None) or type(value).__name__,
)
def test_each_way_to_end_early_is_a_verdict_and_an_answer_that_says_why(
    error: Exception, verdict: type, code: int
) -> None:
    recorded, told = refusal_for(error)
    assert type(recorded) is verdict
    assert told.code == code
    assert "why" in told.message
    assert "why" in str(getattr(recorded, "message", recorded))


def test_what_nobody_thought_of_is_told_to_the_operator_and_not_to_the_caller(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.ERROR):
        recorded, told = refusal_for(RuntimeError("the password is swordfish"))
    assert isinstance(recorded, Failed)
    assert "swordfish" in recorded.message
    assert "swordfish" in caplog.text
    assert told.code == 500
    assert "swordfish" not in told.message


def test_whoever_shows_text_is_told_the_sentence_alone() -> None:
    refused = status.unauthorized("sign in")
    head, _, body = whole_answer(refused, close=False, text=True, audit_id="a-1").partition(b"\r\n\r\n")
    assert body.decode() == refused.message
    assert b"audit-id: a-1" in head.lower()
    head, _, body = whole_answer(refused, close=True).partition(b"\r\n\r\n")
    assert json.loads(body)["message"] == refused.message
    assert b'www-authenticate: bearer realm="narrowgate"' in head.lower()
    assert b"connection: close" in head.lower()


@pytest.mark.parametrize(
    ("target", "accept", "shows_text"),
    [
        ("/version", "application/json", True),
        ("/clusters/dev/version?timeout=32s", "*/*", True),
        ("/api", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList", True),
        ("/api/v1/pods", "application/json", False),
        ("/versions", "application/json", False),
    ],
)
def test_requests_whose_refusal_is_shown_as_text(target: str, accept: str, shows_text: bool) -> None:
    head = read_request_head(f"GET {target} HTTP/1.1\r\nHost: gate\r\nAccept: {accept}\r\n\r\n".encode())
    assert reads_text_only(head) is shows_text


def test_every_status_of_the_gates_own_has_its_name() -> None:
    assert set(status.REASONS) - set(REASONS) == set()
