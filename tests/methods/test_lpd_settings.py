import pytest

from lpdseg.errors import SettingsError
from lpdseg.methods.lpd import prototype_counts
from lpdseg.sections import ModelSettings


def test_one_number_of_prototypes_serves_every_class() -> None:
    assert prototype_counts(ModelSettings(prototypes=3), 2) == (3, 3)
    assert prototype_counts(ModelSettings(prototypes=(2, 4)), 2) == (2, 4)


def test_numbers_for_other_classes_are_an_error_of_the_settings() -> None:
    with pytest.raises(SettingsError, match="for 2 classes but the data has 3; give one number, or one per class"):
        prototype_counts(ModelSettings(prototypes=(2, 4)), 3)
