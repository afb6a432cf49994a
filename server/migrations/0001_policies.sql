-- One text for SQLite and PostgreSQL. Times are microseconds since 1970 UTC.

-- Grows by one with every write, in the write's own transaction.
create table store_revision (
    id bigint not null primary key check (id = 1),
    revision bigint not null check (revision >= 0)
);

-- Every revision that ever was, never changed; without a body where the policy was removed.
create table policy_revisions (
    policy_id text not null,
    revision bigint not null unique,
    body text,
    content_digest text,
    create_time bigint not null,
    write_time bigint not null,
    primary key (policy_id, revision),
    check ((body is null) = (content_digest is null))
);

-- The policies in force, each of which is a revision above.
create table policies (
    id text not null primary key,
    revision bigint not null,
    body text not null,
    content_digest text not null,
    create_time bigint not null,
    update_time bigint not null,
    foreign key (id, revision) references policy_revisions (policy_id, revision)
);

-- Requests that a retry would repeat, with the revision that each of them wrote.
create table requests (
    id text not null primary key,
    fingerprint text not null,
    policy_id text not null,
    revision bigint not null,
    expire_time bigint not null,
    foreign key (policy_id, revision) references policy_revisions (policy_id, revision)
);

create index requests_by_expire_time on requests (expire_time);
