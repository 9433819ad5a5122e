"""Messages are one line, whatever they quote and wherever they were raised."""

import pytest
from torch.utils.data import DataLoader, Dataset

from lpdseg.errors import LONGEST, DataError, LpdsegError

SENTENCE = "/data/" + "x" * 250 + ".png: " + "the image is damaged, " * 10 + "replace it"


class Damaged(Dataset[int]):
    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> int:
        raise DataError(SENTENCE)


def test_a_message_is_one_short_line() -> None:
    text = str(DataError("x\n" * 1000 + "end"))
    assert len(text) <= LONGEST and len(text.splitlines()) == 1 and text.endswith("end")
    assert DataError("a", 5).args == ("a", 5)


def test_a_sentence_from_a_process_of_a_loader_is_whole() -> None:
    with pytest.raises(LpdsegError) as caught:
        next(iter(DataLoader(Damaged(), num_workers=1)))
    assert type(caught.value) is DataError and str(caught.value) == SENTENCE
