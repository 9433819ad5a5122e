"""Many patches counted at once beside one patch after another, and scikit-learn."""

import numpy as np
import pytest
import sklearn.metrics
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lpdseg.errors import DataError
from lpdseg.evaluation import counts
from lpdseg.evaluation.confusion import confusion_matrix
from lpdseg.evaluation.counts import confusion_matrices, count_pairs, counted
from lpdseg.tissue import IGNORE
from no_waiting import never_waiting


@pytest.mark.parametrize("ahead", [False, True])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(data=st.data())
def test_each_patch_has_the_matrix_that_it_has_alone(
    ahead: bool, data: st.DataObject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counts, "runs_ahead", lambda _: ahead)
    channels, patches = data.draw(st.integers(1, 254)), data.draw(st.integers(0, 4))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    size = (patches, *rng.integers(1, 30, 2))
    truth, predicted = rng.integers(0, channels, (2, *size), np.uint8)
    truth[rng.random(size) < rng.random()] = IGNORE
    table = count_pairs(torch.from_numpy(truth), torch.from_numpy(predicted), channels)
    found = confusion_matrices(table)
    assert found.dtype == np.int64 and found.shape == (patches, channels, channels)
    for one, *masks in zip(found, truth, predicted, strict=True):
        np.testing.assert_array_equal(one, confusion_matrix(*masks, channels))
        kept = [mask[masks[0] != IGNORE] for mask in masks]
        if len(kept[0]) and channels > 1:
            expected = sklearn.metrics.confusion_matrix(*kept, labels=range(channels))
            np.testing.assert_array_equal(one, expected)


@pytest.mark.parametrize(("name", "stray"), [("mask", 3), ("mask", 254), ("prediction", 3), ("prediction", 255)])
def test_an_index_that_is_no_channel_is_refused(name: str, stray: int) -> None:
    masks = {"mask": torch.zeros(2, 1, 2, dtype=torch.uint8), "prediction": torch.zeros(2, 1, 2, dtype=torch.uint8)}
    masks[name][1, 0, 1] = stray
    with pytest.raises(DataError, match=f"^a {name} holds a value above 2, the last channel"):
        confusion_matrices(count_pairs(*masks.values(), 3))
    masks["mask"][1, 0, 1] = IGNORE  # whatever is predicted there
    assert confusion_matrices(count_pairs(*masks.values(), 3)).sum() == 3


def test_a_device_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    places = torch.tensor([[3, 0], [3, 1]], dtype=torch.int32)
    assert counted(places, 6).tolist() == [1, 1, 0, 2, 0, 0]
    monkeypatch.setattr(counts, "runs_ahead", lambda _: True)
    masks = torch.ones(2, 3, 3, dtype=torch.uint8)
    with never_waiting():
        found, table = counted(places, 6), count_pairs(masks, masks, 2)
    assert found.tolist() == [1, 1, 0, 2, 0, 0] and table[:, 1, 1].tolist() == [9, 9]
