# docker build -t aegis .
#
# Both bases can be replaced, for a mirror or for an air-gapped machine (docs/local-images.sh makes local ones). They
# must be of the same Debian release: the binary is linked against its C library.
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
# By number, so that Kubernetes can see that it is not root.
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 8000

# Neither curl nor wget is in the base; bash opens the socket itself. Answers while the process serves, also when the
# database is away: restarting Aegis would not bring that back.
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 CMD ["bash", "-c", \
    "exec 3<>/dev/tcp/127.0.0.1/${AEGIS_LISTEN##*:} && printf 'GET %s/health HTTP/1.0\\r\\nHost: localhost\\r\\n\\r\\n' \"${API_V1_STR:-/api/v1}\" >&3 && read -r -t 2 _ status _ <&3 && [ \"$status\" = 200 ]"]

ENTRYPOINT ["aegis"]
CMD ["serve"]
