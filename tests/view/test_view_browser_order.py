"""Answers that come in another order than they were asked for, in a real browser: the newest question counts."""

import re
from typing import TYPE_CHECKING, Any

import pytest

from browsing import browsing, served

sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
pytest.importorskip("starlette", reason="the extra view is not installed")
pytest.importorskip("shapely", reason="the extra slides is not installed")

expect = sync_api.expect

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Page, Route

    from lpdseg.view.visit import Visit

pytestmark = pytest.mark.e2e


class Late:
    """Holds back the first request to `address` that `which` is true of, until it is let through."""

    def __init__(self, page: "Page", address: str, which: "Callable[[Any], bool]" = bool) -> None:
        self.page, self.held, self.which = page, [], which
        page.route(address, self.comes)

    def comes(self, route: "Route") -> None:
        if not self.held and self.which(route.request):
            self.held.append(route)
        else:
            route.fallback()

    def wait(self) -> None:
        for _ in range(300):
            if self.held:
                return
            self.page.wait_for_timeout(100)
        pytest.fail("nothing was asked")

    def let_through(self, answer: Any = None) -> None:
        """Waits until the page has had time to take the answer, its own or `answer`."""
        with self.page.expect_response(self.held[0].request.url):
            if answer is None:
                self.held[0].continue_()
            else:
                self.held[0].fulfill(json=answer)
        self.page.wait_for_timeout(300)


def test_a_region_that_was_taken_back_does_not_return(visit: "Visit") -> None:
    with served(visit) as address, browsing(address) as page:
        region = page.locator("#areas tbody td:nth-child(4)").first
        late = Late(page, "**/api/areas", lambda request: "polygon" in request.post_data_json)
        page.locator("#middle").click()
        late.wait()
        with page.expect_response("**/api/areas"):
            page.keyboard.press("u")
        late.let_through()
        assert region.inner_text() == ""
        page.locator("#middle").click()
        expect(region).not_to_have_text("")


def test_areas_do_not_go_back_to_what_they_were(visit: "Visit") -> None:
    with served(visit) as address, browsing(address) as page:
        area = page.locator("#areas tbody td:nth-child(2)").first
        expect(area).to_have_text(re.compile(r"\d{2}"))  # "0" until the first results are there
        late = Late(page, "**/api/areas")
        page.locator("#middle").click()
        late.wait()
        page.keyboard.press("u")
        expect(page.locator("svg [stroke-dasharray]")).to_have_count(0)
        page.wait_for_timeout(300)
        old = {"reason": None, "read": False, "known": 1, "whole": 1, "pixels": [1, 1, 0], "mm2": None}
        late.let_through([old])
        assert area.inner_text() not in ("", "0", "1")


def test_what_is_computed_of_another_image_is_not_drawn(visit: "Visit") -> None:
    with served(visit) as address, browsing(address) as page:
        progress = page.locator("#progress")
        late = Late(page, "**/api/fields")
        page.locator("#images button").nth(1).click()
        late.wait()
        page.locator("#images button").nth(2).click()
        page.wait_for_timeout(300)
        expect(progress).to_have_text("")  # all is known, nothing more is asked
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        none = {"reason": None, "known": 0, "fields": 1, "waiting": 0, "faults": []}
        late.let_through([{**none, "stamp": "stale"}])
        assert not [url for url in asked if "stale" in url]


def test_the_cursor_tells_of_where_it_is(visit: "Visit") -> None:
    with served(visit) as address, browsing(address) as page:
        box = page.locator("#views").bounding_box()
        assert box is not None
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        late = Late(page, "**/place?*")
        page.mouse.move(x, y)
        late.wait()
        page.mouse.move(x + box["width"] / 4, y)
        cursor = page.locator("#cursor")
        right = re.compile(r"^x (2\d|3\d), ")  # of 32, and the middle was asked for first
        expect(cursor).to_have_text(right)
        late.let_through()
        assert right.match(cursor.inner_text())


def test_what_is_under_the_cursor_follows_image_and_edits_where_nobody_moves(visit: "Visit") -> None:
    with served(visit) as address, browsing(address) as page:
        box = page.locator("#views").bounding_box()
        assert box is not None
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        page.mouse.move(x, y)
        cursor = page.locator("#cursor")
        expect(cursor).to_have_text(re.compile("entropy"))
        name = re.search(r", (\w+ \d+); ", cursor.inner_text())
        assert name is not None
        page.locator("#prototypes details").evaluate_all("all => all.forEach((one) => { one.open = true; })")
        page.get_by_label(f"What {name[1]} counts for").select_option("hide")
        expect(cursor).not_to_have_text(re.compile(f", {name[1]};"))
        with page.expect_request("**/api/images/1/place?*"):
            page.keyboard.press("n")
        expect(cursor).to_have_text(re.compile("entropy"))
        page.mouse.move(2, 2)
        page.locator("#images button").nth(2).click()
        expect(cursor).to_have_text("")
        assert page.locator("#areas tbody td:nth-child(5)").all_inner_texts() == ["", ""]


def test_the_cell_that_was_chosen_last_is_listed(page_of_ranking: "Page") -> None:
    page = page_of_ranking
    late = Late(page, "**/api/ranking/0/1")
    taken, right = page.locator("#confusion td button").nth(1), page.locator("#confusion td button").nth(2)
    taken.click()
    late.wait()
    right.click()
    expect(right).to_have_attribute("aria-pressed", "true")
    late.let_through()
    expect(right).to_have_attribute("aria-pressed", "true")
    expect(taken).to_have_attribute("aria-pressed", "false")
    page.get_by_role("button", name="Show all again").click()


def test_the_order_is_the_cells_while_one_narrows_the_list(page_of_ranking: "Page") -> None:
    page = page_of_ranking
    order, taken = page.get_by_label("Order"), page.locator("#confusion td button").nth(1)
    expect(order).to_have_value("error")
    taken.click()
    expect(order.locator("option:checked")).to_have_text("Pixels of the chosen cell, most first")
    page.get_by_role("button", name="Show all again").click()
    expect(order).to_have_value("error")
    expect(order.locator("option", has_text="cell")).to_have_count(0)
    taken.click()
    expect(order).to_have_value("cell")
    order.select_option("")
    expect(order).to_have_value("")
    expect(taken).to_have_attribute("aria-pressed", "false")
    expect(page.locator("#narrowed")).to_have_text("")


@pytest.fixture
def page_of_ranking(visit: "Visit") -> Any:
    """A page whose two classes are confused, as far as its tables know."""
    figures = {"error": 25.0, "unsure": 5.0, "disagreement": None}
    found = {
        "ranked": [{"image": 0, "box": None, **figures, "confused": "pink as blue"}],
        "orders": {"error": [0]},
        "names": ["pink", "blue"],
        "confusion": [[3, 1], [0, 4]],
        "patients": [],
    }
    with served(visit) as address, browsing(address) as page:
        page.route(
            "**/api/ranking",
            lambda route: route.fulfill(json=found) if route.request.method == "GET" else route.fallback(),
        )
        page.get_by_role("button", name="Rank the images").click()
        expect(page.locator("#confusion")).not_to_be_empty()
        yield page
