"""The gate's own keys: made once, kept, renewed where that harms nobody, and refused when others can read them."""

from __future__ import annotations

import ipaddress
import os
import ssl
import stat
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from narrowgate.keys import Keys, KeysUnusable, TLSFiles

NOW = datetime(2026, 6, 1, tzinfo=UTC)


def serving(keys: Keys) -> x509.Certificate:
    return x509.load_pem_x509_certificate(keys.certificate_path.read_bytes())


def names_of(certificate: x509.Certificate) -> set[str]:
    return {
        str(name.value) for name in certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    }


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_everything_is_made_on_the_first_start_for_the_owner_alone(tmp_path: Path) -> None:
    Keys.load_or_make(tmp_path / "data")
    folder = tmp_path / "data" / "keys"
    made = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    pairs = ("access.key", "access.pub", "checkpoint.key", "checkpoint.pub")
    assert made == dict.fromkeys((".lock", "ca.key", "ca.pem", "serving.key", "serving.pem", *pairs), 0o600)
    assert {stat.S_IMODE(path.stat().st_mode) for path in (folder, folder.parent)} == {0o700}


def test_the_second_start_finds_the_same_and_writes_nothing(tmp_path: Path) -> None:
    first = Keys.load_or_make(tmp_path, ["gate.example.com"], now=NOW)
    before = contents(tmp_path / "keys")
    assert Keys.load_or_make(tmp_path, ["gate.example.com"], now=NOW + timedelta(days=300)) == first
    assert contents(tmp_path / "keys") == before


def test_the_ca_is_a_p256_ca_of_ten_years_that_signs_servers_only(tmp_path: Path) -> None:
    ca = x509.load_pem_x509_certificate(Keys.load_or_make(tmp_path, now=NOW).ca_pem)
    key = ca.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert isinstance(key.curve, ec.SECP256R1)
    assert ca.not_valid_after_utc == NOW + timedelta(days=3652)
    basic = ca.extensions.get_extension_for_class(x509.BasicConstraints)
    assert (basic.critical, basic.value.ca, basic.value.path_length) == (True, True, 0)


def test_the_serving_certificate_carries_every_name_that_clients_call(tmp_path: Path) -> None:
    keys = Keys.load_or_make(tmp_path, ["0.0.0.0", "::", "192.0.2.7", "Gate.Example.com"], now=NOW)
    certificate = serving(keys)
    names = names_of(certificate)
    assert {"localhost", "127.0.0.1", "::1", "192.0.2.7", "gate.example.com"} <= names
    assert not names & {"0.0.0.0", "::"}
    san = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert ipaddress.ip_address("192.0.2.7") in san.get_values_for_type(x509.IPAddress)
    assert certificate.not_valid_after_utc == NOW + timedelta(days=365)


def test_openssl_accepts_the_pair_by_name_and_by_address_and_refuses_another_name(tmp_path: Path) -> None:
    keys = Keys.load_or_make(tmp_path)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(keys.certificate_path, keys.key_path)
    client = ssl.create_default_context(cadata=keys.ca_pem.decode())
    client.verify_flags |= ssl.VERIFY_X509_STRICT

    def shake_hands(name: str) -> None:
        a, b = ssl.MemoryBIO(), ssl.MemoryBIO()
        ours = client.wrap_bio(a, b, server_hostname=name)
        theirs = server.wrap_bio(b, a, server_side=True)
        for _ in range(4):
            for side in (ours, theirs):
                try:
                    side.do_handshake()
                except ssl.SSLWantReadError:
                    continue

    shake_hands("localhost")
    shake_hands("127.0.0.1")
    shake_hands("::1")
    with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
        shake_hands("elsewhere.example.com")


@pytest.mark.parametrize(
    ("names", "later"),
    [(["new.example.com"], timedelta(0)), ([], timedelta(days=336))],
    ids=["a new name", "less than thirty days left"],
)
def test_the_serving_certificate_is_renewed_under_the_same_ca_and_keys(
    tmp_path: Path, names: list[str], later: timedelta
) -> None:
    first = Keys.load_or_make(tmp_path, now=NOW)
    old, before = serving(first), contents(tmp_path / "keys")
    second = Keys.load_or_make(tmp_path, names, now=NOW + later)
    assert second == first
    new = serving(second)
    assert new.serial_number != old.serial_number
    assert new.not_valid_after_utc == NOW + later + timedelta(days=365)
    assert set(names) <= names_of(new)
    after = contents(tmp_path / "keys")
    assert {name for name in after if after[name] != before[name]} == {"serving.pem"}


def test_a_serving_certificate_never_outlives_its_ca(tmp_path: Path) -> None:
    keys = Keys.load_or_make(tmp_path, now=NOW)
    ca = x509.load_pem_x509_certificate(keys.ca_pem)
    Keys.load_or_make(tmp_path, now=NOW + timedelta(days=3600))
    assert serving(keys).not_valid_after_utc == ca.not_valid_after_utc


def test_a_damaged_serving_certificate_is_made_anew(tmp_path: Path) -> None:
    keys = Keys.load_or_make(tmp_path)
    keys.certificate_path.write_text("damaged")
    Keys.load_or_make(tmp_path)
    assert "localhost" in names_of(serving(keys))


def test_the_checkpoint_key_is_ed25519_and_its_public_half_is_kept_beside(tmp_path: Path) -> None:
    keys = Keys.load_or_make(tmp_path)
    signing = load_pem_private_key(keys.signing_key_pem, password=None)
    public = load_pem_public_key(keys.verify_key)
    assert isinstance(signing, ed25519.Ed25519PrivateKey)
    assert isinstance(public, ed25519.Ed25519PublicKey)
    public.verify(signing.sign(b"head"), b"head")
    assert (tmp_path / "keys" / "checkpoint.pub").read_bytes() == keys.verify_key


@pytest.mark.parametrize("name", ["ca.pem", "ca.key", "checkpoint.key", "serving.key"])
def test_a_damaged_key_or_ca_is_named_and_never_replaced(tmp_path: Path, name: str) -> None:
    Keys.load_or_make(tmp_path)
    path = tmp_path / "keys" / name
    path.write_text("damaged")
    before = contents(tmp_path / "keys")
    with pytest.raises(KeysUnusable, match=rf"keys/{name}"):
        Keys.load_or_make(tmp_path)
    assert contents(tmp_path / "keys") == before


def test_a_missing_ca_key_is_not_made_anew_beside_its_certificate(tmp_path: Path) -> None:
    Keys.load_or_make(tmp_path)
    (tmp_path / "keys" / "ca.key").unlink()
    with pytest.raises(KeysUnusable, match=r"ca\.key: missing, though ca\.pem is there"):
        Keys.load_or_make(tmp_path)
    assert not (tmp_path / "keys" / "ca.key").exists()


def test_keys_of_two_installations_mixed_up_are_noticed(tmp_path: Path) -> None:
    Keys.load_or_make(tmp_path / "one")
    Keys.load_or_make(tmp_path / "two")
    (tmp_path / "one/keys/ca.key").write_bytes((tmp_path / "two/keys/ca.key").read_bytes())
    with pytest.raises(KeysUnusable, match=r"ca\.pem: not the CA of ca\.key"):
        Keys.load_or_make(tmp_path / "one")


def test_an_expired_ca_says_what_replacing_it_means(tmp_path: Path) -> None:
    Keys.load_or_make(tmp_path, now=NOW)
    with pytest.raises(KeysUnusable, match=r"the gate's CA expired on 2036-05-31.*new kubeconfigs"):
        Keys.load_or_make(tmp_path, now=NOW + timedelta(days=3653))


@pytest.mark.parametrize("name", ["ca.key", "checkpoint.key", "serving.key"])
def test_a_key_that_others_may_read_is_refused_with_the_command_that_mends_it(tmp_path: Path, name: str) -> None:
    Keys.load_or_make(tmp_path)
    path = tmp_path / "keys" / name
    path.chmod(0o640)
    with pytest.raises(KeysUnusable, match=f"run: chmod 600 {path}"):
        Keys.load_or_make(tmp_path)


def test_a_key_folder_that_others_may_enter_is_refused(tmp_path: Path) -> None:
    Keys.load_or_make(tmp_path)
    (tmp_path / "keys").chmod(0o755)
    with pytest.raises(KeysUnusable, match=f"run: chmod 700 {tmp_path / 'keys'}"):
        Keys.load_or_make(tmp_path)


def test_a_data_folder_that_cannot_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(KeysUnusable, match=r"/data.*: keys cannot be kept: .*; correct dataDir"):
        Keys.load_or_make(tmp_path / "data")


def test_processes_that_start_at_once_get_the_same_keys(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from narrowgate.keys import Keys;"
        "k = Keys.load_or_make(Path(sys.argv[1])); sys.stdout.buffer.write(k.ca_pem + k.verify_key)"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", program, str(tmp_path / "data")], stdout=subprocess.PIPE)
        for _ in range(4)
    ]
    seen = {process.communicate(timeout=60)[0] for process in started}
    assert [process.returncode for process in started] == [0] * 4
    assert len(seen) == 1


def test_a_given_pair_is_used_and_no_ca_is_made(tmp_path: Path) -> None:
    given = Keys.load_or_make(tmp_path / "elsewhere")
    (tmp_path / "ca.pem").write_bytes(given.ca_pem)
    files = TLSFiles(certificate=given.certificate_path, key=given.key_path)
    keys = Keys.load_or_make(tmp_path / "data", given=files)
    assert (keys.certificate_path, keys.key_path, keys.ca_pem) == (given.certificate_path, given.key_path, b"")
    pairs = ["access.key", "access.pub", "checkpoint.key", "checkpoint.pub"]
    assert sorted(os.listdir(tmp_path / "data" / "keys")) == [".lock", *pairs]
    with_ca = TLSFiles(certificate=files.certificate, key=files.key, certificate_authority=tmp_path / "ca.pem")
    assert Keys.load_or_make(tmp_path / "data", given=with_ca).ca_pem == given.ca_pem


def test_a_given_pair_that_does_not_fit_or_has_expired_is_refused(tmp_path: Path) -> None:
    one, two = Keys.load_or_make(tmp_path / "one", now=NOW), Keys.load_or_make(tmp_path / "two", now=NOW)
    mixed = TLSFiles(certificate=one.certificate_path, key=two.key_path)
    with pytest.raises(KeysUnusable, match=r"serving\.pem: certificate and key do not belong together"):
        Keys.load_or_make(tmp_path / "data", given=mixed, now=NOW)
    good = TLSFiles(certificate=one.certificate_path, key=one.key_path)
    with pytest.raises(KeysUnusable, match="expired on 2027-06-01"):
        Keys.load_or_make(tmp_path / "data", given=good, now=NOW + timedelta(days=366))
    missing = TLSFiles(certificate=tmp_path / "gone.pem", key=one.key_path)
    with pytest.raises(KeysUnusable, match=r"gone\.pem: cannot be read"):
        Keys.load_or_make(tmp_path / "data", given=missing, now=NOW)
