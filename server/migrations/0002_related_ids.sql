-- The related ids of seen findings: one row for each id that a finding is related to. It answers which patterns have matched a
-- finding. The clocks of grace periods are in `observations`, under the finding's own id.
create table related_observations (
    registry text not null,
    repository text not null,
    related_id text not null,
    vulnerability text not null,
    package text not null,
    primary key (registry, repository, related_id, vulnerability, package)
);

create index related_observations_by_id on related_observations (related_id);
