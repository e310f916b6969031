"""Another program in the group of the consumer, by confluent-kafka.

    neighbour.py classic|new BROKERS GROUP TOPIC   joins; prints its partitions each second; leaves
                                                   when standard input ends
    neighbour.py reset BROKERS GROUP TOPIC OFFSET PARTITIONS
                                                   sets the group's offsets, as an operator's tool does
"""

import json
import select
import sys

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import AdminClient

mode, brokers, group, topic = sys.argv[1:5]

if mode == "reset":
    offset, count = (int(each) for each in sys.argv[5:7])
    places = [TopicPartition(topic, partition, offset) for partition in range(count)]
    admin = AdminClient({"bootstrap.servers": brokers})
    wanted = [ConsumerGroupTopicPartitions(group, places)]
    for future in admin.alter_consumer_group_offsets(wanted).values():
        for place in future.result().topic_partitions:
            if place.error is not None:
                sys.exit(str(place.error))
    sys.exit()

settings = {"bootstrap.servers": brokers, "group.id": group, "client.id": "neighbour"}
if mode == "new":
    settings["group.protocol"] = "consumer"
else:
    settings["partition.assignment.strategy"] = "range"
consumer = Consumer(settings)
consumer.subscribe([topic])
while not select.select([sys.stdin], [], [], 0)[0]:
    consumer.poll(1)
    print(json.dumps([each.partition for each in consumer.assignment()]), flush=True)
consumer.close()
