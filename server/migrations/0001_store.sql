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
    -- The name of the caller who wrote it; empty if the server itself did.
    author text not null,
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
    author text not null,
    primary key (kind, id),
    foreign key (kind, id, revision) references document_revisions (kind, id, revision)
);

-- Requests that a retry would repeat, with their result: the writer and sequence of a decision, or the revision that a write of
-- policies or waivers got, which has no writer. Each use has its own window. Ids are scoped to the caller.
create table requests (
    kind text not null check (kind in ('write', 'decision')),
    caller text not null,
    id text not null,
    fingerprint text not null,
    writer text not null,
    sequence bigint not null,
    expire_time bigint not null,
    primary key (id, caller, kind)
);

create index requests_by_expire_time on requests (kind, expire_time);

-- Decisions. Each server process that records them is a writer, and chains its own: every entry's hash covers the one before.
create table decision_writers (
    writer text not null primary key,
    -- The last decision recorded, and the hash of the chain up to it.
    sequence bigint not null,
    hash bytea not null,
    -- The last decision that retention has removed, and the hash up to it: where the chain now begins.
    pruned_sequence bigint not null,
    pruned_hash bytea not null,
    -- The latest time of what retention has removed.
    pruned_time bigint not null default 0,
    -- The last decision that can be found by keys. What comes after it is looked through.
    indexed bigint not null
);

-- Decisions that were committed together, packed; `hash` is that of the chain after the last of them.
create table decision_segments (
    writer text not null,
    first_sequence bigint not null,
    last_sequence bigint not null,
    last_time bigint not null,
    hash bytea not null,
    body bytea not null,
    primary key (writer, first_sequence)
);

-- What segments can be found by: a row for each thing that any decision of a chapter is about, which is up to 63 consecutive
-- segments of one writer. `first_sequence` is that of the chapter; each bit of `segments` says whether one of them has it, the
-- lowest bit for the first of them. Times are those of the earliest and the latest of all of them, at most ten seconds apart.
create table decision_keys (
    kind text not null,
    name text not null,
    first_time bigint not null,
    last_time bigint not null,
    writer text not null,
    first_sequence bigint not null,
    segments bigint not null,
    primary key (kind, name, last_time, writer, first_sequence)
);

create index decision_keys_by_chapter on decision_keys (writer, first_sequence);

-- What decisions rest on, by the SHA-256 of its content, packed. `used` is when it was last recorded with a decision, give or
-- take an hour.
create table decision_blobs (
    hash text not null primary key,
    is_case bigint not null,
    used bigint not null,
    body bytea not null
);

create index decision_blobs_by_use on decision_blobs (is_case, used);

-- Which blobs a case refers to.
create table decision_parts (
    whole text not null,
    part text not null,
    primary key (whole, part)
);

create index decision_parts_by_part on decision_parts (part);

-- When the gate met a vulnerability in a package of a repository, and a fix for it.
create table observations (
    registry text not null,
    repository text not null,
    vulnerability text not null,
    package text not null,
    first_observed bigint not null,
    fix_first_observed bigint,
    primary key (registry, repository, vulnerability, package)
);

create index observations_by_vulnerability on observations (vulnerability);

-- When it first allowed an image with it into an environment; the empty name: to where nobody named one.
create table admissions (
    registry text not null,
    repository text not null,
    environment text not null,
    vulnerability text not null,
    package text not null,
    first_admitted bigint not null,
    primary key (registry, repository, environment, vulnerability, package)
);
