import assert from "node:assert/strict";
import { createServer } from "node:http";
import { checkHealth } from "../lib/http/health_check.ts";
import { FakeClock } from "./fake_clock.ts";

Deno.test("checkHealth() gives up on a program that does not answer", async () => {
  const asked = Promise.withResolvers<void>();
  const server = createServer(() => asked.resolve());
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { readonly port: number };
  const clock = new FakeClock();
  const checking = checkHealth({ host: "127.0.0.1", port }, clock);
  await asked.promise;
  await clock.advance(2_999);
  assert.equal(clock.sleeping, 1);
  await clock.advance(1);
  assert.equal(clock.sleeping, 0);
  assert.deepEqual(await checking, { ok: false, text: "no answer within 3000 ms" });
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});
