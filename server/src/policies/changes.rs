//! Notes on a write that makes a policy less strict, or a waiver wider.

use scangate_core::{
    policy::{Mode, Policy},
    waiver::Waiver,
};

/// The most fields that one note lists.
const MAX_FIELDS: usize = 20;

/// Returns the notes on a change of a policy.
pub fn policy_change_notes(old: &Policy, new: &Policy) -> Vec<String> {
    let note = |fields| format!("this write loosens the policy in {fields}: it can allow what it denied before");
    list(&old.loosened_by(new)).map(note).into_iter().collect()
}

/// Returns the notes on the deletion of a policy.
pub fn policy_deletion_notes(policy: &Policy) -> Vec<String> {
    let note = match (policy.mode, policy.replaces_default) {
        (Mode::Off, _) => return Vec::new(),
        (Mode::Enforce, true) => {
            "the policy no longer takes the place of policies/default: policies/default applies again to what it matched, without the rules of the policy"
        }
        (Mode::Enforce, false) => {
            "this deletion loosens the verdicts on what the policy matched: its rules and its requirements on scans no longer apply"
        }
        (Mode::Warn, _) => "the warnings of the policy end",
    };
    vec![note.to_owned()]
}

/// Returns the notes on a change of a waiver: a wider cover, and a lost approval.
pub fn waiver_change_notes(old: &Waiver, new: &Waiver) -> Vec<String> {
    let fields = list(&old.widened_by(new));
    let widens = fields.map(|fields| {
        format!("this write widens the waiver in {fields}: it can cover findings that it did not cover before")
    });
    let loses_approval = new.awaits_approval() && !old.awaits_approval();
    let lost = loses_approval.then(|| {
        "the waiver covers nothing until another caller approves it: the change does more than narrow it".to_owned()
    });
    widens.into_iter().chain(lost).collect()
}

/// Lists some of the fields; `None` if there are none.
fn list(fields: &[impl AsRef<str>]) -> Option<String> {
    let shown: Vec<&str> = fields.iter().take(MAX_FIELDS).map(AsRef::as_ref).collect();
    let more = fields.len().saturating_sub(shown.len());
    let rest = if more == 0 { String::new() } else { format!(" and {more} more") };
    (!shown.is_empty()).then(|| shown.join(", ") + &rest)
}
