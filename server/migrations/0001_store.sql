-- One text for SQLite and PostgreSQL. Times are microseconds since 1970 UTC.

-- Grows by one with every write, in the write's own transaction.
create table store_revision (
    id bigint not null primary key check (id = 1),
    revision bigint not null check (revision >= 0)
);

-- Every revision of every policy and waiver that ever was, never changed; without a body where it was removed. Documents that
-- were written together share a revision.
create table document_revisions (
    kind text not null check (kind in ('policies', 'waivers')),
    id text not null,
    revision bigint not null,
    body text,
    content_digest text,
    create_time bigint not null,
    write_time bigint not null,
    primary key (kind, id, revision),
    check ((body is null) = (content_digest is null))
);

create index document_revisions_by_revision on document_revisions (revision);

-- The documents in force, each of which is a revision above.
create table documents (
    kind text not null,
    id text not null,
    revision bigint not null,
    body text not null,
    content_digest text not null,
    create_time bigint not null,
    write_time bigint not null,
    primary key (kind, id),
    foreign key (kind, id, revision) references document_revisions (kind, id, revision)
);

-- Requests that a retry would repeat, with the revision that each of them wrote.
create table requests (
    id text not null primary key,
    fingerprint text not null,
    revision bigint not null,
    expire_time bigint not null
);

create index requests_by_expire_time on requests (expire_time);
