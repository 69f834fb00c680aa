// Ships what is paid, from RabbitMQ.
//
// java -cp "/usr/share/java/*" Consumer.java   (Debian: librabbitmq-client-java libjackson2-databind-java libpostgresql-jdbc-java)

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.rabbitmq.client.Channel;
import com.rabbitmq.client.ConnectionFactory;
import com.rabbitmq.client.ShutdownSignalException;
import java.io.IOException;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.SQLException;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CompletableFuture;

public class Consumer {
    private static final String QUEUE = System.getenv("QUEUE");
    private static final int PREFETCH = 20;
    private static final long AGAIN_AFTER_MS = 1000;
    /** New types are added: a shop acts on those it knows, and acks the others. */
    private static final Set<String> KNOWN = Set.of("payhook.order.authorized.v1", "payhook.order.paid.v1",
            "payhook.order.refunded.v1", "payhook.order.held.v1", "payhook.order.released.v1");
    private static final ObjectMapper JSON = new ObjectMapper();

    public static void main(String[] arguments) throws Exception {
        while (true) {
            try {
                consume();
            } catch (Exception error) {
                // Everything that was not acked comes again, on the next connection.
                System.err.println("the connection ended, trying again: " + error);
            }
            Thread.sleep(AGAIN_AFTER_MS);
        }
    }

    private static void consume() throws Exception {
        ConnectionFactory factory = new ConnectionFactory();
        factory.setUri(System.getenv("AMQP_URL"));
        // The loop in main connects again, and with it the queue is declared again and the database is connected again.
        factory.setAutomaticRecoveryEnabled(false);
        try (Connection database = DriverManager.getConnection(System.getenv("DATABASE_URL"));
                com.rabbitmq.client.Connection broker = factory.newConnection()) {
            database.setAutoCommit(false);
            Channel channel = broker.createChannel();
            channel.queueDeclare(QUEUE, true, false, false, Map.of("x-queue-type", "quorum"));
            channel.queueBind(QUEUE, "payhook.events", "order.#");
            channel.basicQos(PREFETCH);
            CompletableFuture<Void> ended = new CompletableFuture<>();
            channel.addShutdownListener((ShutdownSignalException signal) -> ended.completeExceptionally(signal));
            channel.basicConsume(QUEUE, false, (tag, message) -> {
                try {
                    handle(database, channel, message.getEnvelope().getDeliveryTag(), message.getBody());
                } catch (SQLException error) {
                    ended.completeExceptionally(error);
                }
            }, tag -> ended.completeExceptionally(new IOException("the queue was deleted")));
            System.out.println("consuming " + QUEUE);
            ended.get();
        }
    }

    private static void handle(Connection database, Channel channel, long tag, byte[] body)
            throws IOException, SQLException {
        JsonNode event;
        try {
            event = JSON.readTree(body);
        } catch (IOException notJson) {
            event = JSON.nullNode();
        }
        if (!event.path("id").isTextual() || !event.path("type").isTextual() || !event.path("subject").isTextual()
                || !event.path("data").isObject()) {
            System.err.println("rejecting message " + tag + ": it is no event");
            channel.basicNack(tag, false, false);
            return;
        }
        boolean applied = apply(database, event);
        channel.basicAck(tag, false);
        System.out.println((applied ? "applied " : "seen before: ") + event.get("type").asText() + " of "
                + event.get("subject").asText());
    }

    /** Acts on one event in one transaction. Returns false for a repeat. */
    private static boolean apply(Connection database, JsonNode event) throws SQLException {
        JsonNode data = event.get("data");
        String type = event.get("type").asText(), order = event.get("subject").asText();
        try {
            // First, and in the same transaction: of two copies in work at once, the second waits here and then does nothing.
            boolean isNew = 1 == update(database, "insert into payhook_events (id) values (?) on conflict do nothing",
                    event.get("id").asText());
            if (isNew && KNOWN.contains(type)) {
                update(database, "insert into shop_orders as o (id, version, state, refunded_minor) values (?, ?, ?, ?)"
                        + " on conflict (id) do update set version = excluded.version, state = excluded.state,"
                        + " refunded_minor = excluded.refunded_minor where o.version < excluded.version",
                        order, data.get("version").asLong(), data.get("state").asText(), data.get("refunded_minor").asLong());
            }
            if (isNew && type.equals("payhook.order.paid.v1")) {
                update(database, "insert into shipments (order_id, amount_minor, currency) values (?, ?, ?)",
                        order, data.get("amount_minor").asLong(), data.get("currency").asText());
            }
            database.commit();
            return isNew;
        } catch (SQLException error) {
            database.rollback();
            throw error;
        }
    }

    private static int update(Connection database, String sql, Object... values) throws SQLException {
        try (var statement = database.prepareStatement(sql)) {
            for (int i = 0; i < values.length; i++) {
                statement.setObject(i + 1, values[i]);
            }
            return statement.executeUpdate();
        }
    }
}
