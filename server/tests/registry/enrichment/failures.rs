//! Inspector fails, ECR does not.

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

use super::{ADDED, DETAILS, LIST, asking, bench, epss, high, many, why};
use crate::support::{Bench, IMAGE, Read, ecr_with, enhanced, scan};

/// What goes wrong, and a part of what is told about it.
fn failures() -> Vec<(Fault, &'static str)> {
    vec![
        (Fault::Throttle400, "AWS throttles"),
        (Fault::Throttle429, "AWS throttles"),
        (Fault::ServerError500, "AWS does not answer"),
        (Fault::ServiceUnavailable503, "AWS does not answer"),
        (Fault::error("InternalServerException", "no"), "AWS does not answer"),
        (Fault::DropConnection, "AWS does not answer"),
        (Fault::CutConnection, "AWS does not answer"),
        (Fault::TruncateBody, "cannot be read"),
        (Fault::MalformedJson, "cannot be read"),
        (Fault::EmptyBody200, "cannot be read"),
        (Fault::EmptyObject, "cannot be read"),
        (Fault::access_denied(), "AWS refuses this server inspector2:"),
        (Fault::error("ExpiredTokenException", "expired"), "no valid AWS credentials"),
        (Fault::error("ValidationException", "no"), "AWS refuses"),
    ]
}

async fn under(rule: Rule) -> Read {
    let findings = many(101, "HIGH").into_iter().map(|finding| finding.known_exploited(ADDED, ADDED));
    let bench = bench(findings).await;
    bench.simulator.faults().script(rule);
    let read = bench.read().await;
    assert_eq!(read.scan.findings().len(), 101);
    assert_eq!(read.assessment().evidence, Evidence::Proven);
    read
}

/// How many findings have a known exploit, have none, and do not say.
fn exploits(scan: &Scan) -> [usize; 3] {
    let count = |exploit| scan.findings().iter().filter(|finding| finding.exploit == exploit).count();
    [Exploit::Known, Exploit::NotKnown, Exploit::Unknown].map(count)
}

#[tokio::test]
async fn a_list_that_fails_leaves_the_scan_whole_and_epss_and_exploits_unknown() {
    for (fault, told) in failures() {
        // Of the second page, too: half a list is none.
        for rule in [fault.clone().on(LIST), fault.clone().on(LIST).skip(1)] {
            let read = under(rule.clone()).await;

            assert!(why(&read.scan.enrichment).contains(told), "{rule:?}: {:?}", read.scan.enrichment);
            assert!(read.scan.findings().iter().all(|finding| finding.epss.is_none()), "{rule:?}");
            assert_eq!(exploits(&read.scan), [0, 0, 101], "{rule:?}");
        }
    }
}

#[tokio::test]
async fn a_list_whose_pages_lead_nowhere_is_none() {
    for fault in [Fault::RepeatPage, Fault::TokenLoop] {
        let read = under(fault.clone().on(LIST)).await;

        assert!(why(&read.scan.enrichment).contains("lead back"), "{fault:?}");
        assert!(read.scan.findings().iter().all(|finding| finding.epss.is_none()), "{fault:?}");
        assert_eq!(exploits(&read.scan), [0, 0, 101], "{fault:?}");
    }
}

#[tokio::test]
async fn a_list_without_a_page_is_told_as_missing_findings() {
    let read = under(Fault::MissingPage.on(LIST)).await;

    assert_eq!(why(&read.scan.enrichment), "Inspector does not list 1 of ECR's findings");
    assert_eq!(read.scan.findings().iter().filter(|finding| finding.epss.is_none()).count(), 1);
    assert_eq!(exploits(&read.scan), [100, 0, 1]);
}

#[tokio::test]
async fn details_that_fail_leave_epss_and_what_was_learnt_before_and_no_other_exploit_is_ruled_out() {
    let failures = failures().into_iter().chain([(Fault::PartialFailure, "INTERNAL_ERROR")]);
    for (fault, told) in failures {
        let read = under(fault.clone().on(DETAILS).skip(1)).await;

        assert!(why(&read.scan.enrichment).contains(told), "{fault:?}: {:?}", read.scan.enrichment);
        assert!(read.scan.findings().iter().all(|finding| finding.epss == epss(0.01)), "{fault:?}");
        assert_eq!(exploits(&read.scan), [10, 0, 91], "{fault:?}");
    }
}

#[tokio::test]
async fn a_missing_right_is_named_with_what_to_do() {
    for operation in [LIST, DETAILS] {
        let read = under(Fault::access_denied().on(operation)).await;

        let told = format!("AWS refuses this server inspector2:{operation}; grant it to the server's role");
        assert_eq!(why(&read.scan.enrichment), told);
    }
}

#[tokio::test]
async fn what_passes_by_is_asked_again() {
    for operation in [LIST, DETAILS] {
        for fault in [Fault::Throttle400, Fault::Throttle429Empty, Fault::ServerError500, Fault::TruncateBody] {
            let bench = bench([high().epss(0.9)]).await;
            bench.simulator.faults().script(fault.clone().on(operation).once());

            let read = bench.read().await;

            assert_eq!(read.scan.enrichment, Enrichment::Complete, "{fault:?} on {operation}");
            assert_eq!(bench.calls(operation), 2, "{fault:?} on {operation}");
        }
    }
}

fn hasty(config: Config) -> Config {
    asking(Config { operation_timeout: Duration::from_millis(800), ..config })
}

#[tokio::test]
async fn an_inspector_that_hangs_leaves_time_for_the_answer() {
    for operation in [LIST, DETAILS] {
        let bench = ecr_with(enhanced(ScanScript::complete(vec![high().epss(0.9)])), hasty).await;
        bench.simulator.faults().script(Fault::Hang.on(operation));

        let read = bench.read().await;

        assert_eq!(why(&read.scan.enrichment), format!("AWS does not answer {operation}"));
        assert_eq!(exploits(&read.scan), [0, 0, 1], "{operation}");
        assert_eq!(read.assessment().evidence, Evidence::Proven);
    }
}

#[tokio::test]
async fn where_ecr_has_taken_the_time_inspector_is_not_asked() {
    let bench = ecr_with(enhanced(ScanScript::complete(vec![high().epss(0.9)])), hasty).await;
    bench.simulator.faults().script(Fault::Delay(Duration::from_millis(650)).on("DescribeImageScanFindings"));

    let read = bench.read().await;

    assert_eq!(why(&read.scan.enrichment), "no time was left to ask Inspector");
    assert_eq!(exploits(&read.scan), [0, 0, 1]);
    assert_eq!(bench.calls(LIST), 0);
    assert_eq!(read.assessment().evidence, Evidence::Proven);
}

/// The image of most tests behind a cache.
async fn kept(config: cache::Config) -> Bench<Arc<CachedRegistry>> {
    let Bench { simulator, registry } = bench([high().epss(0.9)]).await;
    Bench { simulator, registry: Arc::new(CachedRegistry::new(registry, config)) }
}

async fn any_age(bench: &Bench<Arc<CachedRegistry>>) -> Read {
    match scan(&*bench.registry, IMAGE, Freshness::default()).await {
        Ok(read) => read,
        Err(error) => panic!("{IMAGE} cannot be read: {error}"),
    }
}

#[tokio::test]
async fn an_enriched_scan_is_kept_like_any_other() {
    let bench = kept(cache::Config { unenriched_ttl: Duration::ZERO, ..cache::Config::default() }).await;

    for _ in 0..3 {
        assert_eq!(any_age(&bench).await.scan.findings()[0].epss, epss(0.9));
    }

    assert_eq!((bench.calls(LIST), bench.calls(DETAILS)), (1, 1));
}

#[tokio::test]
async fn a_scan_without_its_enrichment_is_kept_for_its_own_time_and_heals() {
    let brief = kept(cache::Config { unenriched_ttl: Duration::ZERO, ..cache::Config::default() }).await;
    let longer = kept(cache::Config::default()).await;
    for bench in [&brief, &longer] {
        bench.simulator.faults().script(Fault::access_denied().on(LIST).once());
        assert_eq!(any_age(bench).await.scan.findings()[0].epss, None);
    }

    let (healed, kept) = (any_age(&brief).await, any_age(&longer).await);

    assert_eq!((healed.scan.findings()[0].epss, &healed.scan.enrichment), (epss(0.9), &Enrichment::Complete));
    assert_eq!(kept.scan.findings()[0].epss, None);
    assert_eq!(longer.calls(LIST), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_of_callers_costs_one_enrichment() {
    let bench = kept(cache::Config::default()).await;

    let callers: Vec<_> = (0..200)
        .map(|_| {
            let registry = Arc::clone(&bench.registry);
            tokio::spawn(async move { scan(&*registry, IMAGE, Freshness::default()).await })
        })
        .collect();

    for caller in callers {
        assert_eq!(caller.await.unwrap().unwrap().scan.findings()[0].epss, epss(0.9));
    }
    assert_eq!((bench.calls(LIST), bench.calls(DETAILS)), (1, 1));
}
