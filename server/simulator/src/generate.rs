//! Findings made up for size. The same seed gives the same findings, on every machine.

use crate::findings::{BasicFinding, EnhancedFinding};

const SEVERITIES: [&str; 6] = ["CRITICAL", "HIGH", "MEDIUM", "LOW", "INFORMATIONAL", "MEDIUM"];
const PACKAGES: [&str; 8] = ["openssl", "glibc", "curl", "zlib", "systemd", "krb5", "expat", "perl"];

/// `count` basic findings of all severities.
pub fn basic(count: usize, seed: u64) -> Vec<BasicFinding> {
    basic_of(&SEVERITIES, count, seed)
}

/// `count` basic findings, each of one of `severities`.
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

/// `count` enhanced findings of all severities.
pub fn enhanced(count: usize, seed: u64) -> Vec<EnhancedFinding> {
    enhanced_of(&SEVERITIES, count, seed)
}

/// `count` enhanced findings, each of one of `severities`.
pub fn enhanced_of(severities: &[&str], count: usize, seed: u64) -> Vec<EnhancedFinding> {
    drafts(severities, count, seed)
        .map(|draft| {
            let finding = EnhancedFinding::new(&draft.id, draft.severity).package(draft.package, &draft.version);
            if draft.fixed { finding.fixed_in("99.0") } else { finding }.epss(draft.epss)
        })
        .collect()
}

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
    let mut numbers = Numbers(seed);
    (0..count).map(move |index| Draft {
        // The index keeps the ids apart; real ids are not unique in an image, but made-up ones should tell each other.
        id: format!("CVE-{}-{}", 2015 + numbers.below(11), 100_000 + index),
        severity: numbers.choice(severities).copied().unwrap_or("UNDEFINED"),
        package: numbers.choice(&PACKAGES).copied().unwrap_or("package"),
        version: format!("{}.{}.{}", numbers.below(9), numbers.below(20), numbers.below(50)),
        fixed: numbers.below(2) == 0,
        epss: f64::from(numbers.below(10_000)) / 10_000.0,
    })
}

/// `SplitMix64`: small, and its sequence is fixed by its definition.
struct Numbers(u64);

impl Numbers {
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

    fn choice<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        let limit = u32::try_from(of.len()).unwrap_or(u32::MAX);
        of.get(usize::try_from(self.below(limit)).unwrap_or(0))
    }
}
