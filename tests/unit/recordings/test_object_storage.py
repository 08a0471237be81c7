"""How a bucket is named; what the store does is in tests/contract/test_recording_stores.py, on a real server."""

from __future__ import annotations

import pytest
from dev.cluster.processes import free_ports

from narrowgate.recordings.bucket import Bucket, Protocol
from narrowgate.recordings.object_storage import store_of
from narrowgate.recordings.port import RecordingsUnavailable


def test_a_store_is_called_by_its_bucket_and_never_by_its_credentials() -> None:
    place = Bucket(
        bucket="b-1", prefix="p/q", endpoint="http://127.0.0.1:1", region="x", access_key_id="me", secret_key="hush"
    )
    store = store_of(place)
    assert store.where == "s3://b-1/p/q"
    assert "hush" not in repr(store.__dict__)
    assert store_of(Bucket(bucket="b-1", region="x")).where == "s3://b-1"
    azure = Bucket(protocol=Protocol.AZURE, bucket="c-1", prefix="p", account="corp", secret_key="aHVzaA==")
    assert store_of(azure).where == "az://c-1/p"
    assert "aHVzaA==" not in repr(store_of(azure).__dict__)


def test_what_the_library_takes_for_wrong_is_said_before_anything_is_kept() -> None:
    place = Bucket(protocol=Protocol.AZURE, bucket="c-1", account="corp", secret_key="no base64!")
    with pytest.raises(RecordingsUnavailable, match="correct objectStorage") as refused:
        store_of(place)
    assert "no base64!" not in str(refused.value)


def test_a_signature_of_the_environment_is_in_no_complaint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_STORAGE_SAS_TOKEN", "sv=2022-11-02&ss=b&sp=rwdl&sig=c2VjcmV0c2lnbmF0dXJl")
    (port,) = free_ports(1)
    endpoint = f"http://127.0.0.1:{port}/corp"
    store = store_of(Bucket(protocol=Protocol.AZURE, bucket="kept", account="corp", endpoint=endpoint))
    with pytest.raises(RecordingsUnavailable, match="check the address") as refused:
        store.days()
    assert "c2VjcmV0" not in str(refused.value)
