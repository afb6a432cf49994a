//! The security of a server: its issuers and grants, and the rules under which it may start.

use std::{path::Path, thread, time::Duration};

use super::{
    Config, Invalid,
    file::{self, File},
    grants::{Roles, resolve_grants, resolve_roles, shipped_roles, unknown_role},
    invalid::Problems,
    issuers,
};
use crate::{
    auth::{Grant, Permission, Role, token::Issuers},
    listen::Listen,
};

/// The flag that names the role of callers without an identity.
const ANONYMOUS_ROLE: &str = "--anonymous-role";

/// The refusal of an anonymous role that can write waivers which need an approval.
const ANONYMOUS_PROPOSER: &str = "must not have waiver.propose while waivers need an approval: a caller could propose without its \
                                  name and approve with it; use another role, or set --waiver-needs-approver=false";

/// The time for which a changed file must stay the same before it counts. The start of a file that is being written can be valid,
/// and a grant in it wider than meant: its last lines narrow it.
const SETTLE_TIME: Duration = Duration::from_secs(1);

/// The security of a server, as flags and file demand it together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Security {
    /// The grants, that of anonymous callers among them.
    pub grants: Vec<Grant>,
    /// The issuers of tokens.
    pub issuers: Issuers,
    /// The role of callers without an identity; `None`: they are refused.
    pub anonymous_role: Option<String>,
    /// True if a waiver covers nothing until another caller approves it.
    pub waiver_needs_approver: bool,
    /// True if a source of identities exists: client certificates, tokens or a Unix socket.
    has_identities: bool,
    /// The text of the file; empty without one.
    text: String,
}

impl Security {
    /// Reads the file of a configuration, and checks that a server may listen on this address.
    pub fn load(config: &Config, listen: &Listen) -> Result<Self, Invalid> {
        let text = config.config.as_deref().map(file::read).transpose()?.unwrap_or_default();
        Self::resolve(config, listen, text)
    }

    /// Reads the file again. Returns `None` if its contents are the same. Blocks for a second if they are not.
    ///
    /// An error changes nothing. It is one to add the first source of identities, or to remove the last: the role of anonymous
    /// callers and the approval of waivers follow from that at start, and an emptied file must not open the server.
    pub fn reload(&self, config: &Config, listen: &Listen) -> Result<Option<Self>, Invalid> {
        let Some(path) = config.config.as_deref() else { return Ok(None) };
        let text = file::read(path)?;
        if text == self.text {
            return Ok(None);
        }
        thread::sleep(SETTLE_TIME);
        if file::read(path)? != text {
            return Err(Invalid::file(path, "changes while it is read; replace it by renaming a complete file"));
        }
        let new = Self::resolve(config, listen, text)?;
        if new.has_identities != self.has_identities {
            return Err(Invalid::file(path, "adds the first issuer or removes the last; restart the server for that"));
        }
        if self.has_named_grants() && !new.has_named_grants() {
            return Err(Invalid::file(path, "removes all grants; restart the server for that"));
        }
        Ok(Some(new))
    }

    /// True if there are grants beside that of anonymous callers.
    fn has_named_grants(&self) -> bool {
        self.grants.len() > usize::from(self.anonymous_role.is_some())
    }

    /// The conditions of which an operator should know, each a sentence.
    pub fn warnings(&self) -> Vec<&'static str> {
        let mut warnings = Vec::new();
        if !self.has_identities && self.anonymous_role.as_deref() == Some(Role::Admin.name()) {
            warnings.push("no source of identities is configured: every caller is anonymous with the role admin");
        }
        if self.grants.is_empty() {
            warnings
                .push("no grant is configured: every call is refused; add [[grant]] tables to the file of --config");
        }
        warnings
    }

    fn resolve(config: &Config, listen: &Listen, text: String) -> Result<Self, Invalid> {
        let (issuers, mut grants, roles) = match config.config.as_deref() {
            Some(path) => resolve_file(path, &text)?,
            None => (Issuers::default(), Vec::new(), shipped_roles()),
        };
        let is_unix = matches!(listen, Listen::Unix(_));
        let has_identities = config.tls_client_ca.is_some() || !issuers.is_empty() || is_unix;
        check_start(config, listen, has_identities)?;
        let waiver_needs_approver = config.waiver_needs_approver.unwrap_or(has_identities);
        let anonymous_role = config.anonymous_role.clone().or_else(|| {
            // The start rules admit this on loopback only.
            (!has_identities).then(|| Role::Admin.name().to_owned())
        });
        if let Some(name) = &anonymous_role {
            let permissions =
                roles.get(name).ok_or_else(|| Invalid::flag(ANONYMOUS_ROLE, unknown_role(name, &roles)))?;
            if waiver_needs_approver && permissions.contains(&Permission::WaiverPropose) {
                return Err(Invalid::flag(ANONYMOUS_ROLE, ANONYMOUS_PROPOSER));
            }
            grants.push(Grant::to_anonymous(permissions));
        }
        Ok(Self { grants, issuers, anonymous_role, waiver_needs_approver, has_identities, text })
    }
}

fn resolve_file(path: &Path, text: &str) -> Result<(Issuers, Vec<Grant>, Roles), Invalid> {
    let file = File::parse(path, text)?;
    let mut problems = Problems::new(path, text);
    let issuers = issuers::resolve(&file, path.parent().unwrap_or(Path::new("")), &mut problems);
    let roles = resolve_roles(&file, &mut problems);
    let grants = resolve_grants(&file, &roles, &mut problems);
    problems.unless_any((issuers, grants, roles))
}

/// Refuses a server that would be open to the network.
fn check_start(config: &Config, listen: &Listen, has_identities: bool) -> Result<(), Invalid> {
    let has_tls = config.tls_cert.is_some();
    if has_tls && matches!(listen, Listen::Unix(_)) {
        return Err(Invalid::flag("--tls-cert", "a Unix socket has no TLS; remove the flag, or listen on IP:PORT"));
    }
    if !listen.is_local() && !has_tls && !config.insecure_plaintext {
        let reason = "beyond loopback the server needs --tls-cert and --tls-key, or --insecure-plaintext behind a proxy that ends TLS";
        return Err(Invalid::flag("--listen", reason));
    }
    if !listen.is_local() && !has_identities && config.anonymous_role.is_none() {
        let reason = "beyond loopback the server needs a source of identities (--tls-client-ca, or [[issuer]] tables in the file of \
                      --config), or --anonymous-role";
        return Err(Invalid::flag("--listen", reason));
    }
    if config.waiver_needs_approver == Some(true) && !has_identities {
        let reason = "waivers cannot be approved without callers with an identity; add --tls-client-ca or [[issuer]] tables, or \
                      remove the flag";
        return Err(Invalid::flag("--waiver-needs-approver", reason));
    }
    Ok(())
}
