# For another architecture than the machine's there is Debian's own Python alone, whatever version was asked for.
FROM debian AS foreign
RUN --mount=type=bind,from=foreign-files,target=/context <<EOF
set -eu
tar --extract --file=/context/python.tar --directory=/ --keep-directory-symlink
rm -f /usr/lib/python3*/EXTERNALLY-MANAGED
ln -sf /usr/bin/python3 /usr/local/bin/python3
ln -sf /usr/bin/python3 /usr/local/bin/python
ldconfig
wheel=$(ls /context/pip-*.whl)
python3 "$wheel/pip" install --quiet --no-index --no-compile --root-user-action=ignore "$wheel"
python -c 'import bz2, ctypes, lzma, readline, sqlite3, ssl, zlib'
pip --version
EOF
# Last, so that all versions share the step above. Packages are found where the version that was asked for has them.
ARG PYTHON_VERSION
ARG PYTHON_MINOR
COPY <<EOF /usr/lib/python3/dist-packages/asked-for.pth
/usr/local/lib/python$PYTHON_MINOR/site-packages
EOF
ENV LANG=C.UTF-8
LABEL dev.slipway.stand-in="The own Python of Debian in the place of $PYTHON_VERSION, made by the sandbox, not by the publisher"
CMD ["python3"]
