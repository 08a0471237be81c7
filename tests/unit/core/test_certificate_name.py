"""One spelling of each name that a certificate can prove."""

from __future__ import annotations

import pytest

from narrowgate.core.certificate_name import (
    LONGEST_SPIFFE_ID,
    LONGEST_TRUST_DOMAIN,
    certificate_name_problem,
    spiffe_id_problem,
    trust_domain_of,
    trust_domain_problem,
)


@pytest.mark.parametrize(
    "name",
    [
        "spiffe://prod/bot",
        "spiffe://prod.corp/ns/ci/sa/web-1_x.y",
        "spiffe://a_b/...",
        "cn:bot",
        "cn:Some One",
        "cn:a:b",
    ],
)
def test_names_as_they_should_be_have_no_problem(name: str) -> None:
    assert certificate_name_problem(name) == ""


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "spiffe://",
        "spiffe://prod",
        "spiffe://prod/",
        "spiffe:///bot",
        "SPIFFE://prod/bot",
        "Spiffe://prod/bot",
        "spiffe:/prod/bot",
        "https://prod/bot",
        "spiffe://Prod/bot",
        "spiffe://prod:443/bot",
        "spiffe://user@prod/bot",
        "spiffe://prod@evil/bot",
        "spiffe://prod/bot/",
        "spiffe://prod//bot",
        "spiffe://prod/./bot",
        "spiffe://prod/../other/bot",
        "spiffe://prod/..",
        "spiffe://prod/bot?x=1",
        "spiffe://prod/bot#x",
        "spiffe://prod/%62ot",
        "spiffe://prod%2fx/bot",
        "spiffe://prod/b ot",
        "spiffe://prod/bot\n",
        "spiffe://prod\n/bot",
        "spiffe://prod/bót",
        "spiffe://prоd/bot",  # a Cyrillic letter
        "spiffe://prod\\evil/bot",
        f"spiffe://{'a' * (LONGEST_TRUST_DOMAIN + 1)}/bot",
        f"spiffe://prod/{'a' * LONGEST_SPIFFE_ID}",
        " spiffe://prod/bot",
    ],
)
def test_what_is_no_spiffe_id_of_a_workload_is_told_why(uri: str) -> None:
    assert spiffe_id_problem(uri)
    assert certificate_name_problem(uri)


@pytest.mark.parametrize("name", ["bot", "dns:bot", "cn:", "cn:system:masters", "cn: bot", "cn:a\nb", "CN:bot"])
def test_what_is_neither_is_told_how_to_write_it(name: str) -> None:
    assert certificate_name_problem(name)


def test_a_trust_domain_is_compared_whole() -> None:
    assert trust_domain_of("spiffe://prod.corp.evil/bot") == "prod.corp.evil"
    assert trust_domain_problem("prod.corp") == ""
    assert trust_domain_problem("")
    assert trust_domain_problem("prod/x")
