// Ships what is paid, from RabbitMQ.

import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import amqp from "amqplib";
import pg from "pg";

const { AMQP_URL, QUEUE, DATABASE_URL } = process.env;
const PREFETCH = 20;
const AGAIN_AFTER_MS = 1000;
// New types are added: a shop acts on those it knows, and acks the others.
const KNOWN = new Set(["authorized", "paid", "refunded", "held", "released"].map((fact) => `payhook.order.${fact}.v1`));

/** True if this is a CloudEvent with the fields that are read here. */
const isEvent = (event) =>
  ["id", "type", "subject"].every((name) => typeof event?.[name] === "string") && typeof event.data === "object" && event.data !== null;

/** Acts on one event in one transaction. Returns false for a repeat. */
async function apply(pool, event) {
  const client = await pool.connect();
  try {
    await client.query("begin");
    // First, and in the same transaction: of two copies in work at once, the second waits here and then does nothing.
    const { rowCount } = await client.query("insert into payhook_events (id) values ($1) on conflict do nothing", [event.id]);
    if (rowCount === 1 && KNOWN.has(event.type)) await ship(client, event);
    await client.query("commit");
    return rowCount === 1;
  } catch (error) {
    await client.query("rollback").catch(() => {});
    throw error;
  } finally {
    client.release();
  }
}

async function ship(client, { type, subject, data }) {
  // Amounts are integers in the currency's smallest unit, small enough for a JavaScript number.
  await client.query(
    `insert into shop_orders as o (id, version, state, refunded_minor) values ($1, $2, $3, $4)
     on conflict (id) do update
     set version = excluded.version, state = excluded.state, refunded_minor = excluded.refunded_minor
     where o.version < excluded.version`,
    [subject, data.version, data.state, data.refunded_minor],
  );
  if (type !== "payhook.order.paid.v1") return;
  await client.query("insert into shipments (order_id, amount_minor, currency) values ($1, $2, $3)", [subject, data.amount_minor, data.currency]);
}

async function handle(pool, channel, message) {
  let event;
  try {
    event = JSON.parse(message.content.toString("utf8"));
  } catch {
    // Not JSON: `event` stays undefined.
  }
  if (!isEvent(event)) {
    console.error(`rejecting message ${message.fields.deliveryTag}: it is no event`);
    return channel.nack(message, false, false);
  }
  const applied = await apply(pool, event);
  channel.ack(message);
  console.log(`${applied ? "applied" : "seen before:"} ${event.type} of ${event.subject}`);
}

async function consume(pool) {
  const connection = await amqp.connect(AMQP_URL);
  // Both `error` and `close` are emitted for one end. Without a listener, `error` ends the process; `close` alone is waited for.
  connection.on("error", (error) => console.warn(`the connection broke: ${error.message}`));
  const closed = once(connection, "close");
  const channel = await connection.createChannel();
  channel.on("error", (error) => console.warn(`the channel broke: ${error.message}`));
  channel.on("close", () => connection.close().catch(() => {}));
  await channel.assertQueue(QUEUE, { durable: true, arguments: { "x-queue-type": "quorum" } });
  await channel.bindQueue(QUEUE, "payhook.events", "order.#");
  await channel.prefetch(PREFETCH);
  await channel.consume(QUEUE, (message) => {
    // null: somebody deleted the queue. Closing connects again, and declares it again.
    if (message === null) return void connection.close().catch(() => {});
    handle(pool, channel, message).catch((error) => {
      // The database is away, or the channel is: close, and everything that was not acked comes again.
      console.warn(`could not apply a message, connecting again: ${error.message}`);
      connection.close().catch(() => {});
    });
  });
  console.log(`consuming ${QUEUE}`);
  await closed;
}

const pool = new pg.Pool({ connectionString: DATABASE_URL });
pool.on("error", (error) => console.warn(`a database connection broke: ${error.message}`));
for (;;) {
  await consume(pool).catch((error) => console.warn(`cannot consume, trying again: ${error.message}`));
  await sleep(AGAIN_AFTER_MS);
}
