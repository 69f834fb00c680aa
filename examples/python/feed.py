"""Ships what is paid, from the HTTP feed: for shops without RabbitMQ."""

import json
import logging
import os
import time
import urllib.error
import urllib.request

import psycopg

from shop import apply, is_event

URL = os.environ["PAYHOOK_URL"].rstrip("/")
WAIT_S = 20
AGAIN_AFTER_S = 1
# Without the proxies of the environment: the console is in your own network.
HTTP = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def get(path):
    request = urllib.request.Request(URL + path, headers={"Authorization": "Bearer " + os.environ["PAYHOOK_TOKEN"]})
    with HTTP.open(request, timeout=WAIT_S + 10) as answer:
        return json.load(answer)


def read(database, after):
    """Applies one page of the feed. Returns the place of the next."""
    page = get(f"/v1/events?after={after}&wait={WAIT_S}s")
    for event in page["events"]:
        if not is_event(event):
            raise ValueError(f"after {after} the feed holds something that is no event: stop, and look at it")
        new = apply(database, event)
        logging.info("%s %s of %s", "applied" if new else "seen before:", event["type"], event["subject"])
    # After the events: a crash before this line reads them again, and applies none twice.
    database.execute(
        """insert into payhook_feed (after) values (%s)
           on conflict (only_row) do update set after = excluded.after""",
        [page["next"]],
    )
    return page["next"]


def follow():
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as database:
        row = database.execute("select after from payhook_feed").fetchone()
        after = row[0] if row else 0
        logging.info("reading the feed after %s", after)
        while True:
            after = read(database, after)


def main():
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    while True:
        try:
            follow()
        except urllib.error.HTTPError as error:
            # 410: events this reader has not seen were deleted ([retention] events). A person must compare the orders.
            if error.code in (400, 401, 403, 410):
                raise SystemExit(f"the feed refused: {error.code} {error.read().decode(errors='replace')}")
            logging.warning("the feed answered %s, trying again", error.code)
            time.sleep(AGAIN_AFTER_S)
        except (OSError, psycopg.OperationalError) as error:
            logging.warning("the connection ended, trying again: %r", error)
            time.sleep(AGAIN_AFTER_S)


if __name__ == "__main__":
    main()
