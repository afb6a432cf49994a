//! The schema of expressions: the fields of a finding, their types, and the fields that a scan may omit.

use std::sync::Arc;

use jiff::Timestamp;

use super::program::Context;
use crate::finding::{Exploit, Finding, Fix, Status};
use crate::severity::{Rating, Severity};

/// A field of the finding.
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
}

/// A field with one of a few labels as its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LabelField {
    Severity,
    Fix,
    Exploit,
    Status,
}

/// Every field by the name that follows `finding.`, in the order of the manual.
pub(super) const FIELDS: [(&str, Field); 24] = [
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
    ("package.fixed_in", Field::Text(TextField::PackageFixedIn)),
    ("package.source_layer", Field::Text(TextField::PackageSourceLayer)),
    ("first_observed_at", Field::Time(TimeField::FirstObserved)),
    ("published_at", Field::Time(TimeField::Published)),
    ("kev", Field::Kev),
    ("kev.added_at", Field::Time(TimeField::KevAdded)),
    ("kev.due_at", Field::Time(TimeField::KevDue)),
];

impl Field {
    /// Returns the field of a name.
    pub(super) fn from_name(name: &str) -> Option<Self> {
        FIELDS.into_iter().find(|(known, _)| *known == name).map(|(_, field)| field)
    }

    /// Returns the name, without `finding.`.
    pub(super) fn name(self) -> &'static str {
        FIELDS.into_iter().find(|(_, field)| *field == self).map_or("", |(name, _)| name)
    }

    /// True if the scan reports the field.
    pub(super) fn is_reported(self, finding: &Finding) -> bool {
        match self {
            Self::Text(field) => field.get(finding).is_some(),
            Self::Score(field) => field.get(finding).is_some(),
            Self::Time(field) => field.get(finding).is_some(),
            Self::Label(field) => field.is_reported(finding),
            Self::Rated => true,
            Self::RelatedIds => !finding.related_ids.is_empty(),
            Self::Kev => finding.kev.is_some(),
        }
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
            Self::PackageFixedIn => &package.fixed_in,
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
    pub(super) const ALL: [Self; 4] = [Self::FirstObserved, Self::Published, Self::KevAdded, Self::KevDue];

    pub(super) fn get(self, finding: &Finding) -> Option<Timestamp> {
        match self {
            Self::FirstObserved => finding.first_observed_at,
            Self::Published => finding.published_at,
            Self::KevAdded => finding.kev.and_then(|kev| kev.added_at),
            Self::KevDue => finding.kev.and_then(|kev| kev.due_at),
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

    fn is_reported(self, finding: &Finding) -> bool {
        match self {
            Self::Severity => matches!(finding.severity, Rating::Rated(_)),
            Self::Fix => finding.fix != Fix::Unknown,
            Self::Exploit => finding.exploit != Exploit::Unknown,
            Self::Status => finding.status != Status::Unrecognised,
        }
    }
}
