"""Says what kind of file it is sent: GET / greets, POST / names the kind of the body."""

import tomllib
from pathlib import Path

import bottle
import magic

CONFIG = Path("/etc/app/app.toml")


def greeting(config=CONFIG):
    """The configured greeting; a fixed one where there is no configuration."""
    if not config.exists():
        return "Send me a file"
    return tomllib.loads(config.read_text())["greeting"]


def make():
    app = bottle.Bottle()

    @app.get("/")
    def greet():
        return {"greeting": greeting()}

    @app.post("/")
    def identify():
        head = bottle.request.body.read(4096)
        return {"kind": magic.from_buffer(head, mime=True)}

    return app
