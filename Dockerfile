# Two images from one file, one program in each:
#   docker build --target producer -t sensor-ledger-producer .
#   docker build --target consumer -t sensor-ledger-consumer .
# A program runs with its permissions of deno.json, as a user without rights. What follows the
# image's name goes to it as arguments: docker run sensor-ledger-consumer verify

FROM denoland/deno:2.9.6 AS base
WORKDIR /app
COPY deno.json deno.lock ./
COPY lib lib
USER deno

FROM base AS producer
COPY main_producer.ts ./
RUN ["deno", "install", "--frozen", "--entrypoint", "main_producer.ts"]
ENTRYPOINT ["deno", "run", "-q", "--cached-only", "--v8-flags=--max-semi-space-size=8", "-P=produce", "main_producer.ts"]

FROM base AS consumer
COPY migrations migrations
COPY dashboard dashboard
COPY main_consumer.ts ./
RUN ["deno", "install", "--frozen", "--entrypoint", "main_consumer.ts"]
ENTRYPOINT ["deno", "run", "-q", "--cached-only", "--v8-flags=--max-semi-space-size=8", "-P=consume", "main_consumer.ts"]
