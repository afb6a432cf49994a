//! The promises of every backend, one function each, over a new store.

use std::{pin::Pin, sync::Arc};

use jiff::SignedDuration;
use scangate_core::{first_seen::FirstSeen, glob::Glob, name::Environment, waiver::Scope};
use scangate_server::observations::{Observations, SeenFinding};
use scangate_test_fixtures::{noon, repository};

type Store = Arc<dyn Observations>;

pub(crate) type Promise = fn(Store) -> Pin<Box<dyn Future<Output = ()> + Send>>;

macro_rules! promises {
    ($($promise:ident,)+) => {
        /// Every promise with its name.
        pub(crate) const PROMISES: &[(&str, Promise)] =
            &[$((stringify!($promise), |store| Box::pin($promise(store)))),+];
    };
}

promises! {
    first_seen_times_are_set_once,
    admission_counts_for_its_environment_only,
    expected_times_are_not_recorded,
    was_seen_compares_scope_with_observations,
    was_seen_compares_related_ids,
    seen_names_include_related_ids,
}

/// A vulnerability, a package and their times.
type Times = Vec<(Arc<str>, Arc<str>, FirstSeen)>;

fn environment(name: &str) -> Environment {
    Environment::parse(name).unwrap()
}

fn seen(vulnerability: &str, package: &str, fix_seen: bool) -> SeenFinding {
    SeenFinding { vulnerability: vulnerability.into(), package: package.into(), fix_seen, related_ids: Vec::new() }
}

async fn first_seen_times_are_set_once(store: Store) {
    let app = repository("team/app");
    let many: Vec<SeenFinding> = (0..2000).map(|number| seen(&format!("CVE-{number}"), "openssl", false)).collect();
    let later = noon() + SignedDuration::from_hours(1);

    let first: Times = store.observe(&app, None, &many, noon()).await.unwrap().into();
    let repeated = [seen("CVE-7", "openssl", true), seen("CVE-7", "zlib", false)];
    let second: Times = store.observe(&app, None, &repeated, later).await.unwrap().into();
    let other = repository("team/other");
    let elsewhere: Times = store.observe(&other, None, &[seen("CVE-7", "openssl", false)], later).await.unwrap().into();

    assert_eq!(first.len(), 2000);
    assert!(
        first
            .iter()
            .all(|(_, _, times)| times.first_observe_time == Some(noon()) && times.fix_first_observe_time.is_none())
    );
    let second: Vec<_> = second
        .iter()
        .map(|(_, package, times)| (&**package, times.first_observe_time, times.fix_first_observe_time))
        .collect();
    assert_eq!(second, [("openssl", Some(noon()), Some(later)), ("zlib", Some(later), None)]);
    assert_eq!(elsewhere[0].2.first_observe_time, Some(later));
}

async fn admission_counts_for_its_environment_only(store: Store) {
    let app = repository("team/app");
    let (production, staging) = (environment("production"), environment("staging"));
    let later = noon() + SignedDuration::from_hours(1);
    let findings = [seen("CVE-1", "openssl", false)];
    store.observe(&app, None, &findings, noon()).await.unwrap();

    store.record_admission(&app, Some(&production), &findings, later).await.unwrap();
    let again = later + SignedDuration::from_hours(1);
    store.record_admission(&app, Some(&production), &findings, again).await.unwrap();

    for (environment, expected) in [(Some(&production), Some(later)), (Some(&staging), None), (None, None)] {
        let times: Times = store.observe(&app, environment, &findings, later).await.unwrap().into();
        assert_eq!((times[0].2.first_observe_time, times[0].2.first_admit_time), (Some(noon()), expected));
    }
}

async fn expected_times_are_not_recorded(store: Store) {
    let app = repository("team/app");
    let findings = [seen("CVE-1", "openssl", true), seen("CVE-2", "zlib", false)];
    store.observe(&app, None, &[seen("CVE-1", "openssl", false)], noon()).await.unwrap();
    let later = noon() + SignedDuration::from_hours(1);
    let last = later + SignedDuration::from_hours(1);

    let expected: Times = store.expected_times(&app, None, &findings, later).await.unwrap().into();
    let unrecorded: Times = store.expected_times(&app, None, &findings, last).await.unwrap().into();
    let observed: Times = store.observe(&app, None, &findings, later).await.unwrap().into();

    assert_eq!(expected, observed);
    assert_eq!(unrecorded[0].2.fix_first_observe_time, Some(last));
    assert_eq!(unrecorded[1].2.first_observe_time, Some(last));
}

fn scope(vulnerability: &str, package: Option<&str>, repository: Option<&str>) -> Scope {
    Scope {
        vulnerability: Glob::parse(vulnerability).unwrap(),
        package: package.map(|package| Glob::parse(package).unwrap()),
        repository: repository.map(|repository| Glob::parse(repository).unwrap()),
        digest: None,
        environment: None,
        platform: None,
        everywhere: false,
    }
}

async fn was_seen_compares_scope_with_observations(store: Store) {
    let findings = [seen("CVE-2021-44228", "log4j-core", false)];
    store.observe(&repository("team/app"), None, &findings, noon()).await.unwrap();

    for (scope, expected) in [
        (scope("CVE-2021-44228", None, None), true),
        (scope("CVE-2021-*", Some("log4j*"), Some("team/*")), true),
        (scope("*", None, None), true),
        (scope("CVE-2021-44229", None, None), false),
        (scope("CVE-2021-44228", Some("zlib"), None), false),
        (scope("CVE-2021-44228", None, Some("other/*")), false),
        (scope("GHSA-*", None, None), false),
    ] {
        assert_eq!(store.was_seen(&scope).await.unwrap(), expected, "{scope:?}");
    }
}

fn related(vulnerability: &str, package: &str, related_ids: &[&str]) -> SeenFinding {
    let related_ids = related_ids.iter().map(|id| (*id).into()).collect();
    SeenFinding { related_ids, ..seen(vulnerability, package, false) }
}

async fn was_seen_compares_related_ids(store: Store) {
    let findings = [related("GHSA-1", "Py_YAML", &["CVE-1", "OSV-1"]), related("CVE-2", "zlib", &["CVE-3"])];
    // The second time, the ids are known already.
    for _ in 0..2 {
        store.observe(&repository("team/app"), None, &findings, noon()).await.unwrap();
    }

    for (scope, expected) in [
        (scope("GHSA-1", None, None), true),
        (scope("CVE-1", Some("py-yaml"), Some("team/*")), true),
        (scope("CVE-*", Some("py*"), None), true),
        (scope("CVE-1", Some("zlib"), None), false),
        (scope("CVE-1", None, Some("other/*")), false),
        (scope("cve-1", None, None), false),
        // Waivers cover through related CVEs only, and never from CVE to CVE.
        (scope("OSV-1", None, None), false),
        (scope("CVE-3", None, None), false),
    ] {
        assert_eq!(store.was_seen(&scope).await.unwrap(), expected, "{scope:?}");
    }
    // Clocks keep the finding's own id.
    let own = store.observe(&repository("team/app"), None, &[seen("CVE-1", "Py_YAML", false)], noon()).await.unwrap();
    assert_eq!(Times::from(own).len(), 1);
}

async fn seen_names_include_related_ids(store: Store) {
    let names = store.seen_names().await.unwrap();
    assert!(names.lacks_vulnerability(&Glob::parse("*").unwrap()));
    let findings = [related("GHSA-1", "PyYAML", &["CVE-1"]), seen("CVE-2", "org.example:lib", false)];
    store.observe(&repository("team/app"), None, &findings, noon()).await.unwrap();

    let names = store.seen_names().await.unwrap();

    let lacks_vulnerability = |pattern| names.lacks_vulnerability(&Glob::parse(pattern).unwrap());
    let lacks_package = |pattern| names.lacks_package(&Glob::parse(pattern).unwrap());
    assert!(["ghsa-1", "CVE-1", "cve-*", "CVE-2"].into_iter().all(|pattern| !lacks_vulnerability(pattern)));
    assert!(["CVE-3", "GHSA-2*"].into_iter().all(lacks_vulnerability));
    assert!(["pyyaml", "lib", "org.*"].into_iter().all(|pattern| !lacks_package(pattern)));
    assert!(["yaml", "lib2"].into_iter().all(lacks_package));
}
