"""The page over a data set and many images, in a real browser: what drawing costs, what is ranked and found."""

import json
import re
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from browsing import browsing, served

sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
pytest.importorskip("starlette", reason="the extra view is not installed")
pytest.importorskip("shapely", reason="the extra slides is not installed")

expect = sync_api.expect

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from lpdseg.view.visit import Visit

pytestmark = pytest.mark.e2e


def opened(page: "Page", words: str) -> None:
    """Opens the first image that is found."""
    page.get_by_label("Find an image").fill(words)
    page.locator("#images button").first.click()
    expect(page).to_have_title(re.compile(f"^{words}"))


def test_what_is_drawn_on_patches_of_figures_costs_patients(visit: "Visit") -> None:
    with served(visit) as address, browsing(address) as page:
        cost = page.locator("#cost")
        opened(page, "train/t0_0")
        page.keyboard.press("a")
        page.locator("#middle").click()
        page.locator("#label-1").click()
        expect(page.locator("#drawn li")).to_have_count(1)
        expect(cost).to_have_text("")
        page.keyboard.press("v")
        opened(page, "valid/img/v0_12")
        expect(cost).to_have_text("")
        page.locator("#label-1").click()
        expect(cost).to_have_text("Labels of patches of valid are not learnt: what is ticked here changes nothing.")
        page.keyboard.press("s")
        expect(cost).to_contain_text(
            "Training would learn what is drawn here, and take patient v0 out of the figures of valid: 2 of its 4"
        )
        page.locator("#middle").click()
        expect(cost).to_contain_text("learns what you drew here, and takes patient v0 out of")
        assert "nobody" not in cost.inner_text()
        opened(page, "valid/img/v1_13")
        page.locator("#middle").click()
        expect(cost).to_contain_text("2 patients that you drew on, v1 among them, out of")
        expect(cost).to_contain_text("That leaves nobody to measure on, so training will refuse")
        page.get_by_role("button", name="Remove area 1").click()
        page.keyboard.press("v")
        expect(cost).to_have_text("")


def test_whose_the_patches_of_a_slide_are_is_told_where_it_is_drawn_on(
    visit_to: Callable[..., "Visit"], prototype_run: Path, tmp_path: Path
) -> None:
    for name in ("case", "other"):
        Image.new("RGB", (2100, 40), "pink").save(tmp_path / f"{name}.png")
    told = {"path": "case.png", "slide": {"sha256": "0"}, "scale": [1, 1], "origin": [0, 0]}
    (tmp_path / "data/case").mkdir(parents=True)
    (tmp_path / "data/slides.json").write_text(json.dumps({"case": told}))
    rows = ["path,pink,blue,split,patient"]
    for number, (split, patient) in enumerate(
        [("train", "<i>p</i>"), ("valid", "v"), ("valid", "v"), ("valid", "w")]
    ):
        path = f"case/case_{number}_0.png" if number < 3 else "w.png"
        Image.new("RGB", (32, 32), (number, 0, 0)).save(tmp_path / "data" / path)
        rows.append(f"{path},1,0,{split},{patient}")
    (tmp_path / "data/manifest.csv").write_text("\n".join(rows) + "\n")
    slides = [tmp_path / "case.png", tmp_path / "other.png"]
    visit = visit_to(prototype_run, tmp_path / "data", *slides)
    with served(visit) as address, browsing(address) as page:
        cost = page.locator("#cost")
        opened(page, "case.png")
        expect(cost).to_have_text("")
        page.keyboard.press("s")
        expect(cost).to_have_text(
            "What is drawn here is learnt on the patches that were cut from this slide: 1 patch of train, of "
            "patient <i>p</i>; 2 patches of valid, of patient v. Figures are measured on valid. Training would "
            "learn what is drawn here, and take patient v out of the figures of valid: 2 of its 3 patches."
        )
        page.locator("#middle").click()
        expect(cost).to_contain_text("Training learns what you drew here, and takes patient v out of the figures")
        opened(page, "w.png")  # what was drawn on the slide counts on other images too
        expect(cost).to_contain_text("2 patients that you drew on, w among them, out of the figures of valid: 3 of")
        expect(cost).to_contain_text("That leaves nobody to measure on")
        opened(page, "other.png")
        expect(cost).to_contain_text("The data have no patches of this slide, so training would refuse")
    with served(visit_to(prototype_run, *slides)) as address, browsing(address) as page:
        opened(page, "case.png")
        page.keyboard.press("a")
        expect(page.locator("#cost")).to_contain_text("have no patches of this slide")  # the run's own data


def test_the_class_to_draw_with_has_keys(visit: "Visit") -> None:
    with served(visit) as address, browsing(address) as page:
        chosen = page.get_by_label("Class", exact=True)
        expect(chosen).to_have_value("pink")
        page.keyboard.press("c")
        expect(chosen).to_have_value("blue")
        expect(page.locator("#drawn-as")).to_have_text("Drawn as blue")
        page.keyboard.press("c")
        expect(chosen).to_have_value("pink")
        page.keyboard.press("C")
        expect(chosen).to_have_value("blue")
        page.keyboard.press("Shift+Digit1")
        expect(chosen).to_have_value("pink")
        page.keyboard.press("Shift+Digit7")  # there is no such class
        expect(chosen).to_have_value("pink")
        assert page.locator("#class-0").is_checked() and page.locator("#class-1").is_checked()


def test_one_thing_is_no_plural(visit: "Visit") -> None:
    visit.runs[0].loaded.model.head.live[1] = False
    with served(visit) as address, browsing(address) as page:
        page.locator("#prototypes details").first.evaluate("one => { one.open = true; }")
        assert [text.strip() for text in page.locator("#prototypes summary").all_inner_texts()] == [
            "pink: 1 prototype", "blue: 2 prototypes"
        ]  # fmt: skip
        expect(page.locator("#prototypes details > p")).to_have_text(
            "1 prototype is retired: training found no use for it."
        )


def test_panels_scroll_and_the_page_does_not(visit: "Visit") -> None:
    with served(visit) as address, browsing(address) as page:
        page.set_viewport_size({"width": 1000, "height": 400})
        page.locator("#prototypes details").first.evaluate("one => { one.open = true; }")
        expect(page.locator("#prototypes .card").first).to_be_visible()
        assert page.evaluate("document.querySelector('aside').scrollHeight > innerHeight")
        assert page.evaluate("document.documentElement.scrollHeight <= innerHeight")


def test_images_that_are_found_can_be_ranked_alone(visit: "Visit") -> None:
    with served(visit) as address, browsing(address) as page:
        page.get_by_label("Find an image").fill("nothing")
        expect(page.locator("#rank")).to_be_disabled()
        page.get_by_label("Find an image").fill("valid")
        page.get_by_role("button", name="Rank 4 images found").click()
        expect(page.locator("#rank-told")).to_have_text(
            "All 4 that “valid” finds are ranked; orders and tables are of these alone."
        )
        expect(page.locator("#images button")).to_have_count(4)
        expect(page.locator("#patients tbody td").first).to_have_text("2")
        page.get_by_label("Find an image").fill("")
        expect(page.locator("#images button")).to_have_count(4)
        page.get_by_role("button", name="Rank the images").click()
        expect(page.locator("#rank-told")).to_have_text("All 16 are ranked.")
        expect(page.locator("#count")).to_have_text("4 of 16 images; those without a true mask have no error")


def test_both_runs_tell_what_is_under_the_cursor(
    visit_to: Callable[..., "Visit"], prototype_run: Path, small_run: Path, small_data: Path
) -> None:
    both = visit_to([prototype_run, small_run], small_data, mpp=0.5)
    with served(both) as address, browsing(address) as page:
        expect(page.locator(".view .title")).to_have_text(["First run: prototypes", "Second run: small"])
        expect(page.locator("#whose")).to_have_text(
            "Areas, prototypes and edits are of the first run. "
            "The second run is shown as it was trained, without edits."
        )
        areas = page.locator("#areas tbody td:nth-child(2)")
        expect(areas.first).not_to_have_text("")
        assert page.locator("#areas thead .unit").all_inner_texts() == ["µm²", "µm²"]
        height = """name => {
            const [row] = document.querySelector("#areas tbody").rows;
            row.cells[0].querySelector("label").lastChild.textContent = name;
            const texts = ["999,000", "100.0", "999,000", "100.0"];
            texts.forEach((text, at) => { row.cells[at + 1].textContent = text; });
            return row.offsetHeight;
        }"""
        assert page.evaluate(height, "lymphocytes") == page.evaluate(height, "x")  # no word of a class is broken
        for _ in range(200):  # until both runs have computed it
            page.mouse.move(450, 500)
            page.mouse.move(455, 500)
            page.wait_for_timeout(300)
            told = page.locator("#cursor").inner_text()
            if "First run: " in told and "Second run: " in told:
                break
        assert re.fullmatch(
            r"x \d+, y \d+\. First run: (pink|blue), .*entropy [\d.]+\. Second run: .*entropy [\d.]+", told
        )


def test_what_is_read_and_what_is_computed_is_told(
    visit_to: Callable[..., "Visit"], prototype_run: Path, small_data: Path, tmp_path: Path
) -> None:
    from lpdseg import api

    api.segment_files(prototype_run, [small_data / "valid" / "img"], tmp_path, prototypes=True, device="cpu")
    visit = visit_to(prototype_run, tmp_path)

    def at_the_cursor(page: "Page", ending: str) -> None:
        for _ in range(100):  # until it is known
            page.mouse.move(600, 500)
            page.mouse.move(605, 500)
            page.wait_for_timeout(200)
            if page.locator("#cursor").inner_text().endswith(ending):
                return
        raise AssertionError(page.locator("#cursor").inner_text())

    with served(visit) as address, browsing(address) as page:
        layer, source = page.get_by_label("Layer", exact=True), page.locator("#source")
        extent, cursor = page.locator("#extent"), page.locator("#cursor")
        expect(layer).to_have_value("written")
        expect(source).to_have_text(re.compile(r"^Read from .*masks.*\.png\. Edits do not change it\.$"))
        expect(extent).to_have_text("Areas are of the whole image, read from the results; shares are of tissue.")
        expect(page.locator("#areas thead .unit").first).to_have_text("px")
        expect(page.locator("#areas tbody td:nth-child(2)").first).to_have_text(re.compile(r"^[\d,]+$"))
        at_the_cursor(page, "as written; the results hold no probabilities")
        expect(page.locator("#areas tbody td:nth-child(5)")).to_have_text(["", ""])
        layer.select_option("Winning prototype as written")
        expect(source).to_have_text(re.compile(r"^Read from .*prototypes.*\.png\. Edits do not change it\.$"))
        assert visit.runs[0].known(0) == {}  # nothing was computed
        layer.select_option("Mask")
        expect(source).to_have_text("Computed by the run, with the edits of the moment.")
        expect(extent).to_have_text("Areas are of the whole image, as the run computes it; shares are of tissue.")
        expect(cursor).to_have_text(re.compile(r"entropy [\d.]+$"))  # of this layer, also where nobody moves
        layer.select_option("None")
        expect(source).to_have_text("")
        page.keyboard.press("Escape")
        page.locator("#outline").focus()
        page.keyboard.press("l")
        expect(layer).to_have_value("mask")
        page.keyboard.press("l")
        page.keyboard.press("n")
        expect(page.locator("#images [aria-current]")).to_have_text(re.compile("^v0_14"))
        expect(layer).to_have_value("")


def test_results_of_the_second_run_are_not_shown_as_the_first_ones(
    visit_to: Callable[..., "Visit"], prototype_run: Path, small_run: Path, small_data: Path, tmp_path: Path
) -> None:
    from lpdseg import api

    api.segment_files(small_run, [small_data / "valid" / "img"], tmp_path, device="cpu")
    with served(visit_to([prototype_run, small_run], tmp_path)) as address, browsing(address) as page:
        expect(page.get_by_label("Layer", exact=True)).to_have_value("written")
        expect(page.locator("#source")).to_have_text(
            re.compile(
                r"^First run: computed by the run, with the edits of the moment\. "
                r"Second run: read from .*masks.*\.png\. Edits do not change it\.$"
            )
        )
        expect(page.locator("#extent")).to_have_text("Areas are of the whole image; shares are of tissue.")


def test_a_link_leads_to_an_image_far_down_the_list(
    visit_to: Callable[..., "Visit"], prototype_run: Path, tmp_path: Path
) -> None:
    for number in range(1001):
        Image.fromarray(np.full((32, 32, 3), 200, np.uint8)).save(tmp_path / f"{number:04}.png")
    with served(visit_to(prototype_run, tmp_path)) as address, browsing(f"{address}#image=0900.png") as page:
        expect(page).to_have_title(re.compile("^0900"))
        expect(page.locator("#images [aria-current]")).to_be_in_viewport(ratio=1)
        expect(page.locator("#count")).to_have_text("1,001 of 1,001 images")
        page.locator("#images [aria-current]").focus()
        page.keyboard.press("n")
        expect(page).to_have_title(re.compile("^0901"))
        expect(page.locator("#images [aria-current]")).to_be_in_viewport(ratio=1)
        expect(page.locator("#images [aria-current]")).to_be_focused()


def test_a_link_from_another_site_opens_the_page(visit: "Visit") -> None:
    """As from a mail that is read in the browser; what else another site asks for is refused, see the guard."""
    with served(visit) as address:

        class Mail(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "text/html")
                self.end_headers()
                self.wfile.write(b'<link rel="icon" href="data:,">' + f'<a href="{address}">look</a>'.encode())

            def log_message(self, *_: Any) -> None: ...

        with HTTPServer(("127.0.0.1", 0), Mail) as mail:
            threading.Thread(target=mail.serve_forever, daemon=True).start()
            site = f"http://localhost:{mail.server_port}/"  # another site than 127.0.0.1
            with browsing(site, (site,), ready=False) as page:
                page.get_by_role("link").click()
                page.wait_for_selector("body[data-ready]")
                page.reload()
                page.wait_for_selector("body[data-ready]")
            mail.shutdown()
