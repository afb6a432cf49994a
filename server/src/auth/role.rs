//! Roles: the lists of permissions that the server ships.

use super::Permission;

/// A role that the server ships. A configuration file can define more, under other names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Reads policies, waivers, findings and decisions.
    Reader,
    /// Asks the gate, and reads and starts the scans of what it deploys.
    Deployer,
    /// A reader that writes policies, which only tighten.
    Author,
    /// A reader that proposes waivers.
    Proposer,
    /// A reader that approves the waivers of others.
    Approver,
    /// A reader that starts scans and configures scanning.
    Operator,
    /// Every permission, `policy.replace_default` among them.
    Admin,
}

impl Role {
    /// All roles.
    pub const ALL: [Self; 7] =
        [Self::Reader, Self::Deployer, Self::Author, Self::Proposer, Self::Approver, Self::Operator, Self::Admin];

    /// Returns the name in configuration files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Reader => "reader",
            Self::Deployer => "deployer",
            Self::Author => "author",
            Self::Proposer => "proposer",
            Self::Approver => "approver",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }

    /// Returns the role of a name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }

    /// Returns the permissions of the role.
    pub fn permissions(self) -> &'static [Permission] {
        use Permission::{
            DecisionRead, FindingsRead, GateEvaluate, PolicyRead, PolicyWrite, ScanStart, ScanningConfigure,
            WaiverApprove, WaiverPropose,
        };
        match self {
            Self::Reader => &[FindingsRead, PolicyRead, DecisionRead],
            Self::Deployer => &[GateEvaluate, FindingsRead, ScanStart],
            Self::Author => &[FindingsRead, PolicyRead, DecisionRead, PolicyWrite],
            Self::Proposer => &[FindingsRead, PolicyRead, DecisionRead, WaiverPropose],
            Self::Approver => &[FindingsRead, PolicyRead, DecisionRead, WaiverApprove],
            Self::Operator => &[FindingsRead, PolicyRead, DecisionRead, ScanStart, ScanningConfigure],
            Self::Admin => &Permission::ALL,
        }
    }
}
