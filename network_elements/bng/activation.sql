-- What activation adds to FreeRADIUS's own schema. May be run again.

-- Sessions that are still to be disconnected because their account was changed or removed. Written in the same
-- transaction as the account, so that a crash before the Disconnect-Request forgets none.
create table if not exists bng_disconnects (
    acctuniqueid text primary key,
    since timestamptz not null default now()
);

-- The live sessions of an account, without reading all that ever were.
create index if not exists radacct_live_username on radacct (username) where acctstoptime is null;
