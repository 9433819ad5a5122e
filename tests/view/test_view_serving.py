import socket
import sys

import pytest

from lpdseg.view.serving import _listen


@pytest.mark.skipif(sys.platform == "win32", reason="there it is not inherited")
def test_the_end_of_a_tile_does_not_wait_for_its_start() -> None:
    with _listen("127.0.0.1", 0) as listening, socket.create_connection(listening.getsockname()):
        accepted, _ = listening.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
