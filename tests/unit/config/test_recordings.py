"""Where recordings are kept and what encrypts them: what is written, and what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from narrowgate.config import Config, ConfigError, parse_config, recording_keys, recording_store
from narrowgate.core.recording import Kind
from narrowgate.recordings.bucket import Bucket, Protocol
from narrowgate.recordings.retention import Kept

HEAD = "apiVersion: narrowgate.dev/v1alpha1\nkind: Config\n"


def parsed(text: str, folder: Path = Path("/srv/gate")) -> Config:
    return parse_config(HEAD + text, folder / "narrowgate.yaml")


def test_without_a_word_recordings_are_in_a_folder_plain_and_for_ever() -> None:
    config = parsed("")
    assert recording_store(config).where == "file:/srv/gate/narrowgate-data/recordings"
    assert (recording_keys(config), config.recordings_kept, config.bucket) == ((), Kept(), None)


def test_a_bucket_is_named_with_where_it_is_and_who_asks(tmp_path: Path) -> None:
    (tmp_path / "s3.secret").write_text("the secret\n")
    config = parsed(
        "recordings: s3://corp-recordings/gate/one\n"
        "objectStorage: {endpoint: 'https://minio.corp:9000/', region: eu-central-1, accessKeyId: gate, "
        "secretKeyFile: s3.secret}\n"
        "retention: {recordings: 90d}\n",
        tmp_path,
    )
    assert config.bucket == Bucket(
        bucket="corp-recordings",
        prefix="gate/one",
        endpoint="https://minio.corp:9000",
        region="eu-central-1",
        access_key_id="gate",
        secret_key="the secret",
    )
    assert config.recordings_kept == Kept(90 * 86_400.0)
    assert recording_store(config).where == "s3://corp-recordings/gate/one"


def test_kinds_are_kept_for_times_of_their_own() -> None:
    kept = parsed("retention: {recordings: {sessions: 90d, logs: 7d, default: 30d}}\n").recordings_kept
    day = 86_400.0
    assert kept == Kept(30 * day, {Kind.EXEC: 90 * day, Kind.ATTACH: 90 * day, Kind.LOG: 7 * day})
    assert {kept.of(kind) for kind in (Kind.PORT_FORWARD, Kind.WATCH, Kind.API)} == {30 * day}
    only = parsed("retention: {recordings: {bodies: 7d, portForwards: 8d, watches: 9d}}\n").recordings_kept
    assert only == Kept(None, {Kind.PORT_FORWARD: 8 * day, Kind.WATCH: 9 * day, Kind.API: 7 * day})
    assert parsed("retention: {recordings: {}}\n").recordings_kept == Kept()


@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        ("{log: 7d}", r":3: retention\.recordings.*"),
        ("{logs: soon}", r":3: retention\.recordings\.logs: .* is not a length of time"),
        ("{default: 0s}", r":3: retention\.recordings\.default: expected more than no time"),
        ("soon", r":3: retention\.recordings: .* is not a length of time"),
        ("[7d]", r":3: retention\.recordings"),
    ],
)
def test_what_is_wrong_with_times_is_said_with_its_place(written: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        parsed(f"retention: {{recordings: {written}}}\n")


def test_a_container_is_named_with_its_account(tmp_path: Path) -> None:
    (tmp_path / "account.key").write_text("c2VjcmV0\n")
    config = parsed(
        "recordings: az://kept/gate\n"
        "objectStorage: {account: corp, secretKeyFile: account.key, endpoint: 'https://azure.corp/corp/'}\n",
        tmp_path,
    )
    assert config.bucket == Bucket(
        protocol=Protocol.AZURE,
        bucket="kept",
        prefix="gate",
        account="corp",
        secret_key="c2VjcmV0",
        endpoint="https://azure.corp/corp",
    )
    assert recording_store(config).where == "az://kept/gate"


def test_a_key_that_is_no_account_key_is_refused_and_not_repeated(tmp_path: Path) -> None:
    (tmp_path / "account.key").write_text("no base64!\n")
    text = "recordings: az://kept\nobjectStorage: {account: corp, secretKeyFile: account.key}\n"
    with pytest.raises(ConfigError, match="no account key") as refused:
        parsed(text, tmp_path)
    assert "no base64!" not in str(refused.value)


def test_without_credentials_those_of_the_environment_count() -> None:
    assert parsed("recordings: s3://corp-recordings\n").bucket == Bucket(bucket="corp-recordings")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("recordings: s3://\n", r":3: recordings: .* is no bucket"),
        ("recordings: s3://Bucket_/x\n", r":3: recordings: .* is no bucket"),
        ("recordings: s3://bucket/../x\n", r":3: recordings: .* is no bucket"),
        ("recordings: s3://bucket/x?a=b\n", r":3: recordings: .* is no bucket"),
        ("recordings: s3://key:secret@bucket\n", r":3: recordings: .* is no bucket"),
        ("recordings: s3://bucket\nobjectStorage: {endpoint: 'http://minio.corp'}\n", r":4: objectStorage\.endpoint: "),
        ("recordings: s3://bucket\nobjectStorage: {endpoint: 'https://a@b'}\n", r":4: objectStorage\.endpoint: "),
        ("recordings: s3://bucket\nobjectStorage: {endpoint: 'https://a:x'}\n", r":4: objectStorage\.endpoint: "),
        ("recordings: s3://bucket\nobjectStorage: {region: 'a b'}\n", r":4: objectStorage\.region: "),
        ("recordings: s3://bucket\nobjectStorage: {accessKeyId: me}\n", r":4: objectStorage: .* go together"),
        ("recordings: s3://bucket\nobjectStorage: {account: corp}\n", r":4: objectStorage\.account: goes with az:"),
        ("objectStorage: {region: eu}\n", r":3: objectStorage: goes with recordings: s3:"),
        ("recordings: gs://bucket\n", r":3: recordings: Google Cloud Storage is not in this version"),
        ("recordings: ftp://bucket\n", r":3: recordings: cannot tell what"),
        ("recordings: az://No_\nobjectStorage: {account: corp}\n", r":3: recordings: .* is no container"),
        ("recordings: az://kept\n", r"objectStorage.*is no storage account"),
        ("recordings: az://kept\nobjectStorage: {account: A-b}\n", r":4: objectStorage\.account: .* is no storage"),
        (
            "recordings: az://kept\nobjectStorage: {account: corp, region: x}\n",
            r":4: objectStorage\.region: goes with s3",
        ),
        (
            "recordings: az://kept\nobjectStorage: {account: corp, accessKeyId: x}\n",
            r":4: objectStorage\.accessKeyId: goes with s3",
        ),
        (
            "recordings: az://kept\nobjectStorage: {account: corp, endpoint: 'https://a.b/other'}\n",
            r":4: objectStorage\.endpoint: ",
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_place(text: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        parsed(text)


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:9000", "http://[::1]:9000", "http://localhost"])
def test_http_is_for_this_machine(endpoint: str) -> None:
    bucket = parsed(f"recordings: s3://bucket\nobjectStorage: {{endpoint: '{endpoint}'}}\n").bucket
    assert bucket is not None
    assert bucket.endpoint == endpoint


def test_keys_are_read_from_their_files_the_present_one_first(tmp_path: Path) -> None:
    (tmp_path / "now").write_text("n" * 40 + "\n")
    (tmp_path / "old").write_text("o" * 40 + "\n")
    config = parsed("encryption: {recordingKeyFile: now, formerRecordingKeyFiles: [old]}\n", tmp_path)
    present, former = recording_keys(config)
    assert len({present.id, former.id}) == 2
    assert recording_keys(parsed("encryption: {recordingKeyFile: old}\n", tmp_path))[0].id == former.id


@pytest.mark.parametrize(
    ("content", "complaint"), [("", "one line"), ("a\nb", "one line"), ("short", "fewer than 32 characters")]
)
def test_a_key_that_is_none_is_refused(tmp_path: Path, content: str, complaint: str) -> None:
    (tmp_path / "now").write_text(content)
    with pytest.raises(ConfigError, match=complaint):
        recording_keys(parsed("encryption: {recordingKeyFile: now}\n", tmp_path))


def test_a_key_that_is_not_there_is_no_reason_to_go_without(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="now"):
        recording_keys(parsed("encryption: {recordingKeyFile: now}\n", tmp_path))
