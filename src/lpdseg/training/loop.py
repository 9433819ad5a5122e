"""The training loop: one process or many, interrupted or not, the same parameters in the end."""

import math
import multiprocessing
import threading
import time
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lpdseg.checkpoint import pack_optimiser, read_tensors, save_checkpoint, unpack_optimiser
from lpdseg.data.composites import TrainingBatches
from lpdseg.data.dataset import steps_per_epoch
from lpdseg.data.reading import Looked
from lpdseg.data.records import Manifest
from lpdseg.data.seen import keep_seen
from lpdseg.errors import SettingsError, TrainingError
from lpdseg.evaluation.protocol import figure_text
from lpdseg.files import write_text
from lpdseg.guard import end_if_run_again
from lpdseg.methods.task import Task
from lpdseg.segmenting.effective import effective
from lpdseg.settings import Settings, as_yaml
from lpdseg.training.changes import look_back
from lpdseg.training.device_room import DeviceRoom
from lpdseg.training.engine import (
    Agreement,
    Engine,
    alone_in_run,
    chosen_precision,
    compile_encoder,
    in_first_process,
    make_fabric,
    mean_over_processes,
)
from lpdseg.training.fallback import settle, settle_weights
from lpdseg.training.features import FeatureUse, keep_features
from lpdseg.training.loading import batches_on_device, kept_where_loaders_end, made_ahead
from lpdseg.training.meter import Meter, Speed
from lpdseg.training.metrics import Metrics
from lpdseg.training.notes import start_notes, tell
from lpdseg.training.optimiser import (
    build_optimiser,
    learning_parameters,
    rate_note,
    set_learning_rate,
    stage_starts,
    staged_learning_rate,
)
from lpdseg.training.progress import Reporter, Silent
from lpdseg.training.record import RunRecord, best_of, describe_data
from lpdseg.training.result import TrainResult
from lpdseg.training.scale import scale_note
from lpdseg.training.setup import (
    build_task,
    check_labels,
    check_run_folder,
    large_note,
    load_trained,
    look_once,
    read_resumable,
    size_note,
    training_batches,
    training_patches,
)
from lpdseg.training.start import Start
from lpdseg.training.stop import stop_requested
from lpdseg.training.taught import NOTHING, Taught
from lpdseg.training.trace import traced
from lpdseg.training.validation import Validated, Validation, validation_steps

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def train(
    settings: Settings,
    data: Manifest,
    run: Path,
    *,
    resume: bool = False,
    engine: Engine | None = None,
    reporter: Reporter | None = None,
    start: Start | None = None,
    taught: Taught | None = None,
) -> TrainResult:
    """Trains on the image-level labels of `data` and leaves checkpoints, metrics and a record in `run`.

    Masks of the training split are opened only for a method that learns from them. Those of `valid`, where there
    are any, choose the best checkpoint and the image-level thresholds. Ctrl-C ends the step at hand, saves and
    returns. Where labels leave no composites to be made, pseudo masks step in, see `lpdseg.training.fallback`; the
    run's settings say so. `start` says from which run's weights a new one goes on, `taught` what was corrected.

    **Raises:** `LpdsegError` of the kind that fits: data, settings, weights, checkpoint, a loss that is no number,
    another training in `run`.
    """
    end_if_run_again()
    if multiprocessing.current_process().daemon and settings.data.workers:
        raise SettingsError("training in a process of a pool cannot start loaders of its own: set data.workers=0")
    records = data.split("train")
    check_labels(records, data.classes)
    goes_on = check_run_folder(run, resume, data)
    settings, random_start = settle_weights(settings, run if goes_on else None if start is None else start.run)
    settings, fallback = settle(settings, records, data.classes)
    fabric = make_fabric(engine or Engine(), settings.train)
    with alone_in_run(fabric, run):
        looked = look_once(data, settings, fabric, reporter or Silent())
        scale = scale_note(settings.model.weights, records)
        described = describe_data(data, looked.fingerprint)
        described["notes"] += [scale] if scale else []
        state = read_resumable(run, settings, data.classes, described["fingerprint"]) if goes_on else None
        batches = training_batches(training_patches(records, settings, data.classes, looked), settings)
        trainer = _Trainer(
            settings, data, described, run, fabric, reporter or Silent(), state, looked, start, taught
        )
        tell(trainer.reporter, (
            f"{run} has nothing to go on with yet, so training starts" if resume and not goes_on else None,
            random_start, fallback, large_note(looked.sizes), size_note(looked.sizes), scale,
            rate_note(trainer.task.model.encoder, settings.train), *trainer.dropped,
        ))  # fmt: skip
        return trainer.fit(batches)


class _Trainer:
    """The state of a run between steps."""

    def __init__(
        self,
        settings: Settings,
        data: Manifest,
        described: dict[str, Any],
        run: Path,
        fabric: "Fabric",
        reporter: Reporter,
        state: dict[str, Any] | None,
        looked: Looked,
        start: Start | None = None,
        taught: Taught | None = None,
    ) -> None:
        self.looked, self.start, self.taught = looked, start if state is None else None, taught or NOTHING
        self.settings, self.data, self.described, self.run, self.fabric = settings, data, described, run, fabric
        self.leads, self.agreement = fabric.is_global_zero, Agreement(fabric)
        self.dropped = effective(settings.predict, data.classes)[1]
        self.reporter: Reporter = reporter if self.leads else Silent()
        known = self.start.encoder if self.start is not None else None if state is None else state["encoder"]
        task: Any = build_task(settings, data.classes, known)
        if self.taught.patches:
            task.learn_corrections()
        if fabric.world_size > 1 and fabric.device.type == "cuda":
            task = torch.nn.SyncBatchNorm.convert_sync_batchnorm(task)
        # Convolutions run up to twice as fast on pixels whose channels lie side by side.
        self.task: Task = task.to(fabric.device, memory_format=torch.channels_last)
        if settings.train.compile:
            compile_encoder(self.task.model)
        self.optimiser = build_optimiser(self.task, settings.train)
        self.record = RunRecord(run, settings, self.described, fabric.device, resumed=state is not None)
        self.validation: Validation | None = None
        in_first_process(fabric, self._read_validation)
        self.features: FeatureUse | None = None
        self.saved_at: int | None = None  # the step whose weights this process has written
        self.patch: list[int] | None = None  # (H, W) in pixels of what the network learns from
        self.step, self.seconds = 0, 0.0  # the latter of earlier calls that this one resumes
        self.meter, self.speed = Meter(), Speed(fabric.device)
        self.began = time.monotonic()
        self.best: float | None = None
        self.thresholds, self.offsets = [0.5] * len(data.classes), [0.0] * len(data.classes)
        self.temperature: float | None = None
        self.calibrated: int | None = None  # the step whose weights they were chosen for
        count = len(data.split("train"))
        self.total = max(1, round(settings.train.epochs * steps_per_epoch(count, settings.train.batch)))
        if state is not None:
            self._go_back_to(state)

    def _go_back_to(self, state: dict[str, Any]) -> None:
        load_trained(self.task, read_tensors(self.run, state, "weights"), self.run)
        unpack_optimiser(self.optimiser, read_tensors(self.run, state, "optimiser"))
        self.step, self.best = state["step"], state["best"]
        self.thresholds, self.offsets = state["thresholds"], state["offsets"]
        self.temperature, self.calibrated = state.get("temperature"), state.get("calibrated")
        if self.task.chunk is not None:
            asked = state["settings"]["loss"]["contrast"].get("chunk", "auto")
            self.task.chunk.go_on(state.get("chunk"), asked)
        self.seconds, self.speed = state["seconds"], Speed(self.fabric.device, state.get("waited", 0.0))

    def fit(self, training: TrainingBatches) -> TrainResult:
        """Runs the steps that are left."""
        self.began = time.monotonic()
        self.patch = list(training.patches.shape)
        module, optimiser = self.fabric.setup(self.task, self.optimiser)
        if self.start is None or not self.start.taken_up_by(self.task, training.patches):
            self.task.prepare(training.patches, fresh=self.step == 0)
        in_first_process(self.fabric, self._start_record)
        with (
            self.record.told_of_failure(lambda: self.step) if self.leads else nullcontext(),
            keep_features(training, self.task, self.settings, self.looked, self.fabric, self.reporter) as (
                source,
                self.features,
            ),
        ):
            room = DeviceRoom(self.fabric.device, self.settings.data.device_share)
            share = self.settings, self.step, self.total, self.fabric, self.reporter, room
            batches = batches_on_device(source, *share, self.taught.beside(training.patches, self.settings))
            if self.validation is not None:
                self.validation.place(room)
            metrics = Metrics(self.run, self.step, self.reporter.figures) if self.leads else None
            try:
                self.reporter.start(self.step, self.total)
                with stop_requested() as stop, kept_where_loaders_end(self._keep):
                    self._steps(module, optimiser, batches, metrics, stop)
            finally:
                self.reporter.stop()
                if metrics is not None:
                    metrics.close()
            return self._finish(time.monotonic() - self.began)

    def _steps(
        self,
        module: Any,
        optimiser: Any,
        batches: Any,
        metrics: Metrics | None,
        stop: threading.Event,
    ) -> None:
        module.train()
        learnt = stage_starts(self.task.stages, self.total)[-1]
        validations = validation_steps(self.settings.train.validations, self.total, learnt)
        saved = time.monotonic()
        self.speed.rest()
        ready = made_ahead(batches, self.fabric.device)
        profiled = self.settings.train.profile and self.leads
        for batch in traced(ready, self.run, self.step, self.total, self.reporter) if profiled else ready:
            self.speed.work()
            if self.features is not None:
                self.features.count(batch)
            self.meter.add(self._one_step(module, optimiser, batch))
            self.step += 1
            validate = self.step in validations
            report = validate or self.step % self.settings.train.log_every == 0 or self.step == self.total
            losses = self._report(metrics) if report else None
            self.reporter.step(self.step, losses)
            due = time.monotonic() - saved > self.settings.train.checkpoint_minutes * 60
            # All must leave the loop, and save by the clock of the first, at the same step.
            interrupted, due = self.agreement.any(stop.is_set(), due and self.leads)
            save = validate or interrupted or due or self.step == self.total
            if save and losses is None:
                self._report(metrics)  # what is no number must not be saved
            if validate:
                in_first_process(self.fabric, lambda: self._validate(metrics))
            if save:
                in_first_process(self.fabric, lambda: self._save("last", with_optimiser=True))
                saved = time.monotonic()
            if interrupted:
                break
            self.speed.rest()

    def _report(self, metrics: Metrics | None) -> dict[str, float]:
        losses = self.meter.drain(self.step, partial(mean_over_processes, self.fabric))
        rate, waiting = self.speed.told()
        self.reporter.pace(rate * self.settings.train.batch, waiting)
        if metrics is not None:
            metrics.add("train", self.step, losses | {"lr": self._rate(self.step - 1)})
        return losses

    def _read_validation(self) -> None:
        self.validation = Validation(self.data, self.settings, self.looked.kept, self.taught.learnt)

    def _start_record(self) -> None:
        if self.start is not None:
            self.start.keep(self.run)
            self.record.values["from"] = self.start.record()
        image_encoder, learning = self.task.image_encoder, learning_parameters(self.task)
        self.record.write_start(
            steps=self.total,
            parameters=learning,
            precision=chosen_precision(self.settings.train, self.fabric.device),
            processes=self.fabric.world_size,
            weights=self.task.model.encoder.source,
            image_encoder=None if image_encoder is None else image_encoder.source,
            losses=self.task.titles(),
            **self.task.found(),
        )
        write_text(self.run / "settings.yaml", as_yaml(self.settings, self.dropped))
        keep_seen(self.run, self.looked.entries)
        tell(self.reporter, start_notes(self.settings, self.start, self.validation, learning, self.fabric.device))

    def _one_step(self, module: Any, optimiser: Any, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """One update. All randomness comes from (seed, step, process), so nothing has to be saved to resume."""
        settings = self.settings
        torch.manual_seed(
            (settings.train.seed << 32) + self.step * self.fabric.world_size + self.fabric.global_rank
        )
        set_learning_rate(self.optimiser, self._rate(self.step))
        try:
            parts: dict[str, Tensor] = module(batch, self.step / self.total)
            optimiser.zero_grad()
            self.fabric.backward(parts["loss"])
        except torch.OutOfMemoryError as error:
            raise TrainingError(
                f"the device ran out of memory at step {self.step + 1}: make train.batch = {settings.train.batch} "
                "smaller, or loss.contrast.chunk, or data.device_share, or loss.composite.every larger"
            ) from error
        norm = self.fabric.clip_gradients(
            module, optimiser, max_norm=settings.train.clip or math.inf, error_if_nonfinite=False
        )
        assert norm is not None
        parts["gradient_norm"] = norm
        optimiser.step()
        self.task.after_step(self.step + 1)
        return {name: value.detach() for name, value in parts.items()}

    def _keep(self) -> str:
        """Saves the steps that are done; other processes may be waiting for this one and cannot be asked."""
        if not self.leads or self.step == 0:
            return ""
        self.meter.drain(self.step, lambda total: total)  # what is no number must not be saved
        self._save("last", with_optimiser=True)
        return f"step {self.step} of {self.total} is saved, and --resume goes on from there"

    def _rate(self, step: int) -> float:
        return staged_learning_rate(step, self.total, self.task.stages, self.settings.train)

    def _validate(self, metrics: Metrics | None) -> None:
        if not self.validation:
            return
        found: Validated = self.validation.run(self.task.model)
        chosen, self.calibrated = found.calibration, self.step
        self.thresholds, self.offsets = chosen.thresholds.tolist(), chosen.offsets.tolist()
        self.temperature = chosen.temperature
        miou, image_f1 = found.record["miou"], found.record["image_level"]["f1"]
        if miou is None:
            self.reporter.note(f"step {self.step}: the validation masks leave no pixel to compare")
            return
        better = self.best is None or miou > self.best
        if better:
            self.best = miou
            self._save("best", with_optimiser=False, valid=found.record)
        if metrics is not None:
            figures = {"miou": miou, "mdice": found.record["mdice"], "image_f1": image_f1}
            metrics.add("valid", self.step, {name: value for name, value in figures.items() if value is not None})
            metrics.write_csv()
        told = set(self.validation.about.notes)
        self.reporter.note(
            f"step {self.step}: valid mIoU {miou:.2f}, mDice {figure_text(found.record['mdice'])}, "
            f"image-level F1 {figure_text(image_f1)}"
            + "".join(f"; {note}" for note in found.record.get("notes", ()) if note not in told)
            + (" (best so far)" if better else "")
        )

    def _save(self, name: str, with_optimiser: bool, valid: dict[str, Any] | None = None) -> None:
        mpps = sorted(record.mpp for record in self.data.records if record.mpp is not None)
        state = {
            "step": self.step,
            "steps": self.total,
            "seconds": round(self.seconds + time.monotonic() - self.began, 1),
            "waited": round(self.speed.waited, 3),
            "best": self.best,
            "thresholds": self.thresholds,
            "offsets": self.offsets,
            "temperature": self.temperature,
            "calibrated": self.calibrated,
            "valid": valid,
            "classes": self.data.classes.as_dict(),
            "encoder": self.task.model.encoder.config,
            "settings": self.settings.model_dump(mode="json"),
            "data": self.described["fingerprint"],
            "corrected": self.taught.learnt.as_dict(),
            "mpp": mpps[len(mpps) // 2] if mpps else None,
            "patch": self.patch,
            "chunk": None if self.task.chunk is None else self.task.chunk.size,
        }
        tensors = pack_optimiser(self.optimiser) if with_optimiser else None
        weights = None if self.saved_at == self.step else self.task.trained_state()
        save_checkpoint(self.run, name, state, weights, tensors)
        self.saved_at = self.step

    def _finish(self, seconds: float) -> TrainResult:
        done = self.step == self.total

        def conclude() -> None:
            if done and self.best is None:
                self._save("best", with_optimiser=False)
            for note in look_back(self.run, self.data, str(self.fabric.device), self.taught) if done else ():
                self.reporter.note(note)
            later = {key: value for key, value in self.task.found().items() if key not in self.record.values}
            self.record.write(
                **later,
                status="finished" if done else "interrupted",
                step=self.step,
                seconds=round(self.seconds + seconds, 1),
                loader_wait_share=round(self.speed.waited / max(self.seconds + seconds, 1e-9), 4),
                features=None if self.features is None else self.features.record(),
                **best_of(self.run),
            )

        in_first_process(self.fabric, conclude)
        return TrainResult(self.run, self.step, self.total, self.best, seconds)
