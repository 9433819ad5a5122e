"""How fast training and evaluation are beside the plain references, in turns within one run.

make bench-speed, or python benchmarks/speed.py [--rounds 3] [--out benchmarks/DATE-speed.md]

The last line of the output is one JSON object: ratios of medians. `full_step`, `full_step_self`, `diversity`,
`evaluation`: reference / ours, larger is better; `predict_overhead`, `memory`: ours / the bare encoder and
ours / reference, smaller is better.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import torch

import speed_cases as cases
from lpdseg.files import write_text
from lpdseg.losses.diversity import diversity_loss
from lpdseg.maps.labelling import pseudo_mask
from lpdseg.model.device import product_rate
from measuring import Call, in_a_process, peak_above, ratios, spread, take_turns
from reference import _diversity as reference_diversity
from speed_evaluation import measure
from speed_table import Table

K, CPU = 10, torch.device("cpu")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--rounds", type=int, default=3, help="turns of the slow cases; the fast ones take three times as many"
    )
    parser.add_argument("--out", type=Path, help="also write the table there, as Markdown")
    parser.add_argument("--peak", choices=["reference", "32-true", "bf16-mixed"], help=argparse.SUPPRESS)
    parser.add_argument("--batch", type=int, default=cases.BATCH, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peak:
        print(json.dumps(_peak(options.peak, options.batch)))
        return
    table = Table()
    rates = _machine(table)
    found = _memory(table)  # first: later this process holds what the reference took
    found |= _training(table, rates, options.rounds)
    found |= _diversity(table, 10 * options.rounds)
    found |= measure(table, options.rounds)
    if options.out is not None:
        write_text(options.out, table.markdown(datetime.now(UTC).date().isoformat()))
    print(json.dumps({name: round(value, 3) for name, value in found.items()}))


def _machine(table: Table) -> dict[str, float]:
    rates = {name: product_rate(CPU, getattr(torch, name), 2048) for name in ("float32", "bfloat16")}
    table.say(
        f"{torch.get_num_threads()} threads, PyTorch {torch.__version__}; a product of 2048 x 2048 matrices runs "
        f"at {rates['float32']:.0f} GFLOP/s in float32 and {rates['bfloat16']:.0f} in bfloat16"
    )
    return rates


def _training(table: Table, rates: dict[str, float], rounds: int) -> dict[str, float]:
    chosen, one = cases.settings(K), cases.batch()
    modes = {"float32": "32-true", "bfloat16": "bf16-mixed"}
    builders: dict[str, Callable[[], Call]] = {"reference": partial(cases.published_reference, K)}
    for judge, named in (("swin", "ours"), ("self", "ours, self")):
        for name, precision in modes.items():
            builders[f"{named}, {name}"] = partial(cases.published_step, K, judge, precision)
    steps = {name: build() for name, build in builders.items()}
    times = take_turns(steps, rounds, list(steps))
    classify = {"classification loss only": cases.published_step(K, "none", "bf16-mixed")}
    times |= take_turns(classify, 5 * rounds, list(classify))
    sampled = {
        f"{judge}, bfloat16, one pair per image": cases.published_step(
            K, name, "bf16-mixed", "loss.contrast.pairs_per_image=1"
        )
        for judge, name in (("ours", "swin"), ("ours, self", "self"))
    }
    sampled_times = take_turns(sampled, rounds, list(sampled))

    pairs = cases.active_pairs(cases.network(chosen), one)
    encoder, tower = cases.forward_work(cases.network(chosen).encoder), cases.forward_work(cases.swin_tower())
    table.section(f"Training step: batch {cases.BATCH}, 224 px, MiT-B1, k = {K}, {pairs} active pairs")
    for name, spent in times.items():
        judge_work = 0.0 if "only" in name else encoder if "self" in name else tower
        # Forward, and the gradients of inputs and of weights; the frozen judge has none of weights.
        work = 3 * cases.BATCH * encoder + 2 * 2 * pairs * judge_work
        half = "bfloat16" in name or "only" in name
        reach = work / statistics.median(spent) / rates["bfloat16" if half else "float32"]
        gain = "" if name == "reference" or "only" in name else spread(ratios(times, "reference", name), 1, "x")
        table.row(name, spread(spent, 2, " s"), gain, f"{work:.0f}", f"{100 * reach:.0f} %")
    middle = statistics.median(times["reference"])
    for name, spent in sampled_times.items():
        gain = spread([middle / one for one in spent], 1, "x")
        table.row(f"{name}: unbiased, another sum", spread(spent, 2, " s"), gain)
    _unfrozen(table, rounds)
    return {
        "full_step": statistics.median(ratios(times, "reference", "ours, bfloat16")),
        "full_step_fp32": statistics.median(ratios(times, "reference", "ours, float32")),
        "full_step_self": statistics.median(ratios(times, "reference", "ours, self, bfloat16")),
    }


def _unfrozen(table: Table, rounds: int) -> None:
    """The published code computes gradients of the frozen weights too, for which batch 10 takes too much memory."""
    builders = {
        what: partial(cases.published_reference, K, 2, frozen=what == "frozen")
        for what in ("frozen", "as published")
    }
    steps = {what: build() for what, build in builders.items()}
    times = take_turns(steps, rounds, list(steps))
    table.row(
        "reference with the published gradients of frozen weights, batch 2",
        spread(times["as published"], 2, " s"),
        f"takes {spread(ratios(times, 'as published', 'frozen'), 2, 'x')} the reference's time",
    )


def _diversity(table: Table, rounds: int) -> dict[str, float]:
    chosen, one = cases.settings(K), cases.batch()
    model = cases.network(chosen)
    bank, counts, level = model.bank, model.bank.counts, model.scales - 1
    temperature = chosen.loss.diversity.temperature
    with torch.no_grad():
        output = model(one["image"].float() / 255, {level})[level]
    cosine = output.cosine.requires_grad_()

    def ours() -> torch.Tensor:
        mask = pseudo_mask(model.merge(output.maps, "softmax"), one["labels"], chosen.predict.background_power)
        term = diversity_loss(cosine, mask, one["labels"], bank.slots, bank.real, temperature)
        return torch.autograd.grad(term.mean, cosine)[0]

    def reference() -> torch.Tensor:
        loss = reference_diversity(
            cosine, output.maps, one["labels"], counts, temperature, chosen.predict.background_power
        )
        return torch.autograd.grad(loss, cosine)[0]

    torch.testing.assert_close(ours(), reference(), rtol=1e-4, atol=1e-8)
    times = take_turns({"reference": reference, "ours, float32": ours}, rounds, ["reference", "ours, float32"])
    table.section(
        f"Diversity loss with its pseudo masks, forward and backward: batch {cases.BATCH}, C = 4, k = {K}"
    )
    table.row("reference", spread([1000 * t for t in times["reference"]], 1, " ms"))
    gain = ratios(times, "reference", "ours, float32")
    table.row("ours, float32", spread([1000 * t for t in times["ours, float32"]], 1, " ms"), spread(gain, 1, "x"))
    return {"diversity": statistics.median(gain)}


def _peak(mode: str, count: int) -> float:
    chosen, one = cases.settings(K), cases.batch(count)
    built = cases.task(chosen, "swin")
    if mode == "reference":
        return peak_above(cases.reference_step(built, chosen, one, frozen=True))
    return peak_above(cases.our_step(built, chosen, mode, one))


def _memory(table: Table) -> dict[str, float]:
    """The largest batch at which the reference survives."""
    for count in range(cases.BATCH, 0, -2):
        words = ("--batch", str(count), "--peak")
        reference = in_a_process(Path(__file__), *words, "reference")
        if reference is not None:
            break
    else:
        sys.exit("not even one pair of images leaves the reference enough memory")
    table.section(f"Memory of one step beyond model and data: batch {count}, k = {K}")
    table.row("reference", f"{reference:.0f} MiB")
    found = {}
    for mode in ("32-true", "bf16-mixed"):
        peak = in_a_process(Path(__file__), *words, mode)
        assert peak is not None
        found[mode] = peak / reference
        table.row(f"ours, {mode}", f"{peak:.0f} MiB", f"1/{reference / peak:.1f}")
    return {"memory": min(found.values())}


if __name__ == "__main__":
    main()
