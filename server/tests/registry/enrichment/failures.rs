//! Failures of Inspector while ECR works.

use std::{sync::Arc, time::Duration};

use scangate_core::{
    evidence::Evidence,
    finding::Exploit,
    scan::{Enrichment, Scan},
};
use scangate_ecr_simulator::{Fault, Rule, ScanScript};
use scangate_server::registry::{
    Freshness,
    cache::{self, CachedRegistry},
    ecr::Config,
};

use super::{ADDED, DETAILS, LIST, enriching, epss, harness, high, many, missing_reason};
use crate::support::{Harness, IMAGE, Read, ecr_with, enhanced, scan};

/// Faults, each with a part of the reported reason.
fn failures() -> Vec<(Fault, &'static str)> {
    vec![
        (Fault::Throttle400, "AWS throttles"),
        (Fault::Throttle429, "AWS throttles"),
        (Fault::ServerError500, "AWS unavailable"),
        (Fault::ServiceUnavailable503, "something other than AWS"),
        (Fault::Html(200), "something other than AWS"),
        (Fault::Html(403), "something other than AWS"),
        (Fault::error("InternalServerException", "no"), "AWS unavailable"),
        (Fault::DropConnection, "AWS unavailable"),
        (Fault::CutConnection, "AWS unavailable"),
        (Fault::TruncateBody, "invalid response of AWS"),
        (Fault::MalformedJson, "invalid response of AWS"),
        (Fault::EmptyBody200, "invalid response of AWS"),
        (Fault::EmptyObject, "invalid response of AWS"),
        (Fault::access_denied(), "AWS denies this server inspector2:"),
        (Fault::error("ExpiredTokenException", "expired"), "AWS credentials missing or invalid"),
        (Fault::error("ValidationException", "no"), "AWS rejects"),
    ]
}

async fn read_under(rule: Rule) -> Read {
    let findings = many(101, "HIGH").into_iter().map(|finding| finding.known_exploited(ADDED, ADDED));
    let harness = harness(findings).await;
    harness.simulator.faults().script(rule);
    let read = harness.read().await;
    assert_eq!(read.scan.findings().len(), 101);
    assert_eq!(read.assessment().evidence, Evidence::Proven);
    read
}

/// The number of findings with a known exploit, with none known, and unknown.
fn exploits(scan: &Scan) -> [usize; 3] {
    let count = |exploit| scan.findings().iter().filter(|finding| finding.exploit == exploit).count();
    [Exploit::Known, Exploit::NotKnown, Exploit::Unknown].map(count)
}

#[tokio::test]
async fn failed_list_leaves_epss_and_exploits_unknown() {
    for (fault, reason) in failures() {
        // A fault on the second page, too: a partial list is unusable.
        for rule in [fault.clone().on(LIST), fault.clone().on(LIST).skip(1)] {
            let read = read_under(rule.clone()).await;

            assert!(missing_reason(&read.scan.enrichment).contains(reason), "{rule:?}: {:?}", read.scan.enrichment);
            assert!(read.scan.findings().iter().all(|finding| finding.epss.is_none()), "{rule:?}");
            assert_eq!(exploits(&read.scan), [0, 0, 101], "{rule:?}");
        }
    }
}

#[tokio::test]
async fn list_with_repeated_page_is_unusable() {
    for fault in [Fault::RepeatPage, Fault::TokenLoop] {
        let read = read_under(fault.clone().on(LIST)).await;

        assert!(missing_reason(&read.scan.enrichment).contains("page token repeats"), "{fault:?}");
        assert!(read.scan.findings().iter().all(|finding| finding.epss.is_none()), "{fault:?}");
        assert_eq!(exploits(&read.scan), [0, 0, 101], "{fault:?}");
    }
}

#[tokio::test]
async fn missing_page_is_reported_as_missing_findings() {
    let read = read_under(Fault::MissingPage.on(LIST)).await;

    assert_eq!(missing_reason(&read.scan.enrichment), "Inspector does not list 1 of ECR's findings");
    assert_eq!(read.scan.findings().iter().filter(|finding| finding.epss.is_none()).count(), 1);
    assert_eq!(exploits(&read.scan), [100, 0, 1]);
}

#[tokio::test]
async fn failed_details_keep_epss_and_earlier_exploits() {
    let failures = failures().into_iter().chain([(Fault::PartialFailure, "INTERNAL_ERROR")]);
    for (fault, reason) in failures {
        let read = read_under(fault.clone().on(DETAILS).skip(1)).await;

        assert!(missing_reason(&read.scan.enrichment).contains(reason), "{fault:?}: {:?}", read.scan.enrichment);
        assert!(read.scan.findings().iter().all(|finding| finding.epss == epss(0.01)), "{fault:?}");
        assert_eq!(exploits(&read.scan), [10, 0, 91], "{fault:?}");
    }
}

#[tokio::test]
async fn missing_permission_is_named_with_action() {
    for operation in [LIST, DETAILS] {
        let read = read_under(Fault::access_denied().on(operation)).await;

        let reason = format!("AWS denies this server inspector2:{operation}; grant it to the server's role");
        assert_eq!(missing_reason(&read.scan.enrichment), reason);
    }
}

#[tokio::test]
async fn transient_failure_is_retried() {
    for operation in [LIST, DETAILS] {
        for fault in [Fault::Throttle400, Fault::Throttle429Empty, Fault::ServerError500, Fault::TruncateBody] {
            let harness = harness([high().epss(0.9)]).await;
            harness.simulator.faults().script(fault.clone().on(operation).once());

            let read = harness.read().await;

            assert_eq!(read.scan.enrichment, Enrichment::Complete, "{fault:?} on {operation}");
            assert_eq!(harness.calls(operation), 2, "{fault:?} on {operation}");
        }
    }
}

fn short_timeout(config: Config) -> Config {
    enriching(Config { operation_timeout: Duration::from_millis(800), ..config })
}

#[tokio::test]
async fn hanging_inspector_leaves_time_for_response() {
    for operation in [LIST, DETAILS] {
        let harness = ecr_with(enhanced(ScanScript::complete(vec![high().epss(0.9)])), short_timeout).await;
        harness.simulator.faults().script(Fault::Hang.on(operation));

        let read = harness.read().await;

        assert_eq!(missing_reason(&read.scan.enrichment), format!("AWS unavailable: {operation} failed or timed out"));
        assert_eq!(exploits(&read.scan), [0, 0, 1], "{operation}");
        assert_eq!(read.assessment().evidence, Evidence::Proven);
    }
}

#[tokio::test]
async fn slow_ecr_leaves_no_time_for_inspector() {
    let harness = ecr_with(enhanced(ScanScript::complete(vec![high().epss(0.9)])), short_timeout).await;
    harness.simulator.faults().script(Fault::Delay(Duration::from_millis(650)).on("DescribeImageScanFindings"));

    let read = harness.read().await;

    assert_eq!(missing_reason(&read.scan.enrichment), "no time left for Inspector");
    assert_eq!(exploits(&read.scan), [0, 0, 1]);
    assert_eq!(harness.calls(LIST), 0);
    assert_eq!(read.assessment().evidence, Evidence::Proven);
}

/// Connects the image of most tests behind a cache.
async fn cached(config: cache::Config) -> Harness<Arc<CachedRegistry>> {
    let Harness { simulator, registry } = harness([high().epss(0.9)]).await;
    Harness { simulator, registry: Arc::new(CachedRegistry::new(registry, config)) }
}

async fn any_age(harness: &Harness<Arc<CachedRegistry>>) -> Read {
    match scan(&*harness.registry, IMAGE, Freshness::default()).await {
        Ok(read) => read,
        Err(error) => panic!("{IMAGE} cannot be read: {error}"),
    }
}

#[tokio::test]
async fn enriched_scan_is_cached() {
    let harness = cached(cache::Config { unenriched_ttl: Duration::ZERO, ..cache::Config::default() }).await;

    for _ in 0..3 {
        assert_eq!(any_age(&harness).await.scan.findings()[0].epss, epss(0.9));
    }

    assert_eq!((harness.calls(LIST), harness.calls(DETAILS)), (1, 1));
}

#[tokio::test]
async fn unenriched_scan_is_cached_briefly() {
    let brief = cached(cache::Config { unenriched_ttl: Duration::ZERO, ..cache::Config::default() }).await;
    let longer = cached(cache::Config::default()).await;
    for harness in [&brief, &longer] {
        harness.simulator.faults().script(Fault::access_denied().on(LIST).once());
        assert_eq!(any_age(harness).await.scan.findings()[0].epss, None);
    }

    let (healed, cached) = (any_age(&brief).await, any_age(&longer).await);

    assert_eq!((healed.scan.findings()[0].epss, &healed.scan.enrichment), (epss(0.9), &Enrichment::Complete));
    assert_eq!(cached.scan.findings()[0].epss, None);
    assert_eq!(longer.calls(LIST), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_callers_share_one_enrichment() {
    let harness = cached(cache::Config::default()).await;

    let callers: Vec<_> = (0..200)
        .map(|_| {
            let registry = Arc::clone(&harness.registry);
            tokio::spawn(async move { scan(&*registry, IMAGE, Freshness::default()).await })
        })
        .collect();

    for caller in callers {
        assert_eq!(caller.await.unwrap().unwrap().scan.findings()[0].epss, epss(0.9));
    }
    assert_eq!((harness.calls(LIST), harness.calls(DETAILS)), (1, 1));
}
