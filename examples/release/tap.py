#!/usr/local/bin/python3
"""tap: an HTTP server that answers each request with what it was asked, to see what a proxy makes of it."""

import argparse
import json
import signal
import sys
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

VERSION = "1.0.0"


class Tap(BaseHTTPRequestHandler):
    server_version = f"tap/{VERSION}"

    def do_GET(self):
        length = int(self.headers.get("Content-Length", 0))
        asked = {
            "method": self.command,
            "path": self.path,
            "headers": dict(self.headers.items()),
            "body": self.rfile.read(length).decode(errors="replace"),
        }
        answer = json.dumps(asked, indent=2).encode() + b"\n"
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_POST = do_PUT = do_PATCH = do_DELETE = do_GET


def main():
    parser = argparse.ArgumentParser(prog="tap", description="answer each HTTP request with what it was asked")
    parser.add_argument("--version", action="version", version=f"tap {VERSION}")
    parser.add_argument("--port", type=int, default=8888)
    parser.add_argument("--check", action="store_true", help="ask a running tap whether it answers")
    arguments = parser.parse_args()

    if arguments.check:
        urllib.request.urlopen(f"http://127.0.0.1:{arguments.port}/", timeout=2).close()
        return
    # As process 1 of a container we get no default action for SIGTERM: without this line `docker stop` waits in vain.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    ThreadingHTTPServer(("", arguments.port), Tap).serve_forever()


if __name__ == "__main__":
    main()
