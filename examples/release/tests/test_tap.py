"""Runs inside the image and tests the `tap` that it ships."""

import json
import subprocess
import time
import unittest
import urllib.error
import urllib.request

URL = "http://127.0.0.1:8889"


class TapAnswers(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.tap = subprocess.Popen(["tap", "--port", "8889"], stderr=subprocess.DEVNULL)
        for _ in range(100):
            try:
                return urllib.request.urlopen(URL).close()
            except urllib.error.URLError:
                time.sleep(0.05)
        raise TimeoutError("tap did not answer")

    @classmethod
    def tearDownClass(cls):
        cls.tap.terminate()
        assert cls.tap.wait(timeout=5) == 0, "tap does not stop when told to"

    def test_says_what_it_was_asked(self):
        request = urllib.request.Request(f"{URL}/some/path?q=1", data=b"hello", headers={"X-Trace": "7"})
        with urllib.request.urlopen(request) as response:
            asked = json.load(response)
        self.assertEqual((asked["method"], asked["path"], asked["body"]), ("POST", "/some/path?q=1", "hello"))
        self.assertEqual(asked["headers"]["X-Trace"], "7")

    def test_check_tells_up_from_down(self):
        self.assertEqual(subprocess.call(["tap", "--check", "--port", "8889"]), 0)
        self.assertNotEqual(subprocess.call(["tap", "--check", "--port", "1"], stderr=subprocess.DEVNULL), 0)


if __name__ == "__main__":
    unittest.main()
