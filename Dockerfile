# Two images from one file, one program in each; `deno task images` builds both.
#   docker build --target producer -t sensor-ledger-producer .
#   docker build --target consumer -t sensor-ledger-consumer .
# An image contains Deno, one program and its dependencies, but no shell. The program runs with its
# permissions from deno.json, as an unprivileged user, and writes nothing, so --read-only works.
# Arguments after the image's name go to the program: docker run sensor-ledger-consumer verify
#
# It listens on all addresses of its container, so -p 8000:8000 is enough. The health check queries
# the address in the settings, and reports healthy when HTTP_PORT (for the producer
# PRODUCER_HTTP_PORT) is 0.

# The packages: a layer that both images share and that code changes do not touch.
# Deno requires every package of deno.json. Those of the tests and the demo are present, but empty.
FROM denoland/deno:debian-2.9.6 AS packages
ENV UNUSED="@electric-sql @types axe-core fast-check playwright-core"
WORKDIR /app
COPY deno.json deno.lock ./
RUN deno install -q --frozen && \
  for name in $UNUSED; do find "$DENO_DIR"/npm/*/"$name" -type f -delete; done

# The programs, and what Deno makes of their code. The packages come from the layer above.
FROM packages AS producer-parts
COPY main_health.ts main_producer.ts ./
COPY lib lib
RUN deno install -q --frozen --cached-only --entrypoint main_producer.ts main_health.ts && \
  mkdir /made && find "$DENO_DIR" -mindepth 1 -maxdepth 1 ! -name npm -exec cp -r {} /made \;

FROM packages AS consumer-parts
COPY migrations migrations
COPY dashboard dashboard
COPY main_health.ts main_consumer.ts ./
COPY lib lib
RUN deno install -q --frozen --cached-only --entrypoint main_consumer.ts main_health.ts && \
  mkdir /made && find "$DENO_DIR" -mindepth 1 -maxdepth 1 ! -name npm -exec cp -r {} /made \;

FROM denoland/deno:distroless-2.9.6 AS base
WORKDIR /app
COPY --from=packages /deno-dir/npm /deno-dir/npm
ENV HTTP_HOST="0.0.0.0" DENO_NO_UPDATE_CHECK="1"
USER 65532:65532
# Where the code is: deno task images passes what git says.
ARG SOURCE=""
LABEL org.opencontainers.image.version="0.3.0" \
  org.opencontainers.image.licenses="MIT" \
  org.opencontainers.image.source="$SOURCE"

FROM base AS producer
LABEL org.opencontainers.image.title="sensor-ledger-producer" \
  org.opencontainers.image.description="Sends sensor readings to Kafka."
COPY --from=producer-parts /made /deno-dir
COPY --from=producer-parts /app /app
HEALTHCHECK --interval=15s --timeout=5s --start-period=20s --retries=3 \
  CMD ["deno", "run", "-q", "--no-prompt", "--cached-only", "-P=produce", "main_health.ts", "producer"]
ENTRYPOINT ["/tini", "--", "deno", "run", "-q", "--no-prompt", "--cached-only", "--v8-flags=--max-semi-space-size=8", "-P=produce", "main_producer.ts"]

FROM base AS consumer
LABEL org.opencontainers.image.title="sensor-ledger-consumer" \
  org.opencontainers.image.description="Stores sensor readings from Kafka in PostgreSQL, each once."
COPY --from=consumer-parts /made /deno-dir
COPY --from=consumer-parts /app /app
EXPOSE 8000
HEALTHCHECK --interval=15s --timeout=5s --start-period=20s --retries=3 \
  CMD ["deno", "run", "-q", "--no-prompt", "--cached-only", "-P=consume", "main_health.ts", "consumer"]
ENTRYPOINT ["/tini", "--", "deno", "run", "-q", "--no-prompt", "--cached-only", "--v8-flags=--max-semi-space-size=8", "-P=consume", "main_consumer.ts"]
