import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lpdseg.errors import SettingsError
from lpdseg.maps.gate import open_gate

PROBABILITIES = torch.tensor([[0.9, 0.5, 0.1], [0.2, 0.35, 0.3]])
THRESHOLDS = torch.tensor([0.5, 0.5, 0.4])


def test_predicted_opens_at_the_threshold_of_each_class() -> None:
    gate = open_gate("predicted", PROBABILITIES, THRESHOLDS, None, may_be_empty=True)
    assert gate.tolist() == [[True, True, False], [False, False, False]]


def test_without_background_the_class_nearest_to_its_threshold_stays_open() -> None:
    gate = open_gate("predicted", PROBABILITIES, THRESHOLDS, None, may_be_empty=False)
    assert gate.tolist() == [[True, True, False], [False, False, True]]


@given(st.integers(1, 5), st.floats(0, 1), st.integers(0, 10**6))
def test_without_background_some_class_is_always_open(classes: int, threshold: float, seed: int) -> None:
    torch.manual_seed(seed)
    probabilities = torch.rand(4, classes)
    thresholds = torch.full((classes,), threshold)
    gate = open_gate("predicted", probabilities, thresholds, None, may_be_empty=False)
    assert bool(gate.any(1).all())
    passed = probabilities >= thresholds
    assert bool((gate | ~passed).all())
    assert bool((gate == passed)[passed.any(1)].all())


def test_oracle_is_the_label_and_none_is_everything() -> None:
    labels = torch.tensor([[True, False, True], [False, False, False]])
    assert open_gate("oracle", PROBABILITIES, THRESHOLDS, labels, may_be_empty=True).equal(labels)
    assert bool(open_gate("none", PROBABILITIES, THRESHOLDS, labels, may_be_empty=True).all())


def test_oracle_without_labels_is_an_error() -> None:
    with pytest.raises(SettingsError, match="oracle gate needs ground-truth labels"):
        open_gate("oracle", PROBABILITIES, THRESHOLDS, None, may_be_empty=True)
