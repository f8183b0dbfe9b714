"""Runs on the machine against the composed shop: an order taken by web comes back packed by worker."""

import os
import time
import unittest
import urllib.request

URL = f"http://127.0.0.1:{os.environ.get('WEB_PORT', '8080')}"


def get(path):
    with urllib.request.urlopen(URL + path, timeout=5) as response:
        return response.read().decode()


class Shop(unittest.TestCase):
    def test_web_is_healthy(self):
        self.assertEqual(get("/health"), "ok\n")

    def test_order_is_packed(self):
        item = f"tea <{time.monotonic_ns()}>"
        urllib.request.urlopen(URL, data=item.encode(), timeout=5).close()
        packed = item.replace("<", "&lt;").replace(">", "&gt;") + ": done"
        deadline = time.monotonic() + 20
        while packed not in (page := get("/")):
            self.assertLess(time.monotonic(), deadline, f"the order was not packed: {page}")
            time.sleep(0.2)


if __name__ == "__main__":
    unittest.main()
