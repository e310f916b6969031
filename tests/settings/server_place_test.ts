import assert from "node:assert/strict";
import { kafkaPlace, postgresPlace, redisPlace } from "../../lib/settings/server_place.ts";
import { read, type Variables } from "./read_settings.ts";

Deno.test("a server's place is its address and the settings that say so", async (t) => {
  const rows: [variables: Variables, kafka: string, postgres: string, redis: string][] = [
    [
      {},
      "localhost:9092 (KAFKA_BROKER)",
      "localhost:5432 (POSTGRES_HOST, POSTGRES_PORT)",
      "localhost:6379 (REDIS_HOST, REDIS_PORT)",
    ],
    [
      {
        KAFKA_BROKER: "a,b:1,c,d,e",
        DATABASE_URL: "postgres://u:p@db:5433/d",
        REDIS_URL: "redis://:p@[::1]/0",
      },
      "a:9092, b:1, c:9092 and 2 more (KAFKA_BROKER)",
      "db:5433 (DATABASE_URL)",
      "[::1]:6379 (REDIS_URL)",
    ],
    [
      { POSTGRES_HOST: "/run/postgresql" },
      "localhost:9092 (KAFKA_BROKER)",
      "/run/postgresql/.s.PGSQL.5432 (POSTGRES_HOST, POSTGRES_PORT)",
      "localhost:6379 (REDIS_HOST, REDIS_PORT)",
    ],
  ];
  for (const [variables, kafka, postgres, redis] of rows) {
    await t.step(Object.keys(variables).join(", ") || "defaults", () => {
      const settings = read(variables);
      assert.equal(kafkaPlace(settings.kafka), kafka);
      assert.equal(postgresPlace(settings.postgres), postgres);
      assert.equal(redisPlace(settings.redis), redis);
    });
  }
});
