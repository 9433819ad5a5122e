"""A visit that is served, and a page of it in a real browser that notes what goes wrong there."""

import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@contextmanager
def served(visit: Any) -> Iterator[str]:
    """A server in a thread of its own: the address to open."""
    import uvicorn

    from lpdseg.view.app import make_app

    listening = socket.create_server(("127.0.0.1", 0))
    host = f"127.0.0.1:{listening.getsockname()[1]}"
    server = uvicorn.Server(
        uvicorn.Config(make_app(visit, [host], "t"), log_level="error", ws="none", lifespan="off")
    )
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    try:
        yield f"http://{host}/?token=t"
    finally:
        server.should_exit = True
        thread.join(20)
        listening.close()


class Watched:
    """What a page complains of, and what it asks for elsewhere.

    **Arguments:**

    - `also`: how addresses begin that may be asked for beside those of this machine's number.
    """

    def __init__(self, page: "Page", also: tuple[str, ...] = ()) -> None:
        self.said: list[str] = []
        self._known = ("http://127.0.0.1:", "data:", "blob:", *also)
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.said.append(str(error)))
        page.route("**/*", self._judge)

    def _hear(self, told: Any) -> None:
        # OpenSeadragon tells of a tile that comes when its layer has just been drawn anew, as it should be.
        if told.type in ("error", "warning") and not told.text.startswith("Ignoring tile"):
            self.said.append(told.text)

    def _judge(self, route: Any) -> None:
        if route.request.url.startswith(self._known):
            route.continue_()
        else:
            self.said.append(f"asked for {route.request.url}")
            route.abort()


@contextmanager
def browsing(address: str, also: tuple[str, ...] = (), *, ready: bool = True) -> Iterator["Page"]:
    """A page that has opened an address; nothing may have gone wrong there in the end. `also`: see `Watched`.

    `ready`: whether it is waited until the viewer's page is.
    """
    from playwright.sync_api import expect, sync_playwright

    if CHROMIUM is None:
        pytest.skip("there is no Chromium here: install Debian's package chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1300, "height": 900})
        page.set_default_timeout(60_000)
        expect.set_options(timeout=60_000)
        watched = Watched(page, also)
        page.goto(address)
        if ready:
            page.wait_for_selector("body[data-ready]")
        yield page
        assert watched.said == []
        browser.close()
