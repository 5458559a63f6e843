# docker build -t aegis .
#
# Both base images can be replaced, by a mirror or on an air-gapped machine (docs/local-images.sh builds local ones).
# They must be of the same Debian release, because the binary is linked against its C library.
ARG BUILD_IMAGE=rust:1.95-bookworm
ARG RUNTIME_IMAGE=debian:bookworm-slim

FROM ${BUILD_IMAGE} AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked --package aegis --bin aegis

FROM ${RUNTIME_IMAGE}
# For databases and webhooks behind TLS.
RUN test -e /etc/ssl/certs/ca-certificates.crt \
    || { apt-get update \
        && apt-get install -y --no-install-recommends ca-certificates \
        && rm -rf /var/lib/apt/lists/*; }
RUN groupadd --system --gid 10001 aegis \
    && useradd --system --uid 10001 --gid aegis --home-dir /data --no-create-home --shell /usr/sbin/nologin aegis \
    && install -d -o aegis -g aegis -m 0700 /data
COPY --from=build /src/target/release/aegis /usr/local/bin/aegis
COPY LICENSE /usr/share/doc/aegis/LICENSE

ENV AEGIS_DATA_DIR=/data \
    AEGIS_LISTEN=0.0.0.0:8000
# By number, so that Kubernetes can verify that it is not root.
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 8000

# The base image has neither curl nor wget; bash opens the socket itself. The check is liveness only: it succeeds also
# while the database is unreachable, because restarting Aegis would not help.
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 CMD ["bash", "-c", \
    "exec 3<>/dev/tcp/127.0.0.1/${AEGIS_LISTEN##*:} && printf 'GET %s/health HTTP/1.0\\r\\nHost: localhost\\r\\n\\r\\n' \"${API_V1_STR:-/api/v1}\" >&3 && read -r -t 2 _ status _ <&3 && [ \"$status\" = 200 ]"]

ENTRYPOINT ["aegis"]
CMD ["serve"]
