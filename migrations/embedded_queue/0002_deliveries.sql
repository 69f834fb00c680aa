-- How often an envelope that a dead process left behind was handed out since, without being settled.
alter table queue_envelope add column deliveries integer not null default 0 check (deliveries >= 0);
