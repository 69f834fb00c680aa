-- A wallet may give one token to several authorizations of one customer: a cancellation of the token ends each of them.

create table authorization_tokens_shared (
    account text not null,
    digest text not null check (length(digest) = 64),
    authorization_id text not null references authorizations (id),
    primary key (account, digest, authorization_id)
) strict, without rowid;

-- So far a token named the first that had it. Each that has one now is named by it.
insert into authorization_tokens_shared (account, digest, authorization_id)
select account, digest, authorization_id from authorization_tokens
union
select account, token_digest, id from authorizations where token_digest is not null;

drop table authorization_tokens;
alter table authorization_tokens_shared rename to authorization_tokens;

create index authorization_tokens_of on authorization_tokens (authorization_id);
