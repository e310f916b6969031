"""Makes the earlier table, and stores messages as the earlier consumer does: one insert and one commit
for each, then the mark and the last value. Ends after COUNT messages, its offsets committed.

    consumer.py BROKERS TOPIC GROUP REDIS_PORT COUNT
"""

import json
import sys

import psycopg2
import redis
from kafka import KafkaConsumer

TABLE = """
CREATE TABLE IF NOT EXISTS sensor_events (
    id SERIAL PRIMARY KEY,
    unique_reading_id VARCHAR(36) NOT NULL UNIQUE,
    sensor_id VARCHAR(36) NOT NULL,
    sensor_type VARCHAR(20) NOT NULL,
    latitude DECIMAL(10,6),
    longitude DECIMAL(10,6),
    timestamp TIMESTAMP NOT NULL,
    value DECIMAL(10,2),
    unit VARCHAR(10),
    status VARCHAR(10),
    battery_level INTEGER
);
CREATE INDEX IF NOT EXISTS idx_sensor_id ON sensor_events (sensor_id);
CREATE INDEX IF NOT EXISTS idx_timestamp ON sensor_events (timestamp);
"""

INSERT = """
INSERT INTO sensor_events (unique_reading_id, sensor_id, sensor_type, latitude, longitude, timestamp,
    value, unit, status, battery_level)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
"""


def store(connection, cache, message):
    if cache.get("reading:" + message["unique_reading_id"]):
        return
    place = message["location"]
    with connection.cursor() as cursor:
        cursor.execute(
            INSERT,
            (
                message["unique_reading_id"],
                message["sensor_id"],
                message["sensor_type"],
                place["latitude"],
                place["longitude"],
                message["timestamp"],
                message["value"],
                message["unit"],
                message["status"],
                message["battery_level"],
            ),
        )
    connection.commit()
    cache.setex("reading:" + message["unique_reading_id"], 3600, 1)
    cache.set("last:" + message["sensor_id"], json.dumps(message))


def main(brokers, topic, group, redis_port, count):
    connection = psycopg2.connect("")
    with connection.cursor() as cursor:
        cursor.execute(TABLE)
    connection.commit()
    cache = redis.Redis(host="127.0.0.1", port=redis_port, decode_responses=True)
    consumer = KafkaConsumer(
        topic,
        bootstrap_servers=brokers.split(","),
        group_id=group,
        auto_offset_reset="earliest",
        value_deserializer=lambda value: json.loads(value.decode("utf-8")),
    )
    for number, record in enumerate(consumer, start=1):
        store(connection, cache, record.value)
        if number == count:
            break
    consumer.commit()
    consumer.close()
    connection.close()


main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))
