"""Port-forward over SPDY: pairs of streams are connections, told apart and counted."""

from __future__ import annotations

import pytest
from tests.unit.wire.spdy_by_hand import FIN, Sender, data, reset

from narrowgate.wire.spdy_ports import HALVES_LIMIT, spdy_ports
from narrowgate.wire.stream_events import Direction, PortClosed, PortData, PortError, PortOpened, SessionCodec
from narrowgate.wire.unreadable import Unreadable

TO_POD, FROM_POD = Direction.TO_POD, Direction.FROM_POD


class Forwarding:
    """A session in which connections can be opened as kubectl opens them."""

    def __init__(self) -> None:
        self.codec: SessionCodec = spdy_ports()
        self.client, self.upstream = Sender(), Sender()

    def open(self, stream: int, kind: str, port: int = 80, request: str = "0") -> tuple[object, ...]:
        headers = {"streamtype": kind, "port": str(port)} | ({"requestid": request} if request else {})
        events = self.codec.from_client(self.client.opened(stream, **headers)).events
        self.codec.from_upstream(self.upstream.replied(stream))
        return events

    def connect(self, stream: int, port: int = 80, request: str = "0") -> tuple[object, ...]:
        return self.open(stream, "error", port, request) + self.open(stream + 2, "data", port, request)


def test_a_connection_is_opened_used_and_closed() -> None:
    session = Forwarding()
    codec = session.codec
    assert session.connect(1, port=5432) == (PortOpened(1, 5432),)
    assert codec.from_client(data(1, b"", FIN) + data(3, b"question")).events == (PortData(1, b"question", TO_POD),)
    assert codec.from_upstream(data(3, b"answer", FIN) + data(1, b"", FIN)).events == (
        PortData(1, b"answer", FROM_POD),
        PortClosed(1, FROM_POD),
    )
    assert codec.from_client(data(3, b"", FIN)).events == (PortClosed(1, TO_POD),)
    assert codec.finish() == ()


def test_connections_are_told_apart_by_their_requests() -> None:
    session = Forwarding()
    assert session.open(1, "error", 80, "0") == (PortOpened(1, 80),)
    assert session.open(3, "error", 443, "1") == (PortOpened(2, 443),)
    assert session.open(5, "data", 443, "1") == ()
    assert session.open(7, "data", 80, "0") == ()
    assert session.codec.from_client(data(7, b"a") + data(5, b"b")).events == (
        PortData(1, b"a", TO_POD),
        PortData(2, b"b", TO_POD),
    )


def test_a_request_may_be_used_again_once_it_was_complete() -> None:
    session = Forwarding()
    assert session.connect(1) == (PortOpened(1, 80),)
    assert session.connect(5) == (PortOpened(2, 80),)


def test_clients_without_requests_are_paired_by_the_numbers_of_their_streams() -> None:
    session = Forwarding()
    assert session.connect(1, request="") == (PortOpened(1, 80),)
    assert session.connect(5, port=81, request="") == (PortOpened(2, 81),)
    assert session.codec.from_client(data(7, b"x")).events == (PortData(2, b"x", TO_POD),)


def test_what_went_wrong_is_told_and_the_connection_is_broken_off() -> None:
    session = Forwarding()
    session.connect(1)
    assert session.codec.from_upstream(data(1, b"connection refused") + reset(3) + data(1, b"", FIN)).events == (
        PortError(1, b"connection refused"),
        PortClosed(1, FROM_POD, reset=True),
    )
    assert session.codec.from_client(reset(3)).events == ()
    assert session.codec.finish() == ()


def test_a_reset_after_an_end_closes_the_other_direction() -> None:
    session = Forwarding()
    session.connect(1)
    session.codec.from_client(data(3, b"", FIN))
    assert session.codec.from_client(reset(3)).events == (PortClosed(1, FROM_POD, reset=True),)


def test_at_the_end_open_connections_are_closed() -> None:
    session = Forwarding()
    session.connect(1)
    session.connect(5, request="1")
    session.codec.from_upstream(data(7, b"", FIN))
    assert session.codec.finish() == (PortClosed(1, FROM_POD, reset=True), PortClosed(2, TO_POD, reset=True))


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"streamtype": "stdin", "port": "80"},
        {"streamtype": "data"},
        {"streamtype": "data", "port": "0"},
        {"streamtype": "data", "port": "65536"},
        {"streamtype": "data", "port": "+80"},
        {"streamtype": "data", "port": "80\x0081"},
        {"streamtype": "data", "port": "\u00b2"},
        {"streamtype": "data", "port": "80", "requestid": "x" * 65},
        {"streamtype": "data", "port": "80", "requestid": "1\x002"},
    ],
)
def test_a_stream_that_kubelet_would_refuse_or_read_otherwise_is_refused(headers: dict[str, str]) -> None:
    with pytest.raises(Unreadable, match="SPDY: "):
        spdy_ports().from_client(Sender().opened(1, **headers))


def test_the_streams_of_a_connection_are_one_of_each_kind_to_one_port() -> None:
    for kind, port in (("error", 80), ("data", 81)):
        session = Forwarding()
        session.open(1, "error")
        with pytest.raises(Unreadable, match="do not belong together"):
            session.open(3, kind, port)


def test_the_client_does_not_say_what_went_wrong() -> None:
    session = Forwarding()
    session.connect(1)
    with pytest.raises(Unreadable, match="error stream"):
        session.codec.from_client(data(1, b"x"))


def test_halves_that_nobody_completes_are_forgotten() -> None:
    session = Forwarding()
    for n in range(HALVES_LIMIT + 1):
        session.open(2 * n + 1, "error", request=str(n))
    last = 2 * HALVES_LIMIT + 3
    assert session.open(last, "data", request="0") == (PortOpened(HALVES_LIMIT + 2, 80),)
    assert session.open(last + 2, "data", request="2") == ()
