# docker build --build-arg VERSION=v0.1.0 --build-arg COMMIT=$(git rev-parse HEAD) -t livekit-connector .   (or: make docker)
#
# The image is one static file, certificates and a user: nothing else in it has to be updated. Every architecture is built on
# the builder's own by a cross compiler (--platform linux/amd64,linux/arm64), so no emulator is needed.
#
# Renovate keeps these two current (docs/deploy.md).
ARG BUILD_IMAGE=golang:1.26.9-bookworm@sha256:d9c68c2c51161e12fd77e4c6320687c9cd86e1af1e3ad6e6cd63ff970641453c
ARG FAKEMETA_IMAGE=debian:bookworm-slim@sha256:3783cc01769c7b2b1b83a5c5ad96c815348e28ed7da68e2e3687004faa906251

FROM --platform=$BUILDPLATFORM ${BUILD_IMAGE} AS build
WORKDIR /src
ARG TARGETARCH
COPY .ci/binary.sh .ci/
RUN .ci/binary.sh install && rm -rf /var/lib/apt/lists/*
# The modules first: they change more rarely than the code.
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=dev
ARG COMMIT=unknown
RUN .ci/binary.sh /out/usr/local/bin/livekit-connector
# All files of the image bear this time, so that the same source gives the same layer.
ARG SOURCE_DATE_EPOCH=0
RUN mkdir -p /out/etc/ssl/certs /out/usr/share/doc/livekit-connector \
 && cp /etc/ssl/certs/ca-certificates.crt /out/etc/ssl/certs/ \
 && echo 'connector:x:10001:10001::/:/usr/sbin/nologin' > /out/etc/passwd \
 && echo 'connector:x:10001:' > /out/etc/group \
 && cp LICENSE /out/usr/share/doc/livekit-connector/ \
 && cp /usr/share/doc/libopus-dev/copyright /out/usr/share/doc/livekit-connector/libopus.copyright \
 && cp /usr/share/doc/libc6/copyright /out/usr/share/doc/livekit-connector/glibc.copyright \
 && find /out -exec touch --no-dereference --date="@${SOURCE_DATE_EPOCH}" {} +

# The fake Meta for compose.yaml, with --target fakemeta: for trying things out, never part of the connector's image.
FROM ${BUILD_IMAGE} AS build-fakemeta
RUN apt-get update \
 && apt-get install -y --no-install-recommends pkg-config libopus-dev libsoxr-dev \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=1 go build -trimpath -buildvcs=false -tags nolibopusfile -o /out/fakemeta ./cmd/fakemeta

FROM ${FAKEMETA_IMAGE} AS fakemeta
RUN apt-get update \
 && apt-get install -y --no-install-recommends libopus0 libsoxr0 \
 && rm -rf /var/lib/apt/lists/*
COPY --from=build-fakemeta /out/fakemeta /usr/local/bin/fakemeta
USER 10001:10001
EXPOSE 8090 8091 3480/udp
ENTRYPOINT ["fakemeta"]

FROM scratch
COPY --from=build /out/ /
ENV PATH=/usr/local/bin
# A number, so that Kubernetes' runAsNonRoot can tell.
USER 10001:10001
# The API, and the probes. The admin port 8085 is bound to loopback and stays inside.
EXPOSE 8080
STOPSIGNAL SIGTERM
# Asks /livez at health_port, else admin.port (8085), else port, as the same environment says: configure them by CONNECTOR_HEALTH_PORT,
# CONNECTOR_ADMIN_PORT, CONNECTOR_PORT or a file named by CONNECTOR_CONFIG_FILE, not with a flag, which this command does not see.
HEALTHCHECK --interval=10s --timeout=5s --start-period=15s --retries=3 CMD ["livekit-connector", "healthcheck"]
ENTRYPOINT ["livekit-connector"]

ARG VERSION=dev
ARG COMMIT=unknown
LABEL org.opencontainers.image.title="livekit-connector" \
      org.opencontainers.image.description="Joins WhatsApp calls to LiveKit rooms: a self-hosted livekit.Connector" \
      org.opencontainers.image.source="https://github.com/livekit-connector/livekit-connector" \
      org.opencontainers.image.documentation="https://github.com/livekit-connector/livekit-connector/blob/main/docs/deploy.md" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${COMMIT}"
