from __future__ import annotations

import os
from pathlib import Path

import pytest

from unireg_cli.errors import InputError, UniregError
from unireg_cli.io.atomic import atomic_path, full_suffix


def test_appears_on_success_with_suffix_and_folder_kept(tmp_path):
    final = tmp_path / "sub.01.T1.nii.gz"
    with atomic_path(final) as temporary:
        assert temporary.parent == tmp_path
        assert temporary.name.startswith(".sub.01.T1.") and temporary.name.endswith(".nii.gz")
        temporary.write_text("new")
        assert not final.exists()
    assert final.read_text() == "new"
    assert list(tmp_path.iterdir()) == [final]


@pytest.mark.parametrize("failure", [ValueError("x"), KeyboardInterrupt()])
def test_failure_keeps_the_old_file_and_leaves_nothing(tmp_path, failure):
    final = tmp_path / "a.h5"
    final.write_text("old")
    with pytest.raises(type(failure)), atomic_path(final) as temporary:
        temporary.write_text("half")
        raise failure
    assert final.read_text() == "old"
    assert list(tmp_path.iterdir()) == [final]


def test_missing_folder_folder_as_file_and_full_disk(tmp_path):
    (tmp_path / "taken.nii").mkdir()
    for final in (tmp_path / "no" / "a.nii", tmp_path / "taken.nii"):
        with pytest.raises(InputError) as caught, atomic_path(final):
            pass
        assert str(final) in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(InputError, match="No space left"), atomic_path(tmp_path / "b.nii"):
        raise OSError(28, os.strerror(28))


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_unwritable_folder(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(UniregError, match="permission"), atomic_path(tmp_path / "a.nii"):
        pass
    tmp_path.chmod(0o700)


@pytest.mark.parametrize(
    ("name", "suffix"), [("a.nii.gz", ".nii.gz"), ("A.NII.GZ", ".nii.gz"), ("a.b.nii", ".nii"), ("a.h5", ".h5"), ("a", "")]
)
def test_full_suffix(name, suffix):
    assert full_suffix(Path(name)) == suffix
