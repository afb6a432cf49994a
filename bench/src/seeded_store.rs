//! Stores with a given number of policies and waivers.

use std::path::Path;

use jiff::Timestamp;
use scangate_core::{
    glob::Glob,
    policy::{Match, Policy},
    waiver::Waiver,
};
use scangate_server::{
    policy_store::{Change, PolicyStore as _, Resource, Write, sql::SqlPolicyStore},
    sql::{Address, Database},
};

use crate::fixtures;

/// Resources in one write.
const BATCH_SIZE: usize = 1_000;

/// Creates a store at `path`. `policies` includes the default policy; `governing` of them match the images of the bench.
pub(crate) async fn create(path: &Path, policies: usize, governing: usize, waivers: usize) {
    let database = Database::open(&Address::File(path.to_owned())).await.unwrap();
    let store = SqlPolicyStore::open(&database).await.unwrap();
    let policies = (1..policies).map(|number| policy(number, number <= governing)).map(Resource::Policy);
    let waivers = (0..waivers).map(waiver).map(Resource::Waiver);
    let resources: Vec<Resource> = policies.chain(waivers).collect();
    for batch in resources.chunks(BATCH_SIZE) {
        let write = Write {
            change: Change::Create(batch.to_vec()),
            author: String::new(),
            request: None,
            at: Timestamp::now(),
        };
        store.apply(write).await.unwrap();
    }
}

fn policy(number: usize, governs: bool) -> Policy {
    let repositories = if governs { "*" } else { "elsewhere/*" };
    let matches = Match { repositories: vec![Glob::parse(repositories).unwrap()], ..Match::default() };
    let rules = (0..5).map(fixtures::rule).collect();
    Policy { matches, replaces_default: governs, ..scangate_test_fixtures::policy(&format!("policy-{number}"), rules) }
}

fn waiver(number: usize) -> Waiver {
    scangate_test_fixtures::waiver(&format!("waiver-{number}"), &format!("CVE-2026-{number:06}"), Timestamp::now())
}
