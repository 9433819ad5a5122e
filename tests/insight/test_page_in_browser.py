"""A report in a real browser: it asks for nothing, runs nothing, and fits a phone, in light and dark."""

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

import lpdseg
from accessible import violations
from lpdseg.cli.main import app

sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [pytest.mark.e2e, pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")]

NAME = "<img src=x onerror=alert(1)>"
SHOWN = """() => ({
  wide: document.documentElement.scrollWidth > innerWidth,
  broken: [...document.images].filter(one => !one.complete || one.naturalWidth === 0).length,
  named: [...document.images].filter(one => !one.alt).length,
  tiny: [...document.querySelectorAll(".wide text")].filter(one => one.getBoundingClientRect().height < 9).length,
  broken_heads: [...document.querySelectorAll(".matrix th + th")].filter(one => {
    const style = getComputedStyle(one);
    return innerWidth < 700 && one.closest("thead") && style.writingMode !== "vertical-rl";
  }).length,
  cut: [...document.querySelectorAll(".scroll")].filter(one => one.scrollWidth > one.clientWidth)
    .map(one => `${one.ariaLabel} ${one.scrollWidth} ${one.innerText}`),
  alone: [...document.querySelectorAll(".patch .tiles")].filter(one => {
    const tops = [...one.children].map(tile => tile.offsetTop);
    return tops.length > 1 && tops.at(-1) > tops.at(-2);
  }).length,
  astray: [...document.querySelectorAll("tbody tr")].filter(row => {  // cells that are not below their heads
    const heads = [...row.closest("table").tHead.rows[0].cells].map(one => one.offsetWidth > 0);
    return heads.some((is, place) => is !== (row.cells[place].offsetWidth > 0));
  }).length,
  paper: getComputedStyle(document.body).backgroundColor,
})"""


@pytest.fixture(scope="module")
def pages(small_run: Path, prototype_run: Path, small_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pages")
    named = Path(shutil.copytree(small_run, folder / NAME))
    lpdseg.report([named, prototype_run], small_data, folder / "several.html", classes="pink,blue", device="cpu")
    lpdseg.report(prototype_run, small_data, folder / "one.html", classes="pink,blue", device="cpu")
    atlas = ["prototypes", str(prototype_run), "--data", str(small_data), "--out", str(folder / "atlas.html")]
    told = CliRunner().invoke(app, [*atlas, "--classes", "pink,blue", "--device", "cpu"])
    assert told.exit_code == 0, told.output
    return folder


@pytest.mark.parametrize("name", ["one.html", "several.html", "atlas.html"])
def test_a_page_asks_for_nothing_and_fits(pages: Path, name: str) -> None:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        papers = set()
        for scheme in ("light", "dark"):
            for width in (1200, 390):
                page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
                asked: list[str] = []
                said: list[str] = []
                page.on("request", lambda request, asked=asked: asked.append(request.url))
                page.on("console", lambda message, said=said: said.append(message.text))
                page.on("dialog", lambda dialog, said=said: (said.append(dialog.message), dialog.dismiss()))
                page.goto((pages / name).as_uri())
                shown = page.evaluate(SHOWN)
                papers.add(shown.pop("paper"))
                assert shown.pop("wide") is False, (scheme, width)
                assert shown.pop("cut") == [], (scheme, width)
                assert shown == dict.fromkeys(shown, 0), (scheme, width)
                assert [url for url in asked if not url.startswith("data:")] == [(pages / name).as_uri()]
                assert said == []
                page.close()
        assert len(papers) == 2
        browser.close()


def test_a_page_can_be_read_by_everybody(pages: Path) -> None:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1200, "height": 800})
        for name in ("several.html", "one.html"):
            page.goto((pages / name).as_uri())
            assert violations(page) == [], name
        page.evaluate("() => document.body.append(document.createElement('img'))")
        assert [told.split(" at ")[0] for told in violations(page)] == ["light: image-alt", "dark: image-alt"]
        browser.close()
