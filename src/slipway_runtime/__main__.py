"""Prints what this image is, as JSON on stdout."""

import json

from slipway_runtime import describe

print(json.dumps(describe(), indent=2))
