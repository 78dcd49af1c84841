"""What the demo's own services share: a small HTTP server with access log and a clean end, waiting for others, pools of connections."""
import html
import http.server
import json
import os
import queue
import signal
import socket
import sys
import threading
import time
import traceback
import urllib.parse

HOST = socket.gethostname()


def log(*words):
    print(time.strftime("%FT%TZ", time.gmtime()), *words, flush=True)


class Reply(Exception):
    """What a handler gives instead of a value: status, type of content, body, more headers."""

    def __init__(self, status, body=b"", content="text/plain; charset=utf-8", headers=()):
        super().__init__(status)
        self.status, self.content, self.headers = status, content, list(headers)
        self.body = body.encode() if isinstance(body, str) else body


class Handler(http.server.BaseHTTPRequestHandler):
    routes = {}  # (method, path) -> function(request) -> value for JSON, or Reply
    server_version = "shop"
    timeout = 30

    def value(self, name, default=""):
        return self.query.get(name, [default])[0]

    def number(self, name, least=0, most=10**6):
        try:
            n = int(self.value(name))
        except ValueError:
            raise Reply(400, f"{name} is not a number\n") from None
        if not least <= n <= most:
            raise Reply(400, f"{name} is not from {least} to {most}\n")
        return n

    def cookie(self, name):
        for part in self.headers.get("Cookie", "").split(";"):
            key, _, value = part.strip().partition("=")
            if key == name:
                return value
        return ""

    def body(self, most=4 << 20):
        size = int(self.headers.get("Content-Length") or 0)
        if size > most:
            raise Reply(413, "too large\n")
        return self.rfile.read(size)

    def handle_one(self):
        url = urllib.parse.urlsplit(self.path)
        self.query = urllib.parse.parse_qs(url.query, keep_blank_values=True)
        self.out_headers = []
        handler = self.routes.get((self.command, url.path))
        if not handler:  # the longest path that ends with "/"
            prefixes = [p for (m, p) in self.routes if m == self.command and p.endswith("/") and p != "/" and url.path.startswith(p)]
            handler = self.routes[self.command, max(prefixes, key=len)] if prefixes else None
        self.plain_path = urllib.parse.unquote(url.path)
        try:
            value = handler(self) if handler else Reply(404, "not found\n")
        except Reply as e:
            value = e
        except Exception:  # noqa: BLE001 the service goes on; who asks learns what was wrong, as careless services do
            text = traceback.format_exc()
            log("error", self.path, text)
            value = Reply(500, text)
        if not isinstance(value, Reply):
            if "application/json" in self.headers.get("Accept", "") or not self.page:
                value = Reply(200, json.dumps(value) + "\n", "application/json")
            else:
                value = Reply(200, self.page(value), "text/html; charset=utf-8")
        self.send_response(value.status)
        for name, text in [("Content-Type", value.content), ("Content-Length", str(len(value.body))), ("X-Served-By", HOST),
                           *self.out_headers, *value.headers]:
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(value.body)

    do_GET = do_POST = handle_one
    page = None  # function(handler, value) -> HTML

    def log_message(self, form, *args):
        log(self.client_address[0], form % args, f"run={self.headers.get('X-Demo-Run', '-')}" if getattr(self, "headers", None) else "")


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = False  # server_close() waits for what is being answered
    request_queue_size = 128


def serve(port, routes, page=None):
    """Until SIGTERM; then what is being answered is answered."""
    handler = type("Routes", (Handler,), {"routes": routes, "page": page})
    server = Server(("", port), handler)
    on_end(server.shutdown)
    log("listens on port", port)
    server.serve_forever(0.2)
    server.server_close()
    log("ends")


def on_end(call):
    """call() in a thread when SIGTERM comes."""
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=call).start())


def setting(name):
    try:
        return os.environ[name]
    except KeyError:
        sys.exit(f"{name} is not set")


def until(what, call, seconds=120):
    """call() until it works; services start in any order."""
    end = time.monotonic() + seconds
    while True:
        try:
            return call()
        except Exception as e:  # noqa: BLE001 whatever a client library raises while its server is not there
            if time.monotonic() > end:
                sys.exit(f"{what} is not there after {seconds} s: {e}")
            time.sleep(0.3)


class Database:
    """A pool of connections to PostgreSQL."""

    def __init__(self, application, size=4):
        import psycopg2
        self._psycopg2 = psycopg2
        self._args = dict(host=setting("DB_HOST"), dbname="shop", user=setting("DB_USER"), password=setting("DB_PASSWORD"), connect_timeout=5,
                          application_name=application)
        self._idle = queue.LifoQueue()
        self._idle.put(until("the database", lambda: psycopg2.connect(**self._args)))
        self._most = size

    def __call__(self, statement, values=None, rows=True):
        """One transaction; its rows."""
        for again in (True, False):
            try:
                connection = self._idle.get_nowait()
            except queue.Empty:
                connection = self._psycopg2.connect(**self._args)
            try:
                with connection, connection.cursor() as cursor:
                    cursor.execute(statement, values)
                    found = cursor.fetchall() if rows and cursor.description else []
            except (self._psycopg2.OperationalError, self._psycopg2.InterfaceError):
                connection.close()
                if not again:
                    raise
                continue
            except BaseException:
                connection.close()
                raise
            if self._idle.qsize() < self._most:
                self._idle.put(connection)
            else:
                connection.close()
            return found


def text(value):
    return html.escape(str(value))
