//! The two demo worlds. Their images are made up; their findings are recorded, from public sources, or made up.

use std::time::Duration;

use super::{ImageSpec, ScanScript, ScanningConfig, World};
use crate::findings::{BasicFinding, EnhancedFinding};
use crate::seed;

const HOUR: Duration = Duration::from_hours(1);

impl World {
    /// A registry with basic scanning on push of `shop/*`, and one image for each scan state that a gate handles.
    pub fn demo() -> Self {
        Self::new().demo_basic()
    }

    /// A registry with continuous enhanced scanning, and the scan states that only it has.
    pub fn demo_enhanced() -> Self {
        Self::enhanced().demo_continuous()
    }

    /// Adds the content of [`World::demo`], relative to this world's clock.
    #[must_use]
    pub fn demo_basic(self) -> Self {
        let mut world = self.with_scanning(ScanningConfig::basic_on_push(&["shop/*"]));
        world.push(ImageSpec::single("shop/web", "1.4.2").docker().scan(scanned(3, seed::debian10_257())));
        world.push(ImageSpec::single("shop/api", "2.0.0").scan(ScanScript::clean().completed_ago(2 * HOUR)));
        world.push(
            ImageSpec::index("shop/worker", "3.1.0")
                .platform("linux/amd64", ScanScript::clean().completed_ago(4 * HOUR))
                .platform("linux/arm64", scanned(4, vec![critical_openssl()]))
                .attestation(),
        );
        world.push(
            ImageSpec::index("shop/gateway", "1.1.0")
                .platform("linux/amd64", ScanScript::clean().completed_ago(5 * HOUR))
                .platform("linux/arm64", ScanScript::clean().completed_ago(5 * HOUR)),
        );
        world.push(
            ImageSpec::single("shop/cart", "0.9.0")
                .scan(ScanScript::clean().begins_after(Duration::ZERO).takes(Duration::from_mins(2))),
        );
        world.push(ImageSpec::single("shop/search", "5.0.0").pushed_ago(48 * HOUR));
        world.push(ImageSpec::single("shop/legacy", "0.1.0").scan(ScanScript::failed()));
        world.push(ImageSpec::single("shop/tiny", "1.0.0").scan(ScanScript::unsupported()));
        world.push(ImageSpec::single("shop/attic", "2019").pushed_ago(24 * 365 * HOUR).archived());
        world
    }

    /// Adds the content of [`World::demo_enhanced`], relative to this world's clock.
    #[must_use]
    pub fn demo_continuous(self) -> Self {
        let mut world = self.with_scanning(ScanningConfig::enhanced());
        world.push(ImageSpec::single("shop/web", "1.4.2").scan(scanned(3, vec![known_exploited()])));
        world.push(ImageSpec::single("shop/report", "4.2.0").scan(scanned(3, seed::untriaged())));
        world.push(ImageSpec::single("shop/ledger", "2.5.1").scan(scanned(3, seed::centos8())));
        world.push(ImageSpec::single("shop/api", "2.0.0").scan(ScanScript::clean().completed_ago(2 * HOUR)));
        world.push(ImageSpec::single("shop/ghost", "1.0.0").scan(ScanScript::clean().uncovered()));
        world.push(
            ImageSpec::single("shop/vintage", "0.3.0")
                .pushed_ago(24 * 120 * HOUR)
                .scan(ScanScript::eligibility_expired()),
        );
        world.push(
            ImageSpec::index("shop/gateway", "1.1.0")
                .platform("linux/amd64", ScanScript::clean().completed_ago(5 * HOUR))
                .platform("linux/arm64", ScanScript::clean().completed_ago(5 * HOUR))
                .attestation(),
        );
        world.push(
            ImageSpec::single("shop/cart", "0.9.0")
                .scan(ScanScript::running_for(Duration::from_mins(2), seed::centos8())),
        );
        world
    }
}

fn scanned(hours_ago: u32, findings: impl Into<crate::findings::Findings>) -> ScanScript {
    ScanScript::complete(findings).completed_ago(hours_ago * HOUR)
}

fn critical_openssl() -> BasicFinding {
    BasicFinding::new("CVE-2022-2274", "CRITICAL")
        .description("RSA private key operations on some processors corrupt memory.")
        .package("openssl", "3.0.4-1")
        .fixed_version("3.0.5-1")
        .score("9.8")
        .vector("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H")
}

fn known_exploited() -> EnhancedFinding {
    EnhancedFinding::new("CVE-2021-44228", "CRITICAL")
        .package("org.apache.logging.log4j:log4j-core", "2.14.1")
        .fixed_version("2.15.0")
        .score(10.0)
        .epss(0.975)
        .exploit_available()
        .known_exploited(1_639_094_400, 1_640_304_000)
}
