"""Sends messages as the earlier producer does: no key, Python's JSON, and on every fourth message one
of the last twenty ids with a new payload. Prints each message that the brokers have, a line each.

    writer.py BROKERS TOPIC COUNT
"""

import json
import random
import sys
import uuid
from datetime import datetime, timezone

from kafka import KafkaProducer

RECENT_IDS = 20


def reading(unique_reading_id):
    return {
        "unique_reading_id": unique_reading_id,
        "sensor_id": str(uuid.uuid4()),
        "sensor_type": "humidity",
        "location": {
            "latitude": round(random.uniform(-90, 90), 6),
            "longitude": round(random.uniform(-180, 180), 6),
        },
        "timestamp": datetime.now(timezone.utc).isoformat(),
        "value": round(random.uniform(0, 100), 2),
        "unit": "%",
        "status": random.choice(["active", "inactive", "error"]),
        "battery_level": random.randint(0, 100),
    }


def main(brokers, topic, count):
    producer = KafkaProducer(
        bootstrap_servers=brokers.split(","),
        value_serializer=lambda message: json.dumps(message).encode("utf-8"),
    )
    ids = []
    for number in range(count):
        if number % 4 == 3:
            chosen = random.choice(ids[-RECENT_IDS:])
        else:
            chosen = str(uuid.uuid4())
            ids.append(chosen)
        message = reading(chosen)
        producer.send(topic, message).get(timeout=10)
        print(json.dumps(message))
    producer.close()


main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
