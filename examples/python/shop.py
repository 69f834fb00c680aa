"""The shop's side of an event: shipped once, however often the event comes."""


KNOWN = {f"payhook.order.{fact}.v1" for fact in ("authorized", "paid", "refunded", "held", "released")}


def apply(database, event):
    """Acts on one event in one transaction. Returns False for a repeat."""
    data = event["data"]
    with database.transaction():
        # First, and in the same transaction: of two copies in work at once, the second waits here and then does nothing.
        new = database.execute("insert into payhook_events (id) values (%s) on conflict do nothing", [event["id"]])
        if new.rowcount == 0:
            return False
        if event["type"] not in KNOWN:
            return True  # new types are added: a shop acts on those it knows
        database.execute(
            """insert into shop_orders as o (id, version, state, refunded_minor) values (%s, %s, %s, %s)
               on conflict (id) do update
               set version = excluded.version, state = excluded.state, refunded_minor = excluded.refunded_minor
               where o.version < excluded.version""",
            [event["subject"], data["version"], data["state"], data["refunded_minor"]],
        )
        if event["type"] == "payhook.order.paid.v1":
            database.execute(
                "insert into shipments (order_id, amount_minor, currency) values (%s, %s, %s)",
                [event["subject"], data["amount_minor"], data["currency"]],
            )
    return True


def is_event(event):
    """True if this is a CloudEvent with the fields that are read here."""
    return (
        isinstance(event, dict)
        and all(isinstance(event.get(name), str) for name in ("id", "type", "subject"))
        and isinstance(event.get("data"), dict)
    )
