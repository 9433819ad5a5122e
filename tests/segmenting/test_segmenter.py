from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, get_args

import jaxtyping
import numpy as np
import pytest
import torch
from torch.nn import functional as F

from lpdseg.choices import View
from lpdseg.errors import DataError, SettingsError
from lpdseg.model.encoders import build_encoder
from lpdseg.model.head import LinearHead, PrototypeHead
from lpdseg.model.lpd import LPD
from lpdseg.sections import PredictSettings
from lpdseg.segmenting.segmenter import Calibration, Segmenter
from lpdseg.segmenting.views import make_views, mean_of_views
from lpdseg.tissue import TissueClasses

BACKGROUND = TissueClasses(("A", "B"), indices=(7, 3), background=5)
NO_BACKGROUND = TissueClasses(("A", "B"), indices=(7, 3))
Build = Callable[..., Segmenter]


@pytest.fixture
def build(tiny_lpd: Callable[..., LPD]) -> Build:
    def make(
        classes: TissueClasses = BACKGROUND, thresholds: tuple[float, ...] = (0.5, 0.5), **changes: Any
    ) -> Segmenter:
        model = tiny_lpd(counts=(2, 3)).eval()
        with torch.no_grad():  # cosines of different signs, so that the gate has something to tell
            model.bank.weight.mul_(50)
        settings = PredictSettings(**({"fusion": (0, 0.3, 0.7), "refine": "none"} | changes))
        calibration = Calibration(torch.tensor(thresholds), torch.zeros(len(thresholds)))
        return Segmenter(model, classes, settings, calibration, (0.0, 0.5, 1.0), "mean")

    return make


@pytest.fixture
def unchecked() -> Iterator[None]:
    """Without the shape checks of the tests, as a user runs the package."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Smooth noise, so that maps are not flat."""
    torch.manual_seed(seed)
    small = torch.rand(1, 3, 5, 5)
    image = F.interpolate(small, size=(height, width), mode="bilinear", align_corners=False)[0]
    return (image * 255).byte().permute(1, 2, 0).numpy()


def batch_of(*images: np.ndarray) -> torch.Tensor:
    return torch.stack([torch.from_numpy(image).permute(2, 0, 1) for image in images])


@pytest.mark.parametrize("size", [(37, 53), (224, 130), (20, 20), (1, 1), (64, 64), (3, 100)])
@pytest.mark.parametrize("refine", ["none", "crf"])
def test_any_size_is_segmented_at_its_own_size(size: tuple[int, int], refine: str, build: Build) -> None:
    found = build(refine=refine).segment(picture(*size))
    assert found.mask.shape == size
    assert found.mask.dtype == np.uint8
    assert set(np.unique(found.mask)) <= {7, 3, 5}
    assert found.probabilities.shape == (3, *size)
    assert found.scores.shape == (2, *size)
    assert found.image_probabilities.shape == (2,)
    np.testing.assert_allclose(found.probabilities.sum(0), 1, atol=1e-4)
    np.testing.assert_array_equal(found.mask, np.array([7, 3, 5], np.uint8)[found.probabilities.argmax(0)])
    assert found.scores.min() >= 0
    assert found.scores.max() <= 1 + 1e-6


def test_the_whole_way_equals_a_loop_over_views_and_scales(build: Build) -> None:
    """Method §4: ReLU and min–max per view and scale, un-flip, mean over views, weighted sum of scales."""
    segmenter = build(views=get_args(View), gate="none", background="power", temperature=1.0)
    images = batch_of(picture(64, 32), picture(64, 32, 1))
    prediction = segmenter.decide(segmenter.observe(images), images)
    model = segmenter.model
    for i in range(2):
        unit = images[i : i + 1].float() / 255
        scores, image_level = torch.zeros(2, 64, 32), []
        with torch.no_grad():
            for flip in (False, True):
                for brightness in (0.9, 1.0, 1.1):
                    view = (unit * brightness).clamp(max=1)
                    outputs = model(view.flip(-1) if flip else view)
                    logits = torch.zeros(2)
                    for level, share in ((1, 0.5 / 1.5), (2, 1.0 / 1.5)):
                        z = outputs[level].maps[0].mean((1, 2))
                        logits += share * torch.stack([z[:2].mean(), z[2:].mean()])
                    image_level.append(logits.sigmoid())
                    for level, weight in ((1, 0.3), (2, 0.7)):
                        maps = outputs[level].maps[0]
                        classes = [(group * group.softmax(0)).sum(0) for group in (maps[:2], maps[2:])]
                        for c, one in enumerate(classes):
                            one = one.relu()
                            one = (one - one.min()) / (one.max() - one.min()).clamp(min=1e-6)
                            one = one.flip(-1) if flip else one
                            large = F.interpolate(one[None, None], size=(64, 32), mode="bilinear")[0, 0]
                            scores[c] += weight * large / 6
        torch.testing.assert_close(prediction.scores[i], scores, rtol=1e-4, atol=1e-5)
        found = segmenter.observe(images).probabilities[i]
        torch.testing.assert_close(found, torch.stack(image_level).mean(0), rtol=1e-4, atol=1e-5)
        published = torch.cat([scores, (1 - scores.amax(0, keepdim=True)) ** 10]).softmax(0)
        torch.testing.assert_close(prediction.probabilities[i], published, rtol=1e-4, atol=1e-5)
        assert prediction.mask[i].equal(prediction.probabilities[i].argmax(0).byte())


def test_a_model_that_moves_with_flips_gives_the_same_maps_in_both_views(build: Build) -> None:
    images = batch_of(picture(64, 96))
    one, two = build(views=("plain",)).observe(images), build(views=("plain", "flip")).observe(images)
    for level, maps in one.activations.items():
        torch.testing.assert_close(two.activations[level], maps, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(two.probabilities, one.probabilities)


def test_an_image_does_not_depend_on_its_batch(build: Build) -> None:
    segmenter = build()
    first, second = picture(40, 40), picture(40, 40, 1)
    both = batch_of(first, second)
    together = segmenter.decide(segmenter.observe(both), both)
    for i, image in enumerate((first, second)):
        alone = batch_of(image)
        single = segmenter.decide(segmenter.observe(alone), alone)
        torch.testing.assert_close(together.probabilities[i], single.probabilities[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("refine", ["none", "crf"])
@pytest.mark.parametrize("classes", [BACKGROUND, NO_BACKGROUND])
def test_a_closed_class_has_probability_0_and_refinement_cannot_bring_it_back(
    refine: str, classes: TissueClasses, build: Build
) -> None:
    segmenter = build(classes, gate="oracle", refine=refine, temperature=10.0)
    images = batch_of(picture(40, 30), picture(40, 30, 1))
    labels = torch.tensor([[True, False], [False, True]])
    prediction = segmenter.decide(segmenter.observe(images), images, labels)
    assert prediction.gate.equal(labels)
    assert prediction.probabilities[0, 1].count_nonzero() == prediction.probabilities[1, 0].count_nonzero() == 0
    assert not (prediction.mask[0] == 1).any()
    assert not (prediction.mask[1] == 0).any()


def test_refinement_does_not_forbid_an_open_class_of_tiny_probability(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    unaries = []

    def spy(unary: torch.Tensor, images: torch.Tensor, **parameters: float) -> torch.Tensor:
        assert parameters["gaussian_compat"] == 30
        unaries.append(unary)
        return (-unary).softmax(1)

    monkeypatch.setattr("lpdseg.segmenting.segmenter.dense_crf", spy)
    segmenter = build(NO_BACKGROUND, gate="none", temperature=1e-3)
    plain = segmenter.segment(picture(24, 24))
    assert (plain.probabilities == 0).any()
    segmenter.with_settings(refine="crf").segment(picture(24, 24))
    assert bool(unaries[0].isfinite().all())


def test_an_image_below_the_least_side_is_mirrored_as_in_training(build: Build) -> None:
    segmenter = build()
    encoder = build_encoder("pvt_v2_b0", stages=3)  # stride 8; keys of the finest scale need 32 px
    segmenter.model = LPD(encoder, (2, 3), width=8, hidden=7, temperature=0.07).eval()
    image = picture(20, 24)
    whole = segmenter.segment(np.pad(image, [(0, 12), (0, 8), (0, 0)], mode="symmetric"))
    np.testing.assert_array_equal(segmenter.segment(image).scores, whole.scores[:, :20, :24])


@pytest.mark.parametrize("size", [(37, 53), (20, 20), (64, 33)])
def test_an_odd_size_is_its_mirrored_enlargement_cut_back(size: tuple[int, int], build: Build) -> None:
    image = picture(*size)
    edges = [(0, -side % 16) for side in size]  # the encoder's own stride
    enlarged = np.pad(image, [*edges, (0, 0)], mode="symmetric")
    whole, found = build().segment(enlarged), build().segment(image)
    np.testing.assert_array_equal(found.scores, whole.scores[:, : size[0], : size[1]])
    np.testing.assert_array_equal(found.mask, whole.mask[: size[0], : size[1]])


def test_a_closed_class_leaves_its_pixels_to_background(build: Build) -> None:
    segmenter = build(gate="oracle", background="power", background_power=3.0, temperature=0.5)
    images = batch_of(picture(32, 64))
    found = segmenter.decide(segmenter.observe(images), images, torch.tensor([[True, False]]))
    score = found.scores[0, 0]
    expected = torch.stack([score, (1 - score) ** 3]).div(0.5).softmax(0)
    torch.testing.assert_close(found.probabilities[0, [0, 2]], expected)


@pytest.mark.parametrize("refine", ["none", "crf"])
def test_thresholds_that_nothing_reaches(refine: str, build: Build) -> None:
    closed = build(thresholds=(1.1, 1.1), refine=refine, background="power").segment(picture(32, 32))
    assert set(np.unique(closed.mask)) == {5}
    for settings in ({"classes": NO_BACKGROUND}, {"background": "none"}):
        open_ = build(thresholds=(1.1, 1.1), refine=refine, **settings).segment(picture(32, 32))
        nearest = int(open_.image_probabilities.argmax())
        assert set(np.unique(open_.mask)) == {(7, 3)[nearest]}


@pytest.mark.parametrize("refine", ["none", "crf"])
def test_the_label_may_be_empty_where_there_is_no_background(refine: str, build: Build) -> None:
    images = batch_of(picture(32, 32))
    empty = torch.zeros(1, 2, dtype=torch.bool)
    guided, free = (build(NO_BACKGROUND, gate=gate, refine=refine) for gate in ("oracle", "none"))
    found = guided.decide(guided.observe(images), images, empty)
    torch.testing.assert_close(found.probabilities, free.decide(free.observe(images), images).probabilities)


def test_glass_is_background(build: Build) -> None:
    image = picture(64, 64)
    image[:, 32:] = 245
    image[:, :32] //= 2
    found = build(background="glass", gate="none").segment(image).mask
    assert (found[:, 48:] == 5).all()
    assert (found[:, :16] != 5).all()


def test_without_background_in_the_classes_there_is_no_such_channel(build: Build) -> None:
    segmenter = build(NO_BACKGROUND, background="power")
    assert segmenter.settings.background == "none"
    assert segmenter.segment(picture(20, 20)).probabilities.shape[0] == 2


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    "image",
    [
        np.zeros((8, 8), np.uint8),
        np.zeros((8, 8, 4), np.uint8),
        np.zeros((3, 8, 8), np.uint8),
        np.zeros((8, 8, 3), np.float32),
        np.zeros((0, 8, 3), np.uint8),
        np.zeros((1, 8, 8, 3), np.uint8),
        [[[0, 0, 0]]],
        None,
    ],
)
def test_odd_input_is_a_data_error(image: Any, build: Build) -> None:
    with pytest.raises(DataError, match="segment needs an 8-bit RGB array, H x W x 3; got"):
        build().segment(image)


def test_views_of_a_read_only_or_reversed_array_are_read(build: Build) -> None:
    image = picture(20, 24)
    expected = build().segment(image).mask
    frozen = np.ascontiguousarray(image.transpose(2, 0, 1)).transpose(1, 2, 0)
    frozen.setflags(write=False)
    np.testing.assert_array_equal(build().segment(frozen).mask, expected)
    np.testing.assert_array_equal(build().segment(np.ascontiguousarray(image[::-1])[::-1]).mask, expected)


def test_the_oracle_needs_labels(build: Build) -> None:
    with pytest.raises(SettingsError, match="oracle gate needs ground-truth labels"):
        build(gate="oracle").segment(picture(20, 20))


def test_with_settings_and_thresholds_leave_the_original_alone(build: Build) -> None:
    segmenter = build()
    before = segmenter.settings.model_dump()
    other = segmenter.with_settings(gate="none", views=("plain",), temperature=0.5)
    strict = segmenter.calibrated(Calibration(torch.tensor([0.9, 0.1]), torch.zeros(2)))
    assert segmenter.settings.model_dump() == before
    assert segmenter.calibration.thresholds.tolist() == [0.5, 0.5]
    assert (other.settings.gate, other.settings.views, other.settings.temperature) == ("none", ("plain",), 0.5)
    assert strict.calibration.thresholds.tolist() == pytest.approx([0.9, 0.1])
    assert other.model is strict.model is segmenter.model


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"gate": "oracl"}, "predict.gate = 'oracl' cannot be used"),
        ({"refin": "crf"}, "unknown setting 'predict.refin'.*did you mean 'predict.refine'"),
        ({"fusion": (1.0,)}, "predict.fusion has 1 weights but the encoder 3 scales"),
    ],
)
def test_settings_that_do_not_exist_are_a_settings_error(changes: dict[str, Any], words: str, build: Build) -> None:
    with pytest.raises(SettingsError, match=words):
        build().with_settings(**changes)


def with_head(segmenter: Segmenter, **changes: Any) -> Segmenter:
    model = segmenter.model
    assert isinstance(model, LPD)
    torch.manual_seed(5)
    model.head = LinearHead(model.encoder.widths, 2, 8).eval()
    return segmenter.with_settings(**changes)


def test_a_head_decides_where_there_is_one_unless_maps_are_asked_for(build: Build) -> None:
    maps = build(background="none", gate="none")
    image = picture(64, 64)
    by_maps = maps.segment(image)
    automatic = with_head(maps)
    with torch.inference_mode():
        assert isinstance(automatic.model, LPD) and automatic.model.head is not None
        views = make_views(batch_of(image) / 255, automatic.settings.views)
        dense = automatic.model.head(automatic.model.encoder(views)).softmax(1)
    expected = F.interpolate(mean_of_views(dense, automatic.settings.views), size=(64, 64), mode="bilinear")[0]
    np.testing.assert_allclose(automatic.segment(image).probabilities, expected.numpy(), atol=1e-5)
    again = automatic.with_settings(source="maps").segment(image)
    np.testing.assert_array_equal(again.scores, by_maps.scores)


def test_a_head_is_needed_where_it_is_asked_for(build: Build) -> None:
    with pytest.raises(SettingsError, match="needs a segmentation head"):
        build(source="head")


@pytest.mark.parametrize("background", ["none", "glass"])
def test_an_offset_multiplies_the_odds_of_its_class(background: str, build: Build) -> None:
    plain = build(background=background, gate="none")
    shifted = plain.calibrated(Calibration(plain.calibration.thresholds, torch.tensor([1.5, 0.0])))
    before, after = (segmenter.segment(picture(48, 48)).probabilities for segmenter in (plain, shifted))
    np.testing.assert_allclose(
        np.log(after[0] / after[1]), np.log(before[0] / before[1]) + 1.5, rtol=1e-3, atol=1e-3
    )


def with_prototypes(segmenter: Segmenter, tiny_lpd: Callable[..., LPD], **changes: Any) -> Segmenter:
    model = tiny_lpd(counts=(2, 3), head=8).eval()
    assert model.dense_projection is not None
    with torch.no_grad():  # as a trained one: they differ
        model.bank.weight.mul_(50)
    return segmenter.computed_by(model).with_settings(**changes)


@pytest.mark.parametrize("classes", [BACKGROUND, NO_BACKGROUND])
@pytest.mark.parametrize("refine", ["none", "crf"])
def test_prototypes_divide_the_mask_and_change_nothing_of_it(
    classes: TissueClasses, refine: str, build: Build, tiny_lpd: Callable[..., LPD]
) -> None:
    views = ("plain", "flip")
    segmenter = with_prototypes(build(classes, refine=refine), tiny_lpd, views=views, gate="none")
    images = np.stack([picture(37, 53), picture(37, 53, 1)])
    images[:, :20, :20] = 255
    asked, plain = segmenter.segment_batch(images, prototypes=True), segmenter.segment_batch(images)
    for with_map, without in zip(asked, plain, strict=True):
        for name in ("mask", "probabilities", "scores", "image_probabilities"):
            np.testing.assert_array_equal(getattr(with_map, name), getattr(without, name))
        assert without.prototypes is None and with_map.prototypes is not None
        assert with_map.prototypes.dtype == np.uint16
        assert with_map.prototype_names == ("A 1", "A 2", "B 1", "B 2", "B 3")
        of_prototype = np.full(65536, 5, np.uint8)
        of_prototype[:5] = [7, 7, 3, 3, 3]
        np.testing.assert_array_equal(of_prototype[with_map.prototypes], with_map.mask)
        assert sum(with_map.prototype_shares.values()) == pytest.approx((with_map.mask != 5).mean())
    won = [np.unique(found.prototypes) for found in asked if found.prototypes is not None]
    assert len(set(np.concatenate(won).tolist()) - {65535}) > 1


def test_prototypes_add_up_to_their_class_at_every_pixel(build: Build, tiny_lpd: Callable[..., LPD]) -> None:
    segmenter = with_prototypes(build(), tiny_lpd, views=("plain", "flip"))
    evidence = segmenter.observe(batch_of(picture(64, 96)), parts=True)
    assert evidence.parts is not None
    large = F.interpolate(evidence.parts, size=(64, 96), mode="bilinear", align_corners=False)
    sums = torch.stack([large[:, :2].sum(1), large[:, 2:].sum(1)], 1)
    torch.testing.assert_close(sums, segmenter.fuse(evidence))


def test_a_retired_prototype_never_wins(build: Build, tiny_lpd: Callable[..., LPD]) -> None:
    segmenter = with_prototypes(build(NO_BACKGROUND), tiny_lpd, gate="none")
    image = picture(64, 64)
    before = segmenter.segment(image).prototypes
    assert before is not None
    favourite = int(np.bincount(before.ravel()).argmax())
    assert isinstance(segmenter.model, LPD) and isinstance(segmenter.model.head, PrototypeHead)
    segmenter.model.head.live[favourite] = False
    after = segmenter.segment(image).prototypes
    assert after is not None and favourite not in after
    assert segmenter.winning is not None and segmenter.winning[favourite] == -1
    assert len(segmenter.prototype_names) == 5  # it keeps its name, and the others their indices


def test_masks_that_no_prototypes_make_have_none(build: Build, tiny_lpd: Callable[..., LPD]) -> None:
    by_maps = with_prototypes(build(), tiny_lpd, source="maps")
    for segmenter in (by_maps, with_head(build())):
        found = segmenter.segment(picture(32, 32))
        assert found.prototypes is None and found.prototype_names == () and segmenter.winning is None


@pytest.mark.parametrize("refine", ["none", "crf"])
@pytest.mark.parametrize("classes", [BACKGROUND, NO_BACKGROUND])
def test_uncertainty_is_of_the_probabilities_before_refinement(
    build: Build, classes: TissueClasses, refine: str
) -> None:
    image = picture(40, 56)
    plain = build(classes, gate="none", refine="none", unsure=0.4)
    found = plain.with_settings(refine=refine).segment(image).uncertainty
    assert found is not None and found.below == 0.4
    np.testing.assert_array_equal(found.unscaled, plain.segment(image).probabilities)
    mask = plain.classes.to_disk()[found.probabilities.argmax(0)]
    np.testing.assert_array_equal(mask, plain.segment(image).mask)


def test_a_temperature_rescales_what_is_reported_and_nothing_else(build: Build) -> None:
    plain, image = build(gate="predicted"), picture(40, 56)
    cold = plain.calibrated(replace(plain.calibration, temperature=0.5))
    before, after = plain.segment(image), cold.segment(image)
    for name in ("mask", "probabilities", "scores", "image_probabilities"):
        np.testing.assert_array_equal(getattr(before, name), getattr(after, name))
    assert before.uncertainty is not None and after.uncertainty is not None
    assert (after.uncertainty.gap >= before.uncertainty.gap - 1e-6).all()
    assert after.uncertainty.gap.mean() > before.uncertainty.gap.mean() + 0.01


def test_uncertainty_is_told_where_it_is_asked_for(build: Build) -> None:
    assert build().segment_batch(picture(20, 20)[None])[0].uncertainty is None
