from __future__ import annotations

import base64
import time

import pytest

from narrowgate.core.masking.masked_value import ValueMasker
from narrowgate.core.masking.patterns import (
    ACCESS_TOKEN,
    ARCHIVE,
    AUTHORIZATION,
    CLOUD_KEY,
    COMMAND_LINE,
    NAMED_SECRET,
    PASSWORD_HASH,
    PRIVATE_KEY,
    TEXT_RULES,
    URL_PASSWORD,
    TextPatterns,
    is_no_value,
    text_patterns,
)

ALL = text_patterns(frozenset(TEXT_RULES))
MASKED = ValueMasker(b"k" * 32).of("narrowgate/secret-data", b"x")


def found(text: str) -> list[tuple[str, str]]:
    plain = text.encode()
    return [(plain[start:end].decode(), rule) for start, end, rule in ALL.found_in(plain)]


def encoded_key(kind: str) -> str:
    return base64.b64encode(f"-----BEGIN {kind}PRIVATE KEY-----\nMIIEow".encode()).decode()


@pytest.mark.parametrize(
    ("text", "secret", "rule"),
    [
        ("password=hunter2 next", "hunter2", NAMED_SECRET),
        ("user=x password: hunter2 next", "hunter2", NAMED_SECRET),
        ("password: correct horse battery", "correct horse battery", NAMED_SECRET),
        ("db.password = a b c\r", "a b c", NAMED_SECRET),
        ('{"password": "a\\"b", "x": 1}', 'a\\"b', NAMED_SECRET),
        (r'{"log":"{\"password\": \"a b\", \"x\": 1}"}', "a b", NAMED_SECRET),
        ("'password': 'it''s', x", "it''s", NAMED_SECRET),
        ('password="never ends', "never ends", NAMED_SECRET),
        ('x password=ab"cd e', 'ab"cd', NAMED_SECRET),
        (":password => 'x1', b", "x1", NAMED_SECRET),
        ("docker --password hunter2 run", "hunter2", NAMED_SECRET),
        ("app --api-key=hunter2", "hunter2", NAMED_SECRET),
        ("--from-literal=password=hunter2", "hunter2", NAMED_SECRET),
        ('{"name":"DB_PASSWORD","value":"a b"}', "a b", NAMED_SECRET),
        ("<password>hunter2</password>", "hunter2", NAMED_SECRET),
        ('<property name="db.password" value="hunter2"/>', "hunter2", NAMED_SECRET),
        ("define('DB_PASSWORD', 'hunter2');", "hunter2", NAMED_SECRET),
        ("machine h login me password hunter2", "hunter2", NAMED_SECRET),
        ("db.corp:5432:app:me:hunter2", "hunter2", NAMED_SECRET),
        ("CREATE USER a IDENTIFIED BY 'hunter2'", "hunter2", NAMED_SECRET),
        ("requirepass hunter2", "hunter2", NAMED_SECRET),
        ("X-Api-Key: hunter2", "hunter2", NAMED_SECRET),
        ("GET /x?access_token=abc&y=1 200", "abc&y=1", NAMED_SECRET),
        ("client-key-data: LS0tabc", "LS0tabc", NAMED_SECRET),
        ("https://me:p@ss@host/x", "p@ss", URL_PASSWORD),
        ("redis://:hunter2@redis:6379", "hunter2", URL_PASSWORD),
        ("https://ghp-like-but-unknown-token0@github.com/x", "ghp-like-but-unknown-token0", URL_PASSWORD),
        ("me:hunter2@tcp(db:3306)/app", "hunter2", URL_PASSWORD),
        ("Authorization: Basic bWU6aHVudGVyMg==", "Basic bWU6aHVudGVyMg==", AUTHORIZATION),
        ('curl -H "authorization: token abc" x', "token abc", AUTHORIZATION),
        ("sent Bearer abcdefghijklmnop0 to", "abcdefghijklmnop0", AUTHORIZATION),
        ('{"auths":{"r":{"auth":"bWU6aHVudGVyMg=="}}}', "bWU6aHVudGVyMg==", AUTHORIZATION),
        ("Set-Cookie: sid=abc; Path=/", "sid=abc; Path=/", AUTHORIZATION),
        ("-----BEGIN EC PRIVATE KEY-----abc-----END EC PRIVATE KEY-----",
         "-----BEGIN EC PRIVATE KEY-----abc-----END EC PRIVATE KEY-----", PRIVATE_KEY),
        ("-----BEGIN PGP PRIVATE KEY BLOCK----- and on", "-----BEGIN PGP PRIVATE KEY BLOCK----- and on", PRIVATE_KEY),
        ("AGE-SECRET-KEY-1QQQQQQQQQQQQQQQQQQQQQQQQ", "AGE-SECRET-KEY-1QQQQQQQQQQQQQQQQQQQQQQQQ", PRIVATE_KEY),
        ('{"kty":"RSA","d":"abcdefghijklmnopqrstuvwxyz"}', "abcdefghijklmnopqrstuvwxyz", PRIVATE_KEY),
        ("id AKIAIOSFODNN7EXAMPLE.", "AKIAIOSFODNN7EXAMPLE", CLOUD_KEY),
        ("AIzaSyA0123456789012345678901234567890x", "AIzaSyA0123456789012345678901234567890x", CLOUD_KEY),
        ("AccountName=a;AccountKey=abcdefghijklmnopqrst0123==;", "abcdefghijklmnopqrst0123==;", CLOUD_KEY),
        ("https://b/c?sv=1&sig=abc%3D&x=1", "abc%3D", CLOUD_KEY),
        ("eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln", "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln", ACCESS_TOKEN),
        ("ghp_abcdefghijklmnopqrstuvwxyz0123", "ghp_abcdefghijklmnopqrstuvwxyz0123", ACCESS_TOKEN),
        ("glpat-abcdefghijklmnopqrst", "glpat-abcdefghijklmnopqrst", ACCESS_TOKEN),
        ("xoxb-1234567890-abc", "xoxb-1234567890-abc", ACCESS_TOKEN),
        ("https://hooks.slack.com/services/T0/B0/abc", "T0/B0/abc", ACCESS_TOKEN),
        ("ngt1_abcdefgh_01234567890123456789", "ngt1_abcdefgh_01234567890123456789", ACCESS_TOKEN),
        ("kubeadm join abcdef.0123456789abcdef", "abcdef.0123456789abcdef", ACCESS_TOKEN),
        ("me:$2y$10$abcdefghijklmnopqrstuv", "$2y$10$abcdefghijklmnopqrstuv", PASSWORD_HASH),
        ("me:{SHA}abcdefghijklmnopqrstuvwxyz0=", "{SHA}abcdefghijklmnopqrstuvwxyz0=", PASSWORD_HASH),
        ("mysql -u me -phunter2 app", "hunter2", COMMAND_LINE),
        ("sshpass -p hunter2 ssh x", "hunter2", COMMAND_LINE),
        ("redis-cli -h r -a hunter2 ping", "hunter2", COMMAND_LINE),
        ("curl -s -u me:hunter2 http://x", "hunter2", COMMAND_LINE),
        ("H4sI" + "A" * 64, "H4sI" + "A" * 64, ARCHIVE),
    ],
)  # fmt: skip
def test_it_is_found(text: str, secret: str, rule: str) -> None:
    assert [one for one, _ in found(text)] == [secret] or any(secret in one for one, _ in found(text))
    assert rule in {name for one, name in found(text) if secret in one or one in secret}
    covered = "".join(one for one, _ in found(text))
    assert secret in covered


@pytest.mark.parametrize("kind", ["", "RSA ", "EC ", "OPENSSH ", "ENCRYPTED ", "DSA ", "PGP "])
def test_a_private_key_is_known_in_base64(kind: str) -> None:
    assert found(f"x: {encoded_key(kind)}\n") == [(encoded_key(kind), PRIVATE_KEY)]


@pytest.mark.parametrize(
    "text",
    [
        "level=info msg=\"token expired\" tokens=512 max_tokens: 4096",
        "secretName: db\npasswordFile: /etc/x\ntokenTTL: 5m",
        "run password=$(DB_PASSWORD) token=${TOKEN} secret: {{ .Values.secret }}",
        "got password: null, token: true, secret: ''",
        "password: |",
        "http://host:8080/path http://10.0.0.1:443",
        "registry.corp/team/docker.somethingsixteen:v1",
        "Successfully assigned default/web to node-1",
        "- key: node-role\n  operator: Exists",
        "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
        "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0t",
        "image sha256:0123456789abcdef0123456789abcdef",
        "curl -s http://x; mysql -u me app",
        "deploy.finished v1.2.3-0123456789abcdef",
        'pods is forbidden: User "system:serviceaccount:api-token-store:plain-name" cannot list resource "pods"',
    ],
)  # fmt: skip
def test_it_is_not(text: str) -> None:
    assert found(text) == []


def test_a_masked_value_is_no_find_and_no_value_goes_on_behind_one() -> None:
    assert found(f"password: {MASKED}") == []
    assert found(f"x: {MASKED}") == []
    assert found(f"password={MASKED}password=x") == [("x", NAMED_SECRET)]


def test_finds_do_not_overlap_and_the_earlier_one_names_them() -> None:
    assert found("token=eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln") == [
        ("eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln", ACCESS_TOKEN)
    ]
    assert found("Authorization: Bearer abcdefghijklmnop0") == [("Bearer abcdefghijklmnop0", AUTHORIZATION)]


def test_only_the_rules_that_hold_look() -> None:
    assert TextPatterns(frozenset()).found_in(b"password=hunter2") == []
    assert [*TextPatterns(frozenset()).opens_in(b"-----BEGIN RSA PRIVATE KEY-----")] == []
    only = TextPatterns(frozenset({URL_PASSWORD}))
    assert [rule for _, _, rule in only.found_in(b"password=x https://me:hunter2@h")] == [URL_PASSWORD]


def test_zeros_hide_nothing() -> None:
    assert found("password=ab\0cd") == [("ab\0cd", NAMED_SECRET)]


@pytest.mark.parametrize(
    "value", ["null", "None", "true", "$(X)", "${Y}", "{{ x }}", "|", ">-", "{", "****", "<none>,"]
)
def test_it_is_no_value(value: str) -> None:
    assert is_no_value(value.encode())


@pytest.mark.parametrize("value", ["nullx", "$X", "$(X)y", "x|", "truest", "{x"])
def test_it_is_a_value(value: str) -> None:
    assert is_no_value(value.encode()) is False


@pytest.mark.parametrize(
    "part", ["passwor", 'token="', "eyJ", "a.", "http://a:", "curl -u ", "-----BEGIN ", "H4sI", "\\"]
)
def test_what_is_found_is_found_behind_text_of_any_sort_and_in_time(part: str) -> None:
    text = part * (300_000 // len(part)) + "\nx password=hunter2 y"
    began = time.process_time()
    assert found(text)[-1] == ("hunter2", NAMED_SECRET)
    assert time.process_time() - began < 5


def test_every_rule_says_what_it_finds() -> None:
    assert all(TEXT_RULES.values())
    assert {rule.partition("/")[0] for rule in TEXT_RULES} == {"narrowgate"}


@pytest.mark.parametrize(
    ("line", "found"), [(b"PW=abc", True), (b"DB_PW: abc", True), (b"NPW=abc", False), (b"PWD=/srv", False)]
)
def test_short_names_of_passwords_stand_by_themselves(line: bytes, found: bool) -> None:
    assert bool(text_patterns(frozenset(TEXT_RULES)).found_in(line + b"\n")) is found
