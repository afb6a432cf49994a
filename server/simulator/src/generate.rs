//! Generated findings, for scans of any size. The same seed yields the same findings on every machine.

use crate::findings::{BasicFinding, EnhancedFinding};

const SEVERITIES: [&str; 6] = ["CRITICAL", "HIGH", "MEDIUM", "LOW", "INFORMATIONAL", "MEDIUM"];
const PACKAGES: [&str; 8] = ["openssl", "glibc", "curl", "zlib", "systemd", "krb5", "expat", "perl"];

/// Generates `count` basic findings of all severities.
pub fn basic(count: usize, seed: u64) -> Vec<BasicFinding> {
    basic_of(&SEVERITIES, count, seed)
}

/// Generates `count` basic findings with severities chosen from `severities`.
pub fn basic_of(severities: &[&str], count: usize, seed: u64) -> Vec<BasicFinding> {
    drafts(severities, count, seed)
        .map(|draft| {
            BasicFinding::new(&draft.id, draft.severity)
                .description("Made up by the simulator.")
                .package(draft.package, &draft.version)
                .score(draft.score())
        })
        .collect()
}

/// Generates `count` enhanced findings of all severities.
pub fn enhanced(count: usize, seed: u64) -> Vec<EnhancedFinding> {
    enhanced_of(&SEVERITIES, count, seed)
}

/// Generates `count` enhanced findings with severities chosen from `severities`.
pub fn enhanced_of(severities: &[&str], count: usize, seed: u64) -> Vec<EnhancedFinding> {
    drafts(severities, count, seed)
        .map(|draft| {
            let finding = EnhancedFinding::new(&draft.id, draft.severity).package(draft.package, &draft.version);
            if draft.fixed { finding.fixed_version("99.0") } else { finding }.epss(draft.epss)
        })
        .collect()
}

/// The generated facts that basic and enhanced findings share.
struct Draft<'a> {
    id: String,
    severity: &'a str,
    package: &'static str,
    version: String,
    fixed: bool,
    epss: f64,
}

impl Draft<'_> {
    fn score(&self) -> &'static str {
        match self.severity {
            "CRITICAL" => "9.8",
            "HIGH" => "7.5",
            "MEDIUM" => "5.3",
            "LOW" => "2.5",
            _ => "0.0",
        }
    }
}

fn drafts<'a>(severities: &'a [&'a str], count: usize, seed: u64) -> impl Iterator<Item = Draft<'a>> {
    let mut random = SplitMix64(seed);
    (0..count).map(move |index| Draft {
        // The index makes the id unique, so that a test can identify each finding. Real ids repeat within an image.
        id: format!("CVE-{}-{}", 2015 + random.below(11), 100_000 + index),
        severity: random.choice(severities).copied().unwrap_or("UNDEFINED"),
        package: random.choice(&PACKAGES).copied().unwrap_or("package"),
        version: format!("{}.{}.{}", random.below(9), random.below(20), random.below(50)),
        fixed: random.below(2) == 0,
        epss: f64::from(random.below(10_000)) / 10_000.0,
    })
}

/// A small generator whose sequence is fixed by its definition.
struct SplitMix64(u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: u32) -> u32 {
        u32::try_from(self.next() % u64::from(limit.max(1))).unwrap_or(0)
    }

    fn choice<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        let limit = u32::try_from(items.len()).unwrap_or(u32::MAX);
        items.get(usize::try_from(self.below(limit)).unwrap_or(0))
    }
}
