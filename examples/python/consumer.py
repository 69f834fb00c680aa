"""Ships what is paid, from RabbitMQ."""

import json
import logging
import os
import time

import pika
import psycopg
from pika.exceptions import AMQPError

from shop import apply, is_event

QUEUE = os.environ["QUEUE"]
PREFETCH = 20
AGAIN_AFTER_S = 1


def on_message(database, channel, method, body):
    try:
        event = json.loads(body)
    except ValueError:
        event = None
    if not is_event(event):
        logging.error("rejecting message %s: it is no event", method.delivery_tag)
        channel.basic_nack(method.delivery_tag, requeue=False)
        return
    # One short transaction. For slow work use a thread, and ack with connection.add_callback_threadsafe: a callback
    # that takes longer than the heartbeat loses the connection.
    new = apply(database, event)
    channel.basic_ack(method.delivery_tag)
    logging.info("%s %s of %s", "applied" if new else "seen before:", event["type"], event["subject"])


def consume():
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as database:
        connection = pika.BlockingConnection(pika.URLParameters(os.environ["AMQP_URL"]))
        channel = connection.channel()
        channel.queue_declare(QUEUE, durable=True, arguments={"x-queue-type": "quorum"})
        channel.queue_bind(QUEUE, "payhook.events", "order.#")
        channel.basic_qos(prefetch_count=PREFETCH)
        channel.basic_consume(QUEUE, lambda channel, method, _, body: on_message(database, channel, method, body))
        logging.info("consuming %s", QUEUE)
        channel.start_consuming()


def main():
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    logging.getLogger("pika").setLevel(logging.CRITICAL)
    while True:
        try:
            consume()
        # Messages that were not acked come again, on the next connection.
        except (AMQPError, OSError, psycopg.OperationalError) as error:
            logging.warning("the connection ended, trying again: %r", error)
            time.sleep(AGAIN_AFTER_S)


if __name__ == "__main__":
    main()
