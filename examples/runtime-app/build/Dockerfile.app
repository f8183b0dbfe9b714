# The runtime of this run if it is built, else the published one, pinned by digest.
# hadolint ignore=DL3006
FROM runtime

LABEL org.opencontainers.image.description="Says what kind of file it is sent"

COPY --chmod=755 build/start.sh /opt/app/
COPY app /opt/app/app

EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --start-interval=1s \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/', timeout=2)"]
CMD ["/opt/app/start.sh"]
