"""How the command line calls a gate: verified, bounded, and in words when there is no answer."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest
from dev.cluster.certificates import Certificates
from dev.cluster.processes import free_ports
from tests.unit.cli.scripted_gate import ScriptedGate, Told, granted, refused, told

from narrowgate.cli.oauth_client import LARGEST_ANSWER, GatePort, GateRefused, GateUnreachable


@pytest.fixture
def port(scripted: ScriptedGate) -> GatePort:
    return GatePort(scripted.url, scripted.authority_pem)


def test_a_grant_is_asked_for_in_a_form_and_read_from_json(scripted: ScriptedGate, port: GatePort) -> None:
    found = port.granted({"grant_type": "refresh_token", "refresh_token": "a&b=c"})
    assert found == ("nga1_a.b", 3600.0, "ngr1_second")
    (call,) = scripted.called("/oauth/token")
    assert call.form == {"grant_type": "refresh_token", "refresh_token": "a&b=c"}
    assert call.headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert call.headers["User-Agent"].startswith("narrowgate/")


def test_a_document_is_asked_for_with_the_credential(scripted: ScriptedGate, port: GatePort) -> None:
    assert port.get("/api/v1/whoami", "nga1_x")["name"] == "alice"
    assert scripted.calls[-1].headers["Authorization"] == "Bearer nga1_x"


def test_a_gate_of_another_authority_is_not_talked_to(scripted: ScriptedGate, tmp_path: Path) -> None:
    other = Certificates(tmp_path / "other").authority("other").certificate.read_text()
    for authority in (other, ""):
        with pytest.raises(GateUnreachable, match=r"certificate of .* is not trusted .*--certificate-authority FILE"):
            GatePort(scripted.url, authority).granted({"refresh_token": "secret"})
    assert scripted.calls == []


def test_a_certificate_for_another_name_is_not_taken(scripted: ScriptedGate) -> None:
    url = f"https://127.0.0.2:{scripted.port}"
    with pytest.raises(GateUnreachable, match=r"cannot be reached|is not trusted"):
        GatePort(url, scripted.authority_pem).get("/x")
    assert scripted.calls == []


def test_an_authority_that_is_none_is_said_so() -> None:
    with pytest.raises(GateUnreachable, match="--certificate-authority FILE"):
        GatePort("https://gate.corp", "not a certificate")


def test_redirects_are_not_followed(scripted: ScriptedGate, port: GatePort) -> None:
    scripted.answers("/oauth/token", Told(307, b"", {"Location": f"{scripted.url}/elsewhere"}))
    with pytest.raises(GateUnreachable, match="answered 307"):
        port.granted({"refresh_token": "secret"})
    assert scripted.called("/elsewhere") == []


@pytest.mark.parametrize(
    "answer",
    [
        told(b"<html>"),
        told([1]),
        told({}),
        told({"access_token": "x", "token_type": "Bearer"}),
        told({"access_token": "x", "token_type": "Bearer", "expires_in": -1}),
        told({"access_token": "x", "token_type": "Bearer", "expires_in": float("nan")}),
        told({"access_token": "x", "token_type": "Bearer", "expires_in": 1e400}),
        told({"access_token": "x", "token_type": "Bearer", "expires_in": "3600"}),
        told({"access_token": "x", "token_type": "mac", "expires_in": 3600}),
        told({"access_token": 7, "token_type": "Bearer", "expires_in": 3600}),
        told({"access_token": "x", "token_type": "Bearer", "expires_in": 3600, "refresh_token": 1}),
        told(b" " * (LARGEST_ANSWER + 1)),
        told(b"[" * 100_000),
    ],
)
def test_an_answer_without_a_credential_is_no_answer(scripted: ScriptedGate, port: GatePort, answer: Told) -> None:
    scripted.answers("/oauth/token", answer)
    with pytest.raises(GateUnreachable, match=r"is it a gate's control port|name the address of a gate's control port"):
        port.granted({})


def test_a_credential_in_the_last_second_of_a_sign_in_is_none(scripted: ScriptedGate, port: GatePort) -> None:
    scripted.answers("/oauth/token", granted(seconds=0))
    with pytest.raises(GateUnreachable, match="ends this moment; sign in again"):
        port.granted({})


def test_a_refusal_is_in_the_gates_own_words(scripted: ScriptedGate, port: GatePort) -> None:
    scripted.answers("/oauth/token", refused("invalid_grant", "this sign-in is over; sign in again"))
    with pytest.raises(GateRefused, match="this sign-in is over; sign in again") as caught:
        port.granted({})
    assert caught.value.error == "invalid_grant"
    scripted.answers(
        "/api/v1/whoami", told({"title": "not signed in", "detail": "sign in with `narrowgate login`"}, 401)
    )
    with pytest.raises(GateRefused, match="sign in with `narrowgate login`"):
        port.get("/api/v1/whoami", "x")


@pytest.mark.parametrize(
    "answer", [refused("server_error", status=500), refused("temporarily_unavailable"), refused("x", status=429)]
)
def test_what_may_pass_by_itself_is_no_refusal(scripted: ScriptedGate, port: GatePort, answer: Told) -> None:
    scripted.answers("/oauth/token", answer)
    with pytest.raises(GateUnreachable, match="try again soon"):
        port.granted({})


def test_a_refusal_cannot_move_the_cursor_of_a_terminal(scripted: ScriptedGate, port: GatePort) -> None:
    scripted.answers("/oauth/token", refused("invalid_grant", "\x1b[2Jyou are root"))
    with pytest.raises(GateRefused) as caught:
        port.granted({})
    assert str(caught.value) == "invalid_grant"
    scripted.answers("/oauth/token", refused("\x1b[2J", "\x1b[2J"))
    with pytest.raises(GateUnreachable, match="answered 400"):
        port.granted({})


def test_a_gate_that_is_away_is_said_so_with_the_reason(scripted: ScriptedGate, port: GatePort) -> None:
    scripted.down()
    with pytest.raises(GateUnreachable, match=r"cannot be reached \(connection refused\)"):
        port.get("/x")
    with pytest.raises(GateUnreachable, match="no such host name"):
        GatePort("https://gate.invalid", "").get("/x")


def test_a_port_that_speaks_no_tls_is_said_so() -> None:
    (number,) = free_ports(1)
    with socket.create_server(("127.0.0.1", number)) as listener:
        plain = threading.Thread(target=_speak_plainly, args=(listener,), daemon=True)
        plain.start()
        with pytest.raises(GateUnreachable, match=r"cannot be reached|gave no answer"):
            GatePort(f"https://127.0.0.1:{number}", "").get("/x")
        plain.join()


def _speak_plainly(listener: socket.socket) -> None:
    connection, _ = listener.accept()
    with connection:
        connection.recv(10)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def test_the_proxy_of_the_environment_is_not_asked_for_what_is_on_this_machine(
    scripted: ScriptedGate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    assert GatePort(scripted.url, scripted.authority_pem).get("/api/v1/whoami")["name"] == "alice"
    with pytest.raises(GateUnreachable, match="connection refused"):
        GatePort("https://gate.invalid", "").get("/x")


def test_an_empty_answer_is_an_empty_document(scripted: ScriptedGate, port: GatePort) -> None:
    assert port.post("/oauth/revoke", {"token": "x"}) == {}


def test_a_grant_without_a_sign_in_has_no_secret(scripted: ScriptedGate, port: GatePort) -> None:
    scripted.answers("/oauth/token", granted(secret=""))
    assert port.granted({}).secret == ""
