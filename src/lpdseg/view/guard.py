"""Who may ask: one place that every request of the viewer goes through.

Pages of other sites can reach an address of this machine, and so can its other users. They know neither the token
nor, through a name of their own, the host.
"""

import secrets
from collections.abc import Collection
from urllib.parse import parse_qsl, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_LARGEST = 16 << 20
"""Bytes of what a page may send."""
_LONGEST = 2048
"""Letters of an address; one that is longer holds numbers that cannot even be read."""


class Guard:
    """Lets a request through that names this host, does not come from another site, and has the token.

    The token comes once in the address, from where it moves into a cookie that no script can read. Browsers send it
    with a link of another site too, such as one in a mail on the web: that shows the page. What else another site
    asks for is refused here, and requests that change something must say that they come from this one.

    **Arguments:**

    - `hosts`: the values that `Host` may have, such as `127.0.0.1:8080`.
    - `token`: without it nothing is shown.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str], token: str) -> None:
        self._app, self._hosts, self._token = app, {host.lower() for host in hosts}, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a refused request itself."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return  # there are no web sockets here

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        refused = self._refused(scope)
        if refused is not None:
            await PlainTextResponse(refused + "\n", 403)(scope, receive, with_headers)
        elif scope["path"] == "/" and "token" in dict(parse_qsl(scope["query_string"].decode("latin-1"))):
            answer = RedirectResponse("/", 303)
            answer.set_cookie(self._cookie(scope), self._token, httponly=True, samesite="lax")
            await answer(scope, receive, with_headers)
        else:
            await self._app(scope, receive, with_headers)

    def _refused(self, scope: Scope) -> str | None:
        """Why a request is not answered, or None."""
        headers = Headers(scope=scope)
        host = headers.get("host", "").lower()
        if host not in self._hosts or len(headers.getlist("host")) != 1:
            return "this address is not that of the viewer; open the one that `lpdseg view` printed"
        query = dict(parse_qsl(scope["query_string"].decode("latin-1")))
        origin, changes = headers.get("origin"), scope["method"] not in ("GET", "HEAD")
        if (origin is None and changes) or (origin is not None and origin.lower() != f"{scope['scheme']}://{host}"):
            return "requests from other sites are not answered"
        site = headers.get("sec-fetch-site", "same-origin")
        if site not in ("same-origin", "none") and not self._is_visit(scope, headers):
            return "requests from other sites are not answered"
        if changes and headers.get("content-type", "").partition(";")[0] != "application/json":
            return "what is sent must be JSON"
        length = headers.get("content-length", "")
        if changes and ("transfer-encoding" in headers or not length.isdecimal()):
            return "what is sent must tell its length"
        if changes and (len(length) > len(str(_LARGEST)) or int(length) > _LARGEST):
            return "what is sent is too large"
        if len(scope["path"]) > _LONGEST:
            return "this address is too long"
        given = query.get("token") if scope["path"] == "/" else None
        cookie = cookie_parser(headers.get("cookie", "")).get(self._cookie(scope))  # beside any of other programs
        known = [value.encode() for value in (given, cookie) if value is not None]
        if any(secrets.compare_digest(value, self._token.encode()) for value in known):
            return None
        return "the address lacks its token; open the one that `lpdseg view` printed"

    def _cookie(self, scope: Scope) -> str:
        """Cookies know no ports: several viewers of one machine must not take each other's."""
        return f"lpdseg-{urlsplit('//' + Headers(scope=scope)['host']).port or 80}"

    def _is_visit(self, scope: Scope, headers: Headers) -> bool:
        """Whether a person follows a link to the page, such as from a mail, which shows the page and no more."""
        return scope["path"] == "/" and scope["method"] == "GET" and headers.get("sec-fetch-mode") == "navigate"
