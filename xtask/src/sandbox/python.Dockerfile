# A stand-in for python:X.Y-slim: an interpreter of this machine, moved from its prefix to /usr/local, with a fresh pip.
FROM debian AS own
ARG PREFIX
ARG PYTHON_VERSION
ARG STAND_IN
LABEL dev.slipway.stand-in=$STAND_IN
ENV LANG=C.UTF-8 PYTHON_VERSION=$PYTHON_VERSION
RUN --mount=type=bind,target=/context <<EOF
set -eu
tar --extract --file=/context/python.tar --directory=/usr/local
grep -rlIF "$PREFIX" /usr/local/bin /usr/local/lib | xargs -r sed -i "s|$PREFIX|/usr/local|g"
ldconfig
export PYTHONDONTWRITEBYTECODE=1
python3 -m ensurepip >/dev/null
ln -sf pip3 /usr/local/bin/pip
ln -sf python3 /usr/local/bin/python
find /usr/local -depth -name __pycache__ -exec rm -rf {} +
python -c 'import bz2, ctypes, lzma, readline, sqlite3, ssl, zlib'
pip --version
EOF
CMD ["python3"]
