"""The page in a real browser, as a pathologist uses it, with names that would do harm if they were HTML.

Nothing but this machine can be reached, and what is asked for elsewhere is noted.
"""

import io
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

import pink_and_blue
from accessible import violations
from browsing import browsing, served

sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
pytest.importorskip("starlette", reason="the extra view is not installed")
pytest.importorskip("shapely", reason="the extra slides is not installed")

expect = sync_api.expect

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.e2e

HOSTILE = '<img src=x onerror="document.title=`owned`">&amp;'


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory, small_settings: tuple[str, ...]) -> tuple[Path, Path]:
    """A run whose classes have such names, and a slide that has one too."""
    from lpdseg.api import train

    folder, rng = tmp_path_factory.mktemp("hostile"), np.random.default_rng(0)
    data = folder / "data"
    (data / "train").mkdir(parents=True)
    for number in range(12):
        pixels, mask = pink_and_blue.draw(number, rng)
        label = f"{int((mask == 0).any())}{int((mask == 1).any())}"
        Image.fromarray(pixels).save(data / "train" / f"t{number % 3}_{number}[{label}].png")
    names = [HOSTILE, "blue' onclick='x"]
    (data / "classes.yaml").write_text(json.dumps({"names": names, "background": 255}))
    taught = ("loss.composite.weight=1", "model.head_width=8", "predict.gate=none", "predict.offsets=false")
    taught += ("loss.morphology.weight=0",)
    train(data, folder / "run", overrides=(*small_settings, *taught), device="cpu")
    (folder / "run" / "edits.yaml").write_text(
        json.dumps({"blue' onclick='x 1": {"name": "<script>alert(1)</script>"}})
    )
    patches = folder / "patches"
    patches.mkdir()
    for number in range(3):
        Image.fromarray(pink_and_blue.draw(number + 5, rng)[0]).save(patches / f"{number}<b onclick=x>&quot;.png")
    slide = np.full((256, 2112, 3), 250, np.uint8)
    for column in range(2, 64):
        for row in range(1, 7):
            part = pink_and_blue.draw(row + column, rng)[0]
            slide[row * 32 : row * 32 + 32, column * 32 : column * 32 + 32] = part
    Image.fromarray(slide).save(patches / "slide<svg onload=x>.png")
    return folder / "run", patches


@pytest.fixture
def address(hostile: tuple[Path, Path]) -> Iterator[tuple[str, Any]]:
    """A server in a thread of its own: where it is, and the visit that it shows."""
    from lpdseg.checkpoint import read_state
    from lpdseg.tissue import TissueClasses
    from lpdseg.view.items import open_items
    from lpdseg.view.visit import Visit
    from lpdseg.workflows.slides.options import SlideOptions

    run, patches = hostile
    classes = TissueClasses.from_dict(read_state(run, "best")["classes"])
    opened = open_items(run, [patches], classes)
    options = SlideOptions(device="cpu", mpp=0.5, model_mpp=0.5, window=32)
    visit = Visit([run], opened, options, patches.parent / "corrections.geojson")
    with served(visit) as found:
        yield found, visit
    visit.close()


@pytest.fixture
def page(address: tuple[str, Any]) -> Iterator["Page"]:
    with browsing(address[0]) as page:
        yield page
        assert page.title() != "owned" and page.locator("img[src=x]").count() == 0
        assert page.locator("[onclick], [onerror], [onload], script:not([src])").count() == 0


def seen(page: "Page", x: int = 640, y: int = 450, side: int = 300) -> np.ndarray:
    """The middle of the picture."""
    clip = {"x": x - side // 2, "y": y - side // 2, "width": side, "height": side}
    return np.asarray(Image.open(io.BytesIO(page.screenshot(clip=clip))).convert("RGB")).astype(int)


def settled(page: "Page", differs: Callable[[np.ndarray], bool]) -> np.ndarray:
    """The picture, once it is as it should be and stays so."""
    before = None
    for _ in range(120):
        found = seen(page)
        if differs(found) and before is not None and (found == before).all():
            return found
        before = found
        page.wait_for_timeout(500)
    raise AssertionError("the picture has not changed")


def computed(page: "Page", visit: Any) -> None:
    """Waits for fields; the page's requests are judged meanwhile."""
    for _ in range(600):
        if visit.wait(0):
            return
        page.wait_for_timeout(200)
    raise AssertionError("fields are still being computed")


def differs_from(before: np.ndarray) -> Callable[[np.ndarray], bool]:
    return lambda found: np.abs(found - before).mean() > 2


def test_a_slide_is_looked_at_edited_and_corrected(page: "Page", address: tuple[str, Any], hostile: Any) -> None:
    run, patches = hostile
    visit = address[1]
    page.get_by_label("Find an image").fill("slide")
    page.locator("#images button").click()
    expect(page).to_have_title(re.compile("^slide"))
    page.get_by_label("Layer", exact=True).select_option("")
    bare = settled(page, lambda found: found.std() > 10)  # tissue, not the page's ground
    page.get_by_label("Layer", exact=True).select_option("mask")
    page.keyboard.press("Tab")
    computed(page, visit)
    page.get_by_label("Opacity").fill("100")
    masked = settled(page, differs_from(bare))
    page.get_by_label("Opacity").fill("50")  # one layer lies there, however many came before it
    assert np.abs(settled(page, differs_from(masked)) - (bare + masked) / 2).mean() < 4
    page.get_by_label("Opacity").fill("100")
    settled(page, lambda found: not differs_from(masked)(found))
    tick = page.locator("#class-0")  # a class is switched off
    tick.uncheck()
    settled(page, differs_from(masked))
    tick.check()
    masked = settled(page, lambda found: not differs_from(masked)(found))
    mask = {key: value.classes.copy() for key, value in visit.runs[0].known(visit_slide(visit)).items()}
    for key in ("1", "2"):  # the prototypes of the first class are moved to the second: the mask changes at once
        page.locator("#prototypes details").first.evaluate("one => { one.open = true; }")
        with page.expect_response("**/api/edits"):
            page.locator(f"#action-{int(key) - 1}").select_option(
                f"move:{visit.runs[0].segmenter.classes.names[1]}"
            )
        expect(page.locator("#edits-told")).to_have_text(re.compile("^Not saved"))
    computed(page, visit)
    settled(page, differs_from(masked))
    after = visit.runs[0].known(visit_slide(visit))
    assert sum(one.classes[0] for one in after.values()) == 0 < sum(one[0] for one in mask.values())
    with page.expect_response("**/api/edits"):
        page.locator("#save-edits").click()
    expect(page.locator("#save-edits")).to_be_disabled()
    assert "move" in (run / "edits.yaml").read_text(encoding="utf-8")
    page.locator("#reset-edits").click()
    expect(page.locator("#edits-told")).to_have_text(re.compile("^Not saved yet: the edits in .* do not act here"))

    page.keyboard.press("a")  # a correction is drawn and saved
    page.mouse.move(600, 430)
    page.mouse.down()
    for x, y in ((680, 430), (680, 470), (600, 470)):
        page.mouse.move(x, y, steps=4)
    page.mouse.up()
    page.locator("#tool-stroke").check()
    page.mouse.move(620, 440)
    page.mouse.down()
    page.mouse.move(660, 460, steps=5)
    page.mouse.up()
    expect(page.locator("#drawn li")).to_have_count(2)
    with page.expect_response("**/api/corrections"):
        page.locator("#save-drawn").click()
    expect(page.locator("#save-drawn")).to_be_disabled()
    saved = json.loads((patches.parent / "corrections.geojson").read_text(encoding="utf-8"))["features"]
    assert [one["geometry"]["type"] for one in saved] == ["Polygon", "LineString"]
    assert {one["properties"]["image"] for one in saved} == {"slide<svg onload=x>.png"}
    assert saved[0]["properties"]["classification"]["name"] == HOSTILE


def visit_slide(visit: Any) -> int:
    return next(index for index, item in enumerate(visit.items) if item.slide)


def test_a_patch_is_labelled_and_the_address_reopens_the_view(page: "Page", address: tuple[str, Any]) -> None:
    page.keyboard.press("n")
    expect(page).to_have_title(re.compile("^1<b"))
    page.keyboard.press("o")
    page.keyboard.press("2")
    page.locator("#label-1").check()
    with page.expect_response("**/api/corrections"):
        page.locator("#save-drawn").click()
    expect(page.locator("#save-drawn")).to_be_disabled()
    where = page.evaluate("location.hash")
    assert "outline=1" in where and "hidden=1" in where and "layer=mask" in where
    page.goto("about:blank")
    page.goto(address[0] + where)
    page.wait_for_selector("body[data-ready]")
    assert page.evaluate("document.title").startswith("1<b")
    assert page.locator("#outline").is_checked() and not page.locator("#class-1").is_checked()
    assert page.locator("#label-1").is_checked()


def test_what_is_done_while_an_answer_is_on_its_way_is_kept(page: "Page", address: tuple[str, Any]) -> None:
    held: list[Any] = []
    for kind in ("edits", "corrections"):
        page.route(f"**/api/{kind}", lambda route: held.append(route))

    def let_through() -> None:
        page.wait_for_timeout(300)  # the page's requests are noted meanwhile
        for _ in range(300):
            if held:
                break
            page.wait_for_timeout(100)
        assert len(held) == 1
        with page.expect_response(held[0].request.url):
            held.pop().continue_()

    editing, keys = address[1].editing, address[1].runs[0].plain.prototype_names
    count = len({*editing.entries, *keys[:2]})
    page.locator("#prototypes details").first.evaluate("one => { one.open = true; }")
    for k in (0, 1):  # the second name is given before the first one is answered
        page.locator(f"#name-{k}").fill(f"name {k}")
        page.locator(f"#name-{k}").blur()
    let_through()
    let_through()
    expect(page.locator("#edits-told")).to_have_text(re.compile(f"^Not saved yet: {count}"))
    assert [editing.entries[key].get("name") for key in keys[:2]] == ["name 0", "name 1"]
    before = page.locator("#drawn li").count()
    page.locator("#middle").click()
    page.locator("#save-drawn").click()
    page.locator("#middle").click()  # another is drawn while the first is being saved
    page.locator("#save-drawn").click()
    let_through()
    let_through()
    expect(page.locator("#save-drawn")).to_be_disabled()
    expect(page.locator("#drawn li")).to_have_count(before + 2)
    assert page.locator("#problem").inner_text() == ""
    page.locator("#reset-edits").click()
    let_through()
    expect(page.locator("#edits-told")).to_have_text(re.compile("^(No edits|Not saved yet: the edits in)"))


def test_everything_has_a_name_can_be_reached_by_keys_and_read(page: "Page") -> None:
    """What WCAG 2.2 asks at level AA, as far as a program can tell, in the states that the page has."""
    for one in page.locator("details").all():
        one.evaluate("one => { one.open = true; }")
    assert violations(page) == []
    with page.expect_response("**/api/edits"):
        page.locator("#name-0").fill("a name")
        page.locator("#name-0").blur()
    expect(page.locator("#edits-told")).to_have_text(re.compile("^Not saved yet"))
    drawn = page.locator("#drawn li").count()
    page.locator("#middle").click()
    expect(page.locator("#drawn li")).to_have_count(drawn + 1)
    assert violations(page) == []
    page.get_by_label("Find an image").fill("slide")
    page.locator("#images button").click()
    expect(page).to_have_title(re.compile("^slide"))
    page.get_by_label("Layer", exact=True).select_option("entropy")
    assert violations(page) == []
    page.keyboard.press("?")
    assert page.locator("#keys").is_visible()
    assert violations(page) == []
    page.keyboard.press("Escape")
    assert not page.locator("#keys").is_visible()
    reached = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id || document.activeElement.className"))
    assert {"filter", "layer", "opacity", "outline", "openseadragon-canvas", "class-0"} <= reached


def test_only_what_there_is_to_do_can_be_pressed(page: "Page") -> None:
    answer = {"reason": None, "stamp": "now", "known": 1, "fields": 4, "waiting": 0, "faults": []}

    def answered(route: Any) -> None:
        what = route.request.post_data_json["what"]
        answer["waiting"] = {"all": 3, "stop": 0}.get(what, answer["waiting"])
        route.fulfill(json=[answer])

    page.route("**/api/fields", answered)
    page.get_by_label("Find an image").fill("slide")
    page.locator("#images button").click()
    whole, stop = page.get_by_role("button", name="Segment all of this slide"), page.locator("#stop")
    expect(page.locator("#progress")).to_have_text(re.compile("^1 of 4 fields"))
    expect(whole).to_be_enabled()
    expect(stop).to_be_disabled()
    whole.click()
    expect(whole).to_be_disabled()
    expect(stop).to_be_focused()
    stop.click()
    expect(stop).to_be_disabled()
    expect(whole).to_be_focused()
    whole.click()
    expect(stop).to_be_focused()
    answer.update(known=4, waiting=0)
    expect(stop).to_be_disabled()
    expect(whole).to_be_disabled()
    expect(page.get_by_label("Layer", exact=True)).to_be_focused()


def test_images_are_ranked_and_opened_from_the_worst_on(page: "Page", address: tuple[str, Any]) -> None:
    assert page.get_by_label("Order").locator("option:disabled").count() == 2  # nothing is ranked yet
    page.get_by_role("button", name="Rank the images").click()
    expect(page.locator("#rank-told")).to_have_text(re.compile("^All 3|^All [4-9]"))
    expect(page.get_by_label("Order")).to_have_value("uncertainty")
    found = address[1].ranking.results()
    worst = [found["ranked"][at] for at in found["orders"]["uncertainty"]]
    told = page.locator("#images button").all_inner_texts()
    names = [address[1].items[one["image"]].name for one in worst]
    assert [text.startswith(name) for text, name in zip(told, names, strict=True)] == [True] * len(worst)
    page.locator("#images button").first.click()
    expect(page).to_have_title(re.compile("^" + re.escape(names[0])))
    page.get_by_label("Order").select_option("")
    expect(page.locator("#images button")).to_have_count(4)


def test_names_in_the_tables_of_a_ranking_are_text_and_can_be_read(page: "Page") -> None:
    figures = {"error": 25.0, "unsure": 5.0, "disagreement": None}
    found = {
        "ranked": [{"image": 0, "box": None, **figures, "confused": f"{HOSTILE} as blue"}],
        "orders": {"error": [0]},
        "names": [HOSTILE, "blue"],
        "confusion": [[3, 1], [0, 4]],
        "patients": [{"patient": HOSTILE, "patches": 1, "miou": 70.0, **figures}],
    }

    def answered(route: Any) -> None:
        if route.request.method == "GET":
            route.fulfill(json=found)
        else:
            route.fallback()

    page.route("**/api/ranking", answered)
    page.get_by_role("button", name="Rank the images").click()
    expect(page.locator("#images small")).to_have_text(f"25.0 % wrong, {HOSTILE} as blue")
    assert page.locator("#confusion th").all_inner_texts() == ["Truth, mask", HOSTILE, "blue", HOSTILE, "blue"]
    assert page.locator("#patients tbody th").inner_text() == HOSTILE
    told = page.get_by_role("button", name=f"25.0 % of {HOSTILE} is taken for blue: 1 px", exact=True)
    assert violations(page) == []
    told.click()  # these patches have no truth, so no image has a pixel there
    expect(page.locator("#narrowed")).to_have_text(
        f"Images in which {HOSTILE} is taken for blue, most pixels first."
    )
    expect(page.locator("#images button")).to_have_count(0)
    page.get_by_role("button", name="Show all again").click()
    expect(page.locator("#images button")).to_have_count(1)
