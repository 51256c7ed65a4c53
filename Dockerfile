# The build needs nothing but the sources; the image holds one program, its configuration and a user without rights.
FROM rust:1-bookworm AS build
WORKDIR /src
COPY Cargo.toml Cargo.lock README.md LICENSE ./
COPY src ./src
# Cargo.toml names them, and cargo wants every named target to be there.
COPY benches ./benches
COPY config ./config
RUN cargo build --release --locked --bin redhold

FROM debian:bookworm-slim
RUN groupadd --gid 65532 redhold \
    && useradd --uid 65532 --gid redhold --no-create-home --home-dir /var/lib/redhold --shell /usr/sbin/nologin redhold \
    && install -d -o redhold -g redhold -m 0750 /var/lib/redhold
COPY --from=build /src/target/release/redhold /usr/local/bin/redhold
COPY config/container.toml /etc/redhold/redhold.toml
USER 65532:65532
VOLUME ["/var/lib/redhold"]
# Clients; metrics, health and status.
EXPOSE 6380 9380
# Asks for the status as an operator would: fails when the proxy does not answer. A missing primary is no reason to restart the proxy.
HEALTHCHECK --interval=5s --timeout=3s --start-period=5s --retries=3 CMD ["redhold", "status", "--admin", "http://127.0.0.1:9380"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["redhold"]
CMD ["run", "--config", "/etc/redhold/redhold.toml"]
