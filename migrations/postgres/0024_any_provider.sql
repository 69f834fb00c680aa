-- The program knows its providers. A list of them in seven tables would have each new provider wait for a migration.
alter table payments drop constraint payments_provider_check;
alter table refunds drop constraint refunds_provider_check;
alter table disputes drop constraint disputes_provider_check;
alter table notifications drop constraint notifications_provider_check;
alter table timeline drop constraint timeline_provider_check;
alter table dead_letters drop constraint dead_letters_provider_check;
alter table replay_items drop constraint replay_items_provider_check;
