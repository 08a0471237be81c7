"""How a bucket is named; what the store does is in tests/contract/test_recording_stores.py, on a real server."""

from __future__ import annotations

from narrowgate.recordings.bucket import Bucket
from narrowgate.recordings.object_storage import store_of


def test_a_store_is_called_by_its_bucket_and_never_by_its_credentials() -> None:
    place = Bucket(
        bucket="b-1", prefix="p/q", endpoint="http://127.0.0.1:1", region="x", access_key_id="me", secret_key="hush"
    )
    store = store_of(place)
    assert store.where == "s3://b-1/p/q"
    assert "hush" not in repr(store.__dict__)
    assert store_of(Bucket(bucket="b-1", region="x")).where == "s3://b-1"
