"""The photographs on which efficientnet_lite0's twins must agree with their original."""

from types import ModuleType

import numpy as np
import pytest

FEW = 40


@pytest.fixture
def photographs(load_from, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = load_from("efficientnet_lite0", "photographs")
    assert module.VIEWS == 300
    monkeypatch.setattr(module, "VIEWS", FEW)
    return module


def rows(images: np.ndarray) -> set[bytes]:
    return {image.tobytes() for image in images}


def test_views_are_pictures_as_the_model_takes_them_and_always_the_same(photographs: ModuleType) -> None:
    images = photographs.views()["image"]
    assert images.shape == (FEW, 3, 224, 224)
    assert images.dtype == np.float32
    assert images.min() >= -1
    assert images.max() <= 1.01
    np.testing.assert_array_equal(images, photographs.views()["image"])


def test_no_view_comes_twice_or_is_a_sample_of_parity(photographs: ModuleType) -> None:
    views = rows(photographs.views()["image"])
    assert len(views) == FEW
    for seed in (0, 1):
        samples = photographs.make(FEW, seed)["image"]
        assert not views & (rows(samples) | rows(samples[..., ::-1]))


def test_every_photograph_is_there_whole_and_mirrored_before_its_crops(photographs: ModuleType) -> None:
    names = (*photographs.NAMES, *photographs.UNSEEN)
    images = photographs.views()["image"]
    for number, name in enumerate(names):
        whole = photographs.prepare(photographs.centre(photographs.photograph(name)))
        np.testing.assert_array_equal(images[2 * number], whole)
        np.testing.assert_allclose(images[2 * number + 1], whole[..., ::-1], atol=0.02)


def test_some_crops_are_mirrored_and_every_photograph_has_both(
    photographs: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the left half of each photograph dark, a mirrored crop shows light on its left."""
    board = np.tile(np.repeat(np.array([0, 255], np.uint8), 100)[None, :, None], (200, 1, 3))
    monkeypatch.setattr(photographs, "photograph", lambda name: board)
    monkeypatch.setattr(photographs, "crop", lambda picture, random: picture)
    crops = photographs.views()["image"][18:]
    mirrored = [bool(image[0, :, 0].mean() > 0) for image in crops]
    photographs_of = np.arange(18, FEW) % 9
    for number in range(4):
        assert {m for m, of in zip(mirrored, photographs_of, strict=True) if of == number} == {False, True}


def test_crops_are_squares_of_0_4_to_1_of_the_shorter_side(photographs: ModuleType) -> None:
    picture = np.zeros((100, 150, 3), np.uint8)
    random = np.random.default_rng(0)
    sides = [photographs.crop(picture, random).shape for _ in range(300)]
    assert all(height == width for height, width, _ in sides)
    assert min(sides)[0] in (40, 41, 42)
    assert max(sides)[0] in (97, 98, 99, 100)
