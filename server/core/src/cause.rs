//! The cause of a future change of a verdict, with its text in [`crate::decision::NextChange`].

use std::fmt;

use crate::{decision::ManifestInput, finding::Finding, policy::Policy, rule::Rule, waiver::Waiver};

/// The reason for a change at an instant that is known now.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cause<'a> {
    /// A grace period of a rule begins for a finding.
    GraceBegins { policy: &'a Policy, rule: &'a Rule, finding: &'a Finding },
    /// A grace period of a rule ends for a finding.
    GraceEnds { policy: &'a Policy, rule: &'a Rule, finding: &'a Finding },
    /// A finding begins to match a rule, by its age or the date.
    MatchBegins { policy: &'a Policy, rule: &'a Rule, finding: &'a Finding },
    /// A finding ceases to match a rule.
    MatchEnds { policy: &'a Policy, rule: &'a Rule, finding: &'a Finding },
    /// A waiver begins.
    WaiverBegins(&'a Waiver),
    /// A waiver ends.
    WaiverEnds(&'a Waiver),
    /// A policy becomes effective; it may take the place of the default from then on.
    Effective { policy: &'a Policy, replaces_default: bool },
    /// A scan or its vulnerability data becomes too old for a policy.
    TooOld(&'a Policy, &'a ManifestInput),
    /// Inspector stops scanning an image.
    EligibilityEnds(&'a ManifestInput),
    /// The evidence of a scan changes.
    Evidence(&'a ManifestInput),
}

impl fmt::Display for Cause<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::GraceBegins { policy, rule, finding } => {
                write!(f, "the grace period of {}, rule {} for {} begins", name(policy), rule.id, finding.id)
            }
            Self::GraceEnds { policy, rule, finding } => {
                write!(f, "the grace period of {}, rule {} for {} ends", name(policy), rule.id, finding.id)
            }
            Self::MatchBegins { policy, rule, finding } => {
                write!(f, "{} begins to match {}, rule {}", finding.id, name(policy), rule.id)
            }
            Self::MatchEnds { policy, rule, finding } => {
                write!(f, "{} ceases to match {}, rule {}", finding.id, name(policy), rule.id)
            }
            Self::WaiverBegins(waiver) => write!(f, "{} begins", waiver.id.resource_name()),
            Self::WaiverEnds(waiver) => write!(f, "{} ends", waiver.id.resource_name()),
            Self::Effective { policy, replaces_default: false } => write!(f, "{} becomes effective", name(policy)),
            Self::Effective { policy, replaces_default: true } => {
                write!(f, "{} becomes effective and takes the place of policies/default", name(policy))
            }
            Self::TooOld(policy, input) => {
                write!(f, "the scan of {} becomes too old for {}", manifest_name(input), name(policy))
            }
            Self::EligibilityEnds(input) => {
                write!(f, "the re-scan duration of {} ends, and Inspector stops scanning it", manifest_name(input))
            }
            Self::Evidence(input) => {
                write!(f, "the time in which the scan of {} may still arrive or settle ends", manifest_name(input))
            }
        }
    }
}

fn name(policy: &Policy) -> String {
    policy.id.resource_name()
}

fn manifest_name(input: &ManifestInput) -> String {
    input.manifest.platform.as_ref().map_or_else(|| input.manifest.digest.to_string(), ToString::to_string)
}
