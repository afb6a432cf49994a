//! Scans are kept in little room: what is read from there is what was kept, and all of it has room where it should.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall panic")]

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use proptest::{collection::vec, option, prelude::*, sample::select};
use scangate_core::{
    finding::{Exploit, Finding, Fix, Package, Score, Status as Life},
    image::{Digest, ImageReference, Repository, RepositoryName},
    registry::Registry as RegistryId,
    scan::{Content, Enrichment, Frequency, Manifest, Report, Scan, ScanType, Status},
    severity::Rating,
};
use scangate_ecr_simulator::{ScanScript, seed};
use scangate_server::registry::{
    Error, Freshness, Registry, RegistryScanning, RepositoryScanning, Resolved, Started,
    cache::{CachedRegistry, Config},
};

use crate::support::{APP, basic, ecr, enhanced, registry_id, repository};

/// A registry that has the scans it was given.
#[derive(Clone, Debug)]
struct Given {
    id: RegistryId,
    scans: Arc<Mutex<HashMap<Digest, Scan>>>,
    /// How often it was asked for one.
    asked: Arc<AtomicU64>,
}

#[async_trait::async_trait]
impl Registry for Given {
    async fn resolve(&self, _: &ImageReference, _: Freshness) -> Result<Arc<Resolved>, Error> {
        unimplemented!("nothing is resolved here")
    }

    async fn scan(&self, _: &Repository, manifest: &Manifest, _: Freshness) -> Result<Arc<Scan>, Error> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        Ok(Arc::new(self.scans.lock().unwrap()[&manifest.digest].clone()))
    }

    fn cached_since(&self, _: &Repository, _: &Manifest, _: Freshness) -> Option<Timestamp> {
        None
    }

    async fn start_scan(&self, _: &Repository, _: &Manifest) -> Result<Started, Error> {
        unimplemented!("nothing is started here")
    }

    fn default_registry(&self) -> &RegistryId {
        &self.id
    }

    async fn registry_scanning(&self, _: &RegistryId) -> Result<RegistryScanning, Error> {
        unimplemented!("nothing is configured here")
    }

    async fn repository_scanning(
        &self,
        _: &RegistryId,
        _: &[RepositoryName],
    ) -> Result<Vec<RepositoryScanning>, Error> {
        unimplemented!("nothing is configured here")
    }

    async fn put_registry_scanning(&self, _: &RegistryId, _: &RegistryScanning) -> Result<(), Error> {
        unimplemented!("nothing is configured here")
    }

    async fn put_scan_on_push(&self, _: &Repository, _: bool) -> Result<(), Error> {
        unimplemented!("nothing is configured here")
    }
}

/// A cache over a registry that has the scans it was given.
struct Bench {
    given: Given,
    cached: CachedRegistry,
}

impl Bench {
    fn new(config: Config) -> Self {
        let given = Given { id: registry_id(), scans: Arc::default(), asked: Arc::default() };
        Self { cached: CachedRegistry::new(given.clone(), config), given }
    }

    /// Gives an image another scan, and reads it.
    async fn read_anew(&self, image: u64, scan: Scan) -> Arc<Scan> {
        self.given.scans.lock().unwrap().insert(manifest(image).digest, scan);
        self.read(image, Freshness::within(Duration::ZERO)).await
    }

    /// What all scans take, once the cache has let go of those that it pushed out: it takes some turns for that.
    fn bytes(&self) -> u64 {
        (0..9).for_each(|_| {
            self.cached.bytes();
        });
        self.cached.bytes()
    }

    async fn read(&self, image: u64, freshness: Freshness) -> Arc<Scan> {
        self.cached.scan(&repository(APP), &manifest(image), freshness).await.unwrap()
    }

    /// How often the registry behind the cache was asked for a scan.
    fn asked(&self) -> u64 {
        self.given.asked.load(Ordering::Relaxed)
    }
}

fn manifest(image: u64) -> Manifest {
    Manifest {
        digest: Digest::parse(&format!("sha256:{image:064x}")).unwrap(),
        platform: None,
        pushed_at: None,
        content: Content::Image,
        archived: false,
    }
}

fn scan(findings: Vec<Finding>) -> Scan {
    Scan {
        read_at: Timestamp::UNIX_EPOCH,
        unchanged_since: Timestamp::UNIX_EPOCH,
        status: Status::Complete,
        description: None,
        scan_type: ScanType::Basic,
        frequency: Frequency::ScanOnPush,
        report: Some(Report { findings: Some(findings), ..Report::default() }),
        coverage: None,
        enrichment: Enrichment::NotAsked,
        flaws: Vec::new(),
    }
}

fn finding(id: &str, description: &str) -> Finding {
    Finding {
        id: id.into(),
        package: Package { name: "openssl".into(), version: "1.1.1".into(), ..Package::default() },
        severity: Rating::parse("HIGH"),
        fix: Fix::Available,
        cvss: Score::new(7.5).ok(),
        epss: None,
        exploit: Exploit::Unknown,
        status: Life::Active,
        title: None,
        description: Some(description.into()),
        uri: Some(format!("https://example.org/{id}").into()),
        first_observed_at: None,
        published_at: None,
        arn: None,
    }
}

/// An image of so many findings that no other image has.
fn unlike_others(image: u64, findings: u64) -> Scan {
    let described =
        |number| finding(&format!("CVE-{image}-{number}"), &format!("What is wrong with {image} by {number}."));
    scan((0..findings).map(described).collect())
}

fn text() -> impl Strategy<Value = Arc<str>> {
    select(vec!["", "CVE-1", "CVE-2026-1 - curl", "https://example.org/CVE-1", "ä\0/", "1.2.3"]).prop_map(Arc::from)
}

fn arn() -> impl Strategy<Value = Arc<str>> {
    let names = prop_oneof!["[0-9a-f]{32}", "[0-9A-F]{32}", "\\+[0-9]{31}", "[0-9a-f]{33}", ".{0,200}"];
    let prefix = select(vec!["", "arn:aws:inspector2:eu-west-1:123456789012:finding/"]);
    (prefix, names).prop_map(|(prefix, name)| [prefix, &name].concat().into())
}

fn instant() -> impl Strategy<Value = Timestamp> {
    let nanoseconds = Timestamp::MIN.as_nanosecond()..=Timestamp::MAX.as_nanosecond();
    nanoseconds.prop_map(|nanosecond| Timestamp::from_nanosecond(nanosecond).unwrap())
}

prop_compose! {
    fn package()(
        (name, version) in (text(), text()),
        (manager, path, fixed_in) in (option::of(text()), option::of(text()), option::of(text())),
    ) -> Package {
        Package { name, version, manager, path, fixed_in }
    }
}

prop_compose! {
    fn any_finding()(
        (id, package) in (text(), package()),
        severity in select(vec!["CRITICAL", "INFORMATIONAL", "UNTRIAGED", "", "high"]),
        fix in select(vec![Fix::Unknown, Fix::Available, Fix::Partial, Fix::None]),
        (cvss, epss) in (option::of(0.0_f64..=10.0), option::of(0.0_f64..=1.0)),
        exploit in select(vec![Exploit::Unknown, Exploit::Known, Exploit::NotKnown]),
        status in select(vec![Life::Active, Life::Suppressed, Life::Closed, Life::Unrecognised]),
        (title, description, uri) in (option::of(text()), option::of(text()), option::of(text())),
        (first_observed_at, published_at) in (option::of(instant()), option::of(instant())),
        arn in option::of(arn()),
    ) -> Finding {
        let score = |value: Option<f64>| value.map(|value| Score::new(value).unwrap());
        Finding {
            id, package, fix, exploit, status, title, description, uri, first_observed_at, published_at, arn,
            severity: Rating::parse(severity),
            cvss: score(cvss),
            epss: score(epss),
        }
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_kept_is_what_was_read(findings in vec(any_finding(), 0..20), twice in any::<prop::sample::Index>()) {
        let mut findings = findings;
        // Several packages of one finding have its name in common.
        findings.extend(findings.get(twice.index(findings.len() + 1)).cloned());
        let given = scan(findings);

        let read = block_on(async {
            let bench = Bench::new(Config::default());
            bench.read_anew(1, given.clone()).await;
            bench.read(1, Freshness::default()).await
        });

        prop_assert_eq!(&*read, &given);
        prop_assert_eq!(format!("{read:?}"), format!("{given:?}"));
    }

    #[test]
    fn equal_findings_are_known_to_be_equal(one in vec(any_finding(), 1..3), other in vec(any_finding(), 1..3)) {
        let later = |findings: &[Finding]| Scan { unchanged_since: Timestamp::MAX, ..scan(findings.to_vec()) };

        let (same, another) = block_on(async {
            let bench = Bench::new(Config::default());
            bench.read_anew(1, scan(one.clone())).await;
            (bench.read_anew(1, later(&one)).await, bench.read_anew(1, later(&other)).await)
        });

        prop_assert_eq!(same.unchanged_since, Timestamp::UNIX_EPOCH);
        prop_assert_eq!(another.unchanged_since == Timestamp::UNIX_EPOCH, one == other);
    }
}

#[tokio::test]
async fn recorded_scans_are_kept_as_they_were_read() {
    let recorded = [
        basic(ScanScript::complete(seed::debian10_257())),
        basic(ScanScript::complete(seed::basic_three())),
        enhanced(ScanScript::complete(seed::untriaged())),
        enhanced(ScanScript::complete(seed::centos8())),
        enhanced(ScanScript::complete(seed::inspector_one())),
    ];
    for world in recorded {
        let read = ecr(world).await.read().await.scan;
        let bench = Bench::new(Config::default());

        let kept = bench.read_anew(1, Scan::clone(&read)).await;

        assert!(!kept.findings().is_empty());
        assert_eq!(kept, read);
    }
}

#[tokio::test]
async fn a_list_that_did_not_come_stays_one() {
    let bench = Bench::new(Config::default());
    let without = Scan { report: Some(Report::default()), ..scan(Vec::new()) };

    assert_eq!(*bench.read_anew(1, without.clone()).await, without);
    assert_eq!(*bench.read_anew(2, scan(Vec::new())).await, scan(Vec::new()));
}

#[tokio::test]
async fn who_reads_at_once_reads_the_same() {
    let bench = Bench::new(Config::default());

    let one = bench.read_anew(1, unlike_others(1, 10)).await;
    let other = bench.read(1, Freshness::default()).await;

    assert!(Arc::ptr_eq(&one, &other));
}

#[tokio::test]
async fn who_reads_page_after_page_reads_the_same() {
    let bench = Bench::new(Config::default());

    let one = Arc::downgrade(&bench.read_anew(1, unlike_others(1, 5_000)).await);
    let other = bench.read(1, Freshness::default()).await;

    assert!(one.upgrade().is_some_and(|one| Arc::ptr_eq(&one, &other)));
}

#[tokio::test]
async fn only_the_last_two_that_were_read_stay_unpacked() {
    let bench = Bench::new(Config::default());

    let one = Arc::downgrade(&bench.read_anew(1, unlike_others(1, 10)).await);
    let two = Arc::downgrade(&bench.read_anew(2, unlike_others(2, 10)).await);
    let three = Arc::downgrade(&bench.read_anew(3, unlike_others(3, 10)).await);
    let large = Arc::downgrade(&bench.read_anew(4, unlike_others(4, 5_001)).await);

    assert_eq!([&one, &two, &three, &large].map(|scan| scan.upgrade().is_some()), [false, true, true, false]);
}

#[tokio::test]
async fn what_images_share_is_kept_once() {
    let (shared, unshared) = (Bench::new(Config::default()), Bench::new(Config::default()));

    for image in 0..50 {
        shared.read_anew(image, unlike_others(0, 1_000)).await;
        unshared.read_anew(image, unlike_others(image, 1_000)).await;
    }

    let (shared, unshared) = (shared.bytes(), unshared.bytes());
    assert!(shared < 50_000 * 24, "{shared} bytes for 50,000 findings that are alike");
    assert!(shared * 8 < unshared, "{shared} and {unshared} bytes");
}

#[tokio::test]
async fn however_many_images_differ_all_of_them_have_room() {
    let config = Config { bytes: 4 * 1024 * 1024, ..Config::default() };
    let bench = Bench::new(config.clone());

    for image in 0..1_000 {
        bench.read_anew(image, unlike_others(image, 100)).await;
        let bytes = bench.bytes();
        assert!(bytes <= config.bytes, "{bytes} bytes after {image} images");
    }
    assert!(bench.bytes() > config.bytes / 2, "there was room for more");
}

/// What an image brought outlives it where another one, that weighs little itself, says the same.
#[tokio::test]
async fn what_images_leave_to_others_has_room_too() {
    let config = Config { bytes: 4 * 1024 * 1024, ..Config::default() };
    let bench = Bench::new(config.clone());

    for image in 0..500 {
        let (brings, shares) = (image, image + 1_000);
        bench.read_anew(brings, unlike_others(image, 100)).await;
        bench.read_anew(shares, unlike_others(image, 100)).await;
        bench.read_anew(brings, scan(Vec::new())).await;
        let bytes = bench.bytes();
        assert!(bytes <= config.bytes, "{bytes} bytes after {image} images");
    }
}

/// One that bears what others left weighs more than those whose place it takes, and is let in all the same.
#[tokio::test]
async fn what_was_read_last_is_kept_however_full_the_cache_is() {
    let bench = Bench::new(Config { bytes: 4 * 1024 * 1024, ..Config::default() });
    for image in 0..500 {
        let (brings, shares) = (image, image + 1_000);
        bench.read_anew(brings, unlike_others(image, 100)).await;
        bench.read_anew(shares, unlike_others(image, 100)).await;
        // What is asked for often is not to keep out what is new.
        bench.read(shares, Freshness::default()).await;
        bench.read_anew(brings, scan(Vec::new())).await;
        bench.bytes();

        let kept = |image| bench.cached.cached_since(&repository(APP), &manifest(image), Freshness::default());
        assert!(kept(brings).is_some() && kept(shares).is_some(), "image {image} is not kept");
    }
}

/// What is forgotten goes at once: otherwise each reading of the next moments would find too much there, and forget again.
#[tokio::test]
async fn a_cache_that_is_too_full_forgets_once() {
    let (bytes, unsettled_ttl) = (1024 * 1024, Duration::from_mins(1));
    let bench = Bench::new(Config { bytes, unsettled_ttl, ..Config::default() });

    for image in 0..200_u64 {
        bench.read_anew(image, unlike_others(image, 100)).await;
        bench.read(image.saturating_sub(1), Freshness::default()).await;
    }

    // A few had just been forgotten: there is room for some forty.
    let anew = bench.asked() - 200;
    assert!(anew < 50, "{anew} of 200 images were forgotten as soon as they were read");
}

#[tokio::test]
async fn a_text_goes_with_the_last_image_that_has_it() {
    let bench = Bench::new(Config::default());
    let empty = {
        bench.read_anew(3, scan(Vec::new())).await;
        bench.read_anew(4, scan(Vec::new())).await;
        bench.bytes()
    };
    let read = bench.read_anew(3, unlike_others(0, 500)).await;
    bench.read_anew(4, unlike_others(0, 500)).await;
    let text = read.findings()[0].description.as_ref().map(Arc::downgrade).unwrap();
    drop(read);

    bench.read_anew(3, scan(Vec::new())).await;
    assert!(text.upgrade().is_some());
    bench.read_anew(4, scan(Vec::new())).await;

    assert_eq!(bench.bytes(), empty);
    assert!(text.upgrade().is_none());
}
