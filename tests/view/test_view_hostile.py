"""What a careless or hostile person could send or have on disk: it is refused in a sentence, nothing is lost."""

import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from lpdseg.errors import OutputError
from lpdseg.view.guard import Guard
from lpdseg.view.kept_file import KeptFile
from lpdseg.view.run import ShownRun
from lpdseg.view.visit import Visit

HOST = "127.0.0.1:8000"
COOKIE = "lpdseg-8000=token-of-the-tests"
JSON = {"content-type": "application/json"}


@pytest.mark.parametrize("other", ["odd", "a b", '{"a":1}', "x=\x7f", 'name="2|1:0|x; y"', "=;;=", "[x]=1"])
def test_cookies_of_other_programs_of_this_machine_lock_nobody_out(other: str, client: TestClient) -> None:
    client.cookies.clear()
    for both in (f"{other}; {COOKIE}", f"{COOKIE}; {other}"):
        assert client.get("/api/session", headers={"cookie": both}).status_code == 200, both
    assert client.get("/api/session", headers={"cookie": other}).status_code == 403


def test_a_host_without_its_port_has_a_cookie_too() -> None:
    async def app(*_: object) -> None:
        raise AssertionError("it was passed on")

    client = TestClient(Guard(app, ["[::1]"], "t"), "http://[::1]", follow_redirects=False)
    answer = client.get("/?token=t")
    assert answer.status_code == 303 and answer.headers["set-cookie"].startswith("lpdseg-80=t;")


@pytest.mark.parametrize("place", ["/pictures/{}/0/0/0", "/pictures/0/0/0/{}", "/regions/{}/0", "/api/images/{}"])
def test_numbers_of_any_length_are_answered(place: str, client: TestClient) -> None:
    for digits in (30, 5000):
        assert client.get(place.format("9" * digits)).status_code in (403, 404)
    assert client.get("/layers/0/0/prototypes/0/0/0", params={"lit": "9" * 5000}).status_code == 400


@pytest.mark.parametrize("large", ["1e308", "-1e308", "1e400", "NaN", "-Infinity", "9" * 400])
def test_places_that_are_no_places_are_answered(large: str, client: TestClient) -> None:
    assert client.get("/api/images/0/place", params={"x": large, "y": 1}).status_code in (200, 400)
    box = f'{{"image": 0, "box": [{large}, 0, {large}, 1]}}'
    assert client.post("/api/fields", content=box, headers=JSON).status_code == 400
    polygon = f'{{"image": 0, "polygon": [[{large}, 0], [0, -1e308], [5, 5]]}}'
    assert client.post("/api/areas", content=polygon, headers=JSON).status_code == 400


def test_what_is_sent_in_pieces_has_no_length(client: TestClient) -> None:
    headers = JSON | {"content-length": "2", "transfer-encoding": "chunked"}
    assert client.post("/api/fields", content=b"{}", headers=headers).status_code == 403
    assert (
        client.post("/api/fields", content=b"{}", headers=JSON | {"content-length": "9" * 5000}).status_code == 403
    )


def test_json_that_is_nested_deeply_is_refused(client: TestClient) -> None:
    deep = '{"features": [' + "[" * 100_000 + "]" * 100_000 + "]}"
    assert client.post("/api/corrections", content=deep, headers=JSON).status_code == 400


def test_a_window_that_has_not_seen_what_another_saved_does_not_undo_it(client: TestClient) -> None:
    labels = {"type": "Feature", "geometry": None, "properties": {"image": "a.png", "labels": {"pink": 1}}}
    one = two = client.get("/api/session").json()["corrections"]["version"]
    first = client.post("/api/corrections", json={"features": [labels], "since": one})
    assert first.status_code == 200, first.text
    stale = client.post("/api/corrections", json={"features": [], "since": two})
    assert stale.status_code == 422 and "another window" in stale.json()["error"]
    assert len(client.get("/api/session").json()["corrections"]["features"]) == 1
    version = first.json()["version"]
    assert client.post("/api/corrections", json={"features": [], "since": version}).status_code == 200


def test_nor_are_edits_undone(client: TestClient) -> None:
    since = client.get("/api/session").json()["runs"][0]["version"]
    said = {"pink 1": {"name": "rose"}}
    assert client.post("/api/edits", json={"entries": said, "since": since}).status_code == 200
    stale = client.post("/api/edits", json={"entries": {}, "since": since})
    assert stale.status_code == 422 and "another window" in stale.json()["error"]
    assert client.get("/api/session").json()["edits"]["entries"] == said


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    link, file = tmp_path / "link.yaml", tmp_path / "shared" / "file.yaml"
    link.symlink_to(file)
    kept = KeptFile(link)
    for text in ("one", "two"):
        kept.write(text)
        assert link.is_symlink() and file.read_text() == text
    kept.write(None)
    assert not file.exists()


def test_remarks_and_what_other_programs_know_are_kept_in_a_copy(
    visit_to: Callable[..., Visit], prototype_run: Path, small_data: Path, tmp_path: Path
) -> None:
    path = tmp_path / "edits.yaml"
    path.write_text(text := "# agreed on with the others\npink 1: {name: rose}\n")
    for _ in range(2):  # a second visit finds a file of its own
        visit = visit_to(prototype_run, small_data, edits=path)
        visit.editing.save()
        visit.editing.save()
    assert [one.read_text() for one in tmp_path.glob("*.before")] == [text]
    assert path.read_text() != text and "rose" in path.read_text()


def test_a_file_that_cannot_be_read_is_not_written_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file.yaml"
    path.write_text("theirs")

    def refused(_: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "read_bytes", refused)
        with pytest.raises(OutputError, match="Permission denied"):
            KeptFile(path)


def test_what_somebody_writes_just_after_a_save_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lpdseg.view import kept_file

    path, write = tmp_path / "file.yaml", kept_file.replacing
    kept = KeptFile(path)
    kept.write("ours")

    def overtaken(*told: Path) -> object:
        from contextlib import contextmanager

        @contextmanager
        def block() -> object:  # type: ignore[misc]
            with write(*told) as temporary:
                yield temporary
            path.write_text("theirs")

        return block()

    monkeypatch.setattr(kept_file, "replacing", overtaken)
    kept.write("ours again")
    with pytest.raises(OutputError, match="changed by somebody else"):
        kept.write("and again")
    assert path.read_text() == "theirs"


def test_edits_that_change_while_a_run_is_opened_are_not_lost(
    visit_to: Callable[..., Visit], prototype_run: Path, small_data: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    path, began = tmp_path / "edits.yaml", ShownRun.__init__
    path.write_text("pink 1:\n  name: rose\n")

    def slowly(*told: object, **more: object) -> None:
        path.write_text("pink 1:\n  name: theirs\n")
        began(*told, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(ShownRun, "__init__", slowly)
    visit = visit_to(prototype_run, small_data, edits=path)
    with pytest.raises(OutputError, match="changed by somebody else"):
        visit.editing.save()
    assert "theirs" in path.read_text()


def test_a_fault_of_one_field_does_not_end_the_computing(
    client: TestClient, visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    computer = visit.runs[0].seen(0).computer
    monkeypatch.setattr(computer, "field", lambda *_: (_ for _ in ()).throw(RuntimeError("no memory is left")))
    sent = {"image": 0, "box": [0, 0, 9, 9]}
    client.post("/api/fields", json=sent)
    assert visit.wait(60)
    assert "no memory is left" in client.post("/api/fields", json=sent).json()[0]["faults"][0]
    client.post("/api/fields", json=sent | {"image": 1})
    assert visit.wait(60) and client.post("/api/fields", json=sent | {"image": 1}).json()[0]["known"] == 1
    assert any(thread.name == "lpdseg-view" for thread in threading.enumerate())


def test_corrections_beyond_any_slide_are_refused_without_a_warning() -> None:
    pytest.importorskip("shapely", reason="the extra slides is not installed")
    from lpdseg.data.corrections import parse_corrections
    from lpdseg.errors import DataError

    for far in (1e308, 1e9):
        ring = [[-far, -far], [far, -far], [far, far], [-far, far], [-far, -far]]
        area = {"type": "MultiPolygon", "coordinates": [[ring], [ring[:4], [[0, 0], [far, far], [1, 2]]]]}
        feature = {"geometry": area, "properties": {"image": "a", "classification": {"name": "pink"}}}
        with pytest.raises(DataError, match="pixels from the corner"):
            parse_corrections([json.loads(json.dumps(feature))], ["pink"], "file")


@pytest.mark.parametrize("ending", [".png", ".ome.tiff", ".npz"])
def test_a_written_mask_that_is_damaged_or_no_mask_is_told(ending: str, tmp_path: Path) -> None:
    import numpy as np
    from PIL import Image

    from lpdseg.errors import DataError
    from lpdseg.view.written import WrittenFile

    path = tmp_path / f"mask{ending}"
    for content in (b"", b"II*\x00\xff\xff\xff\x7f", b"\x89PNG\r\n\x1a\n" + b"\0" * 50):
        path.write_bytes(content)
        with pytest.raises(DataError, match="cannot be read"):
            WrittenFile(path, (8, 8))
    if ending == ".npz":
        odd = np.zeros((2, 8, 8), np.float16)
        for held in ({"probabilities": odd}, {"probabilities": odd, "classes": np.array(["one"])},
                     {"probabilities": odd, "classes": np.array([{}, {}], object)}):  # fmt: skip
            np.savez(path, **held)
            with pytest.raises(DataError, match="cannot be read"):
                WrittenFile(path, (8, 8))
        return
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(path)
    with pytest.raises(DataError, match="cannot be read"):
        WrittenFile(path, (8, 8))


def test_nor_does_a_fault_of_the_ranking(client: TestClient, visit: Visit, monkeypatch: pytest.MonkeyPatch) -> None:
    from lpdseg.view import ranking

    def fails(*_: object) -> None:
        raise RuntimeError("no memory is left")

    monkeypatch.setattr(ranking, "labelled_batches", fails)
    client.post("/api/ranking", json={"what": "rank"})
    assert visit.wait(60)
    assert "no memory is left" in client.post("/api/ranking", json={"what": "look"}).json()["faults"][0]
    assert any(thread.name == "lpdseg-view" and thread.is_alive() for thread in threading.enumerate())
