"""What everybody may know of the authorization server."""

from __future__ import annotations

from tests.unit.control.browsing import Browsing
from tests.unit.control.oauth.server import GRANTS, SETTINGS, URL, Server, members


def test_it_names_every_endpoint_below_the_issuer(server: Server) -> None:
    document = members(Browsing(server.app).get("/.well-known/oauth-authorization-server"))
    assert document["issuer"] == URL
    endpoints = {name: value for name, value in document.items() if name.endswith("_endpoint")}
    assert endpoints == {
        "authorization_endpoint": f"{URL}/oauth/authorize",
        "token_endpoint": f"{URL}/oauth/token",
        "revocation_endpoint": f"{URL}/oauth/revoke",
        "device_authorization_endpoint": f"{URL}/oauth/device_authorization",
    }
    for name, address in endpoints.items():
        path = address.removeprefix(URL)
        answer = server.post(path, {}) if name != "authorization_endpoint" else Browsing(server.app).get(path)
        assert answer.status in (400, 401), path


def test_it_promises_what_is_kept(server: Server) -> None:
    document = members(Browsing(server.app).get("/.well-known/oauth-authorization-server"))
    assert set(document["grant_types_supported"]) == set(GRANTS.values())
    assert document["code_challenge_methods_supported"] == ["S256"]
    assert document["authorization_response_iss_parameter_supported"] is True


def test_it_names_no_cluster(server: Server) -> None:
    text = Browsing(server.app).get("/.well-known/oauth-authorization-server").text
    assert all(f'"{cluster}"' not in text for cluster in SETTINGS.clusters)


def test_reading_it_is_not_recorded(server: Server) -> None:
    Browsing(server.app).get("/.well-known/oauth-authorization-server")
    assert server.journal.entries == []
