"""api: the shop's orders, in memory.

GET /orders lists them, POST /orders adds one, POST /orders/N/done marks one as done.
"""

import json
import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

orders = []
lock = threading.Lock()


class Api(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/health":
            self.answer(200, {"status": "ok"})
        elif self.path == "/orders":
            with lock:
                self.answer(200, orders)
        else:
            self.answer(404, {"error": "no such path"})

    def do_POST(self):
        match self.path.strip("/").split("/"):
            case ["orders"]:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                with lock:
                    order = {"id": len(orders), "item": body.decode(errors="replace"), "state": "open"}
                    orders.append(order)
                self.answer(201, order)
            case ["orders", number, "done"] if number.isdecimal() and int(number) < len(orders):
                with lock:
                    orders[int(number)]["state"] = "done"
                self.answer(200, orders[int(number)])
            case _:
                self.answer(404, {"error": "no such path"})

    def answer(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format, *args):
        if self.path != "/health":
            super().log_message(format, *args)


# As process 1 of a container we get no default action for SIGTERM.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
ThreadingHTTPServer(("", 8081), Api).serve_forever()
