"""worker: packs open orders. GET /health fails while the last round with the api did."""

import os
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import requests

API = os.environ.get("API_URL", "http://api:8081")
PAUSE = float(os.environ.get("PAUSE_SECONDS", "1"))

works = threading.Event()


def pack():
    orders = requests.get(f"{API}/orders", timeout=5)
    orders.raise_for_status()
    for order in orders.json():
        if order["state"] == "open":
            requests.post(f"{API}/orders/{order['id']}/done", timeout=5).raise_for_status()
            print(f"packed {order['item']!r}")


def pack_forever():
    while True:
        try:
            pack()
            works.set()
        except requests.RequestException as cause:
            works.clear()
            print(f"the api does not answer: {cause}", file=sys.stderr)
        time.sleep(PAUSE)


class Health(BaseHTTPRequestHandler):
    def do_GET(self):
        status = 404 if self.path != "/health" else 200 if works.is_set() else 503
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format, *args):
        pass


# As process 1 of a container we get no default action for SIGTERM.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
threading.Thread(target=pack_forever, daemon=True).start()
ThreadingHTTPServer(("", 8082), Health).serve_forever()
