"""Asks what the users of the earlier program ask, and prints the answers as one JSON object.

    reader.py REDIS_PORT SENSOR_ID
"""

import json
import sys

import psycopg2
import psycopg2.extras
import redis

DUPLICATES = "SELECT unique_reading_id, count(*) FROM sensor_events GROUP BY 1 HAVING count(*) > 1"


def main(redis_port, sensor_id):
    connection = psycopg2.connect("", cursor_factory=psycopg2.extras.RealDictCursor)
    with connection.cursor() as cursor:
        cursor.execute("SET TIME ZONE 'UTC'")
        cursor.execute("SELECT * FROM sensor_events")
        events = cursor.fetchall()
        cursor.execute(DUPLICATES)
        duplicates = cursor.fetchall()
    connection.close()
    cache = redis.Redis(host="127.0.0.1", port=redis_port, decode_responses=True)
    last = json.loads(cache.get("last:" + sensor_id))
    print(json.dumps({"events": events, "duplicates": duplicates, "last": last}, default=str))


main(int(sys.argv[1]), sys.argv[2])
