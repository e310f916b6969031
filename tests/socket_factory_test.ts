import assert from "node:assert/strict";
import { once } from "node:events";
import { openSocket, socketHost, splittableBroker } from "../lib/kafka/socket_factory.ts";

Deno.test("splittableBroker() gives kafkajs an address with one colon, and socketHost() reads it", async (t) => {
  const rows: [broker: string, host: string][] = [
    ["[::1]:9092", "::1"],
    ["[2001:db8::a:1]:1", "2001:db8::a:1"],
    ["[::ffff:127.0.0.1]:9092", "::ffff:127.0.0.1"],
    ["kafka_1.example:9092", "kafka_1.example"],
    ["127.0.0.1:9092", "127.0.0.1"],
  ];
  for (const [broker, want] of rows) {
    await t.step(broker, () => {
      const [host, port, ...rest] = splittableBroker(broker).split(":");
      assert.deepEqual(rest, []);
      assert.equal(port, broker.slice(broker.lastIndexOf(":") + 1));
      assert.equal(socketHost(host!), want);
    });
  }
  await t.step("an address that a broker advertises stays as it is", () => {
    assert.equal(socketHost("::1"), "::1");
  });
});

Deno.test("openSocket() connects to an IPv6 address", async () => {
  using listener = Deno.listen({ hostname: "::1", port: 0 });
  const accepted = listener.accept();
  const socket = openSocket({
    host: "[__1]",
    port: listener.addr.port,
    ssl: undefined as never,
    onConnect: () => {},
  });
  await once(socket, "connect");
  (await accepted).close();
  socket.destroy();
});
