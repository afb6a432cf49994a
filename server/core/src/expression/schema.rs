//! The schema of expressions: the fields of a finding and of its manifest, their types, and the fields that a scan may omit.

use std::sync::Arc;

use super::program::Context;
use crate::finding::{Exploit, Finding, Fix, ReportedTime, Status};
use crate::scan::Usage;
use crate::severity::{Rating, Severity};

/// A variable with fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Variable {
    Finding,
    /// The manifest whose scan reports the finding.
    Manifest,
}

/// A field of a variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Text(TextField),
    Score(ScoreField),
    Time(TimeField),
    Label(LabelField),
    Rated,
    /// The list of related ids. It is never missing: a finding without related ids has an empty one.
    RelatedIds,
    /// The entry in CISA's catalogue, of which only the presence and the fields are values.
    Kev,
    /// The number of tasks and pods that run the manifest.
    InUseCount,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TextField {
    Id,
    SeverityLabel,
    Title,
    Description,
    Uri,
    PackageName,
    PackageVersion,
    PackageManager,
    PackagePath,
    PackageFixedIn,
    PackageSourceLayer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ScoreField {
    Cvss,
    Epss,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TimeField {
    FirstObserved,
    Published,
    KevAdded,
    KevDue,
    LastInUse,
}

/// A field with one of a few labels as its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LabelField {
    Severity,
    Fix,
    Exploit,
    Status,
}

/// Every field of the finding by the name that follows `finding.`, in the order of the manual.
const FINDING_FIELDS: [(&str, Field); 24] = [
    ("id", Field::Text(TextField::Id)),
    ("related_ids", Field::RelatedIds),
    ("severity", Field::Label(LabelField::Severity)),
    ("severity_label", Field::Text(TextField::SeverityLabel)),
    ("rated", Field::Rated),
    ("fix", Field::Label(LabelField::Fix)),
    ("cvss", Field::Score(ScoreField::Cvss)),
    ("epss", Field::Score(ScoreField::Epss)),
    ("exploit", Field::Label(LabelField::Exploit)),
    ("status", Field::Label(LabelField::Status)),
    ("title", Field::Text(TextField::Title)),
    ("description", Field::Text(TextField::Description)),
    ("uri", Field::Text(TextField::Uri)),
    ("package.name", Field::Text(TextField::PackageName)),
    ("package.version", Field::Text(TextField::PackageVersion)),
    ("package.manager", Field::Text(TextField::PackageManager)),
    ("package.path", Field::Text(TextField::PackagePath)),
    ("package.fixed_version", Field::Text(TextField::PackageFixedIn)),
    ("package.source_layer", Field::Text(TextField::PackageSourceLayer)),
    ("first_observe_time", Field::Time(TimeField::FirstObserved)),
    ("publish_time", Field::Time(TimeField::Published)),
    ("kev", Field::Kev),
    ("kev.add_time", Field::Time(TimeField::KevAdded)),
    ("kev.due_time", Field::Time(TimeField::KevDue)),
];

/// Every field of the manifest by the name that follows `manifest.`, in the order of the manual.
const MANIFEST_FIELDS: [(&str, Field); 2] =
    [("in_use_count", Field::InUseCount), ("last_in_use_time", Field::Time(TimeField::LastInUse))];

impl Variable {
    pub(super) const ALL: [Self; 2] = [Self::Finding, Self::Manifest];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Finding => "finding",
            Self::Manifest => "manifest",
        }
    }

    pub(super) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|variable| variable.name() == name)
    }

    /// Returns the names of the fields, without the variable.
    pub(super) fn field_names(self) -> impl Iterator<Item = &'static str> {
        self.fields().iter().map(|(name, _)| *name)
    }

    /// Returns the field of a name.
    pub(super) fn field(self, name: &str) -> Option<Field> {
        self.fields().iter().find(|(known, _)| *known == name).map(|(_, field)| *field)
    }

    const fn fields(self) -> &'static [(&'static str, Field)] {
        match self {
            Self::Finding => &FINDING_FIELDS,
            Self::Manifest => &MANIFEST_FIELDS,
        }
    }
}

impl Field {
    /// Returns the name, without its variable.
    pub(super) fn name(self) -> &'static str {
        let mut all = FINDING_FIELDS.into_iter().chain(MANIFEST_FIELDS);
        all.find(|(_, field)| *field == self).map_or("", |(name, _)| name)
    }

    /// True if the scan reports the field.
    pub(super) fn is_reported(self, finding: &Finding, usage: &Usage) -> bool {
        match self {
            Self::Text(field) => field.get(finding).is_some(),
            Self::Score(field) => field.get(finding).is_some(),
            Self::Time(field) => field.get(finding, usage).is_some(),
            Self::Label(field) => field.is_reported(finding),
            Self::Rated => true,
            Self::RelatedIds => !finding.related_ids.is_empty(),
            Self::Kev => finding.kev.is_some(),
            Self::InUseCount => usage.in_use_count.is_some(),
        }
    }

    /// True if the catalogue may have an entry that the scan does not report. Inspector may not have been asked; only a
    /// finding without a known exploit was looked up for certain, or did not need it.
    pub(super) fn is_unread(self, finding: &Finding) -> bool {
        let is_entry = matches!(self, Self::Kev | Self::Time(TimeField::KevAdded | TimeField::KevDue));
        is_entry && finding.kev.is_none() && finding.exploit != Exploit::NotKnown
    }
}

impl TextField {
    pub(super) fn get(self, finding: &Finding) -> Option<&str> {
        let package = &finding.package;
        let optional: &Option<Arc<str>> = match self {
            Self::Id => return Some(&finding.id),
            Self::SeverityLabel => return Some(finding.severity.label()),
            Self::PackageName => return Some(&package.name),
            // Empty if the scan reports none.
            Self::PackageVersion => return Some(&*package.version).filter(|version| !version.is_empty()),
            Self::Title => &finding.title,
            Self::Description => &finding.description,
            Self::Uri => &finding.uri,
            Self::PackageManager => &package.manager,
            Self::PackagePath => &package.path,
            Self::PackageFixedIn => &package.fixed_version,
            Self::PackageSourceLayer => &package.source_layer,
        };
        optional.as_deref()
    }
}

impl ScoreField {
    pub(super) fn get(self, finding: &Finding) -> Option<f64> {
        match self {
            Self::Cvss => finding.cvss,
            Self::Epss => finding.epss,
        }
        .map(crate::finding::Score::value)
    }
}

impl TimeField {
    /// Every field that is a time, in the order of its declaration.
    pub(super) const ALL: [Self; 5] =
        [Self::FirstObserved, Self::Published, Self::KevAdded, Self::KevDue, Self::LastInUse];

    /// A call, so that a loop over fields reads none of the others, which lie on further cache lines.
    #[inline(never)]
    pub(super) fn get(self, finding: &Finding, usage: &Usage) -> Option<ReportedTime> {
        match self {
            Self::FirstObserved => finding.first_observe_time,
            Self::Published => finding.publish_time,
            Self::KevAdded => finding.kev.as_deref().and_then(|kev| kev.add_time),
            Self::KevDue => finding.kev.as_deref().and_then(|kev| kev.due_time),
            Self::LastInUse => usage.last_in_use_time.map(ReportedTime::from),
        }
    }
}

impl LabelField {
    /// Returns the labels for comparisons. Severities are in ascending order.
    pub(super) const fn labels(self) -> &'static [&'static str] {
        match self {
            Self::Severity => &["INFORMATIONAL", "LOW", "MEDIUM", "HIGH", "CRITICAL"],
            Self::Fix => &["AVAILABLE", "NONE"],
            Self::Exploit => &["KNOWN", "NOT_KNOWN"],
            Self::Status => &["ACTIVE", "SUPPRESSED", "CLOSED"],
        }
    }

    /// True if the labels have an order.
    pub(super) const fn is_ordered(self) -> bool {
        matches!(self, Self::Severity)
    }

    /// Returns the index of the finding's label; `None` if it cannot be determined.
    ///
    /// Doubtful values fail closed: a partial fix, or one that the scan does not rule out, is AVAILABLE, and an
    /// unrecognised status is ACTIVE.
    pub(super) fn index(self, context: &Context<'_>) -> Option<u8> {
        let finding = context.finding;
        match self {
            Self::Severity => Some(match finding.severity.rank(context.unrated_as) {
                Severity::Informational => 0,
                Severity::Low => 1,
                Severity::Medium => 2,
                Severity::High => 3,
                Severity::Critical => 4,
            }),
            Self::Fix => Some(match finding.fix {
                Fix::Available | Fix::Partial | Fix::Unknown => 0,
                Fix::None => 1,
            }),
            Self::Exploit => match finding.exploit {
                Exploit::Known => Some(0),
                Exploit::NotKnown => Some(1),
                Exploit::Unknown => None,
            },
            Self::Status => Some(match finding.status {
                Status::Active | Status::Unrecognised => 0,
                Status::Suppressed => 1,
                Status::Closed => 2,
            }),
        }
    }

    pub(super) fn is_reported(self, finding: &Finding) -> bool {
        match self {
            Self::Severity => matches!(finding.severity, Rating::Rated(_)),
            Self::Fix => finding.fix != Fix::Unknown,
            Self::Exploit => finding.exploit != Exploit::Unknown,
            Self::Status => finding.status != Status::Unrecognised,
        }
    }
}
