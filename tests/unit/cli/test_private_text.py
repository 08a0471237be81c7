"""Files for one pair of eyes: who may read them, who may have made them, and that they are whole."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from narrowgate.cli.private_text import Unusable, prepare_private, private_folder, read_private, write_private

NOBODY = 65534


def test_what_is_written_is_read_back_and_is_the_owners_alone(tmp_path: Path) -> None:
    write_private(str(tmp_path / "secret"), "text\n")
    assert read_private(str(tmp_path / "secret"), 100, "") == "text\n"
    assert stat.S_IMODE((tmp_path / "secret").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["secret"]


def test_a_file_is_replaced_and_never_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("theirs")
    (tmp_path / "secret").symlink_to(tmp_path / "elsewhere")
    write_private(str(tmp_path / "secret"), "mine")
    assert (tmp_path / "elsewhere").read_text() == "theirs"
    assert not (tmp_path / "secret").is_symlink()


def test_what_cannot_be_put_in_its_place_is_not_left_beside_it(tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    with pytest.raises(OSError, match="directory"):
        write_private(str(tmp_path / "secret"), "mine")
    assert [path.name for path in tmp_path.iterdir()] == ["secret"]


def test_a_prepared_file_is_beside_the_other_and_hidden(tmp_path: Path) -> None:
    prepared = Path(prepare_private(str(tmp_path / "secret"), "x"))
    assert prepared.parent == tmp_path
    assert prepared.name.startswith(".secret.")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601, 0o666, 0o777])
def test_a_file_that_others_may_touch_is_refused_with_the_command_that_mends_it(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "secret"
    path.write_text("x")
    path.chmod(mode)
    with pytest.raises(Unusable, match=rf"\(mode 0{mode:o}\); run: chmod 600 {path}"):
        read_private(str(path), 100, "")


def test_a_file_that_another_user_made_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("x")
    path.chmod(0o600)
    os.chown(path, NOBODY, -1)
    with pytest.raises(Unusable, match=rf"belongs to another user \(uid {NOBODY}\), who can change it"):
        read_private(str(path), 100, "")


def test_too_much_and_foreign_letters_are_refused(tmp_path: Path) -> None:
    for text in ("x" * 11, "ä"):
        write_private(str(tmp_path / "secret"), text)
        with pytest.raises(Unusable, match="holds something else; remove it"):
            read_private(str(tmp_path / "secret"), 10, "remove it")


def test_a_missing_file_is_for_the_caller_to_judge(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_private(str(tmp_path / "gone"), 10, "")


def test_a_folder_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    private_folder(str(tmp_path / "a" / "b"))
    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o700


def test_a_folder_that_others_may_enter_or_own_is_refused(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir(mode=0o755)
    (tmp_path / "theirs").mkdir(mode=0o700)
    os.chown(tmp_path / "theirs", NOBODY, -1)
    (tmp_path / "file").write_text("")
    for name, says in (("open", "chmod 700"), ("theirs", "belongs to another user"), ("file", "NARROWGATE_HOME")):
        with pytest.raises(Unusable, match=says):
            private_folder(str(tmp_path / name))
