"""A server on this machine with one file, and the faults that servers have."""

import contextlib
import http.server
import re
import threading


class Served(http.server.ThreadingHTTPServer):
    """One file at any path but /missing.

    Attributes:
      content: its bytes.
      ranges: whether parts are given.
      most: bytes that a connection sends before it breaks; None for all.
      asked: the Range header of each request, None where there was none.
    """

    daemon_threads = True

    def __init__(self, content, *, ranges=True, most=None):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.content, self.ranges, self.most = content, ranges, most
        self.asked = []

    def address(self, path="archive.tar.gz"):
        return f"http://127.0.0.1:{self.server_port}/{path}"


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):  # noqa: N802 - http.server's name
        server, asked = self.server, self.headers["Range"]
        server.asked.append(asked)
        if self.path == "/missing":
            self.send_error(404)
            return
        start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1]) if asked and server.ranges else 0
        if start >= len(server.content):
            self.send_error(416)
            return
        body = server.content[start:]
        self.send_response(206 if start else 200)
        if start:
            end = len(server.content)
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{end}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: server.most])

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def serving(content, **faults):
    server = Served(content, **faults)
    # Its end is noticed at the next poll.
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
