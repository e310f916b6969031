/** The laws of partitions without a leader in memory. */
import { MemoryKafka } from "../../fakes/kafka_cluster.ts";
import { leaderContract, LOST } from "../contracts/leaders.ts";
import { FakeClock } from "../fake_clock.ts";

leaderContract("MemoryKafka", () => {
  const clock = new FakeClock();
  const kafka = new MemoryKafka({ topic: "readings", partitions: 2, clock });
  return Promise.resolve({
    setLeader: (leader) => {
      kafka.setLeader(LOST, leader);
      return Promise.resolve();
    },
    member: (groupId) => Promise.resolve(kafka.member(groupId)),
    writer: () => Promise.resolve(kafka.writer()),
    pass: () => clock.advance(20),
    close: () => Promise.resolve(),
  });
});
