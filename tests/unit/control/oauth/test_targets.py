"""What an access credential may be asked for."""

from __future__ import annotations

import pytest

from narrowgate.authenticators.access_credential import Port
from narrowgate.control.oauth.answers import Refused
from narrowgate.control.oauth.targets import Target, target_of

URL = "https://gate.example:8444"


@pytest.mark.parametrize("resource", [URL, f"{URL}/"])
def test_the_control_port_is_named_by_its_address(resource: str) -> None:
    assert target_of({"resource": resource}, URL) == Target(Port.CONTROL)


def test_without_a_resource_it_is_the_control_port() -> None:
    assert target_of({}, URL) == Target(Port.CONTROL)


def test_a_cluster_is_named_below_it() -> None:
    assert target_of({"resource": f"{URL}/clusters/dev"}, URL) == Target(Port.KUBERNETES, "dev")


@pytest.mark.parametrize(
    "resource",
    [
        f"{URL}/clusters",
        f"{URL}/clusters/",
        f"{URL}/clusters/dev/",
        f"{URL}/clusters/{'x' * 254}",
        f"{URL}/clusters/dev/../prod",
        f"{URL}//clusters/dev",
        f"{URL}.evil.example/clusters/dev",
        f"{URL}@evil.example",
        "https://gate.example:8443",
        "/clusters/dev",
        "dev",
        f"{URL.upper()}/clusters/dev",
    ],
)
def test_anything_else_is_no_target(resource: str) -> None:
    with pytest.raises(Refused) as refused:
        target_of({"resource": resource}, URL)
    assert refused.value.error == "invalid_target"
