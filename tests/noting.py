"""What a training tells, kept for tests."""

from lpdseg.training.progress import Silent


class Notes(Silent):
    """Keeps the notes, in order."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)
