"""`python -m app --port 8000` serves until told to stop."""

import argparse
import signal
import sys

import waitress

from app import make

parser = argparse.ArgumentParser(prog="app")
parser.add_argument("--port", type=int, default=8000)
port = parser.parse_args().port
# As process 1 of a container we get no default action for SIGTERM.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
waitress.serve(make(), host="0.0.0.0", port=port)
