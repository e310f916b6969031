"""Transactions of several producers, step by step, and what a reader of committed messages sees.

    transactions.py BROKERS TOPIC

Reads commands from standard input, a line each, and answers each with a line of JSON:

    open NAME TIMEOUT_MS   a producer whose transactions the brokers abort after so long
    begin NAME             begins its next transaction
    send NAME KEY VALUE    sends to partition 0, both in hexadecimal; answered when it is in the log
    commit NAME            ends its transaction
    abort NAME
    read                   all committed messages of partition 0: [[offset, key, value], ...]

What is open when standard input ends stays open: the process dies.
"""

import json
import os
import sys

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

SECONDS_MAX = 30


def open_producer(brokers, topic, name, timeout_ms):
    producer = Producer(
        {
            "bootstrap.servers": brokers,
            "transactional.id": f"{topic}-{name}",
            "transaction.timeout.ms": int(timeout_ms),
            "linger.ms": 0,
        }
    )
    producer.init_transactions(SECONDS_MAX)
    return producer


def send(producer, topic, key, value):
    producer.produce(topic, bytes.fromhex(value), bytes.fromhex(key), partition=0)
    if producer.flush(SECONDS_MAX) > 0:
        raise RuntimeError("not sent in time")


def read(brokers, topic):
    consumer = Consumer(
        {
            "bootstrap.servers": brokers,
            "group.id": f"{topic}-python",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
        }
    )
    consumer.assign([TopicPartition(topic, 0, 0)])
    rows = []
    while True:
        message = consumer.poll(SECONDS_MAX)
        if message is None:
            raise RuntimeError("no end in time")
        if message.error() is None:
            rows.append([message.offset(), (message.key() or b"").hex(), message.value().hex()])
        elif message.error().code() == KafkaError._PARTITION_EOF:
            break
        else:
            raise KafkaException(message.error())
    consumer.close()
    return rows


def main(brokers, topic):
    producers = {}
    for line in sys.stdin:
        command, *words = line.split()
        answer = None
        if command == "read":
            answer = read(brokers, topic)
        elif command == "open":
            producers[words[0]] = open_producer(brokers, topic, *words)
        elif command == "begin":
            producers[words[0]].begin_transaction()
        elif command == "send":
            send(producers[words[0]], topic, *words[1:])
        elif command == "commit":
            producers[words[0]].commit_transaction(SECONDS_MAX)
        elif command == "abort":
            producers[words[0]].abort_transaction(SECONDS_MAX)
        print(json.dumps(answer), flush=True)
    os._exit(0)


main(*sys.argv[1:])
