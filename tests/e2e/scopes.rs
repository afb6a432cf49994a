//! Callers of different scope: none sees or changes anything outside of its grants, through every cache and list.

use std::{collections::BTreeSet, time::Duration};

use proptest::{
    collection::vec,
    option,
    sample::{select, subsequence},
    strategy::{Strategy, ValueTree as _},
    test_runner::TestRunner,
};
use scangate_client::{
    Client, Code,
    prost_types::Duration as Period,
    v1::{
        BatchEvaluateGateRequest, ConfigureScanningRequest, EvaluateGateRequest, GetDecisionRequest,
        GetFindingsRequest, ListDecisionsRequest, PreviewPolicyRequest, RegistryScanning, RegistryTarget,
        ReplayDecisionRequest, RepositoryTarget, ScanType, Severity, StartScanRequest, WatchDecisionsRequest,
        WatchDecisionsResponse, WatchScanRequest, batch_evaluate_gate_item::Result as ItemResult,
        configure_scanning_request::Target, preview_policy_request::Draft, watch_decisions_response::Event,
    },
};
use scangate_ecr_simulator::{BasicFinding, ImageSpec, ScanScript, World};
use tokio_stream::StreamExt as _;
use tonic::Streaming;

use crate::harness::{
    Gate,
    callers::{Callers, grant},
    deny_findings_from, gate, rejection, status_rejection,
};

const REPOSITORIES: [&str; 4] = ["shop/api", "shop/web", "pay/core", "pay/ledger"];
/// The environments of calls; the empty one is that of a call without an environment.
const ENVIRONMENTS: [&str; 3] = ["prod", "dev", ""];
const CALLERS: usize = 16;
/// The longest time until an event of a watch arrives.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The narrowing of a grant. `None`: everything.
#[derive(Clone, Debug)]
struct Narrowing {
    repositories: Option<Vec<&'static str>>,
    environments: Option<Vec<&'static str>>,
}

impl Narrowing {
    /// The naive meaning, for comparison: a list of alternatives, each a name or a prefix before `*`.
    fn covers(&self, repository: &str, environment: &str) -> bool {
        covers(self.repositories.as_ref(), repository) && covers(self.environments.as_ref(), environment)
    }

    fn to_toml(&self) -> String {
        let line = |name: &str, list: &Option<Vec<&str>>| {
            list.as_ref().map_or_else(String::new, |list| format!("{name} = {list:?}\n"))
        };
        line("repositories", &self.repositories) + &line("environments", &self.environments)
    }
}

fn covers(allowed: Option<&Vec<&'static str>>, name: &str) -> bool {
    allowed.is_none_or(|allowed| {
        allowed.iter().any(|one| match one.strip_suffix('*') {
            Some(prefix) => !name.is_empty() && name.starts_with(prefix),
            None => *one == name,
        })
    })
}

fn narrowings() -> impl Strategy<Value = Vec<Narrowing>> {
    let repositories = option::of(subsequence(vec!["shop/*", "shop/api", "pay/core", "pay/l*"], 1..3));
    let environments = option::of(select(vec![vec!["prod"], vec!["dev"], vec!["d*", "prod"], vec!["*"]]));
    let narrowing =
        (repositories, environments).prop_map(|(repositories, environments)| Narrowing { repositories, environments });
    vec(narrowing, 1..3)
}

/// A gate with one image in each repository, and callers with random grants beside `root`, which may do everything.
async fn gate_with_callers(grants: &[Vec<Narrowing>]) -> (Gate, Callers) {
    let tables = grants.iter().enumerate().flat_map(|(index, grants)| {
        grants.iter().map(move |narrowing| grant(&format!("caller-{index}"), "admin", &narrowing.to_toml()))
    });
    let callers = Callers::new(&(grant("root", "admin", "") + &tables.collect::<String>()));
    let mut world = World::new();
    for repository in REPOSITORIES {
        world.push(
            ImageSpec::single(repository, "1")
                .scan(ScanScript::complete([BasicFinding::new("CVE-2026-1", "LOW").package("openssl", "3.0.1")])),
        );
    }
    (gate(world).callers(&callers).start().await, callers)
}

fn question(repository: &str, environment: &str) -> EvaluateGateRequest {
    EvaluateGateRequest {
        image: format!("{repository}:1"),
        environment: environment.to_owned(),
        ..EvaluateGateRequest::default()
    }
}

/// Every place that a decision can be about.
fn places() -> impl Iterator<Item = (&'static str, &'static str)> {
    REPOSITORIES.into_iter().flat_map(|repository| ENVIRONMENTS.map(|environment| (repository, environment)))
}

/// The names of all listed decisions, in small pages.
async fn listed(client: &Client) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut request = ListDecisionsRequest { page_size: 2, ..Default::default() };
    loop {
        let page = client.decisions().list_decisions(request.clone()).await.unwrap().into_inner();
        names.extend(page.decisions.into_iter().map(|decision| decision.name));
        if page.next_page_token.is_empty() {
            return names;
        }
        request.page_token = page.next_page_token;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_never_leave_the_scope_of_random_grants() {
    let mut runner = TestRunner::deterministic();
    let grants: Vec<Vec<Narrowing>> =
        (0..CALLERS).map(|_| narrowings().new_tree(&mut runner).unwrap().current()).collect();
    let (gate, callers) = gate_with_callers(&grants).await;
    let root = callers.client(&gate, "root").await;
    let mut decisions = Vec::new();
    for (repository, environment) in places() {
        let decision = root.evaluate(question(repository, environment)).await.unwrap().into_message();
        decisions.push((repository, environment, decision.name));
    }

    for (index, grants) in grants.iter().enumerate() {
        let client = callers.client(&gate, &format!("caller-{index}")).await;
        let may = |repository: &str, environment: &str| {
            grants.iter().any(|narrowing| narrowing.covers(repository, environment))
        };
        let visible: BTreeSet<String> = decisions
            .iter()
            .filter(|(repository, environment, _)| may(repository, environment))
            .map(|(_, _, name)| name.clone())
            .collect();
        assert_eq!(listed(&client).await, visible, "{grants:?}");
        for (_, _, name) in &decisions {
            let get = client.decisions().get_decision(GetDecisionRequest { name: name.clone(), view: 0 }).await;
            let replay = ReplayDecisionRequest { name: name.clone(), ..Default::default() };
            let replayed = client.decisions().replay_decision(replay).await;
            let codes = (
                get.map_or_else(|status| status.code(), |_| Code::Ok),
                replayed.map_or_else(|status| status.code(), |_| Code::Ok),
            );
            let expected = if visible.contains(name) { Code::Ok } else { Code::NotFound };
            assert_eq!(codes, (expected, expected), "{grants:?} {name}");
        }
        assert_eq!(previewed(&client).await, visible.len(), "{grants:?}");
        check_questions(&client, grants, may).await;
        // What this caller has recorded itself is no business of the next one.
        decisions.clear();
        decisions.extend(recorded(&root).await);
    }
}

/// Asks about every place, alone, in a batch, and for findings.
async fn check_questions(client: &Client, grants: &[Narrowing], may: impl Fn(&str, &str) -> bool) {
    for (repository, environment) in places() {
        let answer = client.evaluate(question(repository, environment)).await;
        if may(repository, environment) {
            assert!(answer.is_ok(), "{grants:?} {repository} {environment}: {answer:?}");
        } else {
            let refused = rejection(answer);
            assert_eq!(
                (refused.code, refused.reason.as_str()),
                (Code::PermissionDenied, "OUT_OF_SCOPE"),
                "{refused:?}"
            );
        }
    }
    let requests = places().map(|(repository, environment)| question(repository, environment)).collect();
    let batch = client.batch_evaluate(BatchEvaluateGateRequest { requests }).await.unwrap();
    for (item, (repository, environment)) in batch.as_message().items.iter().zip(places()) {
        let is_answered = matches!(item.result, Some(ItemResult::Response(_)));
        assert_eq!(is_answered, may(repository, environment), "{grants:?} {repository} {environment}");
    }
    for repository in REPOSITORIES {
        let request = GetFindingsRequest { image: format!("{repository}:1"), ..Default::default() };
        let is_covered = grants.iter().any(|narrowing| covers(narrowing.repositories.as_ref(), repository));
        assert_eq!(client.findings(request).await.is_ok(), is_covered, "{grants:?} {repository}");
    }
}

/// The number of decisions that a preview replays.
async fn previewed(client: &Client) -> usize {
    let request = PreviewPolicyRequest {
        draft: Some(Draft::Policy(deny_findings_from(Severity::Low))),
        window: Some(Period { seconds: 3600, nanos: 0 }),
        ..Default::default()
    };
    let mut pages = client.policies().preview_policy(request).await.unwrap().into_inner();
    let mut evaluated = 0;
    while let Some(page) = pages.next().await {
        evaluated = page.unwrap().evaluated_count;
    }
    usize::try_from(evaluated).unwrap()
}

/// All recorded decisions with their places.
async fn recorded(root: &Client) -> Vec<(&'static str, &'static str, String)> {
    let mut recorded = Vec::new();
    let request = ListDecisionsRequest { page_size: 1000, ..Default::default() };
    for decision in root.decisions().list_decisions(request).await.unwrap().into_inner().decisions {
        let repository = decision.image.as_ref().unwrap().repository.clone();
        let place = places().find(|(known, environment)| *known == repository && *environment == decision.environment);
        let (repository, environment) = place.unwrap();
        recorded.push((repository, environment, decision.name));
    }
    recorded
}

/// The places of the decisions that a watch reports, as many as expected.
async fn watched(mut watch: Streaming<WatchDecisionsResponse>, expected: usize) -> Vec<(String, String)> {
    let mut places = Vec::new();
    while places.len() < expected {
        let event = tokio::time::timeout(TIMEOUT, watch.next()).await.unwrap().unwrap().unwrap();
        if let Some(Event::Decision(decision)) = event.event {
            places.push((decision.image.unwrap().repository, decision.environment));
        }
    }
    places.sort();
    places
}

#[tokio::test]
async fn watch_reports_decisions_of_its_caller_only() {
    let prod = Narrowing { repositories: Some(vec!["shop/*"]), environments: Some(vec!["prod"]) };
    let (gate, callers) = gate_with_callers(&[vec![prod]]).await;
    let (root, narrow) = (callers.client(&gate, "root").await, callers.client(&gate, "caller-0").await);
    let watch = |client: Client| async move {
        client.decisions().watch_decisions(WatchDecisionsRequest::default()).await.unwrap().into_inner()
    };
    let (all, some) = (watch(root.clone()).await, watch(narrow).await);

    for (repository, environment) in places() {
        let _ = root.evaluate(question(repository, environment)).await.unwrap();
    }

    // The watch of the narrow caller has decisions of `shop/api` and `shop/web` only; the second is the last one that it waits for.
    let expected = ["shop/api", "shop/web"].map(|repository| (repository.to_owned(), "prod".to_owned()));
    assert_eq!(watched(some, 2).await, expected);
    assert_eq!(watched(all, places().count()).await.len(), places().count());
}

#[tokio::test]
async fn scans_and_their_settings_stay_within_repositories() {
    let shop = Narrowing { repositories: Some(vec!["shop/*"]), environments: None };
    let (gate, callers) = gate_with_callers(&[vec![shop]]).await;
    let client = callers.client(&gate, "caller-0").await;
    let start = |repository: &str| StartScanRequest { image: format!("{repository}:1"), platforms: Vec::new() };
    let watch = |repository: &str| WatchScanRequest { image: format!("{repository}:1"), platforms: Vec::new() };
    let configure = |target| ConfigureScanningRequest { target: Some(target), validate_only: true };
    let one = |repository: &str| {
        configure(Target::Repository(RepositoryTarget { repository: repository.to_owned(), scan_on_push: Some(true) }))
    };

    assert!(client.start_scan(start("shop/api")).await.is_ok());
    assert!(client.gate().watch_scan(watch("shop/api")).await.is_ok());
    assert!(client.configure_scanning(one("shop/api")).await.is_ok());
    let calls = gate.ecr.calls().total();
    for refused in [
        rejection(client.start_scan(start("pay/core")).await),
        status_rejection(client.gate().watch_scan(watch("pay/core")).await),
        rejection(client.configure_scanning(one("pay/core")).await),
        rejection(client.configure_scanning(configure(Target::Registry(whole_registry()))).await),
    ] {
        assert_eq!((refused.code, refused.reason.as_str()), (Code::PermissionDenied, "OUT_OF_SCOPE"), "{refused:?}");
        assert_eq!(refused.metadata["allowed"], "repositories shop/*");
    }
    assert_eq!(gate.ecr.calls().total(), calls, "a refused call reads nothing");
}

/// A valid change of the whole registry.
fn whole_registry() -> RegistryTarget {
    let scanning = RegistryScanning { scan_type: ScanType::Basic.into(), ..Default::default() };
    RegistryTarget { scanning: Some(scanning), ..Default::default() }
}
