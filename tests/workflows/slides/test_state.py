"""Whether outputs are still true: slide, settings and the content of every file must be those of the state."""

import os
from pathlib import Path
from typing import Any

import pytest

from lpdseg.slides.slide import SlideError
from lpdseg.workflows.slides.layout import output_path, state_path
from lpdseg.workflows.slides.state import describe_output, identity, is_finished, left_by, read_state, write_state

SETTINGS = {"window": 224, "thresholds": [0.1], "size": (1, 2)}
OPTIONS = {"geojson": {"simplify_um": 0.0}, "zarr": {}}


@pytest.fixture
def made(tmp_path: Path) -> tuple[Path, Path]:
    """A finished slide: its folder and the slide."""
    slide = tmp_path / "a.svs"
    slide.write_bytes(bytes(3_000_000))
    geojson, store = (output_path(tmp_path, kind, "a") for kind in OPTIONS)
    geojson.parent.mkdir()
    geojson.write_text("{}")
    (store / "0").mkdir(parents=True)
    (store / "0" / "1").write_bytes(b"chunk")
    outputs = {kind: describe_output(output_path(tmp_path, kind, "a"), OPTIONS[kind]) for kind in OPTIONS}
    write_state(
        tmp_path,
        "a",
        {
            "status": "finished",
            "path": str(slide),
            "slide": identity(slide),
            "settings": SETTINGS,
            "outputs": outputs,
            "earlier": {},
            "notes": [],
            "areas": [],
            "tissue_share": 0.5,
            "windows": 1,
            "windows_per_second": 1.0,
            "waiting_share": 0,
        },
    )
    return tmp_path, slide


def finished(out: Path, slide: Path, settings: Any = SETTINGS, options: Any = OPTIONS) -> bool:
    return is_finished(read_state(out, "a"), out, "a", identity(slide), settings, options)


def test_what_has_not_changed_is_finished(made: tuple[Path, Path]) -> None:
    assert finished(*made)
    assert finished(*made, options={"zarr": {}})  # less than was made


@pytest.mark.parametrize("end", [0, 2_999_999])
def test_a_slide_that_has_changed_is_not(made: tuple[Path, Path], end: int) -> None:
    out, slide = made
    content, times = bytearray(slide.read_bytes()), slide.stat()
    content[end] = 1
    slide.write_bytes(content)
    os.utime(slide, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert not finished(out, slide)


def test_a_slide_that_was_touched_is_the_same_and_its_middle_counts(made: tuple[Path, Path]) -> None:
    out, slide = made
    os.utime(slide, ns=(0, 1))
    assert finished(out, slide)
    content = bytearray(slide.read_bytes())
    content[1_500_000] = 1  # neither end tells
    slide.write_bytes(content)
    assert not finished(out, slide)


def test_a_digest_is_kept_while_nothing_tells_of_a_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slide = tmp_path / "a.svs"
    slide.write_bytes(b"pixels")
    first = identity(slide)
    monkeypatch.setattr("hashlib.file_digest", None)
    assert identity(slide, first) == first
    os.utime(slide, ns=(0, 1))
    assert identity(slide, first) == first  # times tell nothing
    slide.write_bytes(b"Pixels")
    with pytest.raises(TypeError):
        identity(slide, first)  # it is read as a whole


@pytest.mark.parametrize("sixteenth", [*range(16)])
def test_a_change_of_a_sixteenth_of_the_middle_is_seen_though_size_times_and_ends_are_the_same(
    tmp_path: Path, sixteenth: int
) -> None:
    slide, length = tmp_path / "a.svs", 20_000_001
    with slide.open("wb") as file:
        file.truncate(length)
    first, times = identity(slide), slide.stat()
    long = (length - (2 << 20)) // 16
    with slide.open("r+b") as file:
        file.seek((1 << 20) + sixteenth * long)
        file.write(b"x" * long)
    os.utime(slide, ns=(times.st_atime_ns, times.st_mtime_ns))
    found = identity(slide, first)
    assert found["sha256_of_ends"] == first["sha256_of_ends"] and found["sha256"] != first["sha256"]


def test_states_that_noted_times_of_change_are_recognised_by_the_whole_slide(made: tuple[Path, Path]) -> None:
    out, slide = made
    state = read_state(out, "a")
    assert state is not None
    now = identity(slide)
    then = {name: value for name, value in now.items() if name != "sha256_of_middle"}
    then["modified_ns"] = [slide.stat().st_mtime_ns]
    write_state(out, "a", state | {"slide": then})
    noted = read_state(out, "a")
    assert noted is not None and identity(slide, noted["slide"]) == now
    assert is_finished(noted, out, "a", identity(slide, noted["slide"]), SETTINGS, OPTIONS)
    content, times = bytearray(slide.read_bytes()), slide.stat()
    content[1_500_000] = 1  # by the earlier rule nothing told of it
    slide.write_bytes(content)
    os.utime(slide, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert not is_finished(noted, out, "a", identity(slide, noted["slide"]), SETTINGS, OPTIONS)


def test_other_settings_options_or_kinds_are_not(made: tuple[Path, Path]) -> None:
    assert not finished(*made, settings=SETTINGS | {"window": 256})
    assert not finished(*made, settings=SETTINGS | {"more": 1})
    assert not finished(*made, options=OPTIONS | {"geojson": {"simplify_um": 1.0}})
    assert not finished(*made, options=OPTIONS | {"png": {}})


def test_outputs_that_have_changed_are_not(made: tuple[Path, Path]) -> None:
    out, slide = made
    output_path(out, "geojson", "a").write_text("[]")  # as long as before
    assert not finished(out, slide)
    output_path(out, "geojson", "a").write_text("{}")
    assert finished(out, slide)
    chunk = output_path(out, "zarr", "a") / "0" / "1"
    chunk.rename(chunk.with_name("2"))
    assert not finished(out, slide)
    chunk.with_name("2").rename(chunk)
    output_path(out, "geojson", "a").unlink()
    assert not finished(out, slide)


def test_states_that_are_running_damaged_or_of_another_format_are_not(made: tuple[Path, Path]) -> None:
    out, slide = made
    state = read_state(out, "a")
    assert state is not None
    write_state(out, "a", state | {"status": "running"})
    assert not finished(out, slide)
    for text in ("{", "[]", '{"format": 0, "status": "finished"}'):
        state_path(out, "a").write_text(text)
        assert read_state(out, "a") is None and not finished(out, slide)


@pytest.mark.parametrize(
    "change",
    [
        {"notes": None},
        {"outputs": []},
        {"outputs": {"csv": 1}},
        {"areas": [{}]},
        {"earlier": "csv"},
        {"earlier": {"csv": {}}},
        {"slide": {}},
    ],
)
def test_a_state_that_somebody_has_bent_is_none(made: tuple[Path, Path], change: dict[str, Any]) -> None:
    out, slide = made
    state = read_state(out, "a")
    assert state is not None
    write_state(out, "a", state | change)
    assert read_state(out, "a") is None and not finished(out, slide)


def test_what_is_left_is_true_for_the_same_settings_alone(made: tuple[Path, Path]) -> None:
    out, slide = made
    state, known = read_state(out, "a"), identity(slide)
    assert state is not None

    def left(state: Any, known: Any = known, settings: Any = SETTINGS) -> tuple[Any, dict[str, str]]:
        true, untrue = left_by(state, out, "a", known, settings)
        return true, {kind: noted["why"] for kind, noted in untrue.items()}

    assert left(state) == (state["outputs"], {})
    assert left(None) == ({}, {})
    for settings, why in (
        (SETTINGS | {"window": 256, "more": 1}, "other settings (more, window)"),
        (SETTINGS | {"predict": {"gate": "none"}}, "other settings (predict.gate)"),
        (SETTINGS | {"weights_sha256": "b" * 64}, "another model (None)"),
    ):
        assert left(state, settings=settings) == ({}, {"geojson": why, "zarr": why})
    before = "the slide as it was before it changed"
    assert left(state, known | {"sha256": "other"}) == ({}, {"geojson": before, "zarr": before})


def test_what_two_runs_have_left_is_told_of_each(made: tuple[Path, Path]) -> None:
    out, slide = made
    state, known = read_state(out, "a"), identity(slide)
    assert state is not None
    of_a, of_b = ({"slide": known, "settings": {"weights_sha256": letter * 64}} for letter in "ab")
    earlier = {kind: noted | of for (kind, noted), of in zip(state["outputs"].items(), (of_a, of_b), strict=True)}
    interrupted = state | {"status": "running", "outputs": {}, "earlier": earlier}
    true, untrue = left_by(interrupted, out, "a", known, of_a["settings"])
    assert true == {"geojson": state["outputs"]["geojson"]}  # true again
    assert untrue["zarr"]["why"] == f"another model ({'b' * 12})"
    output_path(out, "geojson", "a").write_text("of a run that did not end")
    assert left_by(interrupted, out, "a", known, of_a["settings"])[0] == {}


def test_a_mirax_slide_is_its_folder_as_well(tmp_path: Path) -> None:
    slide, folder = tmp_path / "m.mrxs", tmp_path / "m"
    slide.write_bytes(b"index")
    folder.mkdir()
    (folder / "Data0000.dat").write_bytes(b"tiles")
    before = identity(slide)
    (folder / "Data0000.dat").write_bytes(b"TILES")
    assert identity(slide, before)["sha256"] != before["sha256"]


def test_a_slide_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(SlideError, match="does not exist"):
        identity(tmp_path / "a.svs")
