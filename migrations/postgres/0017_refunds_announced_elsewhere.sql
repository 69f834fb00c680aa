-- A refund moves to the payment that its provider names. Whoever announces it again for the payment it was announced for changes nothing.

alter table refunds add column announced_for text collate "C";
