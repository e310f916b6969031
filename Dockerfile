# Two images from one file, one program in each:
#   docker build --target producer -t sensor-ledger-producer .
#   docker build --target consumer -t sensor-ledger-consumer .
# An image has Deno, one program and its dependencies, and no shell. A program runs with its
# permissions of deno.json, as a user without rights, and writes nothing: --read-only is fine. What
# follows the image's name goes to it as arguments: docker run sensor-ledger-consumer verify
#
# The health check asks the address that the settings name. Where HTTP_PORT (for the producer
# PRODUCER_HTTP_PORT) is 0 there is nobody to ask, and it counts as well.

# Deno wants to find every package of deno.json. Those of the tests and the demo are there and empty.
FROM denoland/deno:debian-2.9.6 AS parts
ENV UNUSED="@electric-sql @types axe-core fast-check playwright-core"
WORKDIR /app
COPY deno.json deno.lock main_health.ts ./
COPY lib lib

FROM parts AS producer-parts
COPY main_producer.ts ./
RUN deno install -q --frozen --entrypoint main_producer.ts main_health.ts && \
  for name in $UNUSED; do find "$DENO_DIR"/npm/*/"$name" -type f -delete; done

FROM parts AS consumer-parts
COPY migrations migrations
COPY dashboard dashboard
COPY main_consumer.ts ./
RUN deno install -q --frozen --entrypoint main_consumer.ts main_health.ts && \
  for name in $UNUSED; do find "$DENO_DIR"/npm/*/"$name" -type f -delete; done

FROM denoland/deno:distroless-2.9.6 AS producer
WORKDIR /app
COPY --from=producer-parts /deno-dir /deno-dir
COPY --from=producer-parts /app /app
USER 65532:65532
HEALTHCHECK --interval=15s --timeout=5s --start-period=20s --retries=3 \
  CMD ["deno", "run", "-q", "--no-prompt", "--cached-only", "-P=produce", "main_health.ts", "producer"]
ENTRYPOINT ["/tini", "--", "deno", "run", "-q", "--no-prompt", "--cached-only", "--v8-flags=--max-semi-space-size=8", "-P=produce", "main_producer.ts"]

FROM denoland/deno:distroless-2.9.6 AS consumer
WORKDIR /app
COPY --from=consumer-parts /deno-dir /deno-dir
COPY --from=consumer-parts /app /app
USER 65532:65532
HEALTHCHECK --interval=15s --timeout=5s --start-period=20s --retries=3 \
  CMD ["deno", "run", "-q", "--no-prompt", "--cached-only", "-P=consume", "main_health.ts", "consumer"]
ENTRYPOINT ["/tini", "--", "deno", "run", "-q", "--no-prompt", "--cached-only", "--v8-flags=--max-semi-space-size=8", "-P=consume", "main_consumer.ts"]
