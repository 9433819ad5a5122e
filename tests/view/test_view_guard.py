"""Who is answered: nobody without the token or from another site; and no other file can be read."""

from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from lpdseg.view.app import make_app
from lpdseg.view.guard import Guard
from lpdseg.view.serving import hosts_of, is_loopback
from lpdseg.view.visit import Visit

TOKEN = "token-of-the-tests"
HOST = "127.0.0.1:8000"


@pytest.fixture
def stranger(visit: Visit) -> TestClient:
    """Somebody who has the address, and not the token."""
    return TestClient(make_app(visit, [HOST, "localhost:8000"], TOKEN), f"http://{HOST}", follow_redirects=False)


PATHS = (
    "/", "/page/main.js", "/page/style.css", "/pictures/0/0/0/0", "/layers/0/0/mask/0/0/0", "/api/session",
    "/api/images/0", "/api/images/0/place?x=1&y=1", "/nothing",
)  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
def test_nothing_is_shown_without_the_token(path: str, stranger: TestClient) -> None:
    assert stranger.get(path).status_code == 403
    assert stranger.get(path, headers={"cookie": "lpdseg-8000=guess"}).status_code == 403
    assert stranger.get(path, headers={"cookie": f"lpdseg-9000={TOKEN}"}).status_code == 403  # of another viewer


def test_the_token_moves_from_the_address_into_a_cookie(stranger: TestClient) -> None:
    assert stranger.get("/?token=guess").status_code == 403
    assert stranger.get(f"/api/session?token={TOKEN}").status_code == 403  # in the first address alone
    first = stranger.get(f"/?token={TOKEN}")
    assert first.status_code == 303 and first.headers["location"] == "/"
    assert (
        "httponly" in first.headers["set-cookie"].lower() and "samesite=lax" in first.headers["set-cookie"].lower()
    )
    assert stranger.get("/").status_code == 200
    assert TOKEN not in stranger.get("/").text


@pytest.mark.parametrize(
    "host", ["evil.example:8000", "127.0.0.1", "127.0.0.1:8001", "localhost.evil.example:8000", ""]
)
def test_a_name_of_another_site_is_not_answered(host: str, client: TestClient) -> None:
    """A site can let its own name lead to this machine; the browser then sends that name."""
    assert client.get("/api/session", headers={"host": host}).status_code == 403
    assert client.get("/api/session", headers={"host": "LOCALHOST:8000"}).status_code == 403  # from 127.0.0.1


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://127.0.0.1:8001", "https://127.0.0.1:8000", ""]
)
def test_another_site_is_not_answered(origin: str, client: TestClient) -> None:
    for path in PATHS:
        assert client.get(path, headers={"origin": origin}).status_code == 403
    sent = {"image": 0, "box": [0, 0, 1, 1]}
    assert client.post("/api/fields", json=sent, headers={"origin": origin}).status_code == 403
    assert client.get("/api/session", headers={"sec-fetch-site": "cross-site"}).status_code == 403


def test_what_changes_something_must_say_where_it_is_from(client: TestClient) -> None:
    sent = {"image": 0, "box": [0, 0, 1, 1]}
    assert client.post("/api/fields", json=sent).status_code == 200
    del client.headers["origin"]
    assert client.post("/api/fields", json=sent).status_code == 403
    client.headers["origin"] = f"http://{HOST}"
    # What a form of another site could send:
    assert client.post("/api/fields", content=b"{}", headers={"content-type": "text/plain"}).status_code == 403
    large = {"content-type": "application/json", "content-length": str(1 << 30)}
    assert client.post("/api/fields", content=b"{}", headers=large).status_code == 403


def test_every_answer_has_the_policy(client: TestClient, stranger: TestClient) -> None:
    answers = [client.get(path) for path in PATHS] + [stranger.get("/"), client.get("/", headers={"host": "other"})]
    for answer in answers:
        policy = answer.headers["content-security-policy"]
        assert "default-src 'self'" in policy and "unsafe" not in policy and "http" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"


ELSEWHERE = (
    "/page/../app.py", "/page/%2e%2e/app.py", "/page/..%2fapp.py", "/page/..%2f..%2fsettings.py",
    "/page/%2fetc%2fpasswd", "/page/..%5capp.py", "/page//etc/passwd", "/page/main.js%00.html", "/page/.%2e/app.py",
    "/page/%252e%252e/app.py", "/pictures/../api/session/0/0/0", "/pictures/-1/0/0/0",
    "/pictures/0%2f..%2f1/0/0/0", "/pictures/99/0/0/0", "/layers/0/0/..%2f..%2fmask/0/0/0",
    "/layers/0/0/truth.png/0/0/0", "/layers/-1/0/mask/0/0/0", "/etc/passwd", "/layers/7/0/mask/0/0/0",
    "/pictures/0/99/0/0", "/pictures/0/0/5/0", "/layers/0/99/mask/0/0/0",
)  # fmt: skip


@pytest.mark.parametrize("path", ELSEWHERE)
def test_no_other_file_can_be_read(path: str, client: TestClient) -> None:
    answer = client.get(path)
    assert answer.status_code in (404, 405), answer.text
    assert "root:" not in answer.text and "import" not in answer.text


def test_the_page_holds_no_script_or_style_of_its_own(client: TestClient) -> None:
    page = client.get("/").text
    for word in ("<style", " style=", "onclick", "onload", "javascript:", "http://", "https://"):
        assert word not in page.replace("http://www.w3.org", "")
    folder = Path(__file__).parents[2] / "src" / "lpdseg" / "view" / "page"
    for script in folder.glob("*.js"):
        text = script.read_text(encoding="utf-8")
        assert "eval(" not in text and "new Function" not in text, script.name
        if script.name != "openseadragon.min.js":
            assert "innerHTML" not in text and "insertAdjacentHTML" not in text, script.name


def test_a_web_socket_is_not_answered() -> None:
    async def app(*_: Any) -> None:
        raise AssertionError("it was passed on")

    import asyncio

    asyncio.run(Guard(app, [HOST], TOKEN)({"type": "websocket"}, app, app))


def test_hosts() -> None:
    assert hosts_of("127.0.0.1", 81)[0] == "127.0.0.1:81" and "localhost:81" in hosts_of("127.0.0.1", 81)
    assert hosts_of("::1", 81)[0] == "[::1]:81"
    assert "evil.example:81" not in hosts_of("0.0.0.0", 81)
    assert hosts_of("192.0.2.7", 80)[:2] == ["192.0.2.7:80", "192.0.2.7"]
    assert is_loopback("127.0.0.2") and is_loopback("localhost") and not is_loopback("0.0.0.0")
