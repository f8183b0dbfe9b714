"""Runs inside the image, as its user, and tests the app that it ships."""

import io
import json
import os
import tempfile
import unittest
from pathlib import Path
from wsgiref.util import setup_testing_defaults

import app


def ask(method, body=b""):
    environ = {
        "REQUEST_METHOD": method,
        "PATH_INFO": "/",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": io.BytesIO(body),
    }
    setup_testing_defaults(environ)
    status = []
    answer = b"".join(app.make()(environ, lambda line, *_: status.append(line)))
    return status[0], json.loads(answer)


class App(unittest.TestCase):
    def test_greets(self):
        self.assertEqual(ask("GET"), ("200 OK", {"greeting": "Send me a file"}))

    def test_names_the_kind(self):
        self.assertEqual(ask("POST", b"%PDF-1.7\n"), ("200 OK", {"kind": "application/pdf"}))

    def test_reads_its_configuration(self):
        with tempfile.TemporaryDirectory() as folder:
            config = Path(folder, "app.toml")
            config.write_text('greeting = "Hello"')
            self.assertEqual(app.greeting(config), "Hello")

    def test_user_may_read_the_configuration_and_not_write_it(self):
        self.assertNotEqual(os.getuid(), 0)
        self.assertTrue(os.access("/etc/app", os.R_OK | os.X_OK))
        self.assertFalse(os.access("/etc/app", os.W_OK))


if __name__ == "__main__":
    unittest.main()
