from __future__ import annotations

import pytest

from narrowgate.core.masking.secret_names import NAME_LIMIT, is_secret_field, is_secret_header, is_secret_name


@pytest.mark.parametrize(
    "name",
    [
        "PASSWORD", "DB_PASSWORD", "DB_PASSWORD_1", "PGPASSWORD", "MYSQL_PWD", "dbPass",
        "spring.datasource.password", "TOKEN", "authToken", "GITHUB_TOKEN", "x-vault-token", "SECRET",
        "clientSecret", "SECRET_ID", "AWS_SECRET_ACCESS_KEY", "API_KEY", "apikey", "apiKey", "SSH_KEY", "KEY",
        "tls.key", "ssh-privatekey", "CREDENTIALS", "GOOGLE_CREDENTIALS_JSON", "DSN", "SENTRY_DSN",
        "CONNECTION_STRING", "ConnectionStrings__Default", "HTPASSWD", "REDIS_AUTH", "JWT", "passphrase",
        "password_hash", "keystore.jks", "SESSION_COOKIE", "OTP",
    ],
)  # fmt: skip
def test_it_is_a_secrets_name(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "", "PATH", "HOME", "KEYBOARD", "MONKEY", "BYPASS", "AUTHOR", "AUTHORS_FILE",
        "TOKENIZERS_PARALLELISM", "TOKENIZER_PATH", "MAX_TOKENS_PER_MINUTE", "PUBLIC_KEY", "PASSWORD_FILE",
        "TOKEN_TTL", "secretName", "secretRef", "CREDENTIALS_PATH", "TOKEN_URL", "AUTH_METHOD",
        "TOKEN_EXPIRY_SECONDS", "secretary", "KEYWORDS", "maxTokens", "MAX_NEW_TOKENS", "eos_token",
        "COMPASS", "passive", "image", "123",
    ],
)  # fmt: skip
def test_it_is_not(name: str) -> None:
    assert not is_secret_name(name)


def test_a_name_that_is_no_name_counts_as_a_secrets() -> None:
    assert is_secret_name("x" * (NAME_LIMIT + 1))


def test_a_key_of_a_selector_is_no_secret_and_a_secrets_key_is() -> None:
    assert not is_secret_field("key")
    assert not is_secret_field("topologyKey")
    assert is_secret_field("apiKey")
    assert is_secret_name("key")


def test_headers_that_carry_credentials_are_known_in_any_case() -> None:
    assert [is_secret_header(name) for name in ("Authorization", "COOKIE", "X-Api-Key", "Accept", "User-Agent")] == [
        True, True, True, False, False,
    ]  # fmt: skip


def test_where_a_shell_is_is_no_password() -> None:
    assert not is_secret_name("PWD")
    assert not is_secret_name("OLDPWD")
    assert is_secret_name("DB_PWD")
    assert is_secret_name("pwd")
