import math

import numpy as np
import pytest

from lpdseg.data.synthetic.subtypes import CLASSES, SUBTYPES, named, of_tissue, subtype_palette


def test_each_tissue_has_three_faces_or_more_and_one_of_them_is_common():
    assert CLASSES.names == ("TUM", "STR", "LYM", "NEC") and CLASSES.background == 4
    assert len({subtype.name for subtype in SUBTYPES}) == len(SUBTYPES)
    for tissue in range(CLASSES.channels):
        shares = [SUBTYPES[index].share for index in of_tissue(tissue)]
        assert len(shares) >= 3
        assert math.fsum(shares) == pytest.approx(1)
        assert shares == sorted(shares, reverse=True)
        assert shares[0] >= 1.25 * shares[1]


def test_names_find_their_index():
    assert [named(subtype.name) for subtype in SUBTYPES] == list(range(len(SUBTYPES)))


def test_sub_types_have_colours_of_their_own_and_the_first_has_its_tissues():
    palette = subtype_palette()
    assert len(np.unique(palette[: len(SUBTYPES)], axis=0)) == len(SUBTYPES)
    for tissue, colour in enumerate(CLASSES.colours):
        assert tuple(palette[of_tissue(tissue)[0]]) == colour
