#!/usr/bin/env python3
"""Two HTTP servers on 127.0.0.1 that play a model hub and its file store, with the faults that a home line and a hostile server have.

  hub_server.py ROOT LOG [--token T] [--drop N] [--busy N] [--corrupt NAME] [--no-range] [--expire N] [--hostile NAME] [--loop] [--lie N] [--slow S]

ROOT/ORG/NAME/FILE is model ORG/NAME. Files over 32 KiB are answered by a redirect to the store (the other port). Prints "HUB STORE" (two addresses).
LOG gets a JSON line a request: where, method, path, range, status, authorized, sent.
  --drop N     cut every body after N bytes          --busy N    answer the first N file requests with 503
  --corrupt F  flip a byte of file F                 --no-range  the store ignores Range
  --expire N   a signed address works N times        --hostile F list a file of this name too
  --loop       files redirect to themselves          --lie N     say N bytes more than there are in Content-Length
  --slow S     wait S seconds between blocks of 64 KiB
"""
import argparse
import hashlib
import http.server
import json
import os
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
opt = ap.parse_args()
lock = threading.Lock()
count = {"busy": opt.busy, "signed": 0}
uses = {}
log = open(opt.log, "a", buffering=1)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    where = ""

    def log_message(self, *args):
        pass

    def note(self, status, sent):
        with lock:
            log.write(json.dumps({"where": self.where, "method": self.command, "path": self.path, "range": self.headers.get("Range"), "status": status,
                                  "authorized": "Authorization" in self.headers, "sent": sent}) + "\n")

    def say(self, status, body=b"", **headers):
        self.send_response(status)
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

    def send_file(self, path, **headers):
        with open(path, "rb") as f:
            data = bytearray(f.read())
        if opt.corrupt and os.path.basename(path) == opt.corrupt:
            data[len(data) // 2] ^= 0xFF
        first, last, status = 0, len(data) - 1, 200
        wanted = self.headers.get("Range")
        if wanted and not opt.no_range:
            a, b = wanted.split("=")[1].split("-")
            first, last, status = int(a), int(b) if b else last, 206
            if first > len(data) - 1:
                return self.say(416, Content_Range=f"bytes */{len(data)}")
            last = min(last, len(data) - 1)
        part = data[first:last + 1]
        self.send_response(status)
        for k, v in headers.items():
            self.send_header(k.replace("_", "-"), v)
        if status == 206:
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
        self.send_header("Content-Length", str(len(part) + opt.lie))
        self.end_headers()
        if self.command == "HEAD":
            return self.note(status, 0)
        cut = len(part) if not opt.drop else min(opt.drop, len(part))
        sent = 0
        try:
            while sent < cut:
                n = min(cut - sent, 65536)
                self.wfile.write(part[sent:sent + n])
                sent += n
                if opt.slow:
                    time.sleep(opt.slow)
        finally:
            self.note(status, sent)
        if cut < len(part) or opt.lie:
            self.close_connection = True


class Store(Handler):
    where = "store"

    def do_GET(self):
        path, _, signature = self.path.partition("?")
        if opt.expire:
            with lock:
                uses[signature] = uses.get(signature, 0) + 1
                expired = uses[signature] > opt.expire
            if expired:
                return self.say(403, b"expired")
        if self.is_busy():
            return self.say(503, Retry_After="0")
        file = os.path.join(opt.root, path.lstrip("/"))
        return self.send_file(file) if os.path.isfile(file) else self.say(404)

    do_HEAD = do_GET


class Hub(Handler):
    where = "hub"

    def do_GET(self):
        if opt.token and self.headers.get("Authorization") != f"Bearer {opt.token}":
            return self.say(401, b"{}", X_Error_Code="GatedRepo", X_Error_Message="Access is restricted")
        parts = self.path.partition("?")[0].strip("/").split("/")
        if parts[:2] == ["api", "models"]:
            top = os.path.join(opt.root, *parts[2:4])
            if not os.path.isdir(top):
                return self.say(404, b"{}", X_Error_Code="RepoNotFound")
            names = sorted(os.listdir(top)) + ([opt.hostile] if opt.hostile else [])
            sha = hashlib.sha1(" ".join(names).encode()).hexdigest()
            return self.say(200, json.dumps({"sha": sha, "siblings": [{"rfilename": n} for n in names]}).encode())
        if opt.loop:
            return self.say(302, Location=self.path)
        file = os.path.join(opt.root, parts[0], parts[1], *parts[4:])
        if not os.path.isfile(file):
            return self.say(404, b"", X_Error_Code="EntryNotFound")
        with open(file, "rb") as f:
            data = f.read()
        if len(data) > 32768:
            with lock:
                count["signed"] += 1
                signature = count["signed"]
            return self.say(302, X_Linked_Etag='"%s"' % hashlib.sha256(data).hexdigest(), X_Linked_Size=str(len(data)),
                            Location=f"http://127.0.0.1:{store.server_port}/{parts[0]}/{parts[1]}/{'/'.join(parts[4:])}?sig={signature}")
        if self.is_busy():
            return self.say(503, Retry_After="0")
        return self.send_file(file, ETag='"%s"' % hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest())

    do_HEAD = do_GET


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *args):
        pass


store = Server(("127.0.0.1", 0), Store)
hub = Server(("127.0.0.1", 0), Hub)
threading.Thread(target=store.serve_forever, daemon=True).start()
print(f"http://127.0.0.1:{hub.server_port} http://127.0.0.1:{store.server_port}", flush=True)
hub.serve_forever()
