/** OpenTelemetry by Deno's own switch: what a collector gets of a real consumer. */
import assert from "node:assert/strict";
import { TRACER_NAME } from "../../lib/traces.ts";
import { generate, MIXED } from "../../campaign/generated_messages.ts";
import { DONE_MS, RealPipeline } from "./real_pipeline.ts";

const MESSAGES = 2_000;
const SEED = 6;
const SERVICE = "consumer-of-the-test";
const TOKEN = "planted-http-token";

interface Attribute {
  readonly key: string;
  /** Numbers come as doubles, as JavaScript has them. */
  readonly value: { readonly stringValue?: string; readonly doubleValue?: number };
}

interface Span {
  readonly name: string;
  readonly startTimeUnixNano: string;
  readonly endTimeUnixNano: string;
  readonly attributes: readonly Attribute[];
}

/** A collector that keeps what it gets, by OTLP over HTTP as JSON. */
class Collector implements AsyncDisposable {
  readonly #bodies: { readonly path: string; readonly text: string }[] = [];
  readonly #server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen: () => {} },
    async (request) => {
      this.#bodies.push({ path: new URL(request.url).pathname, text: await request.text() });
      return Response.json({});
    },
  );

  /** The variables that make Deno send to it. */
  get env(): Readonly<Record<string, string>> {
    return {
      OTEL_DENO: "true",
      OTEL_SERVICE_NAME: SERVICE,
      OTEL_EXPORTER_OTLP_PROTOCOL: "http/json",
      OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${this.#server.addr.port}`,
    };
  }

  /** Everything that came. */
  get text(): string {
    return this.#bodies.map(({ text }) => text).join("\n");
  }

  /** The spans of the batches. */
  get spans(): readonly Span[] {
    return this.#bodies.filter(({ path }) => path === "/v1/traces").flatMap(({ text }) =>
      JSON.parse(text).resourceSpans.flatMap((
        { scopeSpans }: { scopeSpans: { scope: { name: string }; spans: Span[] }[] },
      ) =>
        scopeSpans.filter(({ scope }) => scope.name === TRACER_NAME).flatMap(({ spans }) => spans)
      )
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.shutdown();
  }
}

function attributesOf(span: Span): Readonly<Record<string, string | number | undefined>> {
  return Object.fromEntries(
    span.attributes.map(({ key, value }) => [key, value.stringValue ?? value.doubleValue]),
  );
}

Deno.test("a consumer with OTEL_DENO=true sends one span a batch", async (t) => {
  await using pipeline = await RealPipeline.open();
  await using collector = new Collector();
  const messages = generate(MESSAGES, MIXED, SEED);
  await pipeline.send(messages);
  await using consumer = pipeline.consumer(["run", "--until-end"], {
    ...collector.env,
    HTTP_TOKEN: TOKEN,
    BATCH_MESSAGES_MAX: "300",
  });
  const { stderr } = await consumer.succeeded(DONE_MS);
  const rows = await pipeline.query("SELECT * FROM ledger ORDER BY kafka_partition");

  await t.step("the spans follow each other from the first offset to the last", () => {
    for (const row of rows) {
      const spans = collector.spans.map(attributesOf).filter((span) =>
        span["messaging.destination.partition.id"] === String(row.kafka_partition)
      );
      spans.sort((a, b) =>
        Number(a["messaging.kafka.offset"]) - Number(b["messaging.kafka.offset"])
      );
      let offset: number | string | undefined = Number(row.first_offset);
      for (const span of spans) {
        assert.equal(span["messaging.kafka.offset"], offset);
        offset = span["sensor_ledger.next_offset"];
      }
      assert.equal(offset, Number(row.next_offset));
    }
  });

  await t.step("they say what became of every message", () => {
    const sum = (key: string): number =>
      collector.spans.reduce((total, span) => total + Number(attributesOf(span)[key]), 0);
    const inLedger = (key: string): number =>
      rows.reduce((total, row) => total + Number(row[key]), 0);
    assert.equal(sum("messaging.batch.message_count"), MESSAGES);
    for (const key of ["inserted", "duplicates", "dead_letters"]) {
      assert.equal(sum(`sensor_ledger.${key}`), inLedger(key), key);
    }
    for (const span of collector.spans) {
      assert.equal(span.name, `store ${pipeline.topic}`);
      const tookMs = (Number(span.endTimeUnixNano) - Number(span.startTimeUnixNano)) / 1e6;
      assert(tookMs >= 0 && tookMs < DONE_MS, `${tookMs} ms`);
    }
  });

  await t.step("no secret and no sensor is in what was sent", () => {
    const { text } = collector;
    assert(text.includes(SERVICE), "there is something to look at");
    assert(!text.includes(TOKEN));
    assert(!text.includes(pipeline.env.POSTGRES_PASSWORD!));
    assert(!/sensor_id|unique_reading_id/.test(text));
    assert.equal(stderr.includes("PermissionDenied"), false);
  });
});
