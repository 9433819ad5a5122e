"""No command writes over what it reads, or over what it has not written; its own earlier outputs it may."""

import json
import os
from pathlib import Path

import pytest
from PIL import Image

from lpdseg import api
from lpdseg.cli.main import main
from lpdseg.errors import OutputError
from lpdseg.outputs import CHECK, FIGURE, PAGE, RECORDS, check_file, check_outputs, csv_of, is_known

OURS = dict.fromkeys(("ok", "source", "classes", "patches", "errors", "warnings"), 0)


def test_an_output_that_is_an_input_is_refused_whatever_leads_there(tmp_path: Path) -> None:
    source, folder = tmp_path / "manifest.csv", tmp_path / "sub"
    source.write_text(json.dumps(OURS))
    folder.mkdir()
    link, hard = tmp_path / "link.json", tmp_path / "hard.json"
    link.symlink_to(source)
    os.link(source, hard)
    for path in (source, link, hard, folder / ".." / "manifest.csv", tmp_path / "." / "manifest.csv"):
        with pytest.raises(OutputError, match="is what this command reads, and would be written over"):
            check_outputs([(path, CHECK)], [None, source])
    check_outputs([(tmp_path / "new.json", CHECK), (None, CHECK)], [source, tmp_path / "not there"])
    with pytest.raises(OutputError, match="is named for two outputs"):
        check_outputs([(tmp_path / "a.json", CHECK), (folder / ".." / "a.json", RECORDS)])
    with pytest.raises(OutputError, match="is a folder; name a file in it"):
        check_file(folder, CHECK)


@pytest.mark.parametrize(
    "content",
    [b"{}", b"[]", b"[1]", b"text", b"\xff\xfe", b"[" * 100_000, b'{"ok": 1}', b"[" + b"[]," * 9 + b"{}]"],
)
def test_a_file_of_others_is_refused_and_stays(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(content)
    for kind in (CHECK, RECORDS, PAGE, FIGURE, csv_of("table", "a", "b")):
        with pytest.raises(
            OutputError, match=r"x is there already and is no .*; remove it, or choose another name"
        ):
            check_file(path, kind)
    assert path.read_bytes() == content


def test_what_is_empty_or_of_the_kind_may_be_written_again(tmp_path: Path) -> None:
    empty, mine, table = tmp_path / "empty", tmp_path / "mine.json", tmp_path / "t.csv"
    empty.touch()
    mine.write_text(json.dumps(OURS | {"more": 1}))
    table.write_text("b,c,a\n1,2,3\n")
    check_outputs([(empty, CHECK), (mine, CHECK), (table, csv_of("table", "a", "b"))])
    dangling = tmp_path / "dangling"
    dangling.symlink_to(tmp_path / "nowhere")
    check_file(dangling, CHECK)


def test_the_check_of_data_does_not_write_over_its_manifest(
    small_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    patch = small_data / "train" / "t0_0[10].png"
    patch = patch if patch.exists() else next((small_data / "train").iterdir())
    Image.open(patch).save(tmp_path / "a.png")
    manifest, report = tmp_path / "manifest.csv", tmp_path / "report.json"
    manifest.write_text("path,pink,blue,split,patient\na.png,1,0,train,p\n")
    before = manifest.read_bytes()
    assert main(["data", "check", str(manifest), "--json", str(manifest)]) == 1
    told = capsys.readouterr().err
    assert "is what this command reads" in told and told.count("\n") == 1
    assert main(["data", "check", str(manifest), "--json", str(tmp_path / "a.png")]) == 1
    assert manifest.read_bytes() == before
    for _ in range(2):
        main(["data", "check", str(manifest), "--json", str(report)])
        assert is_known(report, CHECK)


def test_evaluate_writes_again_what_it_wrote_and_nothing_else(
    small_run: Path, small_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outputs = {f"--{name}": tmp_path / f"{name}.out" for name in ("json", "csv", "patches", "patients")}
    words = ["evaluate", str(small_run), "--data", str(small_data), "--classes", "pink,blue", "--device", "cpu"]
    asked = [text for name, path in outputs.items() for text in (name, str(path))]
    for _ in range(2):
        assert main([*words, *asked]) == 0, capsys.readouterr().err
    asked[1], asked[3] = asked[3], asked[1]
    assert main([*words, *asked]) == 1
    assert "csv.out is there already and is no list of records" in capsys.readouterr().err
    before = (small_run / "metrics.csv").read_bytes()
    assert main([*words, "--csv", str(small_run / "metrics.csv")]) == 1
    assert (small_run / "metrics.csv").read_bytes() == before


def test_pages_pictures_and_figures_are_known_again(
    small_run: Path, small_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page, sheet = tmp_path / "atlas.html", tmp_path / "atlas.png"
    for _ in range(2):
        words = ["prototypes", str(small_run), "--out", str(page), "--png", str(sheet), "--device", "cpu"]
        assert main([*words, "--data", str(small_data), "--classes", "pink,blue"]) == 0, capsys.readouterr().err
    assert is_known(page, PAGE) and is_known(sheet, FIGURE)
    with pytest.raises(OutputError, match=r"atlas\.png is there already and is no page of this package"):
        api.report(small_run, small_data, sheet, classes="pink,blue", device="cpu")
    pytest.importorskip("matplotlib")
    for suffix in ("png", "svg", "pdf"):
        out = tmp_path / f"curves.{suffix}"
        for _ in range(2):
            assert main(["figure", "curves", str(small_run), "--out", str(out)]) == 0, capsys.readouterr().err
    own = tmp_path / "own.png"
    Image.new("RGB", (8, 8)).save(own)
    assert main(["figure", "curves", str(small_run), "--out", str(own)]) == 1
    assert "own.png is there already and is no figure of this package" in capsys.readouterr().err


def test_a_graph_replaces_a_graph_and_no_other_file(
    small_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnxscript")
    classes, graph = tmp_path / "classes.yaml", tmp_path / "a.onnx"
    classes.write_text("names: [pink, blue]\n")
    assert main(["export", str(small_run), "--out", str(classes)]) == 1
    assert "classes.yaml is there already and is no graph" in capsys.readouterr().err
    assert classes.read_text() == "names: [pink, blue]\n"
    for _ in range(2):
        assert main(["export", str(small_run), "--out", str(graph)]) == 0, capsys.readouterr().err


def test_a_folder_with_files_of_others_is_filled_by_no_command(
    small_run: Path, small_data: Path, small_settings: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "run").mkdir()
    own = tmp_path / "run" / "settings.yaml"
    own.write_text("train: {epochs: 1}\n")
    with pytest.raises(OutputError, match=r"settings\.yaml is there already and of no run"):
        api.train(small_data, tmp_path / "run", classes="pink,blue", overrides=small_settings, device="cpu")
    assert own.read_text() == "train: {epochs: 1}\n"
    for name in ("prototypes.json", "learnt.geojson", "from.json", "changes.json"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).write_text("{}")
        with pytest.raises(OutputError, match=rf"{name} is there already and of no run"):
            api.train(small_data, tmp_path / name, classes="pink,blue", overrides=small_settings, device="cpu")
    [image] = [path for path in (small_data / "valid" / "img").iterdir() if path.name.endswith("_12.png")]
    mask = tmp_path / "set" / "masks" / image.name
    mask.parent.mkdir(parents=True)
    mask.write_bytes(b"true mask")
    with pytest.raises(OutputError, match=r"_12\.png is there already, and no masks of this command are in .*set"):
        api.segment_files(small_run, [image], tmp_path / "set", device="cpu")
    assert mask.read_bytes() == b"true mask"
    for _ in range(2):
        api.segment_files(small_run, [image], tmp_path / "other", device="cpu")
