-- A refund moves to the payment that its provider names. A repeated announcement for the first payment changes nothing.

alter table refunds add column announced_for text;
