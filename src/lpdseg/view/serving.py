"""The server of the viewer, on this machine alone unless somebody says otherwise."""

import ipaddress
import secrets
import socket
import threading
import webbrowser
from collections.abc import Callable

from lpdseg.errors import OutputError
from lpdseg.extras import needed
from lpdseg.view.visit import Visit


def serve(
    visit: Visit, *, host: str = "127.0.0.1", port: int = 0, browser: bool = True, told: Callable[[str], None]
) -> None:
    """Serves until the process is stopped, and closes the visit.

    **Arguments:**

    - `port`: 0 takes a free one.
    - `browser`: open the page.
    - `told`: called once with the address, when it can be opened.

    **Raises:** `SettingsError` where the extra `view` is not installed; `OutputError` where the port is taken.
    """
    needed("view", "starlette", "uvicorn")
    import uvicorn

    from lpdseg.view.app import make_app

    try:
        listening = _listen(host, port)
    except (OSError, OverflowError) as error:
        raise OutputError(
            f"cannot serve on {host}, port {port} ({error}); choose another --port or --host"
        ) from error
    port, token = listening.getsockname()[1], secrets.token_urlsafe(32)
    names = hosts_of(host, port)
    app = make_app(visit, names, token)
    server = uvicorn.Server(
        uvicorn.Config(app, log_level="warning", access_log=False, ws="none", lifespan="off", server_header=False)
    )
    address = f"http://{names[0]}/?token={token}"
    told(address)
    if browser:
        threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
    try:
        server.run([listening])
    finally:
        listening.close()
        visit.close()


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach it."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.create_server((host, port), family=family)
    # What is accepted inherits it. Without it the end of each tile waits 40 ms for the start to be acknowledged.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


def hosts_of(host: str, port: int) -> list[str]:
    """What browsers may call the server, the address to open first."""
    names = [f"[{host}]" if ":" in host else host]
    if is_loopback(host):
        names += ["127.0.0.1", "localhost", "[::1]"]
    elif host in ("0.0.0.0", "::"):  # every address of this machine: what it is called is only known by name
        names = [socket.gethostname(), socket.getfqdn(), *_addresses(), "127.0.0.1", "localhost"]
    found = [f"{name}:{port}" for name in dict.fromkeys(names)]
    return found if port != 80 else [*found, *dict.fromkeys(names)]


def _addresses() -> list[str]:
    try:
        return [str(info[4][0]) for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)]
    except OSError:
        return []
