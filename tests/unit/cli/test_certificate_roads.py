"""Client certificates in Secrets: whose they are, who has signed them, and which are none of the API server's."""

from __future__ import annotations

import base64
import ssl
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pytest
from dev.cluster.certificates import Certificates, Pair

from narrowgate.cli.certificate_roads import client_certificates
from narrowgate.core.roads import Road


class Signed(NamedTuple):
    """One authority that is the cluster's, and one that is not."""

    cluster: Pair
    other: Pair
    made: Certificates


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Signed:
    made = Certificates(tmp_path_factory.mktemp("certificates"))
    return Signed(made.authority("cluster-ca"), made.authority("other-ca"), made)


def found(signed: Signed, later: float = 0, **data: bytes) -> list[Road]:
    encoded = {key: base64.b64encode(value).decode() for key, value in data.items()}
    secret: dict[str, Any] = {"metadata": {"name": "s"}, "data": encoded}
    now = datetime.now(UTC) + timedelta(days=later)
    return list(client_certificates(secret, signed.cluster.certificate.read_bytes(), now))


def both(pair: Pair) -> dict[str, bytes]:
    return {"crt": pair.certificate.read_bytes(), "key": pair.key.read_bytes()}


def test_a_certificate_that_the_cluster_has_signed_is_told_by_name_and_groups(signed: Signed) -> None:
    pair = signed.made.client("anna", signed.cluster, user="anna", group="ops")
    (road,) = found(signed, **both(pair))
    assert road.where == "secret s, crt"
    assert road.found == "holds a client certificate of anna of ops with its key, signed by the cluster's CA"
    # Both in one value, as some tools write them, and with the issuer behind it.
    together = {"pem": pair.key.read_bytes() + pair.certificate.read_bytes() + signed.cluster.certificate.read_bytes()}
    assert len(found(signed, **together)) == 1


def test_names_of_kubernetes_are_told_whoever_has_signed_them(signed: Signed) -> None:
    pair = signed.made.client("node", signed.other, user="system:node:n1", group="system:nodes")
    (road,) = found(signed, **both(pair))
    assert road.found == "holds a client certificate of system:node:n1 of system:nodes with its key"


def test_what_opens_nothing_is_none(signed: Signed) -> None:
    of_other = signed.made.client("bert", signed.other, user="bert")
    server = signed.made.server("web", signed.cluster, ["10.0.0.1"], ["web"])
    mine = signed.made.client("carl", signed.cluster, user="carl")
    assert found(signed, **both(of_other)) == []
    assert found(signed, **both(server)) == []
    assert found(signed, crt=mine.certificate.read_bytes()) == []
    assert found(signed, later=36500, **both(mine)) == []


@pytest.mark.parametrize("data", [{}, "odd", {"key": "%%%"}, {"key": None}])
def test_secrets_of_any_shape_do_no_harm(signed: Signed, data: Any) -> None:
    now = datetime.now(UTC)
    assert list(client_certificates({"metadata": "odd", "data": data}, b"", now)) == []
    assert found(signed, crt=b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
                 key=b"-----BEGIN PRIVATE KEY-----") == []  # fmt: skip


def test_a_certificate_of_nobody_that_can_be_read_does_no_harm(signed: Signed) -> None:
    pair = signed.made.client("dora", signed.cluster, user="dora-of-many-letters")
    pem = pair.certificate.read_bytes()
    der = ssl.PEM_cert_to_DER_cert(pem.decode())
    name = b"dora-of-many-letters"
    assert name in der
    broken = ssl.DER_cert_to_PEM_cert(der.replace(name, b"\xff" * len(name))).encode()
    assert found(signed, crt=broken, key=pair.key.read_bytes()) == []
