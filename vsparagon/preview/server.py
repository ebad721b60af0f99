"""Serve a file that is made while it is read, over HTTP, to programs on this machine."""

from __future__ import annotations

import re
import secrets
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from vsparagon.preview.virtual_file import VirtualFile

RANGE = re.compile(r"bytes=(\d+)-(\d*)")


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        if not isinstance(sys.exception(), ConnectionError):  # a player may leave at any time
            super().handle_error(request, client_address)  # type: ignore[arg-type]


@contextmanager
def served(file: VirtualFile, on_begin: Callable[[], None], on_failure: Callable[[Exception], None]) -> Iterator[str]:
    """Serve a file for as long as the context is open, and yield its address.

    The address contains a secret, since other users of this machine can reach the port.

    Args:
        file: the file.
        on_begin: called before each response with content, so after each seek.
        on_failure: called with the exception if the content cannot be made. Both are called on a server thread.
    """
    path = f"/{secrets.token_urlsafe()}.mkv"

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
            except ConnectionError:  # the player has seeked or ended
                return
            except Exception as error:  # whatever a script may raise in a frame
                on_failure(error)

        def _answer(self) -> tuple[int, int]:
            """Send the headers, and return the first byte and the length of the content; (0, 0) for an error."""
            if not secrets.compare_digest(self.path.encode("latin-1"), path.encode()):  # as http.server decodes it
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
            self.send_header("Connection", "close")  # a player that seeks connects again
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("Content-Type", "video/matroska")
            self.send_header("Content-Length", str(length))
            self.end_headers()
            return first, length

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (its name in the base class)
            pass

    with _Server(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = False  # so that leaving waits for the frame in progress
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}{path}"
        finally:
            server.shutdown()
            thread.join()
