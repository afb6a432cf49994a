//! The registry's scanning configuration, and its effect on a repository.

/// The scanner of the registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ScanType {
    /// ECR's own scanner, for operating system packages.
    #[default]
    Basic,
    /// Amazon Inspector.
    Enhanced,
}

impl ScanType {
    /// The wire value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Basic => "BASIC",
            Self::Enhanced => "ENHANCED",
        }
    }

    pub(crate) fn parse(word: &str) -> Option<Self> {
        [Self::Basic, Self::Enhanced].into_iter().find(|scan_type| scan_type.as_str() == word)
    }
}

/// The scan frequency of a repository's images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScanFrequency {
    /// Once, after the push.
    OnPush,
    /// Again on new vulnerability data (enhanced scanning only).
    Continuous,
    /// On request with basic scanning; never with enhanced scanning.
    Manual,
}

impl ScanFrequency {
    /// The wire value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OnPush => "SCAN_ON_PUSH",
            Self::Continuous => "CONTINUOUS_SCAN",
            Self::Manual => "MANUAL",
        }
    }

    pub(crate) fn parse(word: &str) -> Option<Self> {
        [Self::OnPush, Self::Continuous, Self::Manual].into_iter().find(|frequency| frequency.as_str() == word)
    }
}

/// A scan frequency for all repositories that the filters match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScanRule {
    /// The frequency.
    pub frequency: ScanFrequency,
    /// Filters on the repository name: see [`filter_matches`].
    pub filters: Vec<String>,
}

/// Inspector's re-scan durations, as `GetConfiguration` returns them: any wire values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RescanDurations {
    /// `rescanDuration`, from the push: `DAYS_3` to `DAYS_180`, or `LIFETIME`, the default.
    pub since_push: String,
    /// `pullDateRescanDuration`, from the last use.
    pub since_use: String,
    /// `pullDateRescanMode`, the meaning of a use: `LAST_PULL_DATE` or `LAST_IN_USE_AT`.
    pub mode: String,
    /// `status` of the last change: `SUCCESS`, `PENDING` or `FAILED`.
    pub status: String,
}

impl Default for RescanDurations {
    fn default() -> Self {
        Self {
            since_push: "LIFETIME".to_owned(),
            since_use: "DAYS_14".to_owned(),
            mode: "LAST_IN_USE_AT".to_owned(),
            status: "SUCCESS".to_owned(),
        }
    }
}

/// The registry's scanning configuration.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ScanningConfig {
    /// The scanner.
    pub scan_type: ScanType,
    /// At most one rule per frequency.
    pub rules: Vec<ScanRule>,
}

impl ScanningConfig {
    /// Basic scanning on push of the repositories that `filters` match.
    pub fn basic_on_push(filters: &[&str]) -> Self {
        Self { scan_type: ScanType::Basic, rules: Vec::new() }.rule(ScanFrequency::OnPush, filters)
    }

    /// Enhanced scanning without rules: continuous for every repository.
    pub fn enhanced() -> Self {
        Self { scan_type: ScanType::Enhanced, rules: Vec::new() }
    }

    /// Adds a rule.
    #[must_use]
    pub fn rule(mut self, frequency: ScanFrequency, filters: &[&str]) -> Self {
        self.rules.push(ScanRule { frequency, filters: filters.iter().map(|&filter| filter.to_owned()).collect() });
        self
    }

    /// The effective scanning of a repository, with all matching filters of its rule. The continuous rule takes
    /// precedence over the on-push rule. Without a match the frequency is MANUAL; enhanced scanning without any rules
    /// is continuous for all repositories.
    pub fn effective(&self, repository: &str) -> EffectiveScanning {
        if self.scan_type == ScanType::Enhanced && self.rules.is_empty() {
            return EffectiveScanning { frequency: ScanFrequency::Continuous, filters: Vec::new() };
        }
        [ScanFrequency::Continuous, ScanFrequency::OnPush]
            .into_iter()
            .map(|frequency| EffectiveScanning { frequency, filters: self.matching_filters(frequency, repository) })
            .find(|effective| !effective.filters.is_empty())
            .unwrap_or(EffectiveScanning { frequency: ScanFrequency::Manual, filters: Vec::new() })
    }

    fn matching_filters(&self, frequency: ScanFrequency, repository: &str) -> Vec<String> {
        self.rules
            .iter()
            .filter(|rule| rule.frequency == frequency)
            .flat_map(|rule| &rule.filters)
            .filter(|filter| filter_matches(filter, repository))
            .cloned()
            .collect()
    }
}

/// The effective scan frequency of a repository, with the filters that selected it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EffectiveScanning {
    /// The scan frequency of the repository's images.
    pub frequency: ScanFrequency,
    /// The matching filters.
    pub filters: Vec<String>,
}

/// Returns true if a scan filter matches a repository name. A filter without `*` matches any part of the name. A filter
/// with `*` must match the whole name; each `*` stands for zero or more characters.
pub fn filter_matches(filter: &str, repository: &str) -> bool {
    let Some((head, rest)) = filter.split_once('*') else { return repository.contains(filter) };
    let Some(mut name) = repository.strip_prefix(head) else { return false };
    let (middle, tail) = rest.rsplit_once('*').map_or((None, rest), |(middle, tail)| (Some(middle), tail));
    for piece in middle.into_iter().flat_map(|middle| middle.split('*')) {
        // The earliest match is correct: it leaves the most characters for the following pieces.
        let Some((_, after)) = name.split_once(piece) else { return false };
        name = after;
    }
    name.ends_with(tail)
}
