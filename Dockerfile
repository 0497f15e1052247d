# Builds the release binary, then ships it alone. OpenSSL and zlib are linked statically by feature `static`.
FROM rust:1.95-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends libssl-dev zlib1g-dev pkg-config && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN cargo build --release --locked -p leeway --features static

FROM debian:bookworm-slim AS ship
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --create-home leeway && install -d -o leeway /data
COPY --from=build /src/target/release/leeway /usr/local/bin/leeway
USER leeway
VOLUME /data
EXPOSE 8470
ENTRYPOINT ["leeway"]
CMD ["run"]
