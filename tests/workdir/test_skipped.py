"""Pictures that were broken once: looked at again, and told by names that can be read back."""

import io

import numpy as np
import pytest
from PIL import Image

from bccl_jax.data.encoded import FileImages
from bccl_jax.errors import DataError
from bccl_jax.workdir.skipped import SkippedImages

PATHS = ["cat/1.png", "cat/2.png", "dog/1.png", "dog/caf\udce9\n.png"]


def sound():
    file = io.BytesIO()
    Image.new("RGB", (4, 4), "red").save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def pictures(tmp_path):
    for path in PATHS:
        (tmp_path / "data" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / path).write_bytes(b"broken")
    return tmp_path / "data"


def skipped(folder, max_share=0.5):
    return SkippedImages(folder.parent / "broken.txt", FileImages(folder, PATHS), max_share)


def listed(folder):
    return (folder.parent / "broken.txt").read_text(encoding="utf-8").splitlines()


def stopped(folder, indices=(0, 1, 2)):
    """A run that stopped at so many broken pictures."""
    images = skipped(folder)
    images.add(np.array([*indices, -1]))
    with pytest.raises(DataError, match=rf"{len(indices)} of 4 .*config\.data\.max_broken=0\.5"):
        images.check()


def test_a_run_goes_on_once_enough_pictures_are_mended(pictures, capsys):
    stopped(pictures)
    assert len(listed(pictures)) == 3
    (pictures / PATHS[1]).write_bytes(sound())
    again = skipped(pictures)
    again.add(np.array([-1, -1]))
    again.add(np.array([0, 2]))
    assert listed(pictures) == [str(pictures / PATHS[0]), str(pictures / PATHS[2])]
    assert "1 of 3 pictures that" in capsys.readouterr().err
    again.check()
    again.add(np.array([3]))
    with pytest.raises(DataError, match="3 of 4 training pictures"):
        again.check()


def test_a_run_that_is_not_mended_stops_before_it_trains(pictures):
    stopped(pictures)
    with pytest.raises(DataError, match="3 of 4 training pictures"):
        skipped(pictures)
    assert len(listed(pictures)) == 3
    assert skipped(pictures, 0.9).check() is None


def test_a_picture_that_is_gone_is_still_broken_and_one_that_is_back_is_not(pictures):
    stopped(pictures)
    for path in PATHS[:2]:
        (pictures / path).unlink()
    with pytest.raises(DataError, match="3 of 4"):
        skipped(pictures)
    for path in PATHS[:2]:
        (pictures / path).write_bytes(sound())
    skipped(pictures).add(np.array([-1]))
    assert listed(pictures) == [str(pictures / PATHS[2])]


def test_pictures_are_known_again_where_the_data_moved(pictures, capsys):
    stopped(pictures, (0, 2, 3))
    moved = pictures.rename(pictures.parent / "moved")
    (moved / PATHS[2]).write_bytes(sound())
    again = skipped(moved)
    capsys.readouterr()
    again.add(np.array([0, 3]))  # known, so that they are neither counted nor told again
    assert capsys.readouterr().err == ""
    assert len(listed(moved)) == 2
    assert listed(moved)[0] == str(moved / PATHS[0])


def test_a_name_that_is_not_utf_8_is_listed_and_known_again(pictures):
    skipped(pictures).add(np.array([3]))
    assert listed(pictures) == [repr(str(pictures / PATHS[3]))]
    again = skipped(pictures)
    again.add(np.array([3]))
    assert len(listed(pictures)) == 1


@pytest.mark.parametrize("rest", ["/some/where/da", "", "\n\n", "\udcff"])
def test_what_else_stands_in_the_list_is_of_no_account(pictures, rest):
    """Half a last line, of a run that was killed as it wrote, for example."""
    skipped(pictures).add(np.array([0]))
    with open(pictures.parent / "broken.txt", "a", encoding="utf-8", errors="surrogateescape") as f:
        f.write(rest)
    skipped(pictures).add(np.array([0]))
    assert listed(pictures) == [str(pictures / PATHS[0])]


def test_a_process_that_does_not_write_counts_the_same(pictures):
    stopped(pictures)
    (pictures / PATHS[1]).write_bytes(sound())
    other = SkippedImages(
        pictures.parent / "broken.txt", FileImages(pictures, PATHS), 0.5, writes=False
    )
    assert len(listed(pictures)) == 3
    other.add(np.array([3]))
    with pytest.raises(DataError, match="3 of 4"):
        other.check()


def test_the_mend_is_that_of_pictures_in_files(pictures):
    stopped(pictures)
    message = "--mode=inspect --verify names all .*under the same names"
    with pytest.raises(DataError, match=message) as caught:
        skipped(pictures)
    assert "pack" not in str(caught.value)
