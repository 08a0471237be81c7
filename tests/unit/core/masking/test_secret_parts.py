"""What of a Secret is looked for in text, and what is left out since it is public or a word."""

import json

import pytest

from narrowgate.core.masking.secret_parts import PARTS_LIMIT, RELEASE, known_parts


def texts(key: str, value: bytes, kind: str = "Opaque") -> list[bytes]:
    return [part.text for part in known_parts(kind, {key: value})]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("password", b"correcthorse"),
        ("password", b"12345678"),
        ("anything", b"Zq7Xk29L"),
        ("anything", b"correct horse battery staple"),
        ("anything", b"qWjKxZpLmN"),
        ("anything", b"\x00\x01\x02\x03\xff\xfe\xfd\xfc"),
        ("username", b"svc-9f8e7d6c5b4a"),
        ("url", b"postgres://app:Zq7Xk29L@db/app"),
        ("uri", b"https://hooks.slack.com/services/T00/B00/Zq7Xk29L"),
        ("token", b"abcdefgh"),
    ],
)
def test_what_may_be_a_secret_is_looked_for(key: str, value: bytes) -> None:
    assert texts(key, value) == [value]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("password", b"short"),
        ("password", b"password"),
        ("password", b"********"),
        ("password", b"00000000"),
        ("anything", b"production"),
        ("anything", b"Development"),
        ("anything", b"db.prod.svc.cluster.local:5432"),
        ("anything", b"2026-11-21T10:00:00Z"),
        ("description", b"The default bootstrap token."),
        ("url", b"https://example.com/login"),
        ("username", b"billing-app"),
        ("ca.crt", b"-----BEGIN CERTIFICATE-----\nMIIBszCCAVmgAwIB\n-----END CERTIFICATE-----\n"),
        ("key.pub", b"-----BEGIN PUBLIC KEY-----\nMIIBszCCAVmgAwIB\n-----END PUBLIC KEY-----\n"),
        ("password", b"   \n"),
    ],
)
def test_what_is_public_or_a_word_is_left_out(key: str, value: bytes) -> None:
    assert texts(key, value) == []


def test_space_around_a_value_is_not_looked_for_and_counts_for_its_hash() -> None:
    (part,) = known_parts("Opaque", {"password": b" Zq7Xk29L\n"})
    assert (part.text, part.stands_for) == (b"Zq7Xk29L", b" Zq7Xk29L\n")


def test_the_values_of_an_env_file_are_looked_for() -> None:
    found = texts("app.env", b"LOG_LEVEL=debug\nexport DB_PASSWORD='hunter-and-gatherer'\nPORT=8080\nX: Zq7Xk29LmPw4\n")
    assert {b"hunter-and-gatherer", b"Zq7Xk29LmPw4"} <= set(found)
    assert b"debug" not in found
    assert b"PORT=8080" not in found


def test_the_values_of_json_are_looked_for() -> None:
    auth = {"auths": {"registry.corp": {"username": "builder", "password": "Zq7Xk29L", "auth": "YnVpbGRlcjpacTc="}}}
    found = texts(".dockerconfigjson", json.dumps(auth).encode())
    assert found[0].startswith(b"{")
    assert set(found[1:]) == {b"Zq7Xk29L", b"YnVpbGRlcjpacTc="}


def test_the_lines_of_a_key_within_json_are_looked_for() -> None:
    account = {"type": "service_account", "private_key": "-----BEGIN PRIVATE KEY-----\nZq7Xk29LmPw4Zq7Xk29L\n-----END"}
    assert b"Zq7Xk29LmPw4Zq7Xk29L" in texts("account.json", json.dumps(account).encode())


def test_a_certificate_is_left_out_of_a_value_that_has_a_key_as_well() -> None:
    both = (
        b"-----BEGIN CERTIFICATE-----\nMIIBszCCAVmgAwIBAgIU\n-----END CERTIFICATE-----\n"
        b"-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49\n-----END PRIVATE KEY-----\n"
    )
    lines = texts("both.pem", both)[1:]
    assert b"MIGHAgEAMBMGByqGSM49" in lines
    assert b"MIIBszCCAVmgAwIBAgIU" not in lines


def test_releases_of_helm_are_left_out() -> None:
    assert texts("release", b"H4sIAAAAAAAAA1234567890abcdef", RELEASE) == []


def test_nobody_makes_the_gate_look_for_any_number_of_parts() -> None:
    lines = b"\n".join(b"password: Zq7X%08d" % number for number in range(PARTS_LIMIT * 2))
    assert len(texts("many", lines)) == PARTS_LIMIT + 1
    deep: object = "Zq7Xk29LmPw4"
    for _ in range(30):
        deep = [deep]
    assert len(texts("deep", json.dumps(deep).encode())) == 1


def test_codes_on_lines_of_their_own_are_looked_for() -> None:
    assert {b"ab12-cd34", b"ef56-gh78"} <= set(texts("codes", b"ab12-cd34\nef56-gh78\n"))
    assert {b"abcd-efgh", b"ijkl-mnop"} <= set(texts("recovery-password", b"abcd-efgh\nijkl-mnop\n"))
    assert b"replicas: 3" not in texts("config.yaml", b"replicas: 3\nname: billing app\n")


@pytest.mark.parametrize(
    "value", [b"-" * 900_000, b"{" * 900_000, b"a=\n" * 300_000, b"-----BEGIN CERTIFICATE-----" * 30_000]
)
def test_no_value_keeps_the_gate_busy(value: bytes) -> None:
    assert len(texts("app.conf", value)) <= PARTS_LIMIT + 1
