"""What each loss adds: the same settings with losses switched on one by one, several seeds, one table.

    python benchmarks/losses.py generated --out runs/bench-generated
    python benchmarks/losses.py glas --data FOLDER --weights FOLDER --out runs/bench-glas

Runs that are finished are kept, so the command can be stopped and started again. The last thing it does is to write
OUT/table.md and OUT/records.json.
"""

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from lpdseg import api
from lpdseg.data.synthetic import generate
from lpdseg.errors import CheckpointError
from lpdseg.files import write_json, write_text
from lpdseg.insight.demo import MPP, PATCHES, PATIENTS, SIZE
from lpdseg.settings import load_settings
from lpdseg.training.checkpoint import read_state

CLASSIFICATION = ("loss.contrast.weight=0", "loss.diversity.weight=0")
PUBLISHED_WEIGHTS = ("loss.contrast.weight=0.1", "loss.diversity.weight=0.5")
VARIANTS: dict[str, tuple[str, ...]] = {
    "LPD": (),
    "CAM, as long as LPD": ("model.prototypes=1", *CLASSIFICATION),  # more steps, see `run`
    "CAM": ("model.prototypes=1", *CLASSIFICATION),
    "LPD, classification only": CLASSIFICATION,
    "LPD without contrast": ("loss.contrast.weight=0",),
    "LPD without diversity": ("loss.diversity.weight=0",),
    "LPD, published loss weights": PUBLISHED_WEIGHTS,
    "LPD, published weights and mean merge": ("model.merge=mean", *PUBLISHED_WEIGHTS),
}
AS_LONG = 1.35
"""How many more steps plain classification makes in the time of LPD, as measured."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("preset", choices=("generated", "glas"))
    parser.add_argument("--data", type=Path, help="needed for glas; generated data is made in OUT")
    parser.add_argument("--weights", help="folder of encoder weights")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--split", help="default: test for generated, valid for glas")
    parser.add_argument("--variants", nargs="*", default=[], help="names of variants; default: all")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--set", nargs="*", default=[], help="settings for all variants, as in train.epochs=2")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    console = Console()
    data = given.data
    if data is None:
        if given.preset == "glas":
            parser.error("glas needs --data")
        data = given.out / "data"
        generate(data, size=SIZE, mpp=MPP, patches=PATCHES, patients=PATIENTS)
    preset = "demo" if given.preset == "generated" else given.preset
    split = given.split or ("test" if preset == "demo" else "valid")
    wanted = [name for name in VARIANTS if not given.variants or name in given.variants]
    for seed in range(given.seeds):
        for name in wanted:
            records = run(preset, data, given, name, seed, split)
            console.print(
                f"{name}, seed {seed}: {figures(records[0])['miou']:.2f} / {figures(records[1])['miou']:.2f}"
            )
    write_table(given.out, load_settings(preset).name, split)


def run(
    preset: str, data: Path, given: argparse.Namespace, name: str, seed: int, split: str
) -> list[dict[str, Any]]:
    folder = given.out / f"{''.join(c if c.isalnum() else '-' for c in name)}-{seed}"
    path = folder / f"{split}.json"
    if not path.exists():
        overrides = [*given.set, *VARIANTS[name]]
        if name == "CAM, as long as LPD":
            overrides.append(f"train.epochs={AS_LONG * load_settings(preset, given.set).train.epochs}")
        try:
            finished = read_state(folder / "run", "last")["step"] == read_state(folder / "run", "last")["steps"]
            resume = True
        except CheckpointError:
            finished, resume = False, False
        if not finished:
            api.train(
                data,
                folder / "run",
                preset=preset,
                weights=given.weights,
                overrides=overrides,
                seed=seed,
                resume=resume,
            )
        records = api.evaluate(folder / "run", data, split=split, gates=("predicted", "oracle"))
        described = json.loads((folder / "run" / "run.json").read_text())
        write_json(path, {"variant": name, "seed": seed, "seconds": described["seconds"], "records": records})
    found: list[dict[str, Any]] = json.loads(path.read_text())["records"]
    return found


def figures(record: dict[str, Any]) -> dict[str, float]:
    per_class = {name: values["iou"] for name, values in record["classes"].items()}
    return {"miou": record["miou"], "mdice": record["mdice"], **per_class}


def write_table(out: Path, preset: str, split: str) -> None:
    results = [json.loads(path.read_text()) for path in sorted(out.glob(f"*/{split}.json"))]
    names = [name for name in VARIANTS if any(entry["variant"] == name for entry in results)]
    columns = list(figures(results[0]["records"][0]))
    head = ["variant", "seeds", "gate", *columns, "training, min"]
    lines = [f"Preset `{preset}`, split `{split}`, mean ± sd over seeds, per cent.", ""]
    lines += [" | ".join(["", *head, ""]).strip(), "|" + "---|" * len(head)]
    for gate in (0, 1):
        for name in names:
            chosen = [entry for entry in results if entry["variant"] == name]
            cells = [spread([figures(entry["records"][gate])[column] for entry in chosen]) for column in columns]
            minutes = spread([entry["seconds"] / 60 for entry in chosen])
            row = [name, str(len(chosen)), chosen[0]["records"][gate]["gate"], *cells, minutes]
            lines.append(" | ".join(["", *row, ""]).strip())
    write_text(out / "table.md", "\n".join(lines) + "\n")
    write_json(out / "records.json", results)
    Console().print("\n".join(lines), soft_wrap=True)


def spread(values: list[float]) -> str:
    return (
        f"{statistics.mean(values):.1f} ± {statistics.stdev(values):.1f}" if len(values) > 1 else f"{values[0]:.1f}"
    )


if __name__ == "__main__":
    main()
