"""How the page looks where there is little room: on a phone, in the help, in the boxes of its panels."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from accessible import violations
from browsing import browsing, served

sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
pytest.importorskip("starlette", reason="the extra view is not installed")
pytest.importorskip("shapely", reason="the extra slides is not installed")

expect = sync_api.expect

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from lpdseg.view.visit import Visit

pytestmark = pytest.mark.e2e


def at_rest(page: "Page", seen: str) -> list[Any]:
    """What a script tells once it tells the same for a while."""
    told: list[list[Any]] = []
    for _ in range(100):
        told.append(page.evaluate(seen))
        if len(told) > 3 and told[-1] == told[-2] == told[-3]:
            return told[-1]
        page.wait_for_timeout(150)
    raise AssertionError(told[-3:])


def test_a_phone_shows_the_picture_first_and_the_help_says_the_rest(visit: "Visit") -> None:
    with served(visit) as address, browsing(address) as page:
        page.set_viewport_size({"width": 390, "height": 600})
        assert page.locator("header").evaluate("one => one.offsetHeight") < 60
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        page.get_by_role("button", name="Help").click()
        assert page.locator("#keys").evaluate("one => one.scrollTop") == 0  # it begins at its title
        expect(page.get_by_role("button", name="Close")).to_be_in_viewport()
        expect(page.locator("#about-all")).to_have_text(visit.runs[0].about)
        assert violations(page) == []
        page.keyboard.press("Escape")


def test_outlines_have_an_opacity_of_their_own(visit: "Visit") -> None:
    with served(visit) as address, browsing(address) as page:
        told = page.locator("#opacity-told")
        expect(told).to_have_text("50 %")
        page.keyboard.press("o")
        expect(told).to_have_text("100 %")
        page.keyboard.press("[")
        page.keyboard.press("o")
        expect(told).to_have_text("50 %")
        page.keyboard.press("]")
        page.keyboard.press("o")
        expect(told).to_have_text("90 %")
        where = page.evaluate("location.hash")
        page.goto("about:blank")
        page.goto(address + where)
        page.wait_for_selector("body[data-ready]")
        expect(told).to_have_text("90 %")
        expect(page.get_by_label("Outlines only")).to_be_checked()


def test_names_of_layers_fit_their_box(
    visit_to: Callable[..., "Visit"], prototype_run: Path, small_data: Path, tmp_path: Path
) -> None:
    from lpdseg import api

    images = [small_data / "valid" / "img"]
    api.segment_files(prototype_run, images, tmp_path, prototypes=True, uncertainty=True, device="cpu")
    with served(visit_to(prototype_run, tmp_path)) as address, browsing(address) as page:
        expect(page.get_by_label("Layer", exact=True)).to_have_value("written")
        too_long = """() => {
            const box = document.getElementById("layer");
            const pen = document.createElement("canvas").getContext("2d");
            pen.font = getComputedStyle(box).font;
            const room = box.clientWidth - 40;  // its arrow
            const texts = [...box.options].map((one) => one.textContent);
            return texts.filter((text) => pen.measureText(text).width > room);
        }"""
        assert page.locator("#layer option").filter(has_text="gap").count() == 2
        assert page.evaluate(too_long) == []


def test_a_tiny_area_leaves_the_table_its_columns(visit: "Visit") -> None:
    with served(visit) as address, browsing(address) as page:
        answer = {"reason": None, "read": False, "known": 1, "whole": 1, "pixels": [409000, 71, 0], "mm2": 1e-6}
        page.route("**/api/areas", lambda route: route.fulfill(json=[answer]))
        page.keyboard.press("n")
        areas = page.locator("#areas tbody td:nth-child(2)")
        expect(areas).to_have_text(["0.409", "< 0.0001"])
        assert page.locator("#areas").evaluate("one => one.scrollWidth <= one.clientWidth")


def test_images_of_one_size_have_areas_of_one_unit(visit: "Visit") -> None:
    with served(visit) as address, browsing(address) as page:
        pixels = [12544, 0, 0]
        answer = {"reason": None, "read": False, "known": 12544, "whole": 12544, "pixels": pixels, "mm2": 1e-6}
        page.route("**/api/areas", lambda route: route.fulfill(json=[answer]))
        areas, unit = page.locator("#areas tbody td:nth-child(2)"), page.locator("#areas .unit").first
        page.keyboard.press("n")
        expect(areas).to_have_text(["12,500", "0"])
        expect(unit).to_have_text("µm²")
        pixels[:] = [6000, 6544, 0]
        page.keyboard.press("n")
        expect(areas).to_have_text(["6,000", "6,540"])
        expect(unit).to_have_text("µm²")
        answer["whole"] = 125440  # a tenth of a slide is computed
        page.keyboard.press("n")
        expect(areas).to_have_text(["0.006", "0.0065"])
        expect(unit).to_have_text("mm²")


def test_a_region_goes_with_the_area_that_it_is_of(visit: "Visit") -> None:
    with served(visit) as address, browsing(address) as page:
        region = page.locator("#areas tbody td:nth-child(4)").first
        for take_back in (
            lambda: page.keyboard.press("u"),
            lambda: page.get_by_role("button", name="Remove area 1").click(),
        ):
            page.locator("#middle").click()
            expect(page.locator("svg [stroke-dasharray]")).to_have_count(2)
            take_back()
            expect(page.locator("#drawn li")).to_have_count(0)
            expect(page.locator("svg [stroke-dasharray]")).to_have_count(0)
            expect(region).to_have_text("")


def test_keys_lead_to_the_truth_and_the_errors_where_there_are_any(visit: "Visit") -> None:
    with served(visit) as address, browsing(address) as page:
        layer = page.get_by_label("Layer", exact=True)
        page.keyboard.press("t")
        expect(layer).to_have_value("mask")  # a training patch has no truth
        page.get_by_label("Find an image").fill("valid")
        page.locator("#images button").first.click()
        expect(page.locator("#name")).to_have_text(re.compile("^valid"))
        for key, name in (("t", "truth"), ("e", "errors"), ("m", "mask")):
            page.keyboard.press(key)
            expect(layer).to_have_value(name)


def test_two_runs_lie_above_one_another_where_that_gives_them_room(
    visit_to: Callable[..., "Visit"], prototype_run: Path, small_data: Path
) -> None:
    with served(visit_to([prototype_run, prototype_run], small_data)) as address, browsing(address) as page:
        boxes = """() => [...document.querySelectorAll(".view")].map((one) => {
            const { left, top, right, bottom } = one.getBoundingClientRect();
            return [left, top, right, bottom];
        })"""
        beside = page.evaluate(boxes)
        assert beside[0][2] <= beside[1][0]
        assert beside[0][1] == beside[1][1]
        page.set_viewport_size({"width": 390, "height": 844})
        first, second = page.evaluate(boxes)
        assert first[3] <= second[1]
        assert first[0] == second[0] == 0
        assert first[2] == second[2] == 390
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        where = """async () => {
            const { state } = await import("/page/main.js");
            const places = state.pictures.map((one) => one.where());
            return places.map(({ x, y, step }) => [x, y, step].map((n) => n.toFixed(2)));
        }"""
        whole = page.evaluate(where)[0]
        page.keyboard.press("+")
        page.wait_for_function(
            f"whole => ({where})().then(([one, other]) => one[2] !== whole[2] && one.join() === other.join())",
            arg=whole,
        )
        assert violations(page) == []


@pytest.mark.parametrize("runs", [1, 2])
def test_an_image_that_was_seen_whole_is_seen_whole_in_another_window(
    visit_to: Callable[..., "Visit"], prototype_run: Path, small_data: Path, runs: int
) -> None:
    shown = """async () => {
        const { state } = await import("/page/main.js");
        return state.pictures.map((picture) => {
            const { canvas, image } = picture, { step } = picture.where();
            return Math.min((canvas.clientWidth * step) / image.width, (canvas.clientHeight * step) / image.height);
        });
    }"""  # the share of its width or height that has room

    def waits_for(page: "Page", low: float, high: float) -> None:
        for _ in range(100):
            shares = page.evaluate(shown)
            if all(low < share < high for share in shares):
                return
            page.wait_for_timeout(100)
        raise AssertionError(shares)

    with served(visit_to([prototype_run] * runs, small_data)) as address, browsing(address) as page:
        for width, height in ((390, 844), (1440, 700), (800, 1000)):
            page.set_viewport_size({"width": width, "height": height})
            page.wait_for_timeout(500)
            waits_for(page, 0.99, 1.01)
        for _ in range(3):
            page.keyboard.press("+")
        waits_for(page, 0, 0.7)
        page.set_viewport_size({"width": 1440, "height": 700})
        page.wait_for_timeout(500)
        waits_for(page, 0, 0.9)  # somebody's own place stays


def test_two_runs_move_as_one_and_as_far_as_one(
    visit_to: Callable[..., "Visit"], prototype_run: Path, small_data: Path
) -> None:
    where = """async () => {
        const { state } = await import("/page/main.js");
        return state.pictures.map((picture) => picture.where());
    }"""

    def settles(page: "Page", x: float, y: float, step: float) -> None:
        wanted = pytest.approx({"x": x, "y": y, "step": step}, rel=0.01)
        for _ in range(100):
            places = page.evaluate(where)
            if places == [wanted, wanted]:
                return
            page.wait_for_timeout(100)
        raise AssertionError((places, wanted))

    with served(visit_to([prototype_run] * 2, small_data)) as address, browsing(address) as page:
        page.keyboard.press("0")
        first = at_rest(page, where)[0]
        x, y, step = first["x"], first["y"], first["step"]
        page.keyboard.press("+")
        settles(page, x, y, step / 1.5)
        page.keyboard.press("-")
        page.keyboard.press("-")
        settles(page, x, y, step * 1.5)
        page.keyboard.press("+")
        settles(page, x, y, step)
        box = page.locator(".picture").nth(1).bounding_box()
        assert box is not None
        middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        page.mouse.move(*middle)
        page.mouse.down()
        page.mouse.move(middle[0] - 40, middle[1] + 24, steps=4)
        page.wait_for_timeout(500)  # held still, so that nothing goes on by itself
        page.mouse.up()
        settles(page, x + 40 * step, y - 24 * step, step)  # the second one leads
        page.keyboard.press("+")
        settles(page, x + 40 * step, y - 24 * step, step / 1.5)  # and the first one again
        for _ in range(9):
            page.keyboard.press("+")
        settles(page, x + 40 * step, y - 24 * step, 1 / 64)  # keys come no nearer than the wheel


def test_keys_on_the_picture_neither_turn_nor_mirror_it_and_act_once(visit: "Visit") -> None:
    seen = """async () => {
        const { state } = await import("/page/main.js");
        const picture = state.pictures[0], { viewport } = picture.viewer;
        return [...Object.values(picture.where()), viewport.getFlip(), viewport.getRotation()];
    }"""
    with served(visit) as address, browsing(address) as page:
        page.locator(".openseadragon-canvas").first.focus()
        page.keyboard.press("0")
        before = at_rest(page, seen)
        for key in "frRwasdjk":
            page.keyboard.press(key)
        assert at_rest(page, seen) == before
        page.keyboard.press("ArrowLeft")
        x, y, step, *_ = at_rest(page, seen)
        assert x < before[0]
        assert (y, step) == pytest.approx(before[1:3])
        page.keyboard.press("-")
        assert at_rest(page, seen)[2] == pytest.approx(1.5 * step, rel=0.01)
