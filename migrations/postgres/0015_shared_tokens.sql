-- A wallet may give one token to several authorizations of one customer: a cancellation of the token ends each of them.
--
-- Programs of earlier versions cannot store a token from here on, and wait: they would tell one of them alone.

alter table authorization_tokens
    drop constraint authorization_tokens_pkey,
    add primary key (account, digest, authorization_id);

-- So far a token named the first that had it. Each that has one now is named by it.
insert into authorization_tokens (account, digest, authorization_id)
select account, token_digest, id from authorizations where token_digest is not null
on conflict do nothing;
