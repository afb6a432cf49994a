//! `serve --check`: reads everything that a server reads at start, and prints the effective configuration.

use std::{error::Error, fmt::Write as _};

use clap::{Arg, ArgMatches, Command, parser::ValueSource};

use super::{Config, Invalid, Security};
use crate::{
    auth::{
        Grant, Permission,
        token::{Algorithm, Issuer, Keys, check_files},
    },
    listen::Tls,
};

/// Flags that name files which are read again while the server runs.
const READ_AGAIN: [&str; 5] = ["config", "tls_cert", "tls_key", "tls_client_ca", "tls_crl"];

/// Checks a configuration with its files, and returns it as text; `command` and `matches` are those of `serve`.
pub fn check(config: &Config, command: &Command, matches: &ArgMatches) -> Result<String, Invalid> {
    let security = Security::load(config, &config.listen)?;
    if let Some(files) = config.tls() {
        Tls::load(files).map_err(|error| Invalid::flag("--tls-cert", chain(&error)))?;
    }
    if let Some(path) = &config.config {
        check_files(&security.issuers).map_err(|problem| Invalid::file(path, problem))?;
    }
    let mut out = String::new();
    for argument in command.get_arguments().filter(|argument| !["check", "help"].contains(&argument.get_id().as_str()))
    {
        line(&mut out, argument, matches);
    }
    describe(&mut out, &security);
    Ok(out)
}

/// Adds a flag with its value, the source of the value, and the time from which a change applies.
fn line(out: &mut String, argument: &Arg, matches: &ArgMatches) {
    let (id, Some(flag)) = (argument.get_id().as_str(), argument.get_long()) else { return };
    let Ok(Some(values)) = matches.try_get_raw(id) else {
        writeln!(out, "--{flag} is not set (restart)").ok();
        return;
    };
    let values: Vec<_> = values.map(|value| value.to_string_lossy()).collect();
    let (value, source) = match matches.value_source(id) {
        Some(ValueSource::DefaultValue) => (values.join(","), "default"),
        _ if argument.is_hide_env_values_set() => ("***".to_owned(), "set"),
        Some(ValueSource::EnvVariable) => (values.join(","), "variable"),
        Some(_) | None => (values.join(","), "flag"),
    };
    let change = if READ_AGAIN.contains(&id) { "restart, its contents: reload" } else { "restart" };
    writeln!(out, "--{flag} {value} ({source}; {change})").ok();
}

fn describe(out: &mut String, security: &Security) {
    for issuer in security.issuers.iter() {
        writeln!(out, "issuer {} (reload)", describe_issuer(issuer)).ok();
    }
    for grant in &security.grants {
        writeln!(out, "grant {} (reload)", describe_grant(grant)).ok();
    }
    let anonymous = security.anonymous_role.as_deref().map_or_else(
        || "callers without an identity are refused".to_owned(),
        |role| format!("callers without an identity have the role {role}"),
    );
    let approval = if security.waiver_needs_approver { "need" } else { "do not need" };
    writeln!(out, "{anonymous} (restart)\nwaivers {approval} the approval of another caller (restart)").ok();
    for warning in security.warnings() {
        writeln!(out, "warning: {warning}").ok();
    }
}

fn describe_issuer(issuer: &Issuer) -> String {
    let keys = match &issuer.keys {
        Keys::Discover => "by discovery".to_owned(),
        Keys::Url(url) => format!("from {url}"),
        Keys::File(path) => format!("from {}", path.display()),
    };
    let ca = issuer.ca.as_ref().map_or_else(String::new, |path| format!(", trusting {}", path.display()));
    let algorithms: Vec<_> = issuer.algorithms.iter().copied().map(Algorithm::name).collect();
    format!(
        "{}: {}, audiences {}, algorithms {}, keys {keys}{ca}",
        issuer.name,
        issuer.issuer,
        issuer.audiences.join(" "),
        algorithms.join(" ")
    )
}

fn describe_grant(grant: &Grant) -> String {
    let permissions: Vec<_> = grant.permissions.iter().copied().map(Permission::name).collect();
    let claims: Vec<_> = grant.claims.iter().map(|(claim, value)| format!(" with {claim}={value:?}")).collect();
    format!("{}{}: {} for {}", grant.who, claims.concat(), permissions.join(" "), grant.scope)
}

/// The error and its causes, in one line.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        write!(text, ": {cause}").ok();
        source = cause.source();
    }
    text
}
