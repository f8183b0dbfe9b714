#!/bin/sh
# Starts the app in place of this shell, so that the app is process 1 and is told when to stop.
set -eu
cd /opt/app
exec python -m app --port "${PORT:-8000}"
