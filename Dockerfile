# docker build --build-arg VERSION=v0.1.0 --build-arg COMMIT=$(git rev-parse HEAD) -t livekit-connector .   (or: make docker)
ARG GO_VERSION=1.26
ARG DEBIAN_RELEASE=bookworm

FROM golang:${GO_VERSION}-${DEBIAN_RELEASE} AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends pkg-config libopus-dev \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
# The modules first: they change more rarely than the code.
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=dev
ARG COMMIT=unknown
RUN CGO_ENABLED=1 go build -trimpath -buildvcs=false -tags nolibopusfile \
    -ldflags "-s -w -X github.com/livekit-connector/livekit-connector/internal/app.version=${VERSION} -X github.com/livekit-connector/livekit-connector/internal/app.commit=${COMMIT}" \
    -o /out/livekit-connector ./cmd/livekit-connector
# What the binary is linked to, by the name of Debian's package: libopus0 or nothing.
RUN ldd /out/livekit-connector | { grep -oE 'libopus\.so\.[0-9]+' || true; } | sort -u | sed 's/\.so\.//' > /out/libraries

# The same Debian as above: the binary is linked to its C library.
FROM debian:${DEBIAN_RELEASE}-slim
COPY --from=build /out/libraries /tmp/libraries
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates $(cat /tmp/libraries) \
 && rm -rf /var/lib/apt/lists/* /tmp/libraries
COPY --from=build /out/livekit-connector /usr/local/bin/livekit-connector
# Fails the build if a library is missing.
RUN ["livekit-connector", "version"]
# A number, so that Kubernetes' runAsNonRoot can tell.
USER 10001:10001
EXPOSE 8080
STOPSIGNAL SIGTERM
# Asks /livez, at the port of the same environment: configure a port with CONNECTOR_PORT, CONNECTOR_HEALTH_PORT or a file
# named by CONNECTOR_CONFIG_FILE, not with a flag, which this command does not see.
HEALTHCHECK --interval=10s --timeout=5s --start-period=15s --retries=3 CMD ["livekit-connector", "healthcheck"]
ENTRYPOINT ["livekit-connector"]

ARG VERSION=dev
ARG COMMIT=unknown
LABEL org.opencontainers.image.title="livekit-connector" \
      org.opencontainers.image.description="Joins WhatsApp calls to LiveKit rooms: a self-hosted livekit.Connector" \
      org.opencontainers.image.source="https://github.com/livekit-connector/livekit-connector" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${COMMIT}"
