"""What is found out of the pictures to evaluate on before a run trains."""

import io

import numpy as np
import pytest
from PIL import Image

from bccl_jax.data.encoded import FileImages
from bccl_jax.data.fingerprint import image_numbers
from bccl_jax.data.split import Split
from bccl_jax.errors import DataError
from bccl_jax.evaluation import beforehand
from bccl_jax.evaluation.beforehand import check_decodable


def sound():
    file = io.BytesIO()
    Image.new("RGB", (2, 2), "red").save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def looked_at(monkeypatch):
    """The positions that were decoded, in samples of four."""
    seen = []
    why_broken = beforehand.why_broken

    def counted(images, index, *settings):
        seen.append(index)
        return why_broken(images, index, *settings)

    monkeypatch.setattr(beforehand, "SAMPLE", 4)
    monkeypatch.setattr(beforehand, "why_broken", counted)
    return seen


def split_of(folder, broken, count=40, content=b"not a picture"):
    for index in range(count):
        (folder / f"{index}.png").write_bytes(content if index in broken else sound())
    images = FileImages(folder, [f"{index}.png" for index in range(count)])
    return {"test": Split(images, np.zeros(count, np.int32), ("a",))}


def check(splits, max_share):
    check_decodable(splits, image_numbers(splits), max_share)


def test_of_sound_pictures_a_sample_is_looked_at(tmp_path, looked_at):
    check(split_of(tmp_path, ()), 0.0)
    assert len(looked_at) == 4


def test_where_more_are_broken_than_may_be_it_is_looked_on_until_that_is_certain(
    tmp_path, looked_at
):
    splits = split_of(tmp_path, range(0, 40, 2))
    message = r"of 40 test pictures at least cannot be decoded, .*\.png among them \(Pillow.*\), "
    with pytest.raises(DataError, match=f"{message}more than .*max_broken=0.1 allows.*--verify"):
        check(splits, 0.1)
    broken = sum(index % 2 == 0 for index in looked_at)
    # Four may be; no more was looked at than the next sample.
    assert 4 < broken <= 8
    assert len(looked_at) < 40


def test_as_many_as_may_be_are_let_pass_though_the_first_sample_has_more(tmp_path, looked_at):
    order = np.random.default_rng(0).permutation(40)
    check(split_of(tmp_path, order[:2].tolist()), 0.05)
    assert len(looked_at) == 40
    assert set(looked_at) == set(range(40))


@pytest.mark.parametrize(("max_share", "broken"), [(0.0, 1), (0.01, 2), (0.1, 5)])
def test_the_limit_is_that_of_the_evaluation(tmp_path, max_share, broken):
    splits = split_of(tmp_path, range(broken))
    with pytest.raises(DataError, match=f"{broken} of 40 test"):
        check(splits, max_share)
    (tmp_path / "0.png").write_bytes(sound())
    check(splits, max_share)


def test_what_is_empty_or_unreadable_is_counted_without_a_sample(tmp_path, looked_at):
    splits = split_of(tmp_path, range(4), content=b"")
    (tmp_path / "4.png").unlink()
    with pytest.raises(DataError, match="5 of 40 test"):
        check(splits, 0.1)
    assert looked_at == []


def test_nothing_that_can_be_decoded_is_refused_whatever_may_be_broken(tmp_path):
    with pytest.raises(DataError, match="40 of 40 test"):
        check(split_of(tmp_path, range(40)), 1.0)


def test_images_in_memory_are_not_looked_at(looked_at):
    images = np.zeros((40, 2, 2, 3), np.uint8)
    check({"test": Split(images, np.zeros(40, np.int32), ("a",))}, 0.0)
    assert looked_at == []
