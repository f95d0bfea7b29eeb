#!/usr/bin/env python3
"""Two HTTP servers on 127.0.0.1 that play a model hub and its file store, with the faults that a home line and a hostile server have.

  hub_server.py ROOT LOG [--token T] [--drop N] [--busy N] [--corrupt NAME] [--no-range] [--expire N] [--hostile NAME] [--loop] [--lie N] [--slow S]

ROOT/ORG/NAME/FILE is model ORG/NAME, and dataset ORG/NAME, and model ORG/NAME of ModelScope. Files over 32 KiB are answered by a redirect to the store (the
other port). Prints "HUB STORE" (two addresses). LOG gets a JSON line an event: where, method, path, range, status, authorized, sent. Methods that are no request:
BEGIN (a body begins), STALL (a body that hung has ended; status says by whom: client or server). A POST to /control with other options, one a line, makes the hub
another one: it answers when the requests under way have ended, and the LOG is emptied.
  --drop N     cut every body after N bytes          --busy N    answer the first N file requests with 503
  --corrupt F  flip a byte of file F                 --no-range  the store ignores Range
  --expire N   a signed address works N times        --hostile F list a file of this name too
  --loop       files redirect to themselves          --lie N     say N bytes more than there are in Content-Length
  --slow S     wait S seconds between blocks of 64 KiB
  --pages N    N names a page of the listing, the rest behind Link: rel="next"
  --header N   an extra header of N bytes in every answer of the hub
  --stall N    the first N bodies of the store stop half way and hang until the client goes (two minutes at most)
  --date       a busy answer's Retry-After is a date one second from now
  --big N      the store has org/big/model.safetensors with N bytes, of which only the header is more than zeros
  --no-head N  every HEAD is answered with status N
  --no-etag    no ETag, no X-Linked-*, no X-Repo-Commit, and no commit in the listing: a mirror of plain files
  --no-list    no listing at all
  --gzip       every body comes encoded by gzip, asked for or not; ranges are of what is encoded
  --moved OLD  model OLD has been renamed to org/tiny: addresses of the hub lead there by relative redirects
  --prefix P   the hub lives below path P
  --raw FILE   the listing is the text of FILE
  --tls FILE   both servers speak HTTPS with the certificate and key in FILE (only at the start)
  --downgrade  redirects to the store lead to http://
Asked through as a proxy (a whole address in the request line), it answers as itself.
"""
import argparse
import email.utils
import fcntl
import gzip
import hashlib
import http.server
import json
import os
import select
import socket
import ssl
import struct
import sys
import termios
import threading
import time

ap = argparse.ArgumentParser()
ap.add_argument("root")
ap.add_argument("log")
ap.add_argument("--token")
ap.add_argument("--drop", type=int, default=0)
ap.add_argument("--busy", type=int, default=0)
ap.add_argument("--corrupt")
ap.add_argument("--no-range", action="store_true")
ap.add_argument("--expire", type=int, default=0)
ap.add_argument("--hostile")
ap.add_argument("--loop", action="store_true")
ap.add_argument("--lie", type=int, default=0)
ap.add_argument("--slow", type=float, default=0)
ap.add_argument("--pages", type=int, default=0)
ap.add_argument("--header", type=int, default=0)
ap.add_argument("--stall", type=int, default=0)
ap.add_argument("--date", action="store_true")
ap.add_argument("--big", type=int, default=0)
ap.add_argument("--no-head", type=int, default=0)
ap.add_argument("--no-etag", action="store_true")
ap.add_argument("--no-list", action="store_true")
ap.add_argument("--gzip", action="store_true")
ap.add_argument("--moved")
ap.add_argument("--prefix", default="")
ap.add_argument("--raw")
ap.add_argument("--tls")
ap.add_argument("--downgrade", action="store_true")
lock = threading.Lock()
opt = argparse.Namespace()
count = {"busy": 0, "signed": 0, "stall": 0, "active": 0}
uses = {}


def configure(words):
    """Begins anew with these options."""
    vars(opt).update(vars(ap.parse_args(words)))
    uses.clear()
    count.update(busy=opt.busy, signed=0, stall=opt.stall)


configure(sys.argv[1:])
tls = opt.tls
scheme = "https" if tls else "http"
known = {}
log = open(opt.log, "a", buffering=1)


def digests(path):
    """sha256, git's sha1 and size of a file, computed once while the file stays the same."""
    stat = os.stat(path)
    key = (path, stat.st_mtime_ns, stat.st_size)
    if key not in known:
        with open(path, "rb") as f:
            data = f.read()
        known[key] = (hashlib.sha256(data).hexdigest(), hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest(), len(data))
    return known[key]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    where = ""

    def log_message(self, *args):
        pass

    def note(self, status, sent, method=None):
        with lock:
            log.write(json.dumps({"where": self.where, "method": method or self.command, "path": self.path, "range": self.headers.get("Range"), "status": status,
                                  "authorized": "Authorization" in self.headers, "sent": sent}) + "\n")

    def say(self, status, body=b"", **headers):
        if opt.gzip and body:
            body, headers["Content_Encoding"] = gzip.compress(body, 1), "gzip"
        self.send_response(status)
        if opt.header and self.where == "hub":
            self.send_header("X-Long", "x" * opt.header)
        for k, v in headers.items():
            self.send_header(k.replace("_", "-"), v)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.note(status, len(body))

    def is_busy(self):
        with lock:
            count["busy"] -= 1
            return count["busy"] >= 0

    def send_big(self):
        """A body that exists only as its size: a safetensors header, then zeros."""
        head = json.dumps({"w": {"dtype": "F32", "shape": [(opt.big - 1000) // 4], "data_offsets": [0, (opt.big - 1000) // 4 * 4]}}).encode().ljust(992)
        head = len(head).to_bytes(8, "little") + head
        first, last = (int(x) for x in self.headers.get("Range").split("=")[1].split("-"))
        body = head[first:last + 1].ljust(last + 1 - first, b"\0")
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {first}-{last}/{opt.big}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.note(206, len(body))

    def client_is_gone(self):
        """Whether the client has closed its end: a block written to it all the same would count as sent."""
        if tls:
            return False
        try:
            return bool(select.select([self.connection], [], [], 0)[0]) and not self.connection.recv(1, socket.MSG_PEEK)
        except OSError:
            return True

    def never_left(self):
        """Bytes that this end still holds: what a killed client's machine had not taken was not fetched."""
        try:
            return struct.unpack("i", fcntl.ioctl(self.connection.fileno(), termios.TIOCOUTQ, bytes(4)))[0]
        except OSError:
            return 0

    def client_goes(self, seconds):
        """Waits until the client closes its end."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if select.select([self.connection], [], [], 0.1)[0]:
                try:
                    if not self.connection.recv(1):
                        return True
                except OSError:
                    return True
        return False

    def handle_one_request(self):
        """As it is, counted while it lasts."""
        self.counted = False
        try:
            super().handle_one_request()
        finally:
            if self.counted:
                with lock:
                    count["active"] -= 1

    def parse_request(self):
        with lock:
            count["active"] += 1
        self.counted = True
        return super().parse_request()

    def busy_headers(self):
        return {"Retry_After": email.utils.formatdate(time.time() + 1, usegmt=True) if opt.date else "0"}

    def send_file(self, path, **headers):
        size = os.path.getsize(path)
        if opt.gzip:
            with open(path, "rb") as f:
                packed = gzip.compress(f.read(), 1)
            size, headers["Content_Encoding"] = len(packed), "gzip"
        first, last, status = 0, size - 1, 200
        wanted = self.headers.get("Range")
        if wanted and not opt.no_range:
            a, b = wanted.split("=")[1].split("-")
            first, last, status = int(a), int(b) if b else last, 206
            if first > size - 1:
                return self.say(416, Content_Range=f"bytes */{size}")
            last = min(last, size - 1)
        with open(path, "rb") as f:
            f.seek(first)
            part = packed[first:last + 1] if opt.gzip else f.read(last + 1 - first if self.command == "GET" else 0)
        if opt.corrupt and os.path.basename(path) == opt.corrupt and first <= size // 2 <= last:
            part = bytearray(part)
            part[size // 2 - first] ^= 0xFF
        part = memoryview(part)
        self.send_response(status)
        for k, v in headers.items():
            self.send_header(k.replace("_", "-"), v)
        if status == 206:
            self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
        self.send_header("Content-Length", str(last + 1 - first + opt.lie))
        self.end_headers()
        if self.command == "HEAD":
            return self.note(status, 0)
        cut = len(part) if not opt.drop else min(opt.drop, len(part))
        sent = 0
        with lock:
            count["stall"] -= self.where == "store"
            stalls = self.where == "store" and count["stall"] >= 0
        if stalls:
            cut = len(part) // 2
        self.note(status, 0, "BEGIN")
        try:
            while sent < cut and not self.client_is_gone():
                n = min(cut - sent, 65536 if opt.slow else 1 << 20)
                self.wfile.write(part[sent:sent + n])
                sent += n
                if opt.slow:
                    time.sleep(opt.slow)
        finally:
            self.note(status, sent - (self.never_left() if sent < cut else 0))
        if stalls:
            self.wfile.flush()
            self.note("client" if self.client_goes(120) else "server", 0, "STALL")
        if sent < len(part) or opt.lie:
            self.close_connection = True


    def do_HEAD(self):
        return self.say(opt.no_head) if opt.no_head else self.do_GET()


class Store(Handler):
    where = "store"

    def do_GET(self):
        path, _, signature = self.path.partition("?")
        if opt.big and path.endswith("/big/model.safetensors"):
            return self.send_big()
        if opt.expire:
            with lock:
                uses[signature] = uses.get(signature, 0) + 1
                expired = uses[signature] > opt.expire
            if expired:
                return self.say(403, b"expired")
        if self.is_busy():
            return self.say(503, **self.busy_headers())
        file = os.path.join(opt.root, path.lstrip("/"))
        return self.send_file(file) if os.path.isfile(file) else self.say(404)


class Hub(Handler):
    where = "hub"

    def do_POST(self):
        words = self.rfile.read(int(self.headers["Content-Length"])).decode().split("\n")
        end = time.monotonic() + 20
        while count["active"] > 1 and time.monotonic() < end:
            time.sleep(0.01)
        configure(sys.argv[1:3] + [w for w in words if w])
        log.truncate(0)
        self.send_response(204)
        self.end_headers()

    def do_modelscope(self, parts):
        """Listing and files as ModelScope gives them: sizes and sha256 in the listing, no redirect."""
        if parts[0] == "models":
            file = os.path.join(opt.root, parts[1], parts[2], *parts[5:])
            return self.send_file(file) if os.path.isfile(file) else self.say(404)
        top = os.path.join(opt.root, parts[3], parts[4])
        if not os.path.isdir(top):
            return self.say(404, b'{"Code":404}')
        rows = [{"Path": n, "Name": n, "Type": "blob", "Size": digests(os.path.join(top, n))[2], "Sha256": digests(os.path.join(top, n))[0]} for n in sorted(os.listdir(top))]
        return self.say(200, json.dumps({"Code": 200, "Data": {"Files": rows}}).encode())

    def do_GET(self):
        if opt.token and self.headers.get("Authorization") != f"Bearer {opt.token}":
            return self.say(401, b"{}", X_Error_Code="GatedRepo", X_Error_Message="Access is restricted")
        if self.path.startswith("http://"):  # asked as a proxy
            self.path = "/" + self.path.split("/", 3)[3]
        path, _, query = self.path.partition("?")
        if not path.startswith(opt.prefix):
            return self.say(404)
        path = path[len(opt.prefix):]
        if opt.moved and f"/{opt.moved}/" in path:
            return self.say(307, Location=opt.prefix + path.replace(f"/{opt.moved}/", "/org/tiny/"))
        parts = path.strip("/").split("/")
        if parts[:3] == ["api", "v1", "models"] or parts[0] == "models":
            return self.do_modelscope(parts)
        if parts[0] == "datasets":
            parts = parts[1:]
        if parts[:2] in (["api", "models"], ["api", "datasets"]):
            top = os.path.join(opt.root, *parts[2:4])
            if opt.no_list:
                return self.say(404)
            if opt.raw:
                with open(opt.raw, "rb") as f:
                    return self.say(200, f.read())
            if not os.path.isdir(top):
                return self.say(404, b"{}", X_Error_Code="RepoNotFound")
            names = sorted(os.listdir(top)) + ([opt.hostile] if opt.hostile else [])
            sha = hashlib.sha1(" ".join(names).encode()).hexdigest()
            more = {}
            if opt.pages:
                at = int(query.rpartition("from=")[2]) if "from=" in query else 0
                if at + opt.pages < len(names):
                    more["Link"] = f'<{scheme}://127.0.0.1:{hub.server_port}{path}?from={at + opt.pages}>; rel="next"'
                if at:  # later pages are rows of a tree
                    rows = [{"type": "file", "path": n, "size": 1} for n in names[at:at + opt.pages]] + [{"type": "directory", "path": "folder"}]
                    return self.say(200, json.dumps(rows).encode(), **more)
                names = names[:opt.pages]
            return self.say(200, json.dumps({"sha": None if opt.no_etag else sha, "siblings": [{"rfilename": n} for n in names]}).encode(), **more)
        if opt.loop:
            return self.say(302, Location=self.path)
        file = os.path.join(opt.root, parts[0], parts[1], *parts[4:])
        if not os.path.isfile(file):
            return self.say(404, b"", X_Error_Code="EntryNotFound")
        if opt.big and path.endswith("/big/resolve/" + parts[3] + "/model.safetensors"):
            return self.say(302, X_Linked_Etag='"%s"' % ("b" * 64), X_Linked_Size=str(opt.big), Location=f"{scheme}://127.0.0.1:{store.server_port}/org/big/model.safetensors")
        sha256, sha1, size = digests(file)
        if size > 32768:
            with lock:
                count["signed"] += 1
                signature = count["signed"]
            told = {} if opt.no_etag else {"X_Linked_Etag": '"%s"' % sha256, "X_Linked_Size": str(size)}
            return self.say(302, **told, Location=f"{'http' if opt.downgrade else scheme}://127.0.0.1:{store.server_port}/{parts[0]}/{parts[1]}/{'/'.join(parts[4:])}?sig={signature}")
        if self.is_busy():
            return self.say(503, **self.busy_headers())
        return self.send_file(file, **({} if opt.no_etag else {"ETag": '"%s"' % sha1}))


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def server_bind(self):
        # small buffers, so that what a killed client had not read is not counted as sent
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        super().server_bind()
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls)
            self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    def handle_error(self, *args):
        pass


store = Server(("127.0.0.1", 0), Store)
hub = Server(("127.0.0.1", 0), Hub)
threading.Thread(target=store.serve_forever, daemon=True).start()
print(f"{scheme}://127.0.0.1:{hub.server_port} {scheme}://127.0.0.1:{store.server_port}", flush=True)
hub.serve_forever()
