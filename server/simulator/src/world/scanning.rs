//! The registry's scanning configuration, and what it means for a repository.

/// Which scanner the registry uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ScanType {
    /// ECR's own scanner, for operating system packages.
    #[default]
    Basic,
    /// Amazon Inspector.
    Enhanced,
}

impl ScanType {
    /// The wire's word.
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

/// When the images of a repository are scanned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScanFrequency {
    /// Once, when pushed.
    OnPush,
    /// Again whenever there is new vulnerability data (enhanced scanning).
    Continuous,
    /// On request with basic scanning; never with enhanced scanning.
    Manual,
}

impl ScanFrequency {
    /// The wire's word.
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

/// A frequency and the filters that choose the repositories it applies to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScanRule {
    /// How often.
    pub frequency: ScanFrequency,
    /// Which repositories: see [`filter_matches`].
    pub filters: Vec<String>,
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

    /// What applies to a repository: the continuous rule wins over on-push, and every filter of that rule that matches
    /// is listed. Nothing matching is MANUAL, save for ENHANCED without any rules, which is continuous for all.
    pub fn effective(&self, repository: &str) -> Effective {
        if self.scan_type == ScanType::Enhanced && self.rules.is_empty() {
            return Effective { frequency: ScanFrequency::Continuous, filters: Vec::new() };
        }
        [ScanFrequency::Continuous, ScanFrequency::OnPush]
            .into_iter()
            .map(|frequency| Effective { frequency, filters: self.matching(frequency, repository) })
            .find(|effective| !effective.filters.is_empty())
            .unwrap_or(Effective { frequency: ScanFrequency::Manual, filters: Vec::new() })
    }

    fn matching(&self, frequency: ScanFrequency, repository: &str) -> Vec<String> {
        self.rules
            .iter()
            .filter(|rule| rule.frequency == frequency)
            .flat_map(|rule| &rule.filters)
            .filter(|filter| filter_matches(filter, repository))
            .cloned()
            .collect()
    }
}

/// The frequency in force for a repository, and the filters it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effective {
    /// How often images of the repository are scanned.
    pub frequency: ScanFrequency,
    /// The filters that matched.
    pub filters: Vec<String>,
}

/// Whether a scan filter matches a repository: without `*` if the name contains it; with `*`, each standing for zero or
/// more characters, if it matches the whole name.
pub fn filter_matches(filter: &str, repository: &str) -> bool {
    let Some((head, rest)) = filter.split_once('*') else { return repository.contains(filter) };
    let Some(mut name) = repository.strip_prefix(head) else { return false };
    let (middle, tail) = rest.rsplit_once('*').map_or((None, rest), |(middle, tail)| (Some(middle), tail));
    for piece in middle.into_iter().flat_map(|middle| middle.split('*')) {
        // The earliest place is right: it leaves the most for the pieces that follow.
        let Some((_, after)) = name.split_once(piece) else { return false };
        name = after;
    }
    name.ends_with(tail)
}
