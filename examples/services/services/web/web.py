"""web: the shop's front. GET / shows the orders, POST / orders what the body names."""

import json
import os
import signal
import sys
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jinja2

API = os.environ.get("API_URL", "http://api:8081")
PAGE = jinja2.Environment(autoescape=True).from_string(
    """<!doctype html>
<title>Shop</title>
<ul>
{% for order in orders %}<li>{{ order.item }}: {{ order.state }}
{% endfor %}</ul>
"""
)


class Web(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/health":
            return self.answer(200, "ok\n")
        if self.path != "/":
            return self.answer(404, "no such page\n")
        self.ask_api(200, None)

    def do_POST(self):
        self.ask_api(201, self.rfile.read(int(self.headers.get("Content-Length", 0))))

    def ask_api(self, status, order):
        try:
            if order is not None:
                urllib.request.urlopen(f"{API}/orders", data=order, timeout=5).close()
            with urllib.request.urlopen(f"{API}/orders", timeout=5) as response:
                orders = json.load(response)
        except urllib.error.URLError as cause:
            return self.answer(502, f"the api does not answer: {cause.reason}\n")
        self.answer(status, PAGE.render(orders=orders))

    def answer(self, status, text):
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format, *args):
        if self.path != "/health":
            super().log_message(format, *args)


# As process 1 of a container we get no default action for SIGTERM.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
ThreadingHTTPServer(("", 8080), Web).serve_forever()
