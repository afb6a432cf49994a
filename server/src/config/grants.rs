//! The roles and grants of a configuration file.

use std::collections::BTreeMap;

use scangate_core::glob::Glob;
use toml::Spanned;

use super::{
    file::{File, GrantTable},
    invalid::Problems,
};
use crate::auth::{ANONYMOUS, Grant, NamePattern, Permission, Role, Scope};

/// The most grants of a file.
const MAX_GRANTS: usize = 1000;
/// The most roles of a file.
const MAX_ROLES: usize = 100;
/// The most patterns of a list of a grant.
const MAX_PATTERNS: usize = 100;
/// The most claims of a grant.
const MAX_CLAIMS: usize = 20;
/// The sources of names beside issuers.
const SOURCES: [&str; 4] = ["spiffe", "dns", "cn", "uid"];

/// The permissions of each role, by name.
pub(super) type Roles = BTreeMap<String, Vec<Permission>>;

/// Returns the shipped roles.
pub(super) fn shipped_roles() -> Roles {
    Role::ALL.into_iter().map(|role| (role.name().to_owned(), role.permissions().to_vec())).collect()
}

/// Returns the shipped roles and those of a file.
pub(super) fn resolve_roles(file: &File, problems: &mut Problems<'_>) -> Roles {
    let mut roles = shipped_roles();
    for (index, (name, table)) in file.role.iter().enumerate() {
        let at = table.span().start;
        if index == MAX_ROLES {
            problems.add(at, "role", format!("there are at most {MAX_ROLES} roles; remove some"));
        }
        if Role::parse(name).is_some() {
            problems.add(at, "role", format!("{name} is a role of the server; define one under another name"));
            continue;
        }
        let list = &table.get_ref().permissions;
        if list.get_ref().is_empty() {
            problems.add(
                list.span().start,
                "role.permissions",
                "must not be empty; name permissions, or remove the role",
            );
        }
        let mut permissions = Vec::new();
        for permission in list.get_ref() {
            match Permission::parse(permission.get_ref()) {
                Some(permission) => permissions.push(permission),
                None => problems.add(
                    permission.span().start,
                    "role.permissions",
                    format!(
                        "unknown permission {:?}; use {}",
                        permission.get_ref(),
                        Permission::ALL.map(Permission::name).join(", ")
                    ),
                ),
            }
        }
        roles.insert(name.clone(), permissions);
    }
    roles
}

/// Returns the grants of a file, with the permissions of their roles.
pub(super) fn resolve_grants(file: &File, roles: &Roles, problems: &mut Problems<'_>) -> Vec<Grant> {
    if let Some(table) = file.grant.get(MAX_GRANTS) {
        problems.add(table.span().start, "grant", format!("there are at most {MAX_GRANTS} grants; remove some"));
    }
    let issuers: Vec<&str> = file.issuer.iter().map(|table| table.get_ref().name.get_ref().as_str()).collect();
    file.grant.iter().filter_map(|table| grant(table.get_ref(), &issuers, roles, problems)).collect()
}

/// Returns a grant, or `None` with a problem.
fn grant(table: &GrantTable, issuers: &[&str], roles: &Roles, problems: &mut Problems<'_>) -> Option<Grant> {
    let who = who(table, issuers, problems);
    let claims = table.claims.as_ref();
    if let Some(claims) = claims
        && !(1..=MAX_CLAIMS).contains(&claims.get_ref().len())
    {
        let reason = format!("must have 1 to {MAX_CLAIMS} claims; remove the field if no claim is required");
        problems.add(claims.span().start, "grant.claims", reason);
    }
    let permissions = roles.get(table.role.get_ref());
    if permissions.is_none() {
        problems.add(table.role.span().start, "grant.role", unknown_role(table.role.get_ref(), roles));
    }
    let repositories = globs(table.repositories.as_ref(), "grant.repositories", problems);
    let environments = globs(table.environments.as_ref(), "grant.environments", problems);
    Some(Grant {
        who: who?,
        claims: claims.map(|claims| claims.get_ref().clone()).unwrap_or_default(),
        permissions: permissions?.clone(),
        scope: Scope { repositories, environments },
    })
}

/// Returns the reason of an unknown role.
pub(super) fn unknown_role(name: &str, roles: &Roles) -> String {
    let known = roles.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
    format!("unknown role {name:?}; use one of {known}, or define it as [role.NAME]")
}

/// Parses a pattern of names, and refuses one that can never match.
fn who(table: &GrantTable, issuers: &[&str], problems: &mut Problems<'_>) -> Option<NamePattern> {
    let at = table.who.span().start;
    let mut refuse = |reason: String| {
        problems.add(at, "grant.who", reason);
        None
    };
    let pattern = match NamePattern::parse(table.who.get_ref()) {
        Ok(pattern) => pattern,
        Err(error) => return refuse(format!("{error}; use the pattern of a caller's name")),
    };
    if pattern.as_str() == ANONYMOUS {
        return refuse("callers without an identity have the role of --anonymous-role; remove the grant".to_owned());
    }
    let source = match pattern.prefix().split_once(':') {
        Some((source, _)) => source,
        None if !pattern.is_exact() => return Some(pattern),
        None => pattern.as_str(),
    };
    let has_colon = pattern.as_str().contains(':');
    if has_colon && (issuers.contains(&source) || (SOURCES.contains(&source) && table.claims.is_none())) {
        return Some(pattern);
    }
    let sources = if table.claims.is_none() { SOURCES.as_slice() } else { &[] };
    let known = issuers.iter().chain(sources).map(|source| format!("{source}:")).collect::<Vec<_>>().join(", ");
    if known.is_empty() {
        return refuse(
            "has claims, which only tokens have, and no issuer is configured; add an [[issuer]] table".to_owned(),
        );
    }
    refuse(format!("matches no name of this server; begin it with one of {known}, or with a `*`"))
}

fn globs(list: Option<&Spanned<Vec<Glob>>>, field: &str, problems: &mut Problems<'_>) -> Option<Vec<Glob>> {
    let list = list?;
    if !(1..=MAX_PATTERNS).contains(&list.get_ref().len()) {
        let reason = format!("must have 1 to {MAX_PATTERNS} globs; remove the field to cover all");
        problems.add(list.span().start, field, reason);
    }
    Some(list.get_ref().clone())
}
