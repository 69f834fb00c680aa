//! Real RabbitMQ and PostgreSQL for tests and benchmarks, private to one run, on free loopback ports.
