-- Times are microseconds since 1970: one integer, the same in every database, without a time zone to get wrong.

-- The one number that grows with every change.
create table store_revision (
    id integer not null primary key check (id = 1),
    revision bigint not null
);

-- Policies as they are.
create table policies (
    id text not null primary key,
    revision bigint not null unique,
    body text not null,
    content_digest text not null,
    create_time bigint not null,
    update_time bigint not null
);

-- Every revision that ever was; nothing here is changed or removed.
create table policy_revisions (
    revision bigint not null primary key,
    policy_id text not null,
    -- Null: this revision removed the policy.
    body text,
    content_digest text,
    create_time bigint,
    write_time bigint not null
);

create index policy_revisions_by_policy on policy_revisions (policy_id, revision);

-- Requests that named themselves, and the revision that each of them wrote.
create table requests (
    id text not null primary key,
    fingerprint text not null,
    revision bigint not null,
    expire_time bigint not null
);

create index requests_by_expiry on requests (expire_time);
