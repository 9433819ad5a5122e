import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lpdseg.data.records import SPLITS
from lpdseg.data.synthetic import CLASSES, SUBTYPES, generate_patch
from lpdseg.data.synthetic.layout import LEAST_SHARE, draw_layout
from lpdseg.data.synthetic.noise import generator
from lpdseg.data.synthetic.patient import draw_patient
from lpdseg.errors import SettingsError

TISSUE_OF = np.array([subtype.tissue for subtype in SUBTYPES])

# The generator is an instrument: figures measured with it are comparable only while its pixels stay the same. Its
# arithmetic is exact by construction (see noise.py), so a checksum holds on every machine. Where a change to the
# pictures is meant, raise VERSION in dataset.py and record these anew.
GOLDEN = {
    ("train", 0, 0, 224, 0.5): "e100edfc7e2bf51f",
    ("train", 7, 3, 96, 0.5): "ca58d71b6bf11241",
    ("valid", 2, 1, 128, 1.0): "a2e5445d9c7c757e",
    ("test", 1, 4, 160, 0.25): "30e2773bdcebecae",
}


def _digest(patch):
    parts = (patch.image, patch.mask, patch.subtypes)
    return hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest()[:16]


@pytest.mark.parametrize("key", GOLDEN)
def test_patches_are_the_recorded_ones(key):
    split, patient, number, size, mpp = key
    patch = generate_patch(split=split, patient=patient, number=number, size=size, mpp=mpp)
    assert _digest(patch) == GOLDEN[key]


def test_a_patch_depends_on_its_key_alone():
    places = ((0, 0), (0, 1), (1, 0))
    keys = [
        {"seed": seed, "split": split, "patient": patient, "number": number, "size": 56}
        for seed in (0, 1)
        for split in SPLITS
        for patient, number in places
    ]
    there = [_digest(generate_patch(**key)) for key in keys]
    back = [_digest(generate_patch(**key)) for key in reversed(keys)]
    assert there == back[::-1]
    assert len(set(there)) == len(keys)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**40),
    split=st.sampled_from(SPLITS),
    size=st.integers(56, 120),
    mpp=st.sampled_from([0.2, 0.25, 0.5, 1.0]),
)
def test_labels_masks_and_sub_types_agree(seed, split, size, mpp):
    patch = generate_patch(seed=seed, split=split, size=size, mpp=mpp)
    assert patch.image.shape == (size, size, 3) and patch.image.dtype == np.uint8
    assert patch.mask.shape == patch.subtypes.shape == (size, size)
    counts = np.bincount(patch.mask.ravel(), minlength=CLASSES.channels)
    assert len(counts) == CLASSES.channels
    assert patch.labels == tuple(int(count > 0) for count in counts[: len(CLASSES)])
    assert 1 <= sum(patch.labels) <= 4
    assert counts[counts > 0].min() >= LEAST_SHARE * size * size
    np.testing.assert_array_equal(TISSUE_OF[patch.subtypes], patch.mask)


@pytest.fixture(scope="module")
def layouts():
    """Layouts of 30 patients, 15 each, without their paint."""
    drawn = []
    for patient in range(30):
        person = draw_patient(0, "train", patient)
        for number in range(15):
            layout = draw_layout(generator(9, patient, number), person, 96, 12, 1.0)
            drawn.append(np.bincount(layout[12:-12, 12:-12].ravel(), minlength=len(SUBTYPES)))
    return np.array(drawn)


def test_every_sub_type_occurs_and_the_common_one_is_the_most_common(layouts):
    shown = (layouts > 0).mean(0)
    assert shown.min() > 0.01
    for tissue in range(len(CLASSES)):
        faces = shown[tissue == TISSUE_OF]
        assert faces.argmax() == 0


def test_tissues_occur_together_as_in_breast_cancer(layouts):
    present = np.stack([(layouts[:, tissue == TISSUE_OF] > 0).any(1) for tissue in range(CLASSES.channels)], 1)
    tumour, stroma, lymphoid, necrosis, background = present.mean(0)
    assert tumour > 0.6 and stroma > 0.6
    assert 0.2 < lymphoid < 0.5
    assert 0.08 < necrosis < 0.3
    assert 0.15 < background < 0.4
    alone = present[:, :4].sum(1) == 1
    assert 0.1 < alone.mean() < 0.45
    assert (present[:, 0] & present[:, 1]).mean() > 0.35


def test_most_tissues_of_a_patch_show_one_face_and_some_show_two(layouts):
    faces = np.stack([(layouts[:, tissue == TISSUE_OF] > 0).sum(1) for tissue in range(4)], 1)
    faces = faces[faces > 0]
    assert faces.max() == 2
    assert 0.02 < (faces == 2).mean() < 0.3


def test_patients_lean_to_different_faces_and_stains():
    people = [draw_patient(0, split, number) for split in SPLITS for number in range(8)]
    assert len({person.name for person in people}) == len(people)
    assert len({person.stain for person in people}) == len(people)
    assert len({max(range(4), key=person.leaning.__getitem__) for person in people}) > 1


def _ink(name):
    """Mean darkness of green, where both dyes absorb, over patches with much of a sub-type."""
    index = [subtype.name for subtype in SUBTYPES].index(name)
    tissue = SUBTYPES[index].tissue
    values = []
    for number in range(40):
        patch = generate_patch(patient=number, size=96, mpp=1.0)
        where = patch.subtypes == index
        if where.sum() > 500:
            values.append(255 - patch.image[where][:, 1].mean())
    assert values, f"no patch shows {name} of tissue {tissue}"
    return float(np.mean(values))


def test_glass_is_white_and_packed_lymphocytes_are_darkest():
    assert _ink("glass") < 25
    assert _ink("dense-lymphocytes") > _ink("collagenous") > _ink("glass") + 30


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"seed": -1}, "seed must be 0 or more; got -1"),
        ({"size": 55}, "size must be 56..512 pixels; got 55"),
        ({"size": 513}, "got 513"),
        ({"mpp": 0.1}, "mpp must be 0.2..1.0"),
        ({"mpp": float("nan")}, "mpp must be"),
        ({"split": "holdout"}, "'holdout'; use train, valid, test"),
        ({"patient": -1}, "count from 0"),
        ({"number": -2}, "count from 0"),
    ],
)
def test_bad_arguments_are_named(arguments, words):
    with pytest.raises(SettingsError, match=words.replace(".", r"\.")):
        generate_patch(**arguments)
