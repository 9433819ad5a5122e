"""What a training tells its user before the first step."""

from collections.abc import Iterable, Iterator

import torch

from lpdseg.settings import Settings
from lpdseg.training.progress import Reporter
from lpdseg.training.start import Start
from lpdseg.training.validation import Validation


def tell(reporter: Reporter, notes: Iterable[str | None]) -> None:
    """Notes of what there is something to say of."""
    for note in notes:
        if note is not None:
            reporter.note(note)


def start_notes(
    settings: Settings, start: Start | None, validation: Validation | None, parameters: int, device: torch.device
) -> Iterator[str]:
    """What the run is checked with, and what it goes from: `parameters` of them are trained on `device`."""
    if not validation:
        yield "no validation masks: the last step will be kept, with thresholds of 0.5"
    else:
        for note in validation.about.notes:
            yield f"validation: {note}"
    source = settings.model.weights
    begins = "random weights; --weights FOLDER starts from pretrained ones" if source is None else source
    if start is not None:
        begins = f"the weights of {start.run}"
        yield from start.sentences()
    yield f"encoder {settings.model.encoder} from {begins}; {parameters / 1e6:.1f} million parameters on {device}"
