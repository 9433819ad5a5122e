"""`lpdseg benchmark` as a user runs it."""

from pathlib import Path

import pytest

from lpdseg.cli.main import main

SMOKE = Path(__file__).parents[2] / "benchmarks" / "configs" / "smoke.yaml"


def test_the_smoke_config_makes_tables_and_then_uses_them_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ["benchmark", str(SMOKE), "--out", "runs/smoke", "--device", "cpu"]
    assert main([*arguments, "--only", "LPD"]) == 0
    shown = capsys.readouterr().out
    assert "2 runs to make, 0 there already" in shown and "to come" in shown
    assert main(arguments) == 0
    shown = capsys.readouterr().out
    assert "2 runs to make, 2 there already" in shown
    assert "generated, gate predicted" in shown and "runs/smoke/table.md" in shown
    text = (tmp_path / "runs" / "smoke" / "table.md").read_text()
    assert "- Command: `lpdseg benchmark smoke.yaml --out runs/smoke --device cpu`" in text
    assert str(tmp_path) not in text and "4 finished of 4" in text
    assert {path.name for path in (tmp_path / "runs" / "smoke").glob("*.*")} >= {
        "table.md", "table.html", "table.csv", "results.json",
    }  # fmt: skip


def test_failed_runs_end_with_a_sentence_and_an_exit_code(
    small_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "bad.yaml"
    config.write_text(
        f"name: bad\nreference: LPD\ndata: {{tiles: {{path: '{small_data}', set: ['data.classes=pink,blue']}}}}\n"
        f"set: [model.encoder=resnet18, 'model.weights={small_data}']\nvariants: {{LPD: }}\n"
    )
    assert main(["benchmark", str(config), "--out", str(tmp_path / "out"), "--device", "cpu"]) == 1
    shown = capsys.readouterr()
    assert shown.err.startswith("lpdseg: 1 of 1 runs failed; ") and shown.err.count("\n") == 1
    assert "tiles, LPD, seed 0: failed: " in shown.out


@pytest.mark.parametrize(
    ("text", "told"), [("name: x", "the entry 'reference' is missing"), ("[", "is not valid YAML")]
)
def test_a_wrong_config_is_one_line(
    text: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "bad.yaml"
    config.write_text(text)
    assert main(["benchmark", str(config), "--out", str(tmp_path / "out")]) == 2
    shown = capsys.readouterr()
    assert shown.err.count("\n") == 1 and told in shown.err
    assert not (tmp_path / "out").exists()
