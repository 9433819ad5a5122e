"""What is open in a viewer: items, runs, and the fields that wait to be computed."""

from collections import deque
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from threading import Condition, Thread
from typing import Any

from lpdseg.errors import CheckpointError, LpdsegError
from lpdseg.segmenting.edits import Edits, as_read
from lpdseg.segmenting.loading import edits_within
from lpdseg.view.atlas import Atlas
from lpdseg.view.drawn import FILE as CORRECTIONS
from lpdseg.view.drawn import Drawings
from lpdseg.view.editing import FILE as EDITS
from lpdseg.view.editing import Editing, Entries
from lpdseg.view.items import AbsentError, Item, Opened
from lpdseg.view.kept_file import KeptFile
from lpdseg.view.pixels import Pictures
from lpdseg.view.ranking import Ranking
from lpdseg.view.run import READINGS, ShownRun
from lpdseg.workflows.slides.options import SlideOptions

Job = tuple[int, int, int]
"""Number of a run, of an item, and of a field."""


def own_edits(run: Path, checkpoint: str) -> Edits | None:
    """The edits in a run's folder, or that a bundle comes with; None where there are none.

    **Raises:** `DataError` for edits that cannot be read.
    """
    file = run / EDITS
    return as_read(file) if KeptFile(file).is_there else edits_within(run, checkpoint)


class Visit:
    """One or two runs and the items that are looked at with them; beside the first maybe many others, whose masks
    are not shown: images can be ranked by where they all differ.

    A thread of its own computes fields, those first that were asked for last: where a person looks now. Images are
    ranked while there are none to compute.

    **Arguments:**

    - `folders`: of the runs. The classes of all must be those of the first. Of more than two, one is shown.
    - `options`: their `edits` are of the first run; by default those in its folder, where there are any. A file
      that is not there yet has none, and is made when edits are saved. Each other has those in its own folder.
    - `corrections`: the file of what is drawn; by default one in the first run's folder.

    **Raises:** `CheckpointError` where classes differ; `DataError` for edits or corrections that cannot be read;
    else as `load_segmenter`.
    """

    def __init__(
        self, folders: Sequence[Path], opened: Opened, options: SlideOptions, corrections: Path | None = None
    ) -> None:
        path = options.edits if isinstance(options.edits, str | Path) else folders[0] / EDITS
        file = KeptFile(Path(path))
        if options.edits is None:
            said = own_edits(folders[0], options.checkpoint)
        else:
            said = as_read(options.edits) if file.is_there or isinstance(options.edits, Edits) else None
        # Edits are of one run's prototypes: every other has its own, whether it is shown or only asked.
        others = [own_edits(one, options.checkpoint) for one in folders[1:]]
        self.opened, self.items = opened, opened.items
        self.pictures = Pictures(opened.items)
        chosen = [replace(options, edits=one) for one in (said, *others)]
        runs = [
            ShownRun(folder, opened.items, self.pictures, own, READINGS if number < 1 or len(folders) < 3 else 0)
            for number, (folder, own) in enumerate(zip(folders, chosen, strict=True))
        ]
        self.runs = runs if len(runs) < 3 else runs[:1]
        self.asked = runs[len(self.runs) :]
        first = self.runs[0].segmenter.classes.names
        for run in runs[1:]:
            if run.segmenter.classes.names != first:
                raise CheckpointError(
                    f"{run.folder} has the classes {', '.join(run.segmenter.classes.names)}, and {folders[0]} has "
                    f"{', '.join(first)}; compare runs of the same classes"
                )
        for run in self.runs:
            run.leave_to(self.runs)
        self.editing = Editing(self.runs[0], file, said)
        self.atlas = Atlas(self.runs[0])
        self.drawings = Drawings(folders[0] / CORRECTIONS if corrections is None else corrections, first)
        self.ranking = Ranking(runs, self.items, opened.classes)
        self._jobs, self._later = deque[Job](), deque[Job]()
        self._busy, self._ended, self._changed = False, False, Condition()
        self._thread = Thread(target=self._work, name="lpdseg-view", daemon=True)
        self._thread.start()

    def item(self, index: int) -> Item:
        """An item. **Raises:** `AbsentError` where there is none of that number."""
        if not 0 <= index < len(self.items):
            raise AbsentError(f"there is no image {index}")
        return self.items[index]

    def run(self, number: int) -> ShownRun:
        """A run. **Raises:** `AbsentError` where there is none of that number."""
        if not 0 <= number < len(self.runs):
            raise AbsentError(f"there is no run {number}")
        return self.runs[number]

    def ask(self, index: int, box: tuple[float, float, float, float], most: int) -> None:
        """Computes the fields that a rectangle of an item lies on, in every run, and nothing that was asked for
        before; where these are more than `most`, only those that need no network.
        """
        wanted: list[Job] = []
        for number, run in enumerate(self.runs):
            try:
                seen = run.seen(index)
            except LpdsegError:
                continue  # `described` says why
            fields = [one for one in seen.frame.touched(*box) if one not in seen.counts and one not in seen.faults]
            if len(fields) > most:
                fields = [one for one in fields if seen.computer.is_remembered(one)]
            wanted += [(number, index, field) for field in fields]
        self._ask(wanted)

    def ask_all(self, index: int) -> None:
        """Computes all of an item, after what is asked for otherwise.

        **Raises:** as `ShownRun.seen`.
        """
        jobs = []
        for number, run in enumerate(self.runs):
            frame = run.seen(index).frame
            jobs += [(number, index, field) for field in range(frame.columns * frame.rows)]
        with self._changed:
            self._later = deque(jobs)
            self._changed.notify_all()

    def edit(self, entries: Entries) -> None:
        """Other edits act; what of the fields that were seen needs no network is computed again at once.

        **Raises:** as `Editing.change`.
        """
        run = self.runs[0]
        before = run.computed()
        self.editing.change(entries)
        jobs = [(0, index, field) for index, fields in before.items() for field in fields]
        with self._changed:
            again = [job for job in jobs if run.seen(job[1]).computer.is_remembered(job[2])]
            self._later = deque([*again, *self._later])
            self._changed.notify_all()

    def rank(self, images: Collection[int] | None = None) -> None:
        """Ranks all images anew, or these alone, see `Ranking`, after what is asked for otherwise.

        **Raises:** `AbsentError` for a number of none.
        """
        chosen = range(len(self.items)) if images is None else sorted(set(images))
        for index in chosen:
            self.item(index)
        with self._changed:
            self.ranking.begin(chosen)
            self._changed.notify_all()

    def stop(self) -> None:
        """Computes nothing more that was asked for."""
        with self._changed:
            self._jobs.clear()
            self._later.clear()

    def described(self, index: int) -> list[dict[str, Any]]:
        """For each run how much of an item is computed, or why nothing can be.

        **Raises:** `AbsentError` where there is no such item.
        """
        self.item(index)
        found = list[dict[str, Any]]()
        for number, run in enumerate(self.runs):
            try:
                seen = run.seen(index)
            except LpdsegError as error:
                found.append({"reason": str(error)})
                continue
            done = {(number, index, one) for one in seen.counts}
            with self._changed:
                waiting = sum(job[:2] == (number, index) for job in {*self._jobs, *self._later} - done)
            found.append(
                {
                    "known": len(seen.counts),
                    "fields": seen.frame.columns * seen.frame.rows,
                    "waiting": waiting,
                    "stamp": f"{run.version}-{seen.stamp}",
                    "faults": sorted(set(seen.faults.values()))[:3],
                }
            )
        return found

    def wait(self, seconds: float) -> bool:
        """Waits until nothing is to be computed; whether that is so."""
        with self._changed:
            return self._changed.wait_for(lambda: not (self._asked() or self._busy), seconds)

    def close(self) -> None:
        """Ends the thread and closes all files."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        self._thread.join()
        self.pictures.close()

    def _ask(self, jobs: Iterable[Job]) -> None:
        with self._changed:
            self._jobs = deque(jobs)
            self._changed.notify_all()

    def _asked(self) -> bool:
        return bool(self._jobs or self._later) or self.ranking.wanted

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._asked() or self._ended)
                if self._ended:
                    return
                jobs = self._jobs or self._later
                job = jobs.popleft() if jobs else None
                self._busy = True
            try:
                if job is None:
                    self.ranking.step()
                else:
                    self.runs[job[0]].compute(*job[1:])
            finally:
                with self._changed:
                    self._busy = False
                    self._changed.notify_all()
