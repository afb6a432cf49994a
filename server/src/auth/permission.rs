//! The permissions, and the one that each method requires. This is the only place that assigns them.

use scangate_proto::requests::Method;

/// A permission, which a role contains and a grant gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Permission {
    /// Evaluate and simulate the gate.
    GateEvaluate,
    /// Read findings and the progress of scans.
    FindingsRead,
    /// Start scans.
    ScanStart,
    /// Configure scanning.
    ScanningConfigure,
    /// Read policies and waivers.
    PolicyRead,
    /// Write policies.
    PolicyWrite,
    /// Write policies that take the place of `policies/default`; beside [`Permission::PolicyWrite`].
    PolicyReplaceDefault,
    /// Create, change, import and revoke waivers.
    WaiverPropose,
    /// Approve waivers of other callers.
    WaiverApprove,
    /// Read, replay and watch decisions, and preview policies over them.
    DecisionRead,
}

impl Permission {
    /// All permissions.
    pub const ALL: [Self; 10] = [
        Self::GateEvaluate,
        Self::FindingsRead,
        Self::ScanStart,
        Self::ScanningConfigure,
        Self::PolicyRead,
        Self::PolicyWrite,
        Self::PolicyReplaceDefault,
        Self::WaiverPropose,
        Self::WaiverApprove,
        Self::DecisionRead,
    ];

    /// Returns the permission of a name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|permission| permission.name() == name)
    }

    /// Returns the name in configuration files and errors, e.g. `gate.evaluate`.
    pub fn name(self) -> &'static str {
        match self {
            Self::GateEvaluate => "gate.evaluate",
            Self::FindingsRead => "findings.read",
            Self::ScanStart => "scan.start",
            Self::ScanningConfigure => "scanning.configure",
            Self::PolicyRead => "policy.read",
            Self::PolicyWrite => "policy.write",
            Self::PolicyReplaceDefault => "policy.replace_default",
            Self::WaiverPropose => "waiver.propose",
            Self::WaiverApprove => "waiver.approve",
            Self::DecisionRead => "decision.read",
        }
    }
}

/// Returns the permission that a method requires. A method without a row does not compile.
pub fn required(method: Method) -> Permission {
    match method {
        Method::EvaluateGate | Method::SimulateGate | Method::BatchEvaluateGate => Permission::GateEvaluate,
        Method::GetFindings | Method::WatchScan => Permission::FindingsRead,
        Method::StartScan => Permission::ScanStart,
        Method::ConfigureScanning => Permission::ScanningConfigure,
        Method::GetPolicy
        | Method::ListPolicies
        | Method::ListPolicyRevisions
        | Method::WatchPolicies
        | Method::GetWaiver
        | Method::ListWaivers => Permission::PolicyRead,
        Method::CreatePolicy | Method::UpdatePolicy | Method::DeletePolicy | Method::RollbackPolicy => {
            Permission::PolicyWrite
        }
        Method::CreateWaiver | Method::UpdateWaiver | Method::RevokeWaiver | Method::ImportWaivers => {
            Permission::WaiverPropose
        }
        Method::ApproveWaiver => Permission::WaiverApprove,
        Method::GetDecision
        | Method::ListDecisions
        | Method::ReplayDecision
        | Method::WatchDecisions
        | Method::PreviewPolicy => Permission::DecisionRead,
    }
}
