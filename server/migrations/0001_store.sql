-- The schema for both SQLite and PostgreSQL. Times are microseconds since 1970 UTC.

-- The store's revision. Every write increments it in its own transaction.
create table store_revision (
    id bigint not null primary key check (id = 1),
    revision bigint not null check (revision >= 0)
);

-- The history: every revision of every policy and waiver, immutable. A deletion has no body. Documents that one write creates
-- share a revision.
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

-- The current documents. Each references its revision in the history.
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

-- Idempotency keys of writes, with the revision that each of them wrote.
create table requests (
    id text not null primary key,
    fingerprint text not null,
    revision bigint not null,
    expire_time bigint not null
);

create index requests_by_expire_time on requests (expire_time);

-- The writers of the decision log. Each server process is a writer with its own hash chain.
create table decision_writers (
    writer text not null primary key,
    -- The last decision recorded, and the hash of the chain up to it.
    sequence bigint not null,
    hash bytea not null,
    -- The last decision that retention has removed, and the hash up to it: the start of the remaining chain.
    pruned_sequence bigint not null,
    pruned_hash bytea not null,
    -- The last indexed decision. Lists scan later segments directly.
    indexed bigint not null
);

-- Segments: the decisions of one commit, compressed. `hash` is the chain's hash after the last of them.
create table decision_segments (
    writer text not null,
    first_sequence bigint not null,
    last_sequence bigint not null,
    last_time bigint not null,
    hash bytea not null,
    body bytea not null,
    primary key (writer, first_sequence)
);

-- The index: a row per term of an index batch, which is up to 63 consecutive segments of one writer. `first_sequence` is the
-- first of the batch. Each bit of `segments` is set if a segment has the term; the lowest bit is the first segment. The times
-- are those of the earliest and the latest segment, at most ten seconds apart.
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

-- Blobs: decision records (`is_case`) and their parts, compressed, by the SHA-256 of their content. `used` is the time of the
-- last decision that references the blob, up to an hour late.
create table decision_blobs (
    hash text not null primary key,
    is_case bigint not null,
    used bigint not null,
    body bytea not null
);

create index decision_blobs_by_use on decision_blobs (is_case, used);

-- The parts that each decision record references.
create table decision_parts (
    whole text not null,
    part text not null,
    primary key (whole, part)
);

create index decision_parts_by_part on decision_parts (part);

-- Idempotency keys of evaluations, with the decision recorded for each.
create table decision_requests (
    id text not null primary key,
    fingerprint text not null,
    writer text not null,
    sequence bigint not null,
    expire_time bigint not null
);

create index decision_requests_by_expire_time on decision_requests (expire_time);

-- The first time that a vulnerability was seen in a package of a repository, and the first time that a fix was seen.
create table observations (
    registry text not null,
    repository text not null,
    vulnerability text not null,
    package text not null,
    first_observed bigint not null,
    fix_first_seen bigint,
    primary key (registry, repository, vulnerability, package)
);

create index observations_by_vulnerability on observations (vulnerability);

-- The first time that an image with the vulnerability was allowed into an environment. The empty name stands for none.
create table admissions (
    registry text not null,
    repository text not null,
    environment text not null,
    vulnerability text not null,
    package text not null,
    first_admitted bigint not null,
    primary key (registry, repository, environment, vulnerability, package)
);
