"""A file that is made while it is read, over HTTP, for programs on this machine."""

from __future__ import annotations

import re
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from vsparagon.preview.y4m import RawFile

RANGE = re.compile(r"bytes=(\d+)-(\d*)")


@contextmanager
def served(file: RawFile, on_begin: Callable[[], None], on_failure: Callable[[Exception], None]) -> Iterator[str]:
    """Serve a file as long as the context is open, and give its address.

    The address holds a secret: other users of this machine can reach the port.

    Args:
        file: what is served.
        on_begin: called before each answer with content.
        on_failure: called when the content cannot be made.
    """
    path = f"/{secrets.token_urlsafe()}.y4m"

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._answer()

        def do_GET(self) -> None:
            first, length = self._answer()
            if not length:
                return
            on_begin()
            try:
                with closing(file.read(first)) as pieces:
                    for piece in pieces:
                        self.wfile.write(piece[:length])
                        length -= len(piece)
                        if length <= 0:
                            break
            except ConnectionError:  # the player has jumped or ended
                return
            except Exception as error:  # whatever a script may raise in a frame
                on_failure(error)

        def _answer(self) -> tuple[int, int]:
            """Send the header and return where the content begins and how long it is."""
            if not secrets.compare_digest(self.path, path):
                self.send_error(HTTPStatus.NOT_FOUND)
                return 0, 0
            wanted = RANGE.fullmatch(self.headers.get("Range", ""))
            first = int(wanted[1]) if wanted else 0
            last = min(int(wanted[2]), file.size - 1) if wanted and wanted[2] else file.size - 1
            length = max(last - first + 1, 0)
            if not length:
                self.send_response(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
                self.send_header("Content-Range", f"bytes */{file.size}")
            else:
                self.send_response(HTTPStatus.PARTIAL_CONTENT if wanted else HTTPStatus.OK)
                if wanted:
                    self.send_header("Content-Range", f"bytes {first}-{last}/{file.size}")
            self.send_header("Connection", "close")  # one answer each: whoever jumps asks anew
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("Content-Type", "video/x-yuv4mpeg")
            self.send_header("Content-Length", str(length))
            self.end_headers()
            return first, length

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (its name in the base class)
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = False  # leaving waits for the last frame
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}{path}"
        finally:
            server.shutdown()
            thread.join()
