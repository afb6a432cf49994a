//! Documents that a newer server wrote, with fields and values that this server does not know.

use std::{
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use scangate_core::policy::{Match, Mode, Policy};
use scangate_server::{
    policies::Policies,
    policy_store::{Change, Error, PolicyStore, Precondition, Resource, into_snapshot},
};
use sha2::{Digest as _, Sha256};

use crate::{
    fixtures::{LoadSnapshot as _, create, delete, id, key, options, policy, update, waiver, waiver_id, write},
    sqlite::{StoreDirectory, shell},
};

/// The documents that [`sql`] writes.
const DOCUMENTS: [(&str, &str, &str); 4] = [
    (
        "policies",
        "strict",
        r#"{"match":{"repositories":["team/*"]},"mode":"WARN","quorum":2,"replaces_default":true,
            "rules":[{"id":"known","when":{"min_severity":"HIGH"}},{"id":"new","when":{"min_reach":0.5}}]}"#,
    ),
    ("policies", "elsewhere", r#"{"match":{"continents":["eu"],"repositories":["team/*"]}}"#),
    ("policies", "trial", r#"{"mode":"AUDIT"}"#),
    (
        "waivers",
        "narrow",
        r#"{"scope":{"vulnerability":"CVE-2026-1","cluster":"edge"},"reason":"not reachable",
            "start_time":"2026-01-01T00:00:00Z","expire_time":"2027-01-01T00:00:00Z"}"#,
    ),
];

/// SQL that writes the documents as revision 2 of a new store.
pub(crate) fn sql() -> String {
    let insert = |(kind, id, body): (&str, &str, &str)| {
        let digest = Sha256::digest(body).iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
        let columns = "(kind, id, revision, body, content_digest, create_time, write_time, author)";
        let values = format!("('{kind}', '{id}', 2, '{body}', '{digest}', 0, 0, 'ann')");
        format!(
            "insert into document_revisions {columns} values {values}; insert into documents {columns} values {values};"
        )
    };
    DOCUMENTS.into_iter().map(insert).collect::<String>() + "update store_revision set revision = 2;"
}

/// The promises over a store with the documents of [`sql`]. Each backend writes them in its own way.
pub(crate) async fn newer_documents_are_read_in_part(store: Arc<dyn PolicyStore>) {
    let set = store.load_snapshot().await.unwrap();
    let stored = |name: &str| Arc::clone(set.policies.get(&id(name)).unwrap());

    assert!(stored("default").is_understood());
    let strict = stored("strict");
    assert_eq!(strict.not_understood, ["quorum: unknown field `quorum`", "rules[1]: unknown field `min_reach`"]);
    assert_eq!((strict.policy.mode, strict.policy.rules.len()), (Mode::Warn, 1));
    assert_eq!(strict.policy.matches.repositories.len(), 1);
    let elsewhere = stored("elsewhere");
    assert_eq!(elsewhere.not_understood, ["match: unknown field `continents`"]);
    assert_eq!(elsewhere.policy.matches, Match::default());
    assert_eq!(stored("trial").not_understood, ["mode: unknown variant `AUDIT`"]);
    let narrow = set.waivers.get(&waiver_id("narrow")).unwrap();
    assert_eq!(narrow.not_understood, ["scope.cluster: unknown field `cluster`"]);
    assert_eq!(narrow.waiver.reason, "not reachable");

    assert_eq!(into_snapshot(store.changes(None).await.unwrap()).unwrap(), set);
    assert_eq!(store.snapshot_at(2).await.unwrap(), set);
    assert_eq!(store.history(&key("strict"), None, 9).await.unwrap().len(), 1);
    assert_eq!(store.corrupt_revisions().await.unwrap(), Vec::<String>::new());
    newer_documents_are_not_replaced(store).await;
}

async fn newer_documents_are_not_replaced(store: Arc<dyn PolicyStore>) {
    let revised = write(Change::Update { resource: Resource::Waiver(waiver("narrow")), expected: Precondition::Any });
    for write in [update("strict", Precondition::Any), update("trial", Precondition::Revision(2)), revised] {
        let refused = store.apply(write).await;
        assert!(matches!(refused, Err(Error::FromNewerServer { .. })), "{refused:?}");
    }
    assert_eq!(store.load_snapshot().await.unwrap().revision, 2);

    store.apply(create("team")).await.unwrap();
    store.apply(delete("strict", Precondition::Revision(2))).await.unwrap();
    let set = store.load_snapshot().await.unwrap();
    assert!(!set.policies.contains_key(&id("strict")));
    assert!(set.policies.get(&id("team")).unwrap().is_understood());
}

/// Log lines, shared with the subscriber that writes them.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    fn count(&self, text: &str) -> usize {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap().matches(text).count()
    }
}

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn newer_document_is_logged_once_per_revision() {
    let directory = StoreDirectory::new();
    let store = directory.open().await.unwrap();
    shell(&directory.path()).execute_batch(&sql()).unwrap();
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let _logging = tracing::subscriber::set_default(subscriber);

    let policies = Policies::load(Arc::new(store), Duration::from_secs(2)).await.unwrap();
    let loaded = lines.count("monotonic_counter.documents_from_newer_server=1");
    let change = Change::Create(vec![Resource::Policy(policy("team"))]);
    policies.write(change, options()).await.unwrap();

    assert_eq!(loaded, DOCUMENTS.len());
    assert_eq!(lines.count("documents_from_newer_server"), loaded);
    assert_eq!(lines.count("upgrade this server"), loaded);
}

#[test]
fn fields_at_their_default_are_not_stored() {
    let minimal = r#"{"id":"team","rules":[{"id":"known","when":{"min_severity":"HIGH"}}]}"#;
    let policy: Policy = serde_json::from_str(minimal).unwrap();
    let minimal_waiver = r#"{"id":"w","scope":{"vulnerability":"CVE-2026-1"},"reason":"why","start_time":"2026-01-01T00:00:00Z","expire_time":"2027-01-01T00:00:00Z"}"#;
    let waiver: scangate_core::waiver::Waiver = serde_json::from_str(minimal_waiver).unwrap();

    assert_eq!(serde_json::to_string(&policy).unwrap(), minimal);
    assert_eq!(serde_json::to_string(&waiver).unwrap(), minimal_waiver);
}

#[test]
fn default_policy_stores_only_what_it_sets() {
    let stored = serde_json::to_string(&policy("default")).unwrap();

    assert!(!stored.contains("null") && !stored.contains("false") && !stored.contains("[]"), "{stored}");
}
