# A stand-in for debian:CODENAME-slim, with what this machine needs to reach its package indexes.
FROM scratch
ARG TARGETARCH
ARG STAND_IN
LABEL dev.slipway.stand-in=$STAND_IN
ADD rootfs-$TARGETARCH.tar /
# The second place survives update-ca-certificates, which rewrites the first.
COPY --chmod=0644 certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --chmod=0644 certificates.crt /usr/local/share/ca-certificates/machine.crt
COPY --chmod=0644 pip.conf /etc/pip.conf
ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PIP_CERT=/etc/ssl/certs/ca-certificates.crt \
    SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt \
    REQUESTS_CA_BUNDLE=/etc/ssl/certs/ca-certificates.crt \
    CURL_CA_BUNDLE=/etc/ssl/certs/ca-certificates.crt
CMD ["bash"]
