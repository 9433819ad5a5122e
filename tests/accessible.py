"""What WCAG 2.2 asks of a page at level AA, as far as a program can tell: axe-core, run in the page."""

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

TAGS = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22a", "wcag22aa")


def violations(page: "Page") -> list[str]:
    """What is wrong now, in light and in dark: the rule, where, and why."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed").Axe()
    found = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        options: Any = {"runOnly": {"type": "tag", "values": TAGS}, "resultTypes": ["violations"]}
        for one in axe.run(page, options=options).response["violations"]:
            places = (f"{node['target']}: {node['failureSummary']}" for node in one["nodes"])
            found += [f"{scheme}: {one['id']} at {place}" for place in places]
    page.emulate_media(color_scheme="light")
    return found
