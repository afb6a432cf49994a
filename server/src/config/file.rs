//! The tables of a configuration file, as written. Its JSON Schema is `docs/config.schema.json`.

use std::{collections::BTreeMap, io, path::Path};

use scangate_core::glob::Glob;
use schemars::{JsonSchema, Schema, SchemaGenerator, generate::SchemaSettings, json_schema};
use serde::Deserialize;
use toml::Spanned;

use super::{Invalid, invalid::Problems};
use crate::{
    auth::{Permission, token::Algorithm},
    bounded_file,
};

/// The largest file.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// The configuration file of `scangate-server serve --config`, in TOML. All of it is read again while the server runs.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct File {
    /// Issuers of tokens (OIDC, JWT): `[[issuer]]`. At most 50.
    #[schemars(with = "Vec<IssuerTable>")]
    pub(super) issuer: Vec<Spanned<IssuerTable>>,
    /// Grants of roles to callers: `[[grant]]`. Grants add up; there are no denials. At most 1,000.
    #[schemars(with = "Vec<GrantTable>")]
    pub(super) grant: Vec<Spanned<GrantTable>>,
    /// Roles beside those that the server ships: `[role.NAME]`. A shipped name cannot be taken. At most 100.
    #[schemars(with = "BTreeMap<String, RoleTable>")]
    pub(super) role: BTreeMap<String, Spanned<RoleTable>>,
}

/// An issuer of tokens, and the tokens of it that count.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "issuer")]
pub(super) struct IssuerTable {
    /// The prefix of its callers' names: `github` makes `github:SUB`, where SUB is the token's claim `sub`. 1 to 40 lower-case
    /// letters, digits and `-`, unique, and none of `spiffe`, `dns`, `cn`, `uid` and `anonymous`.
    #[schemars(with = "String")]
    pub(super) name: Spanned<String>,
    /// The exact value of the tokens' claim `iss`, a URL.
    #[schemars(with = "String")]
    pub(super) issuer: Spanned<String>,
    /// 1 to 20 audiences. The claim `aud` of a token must contain one of them; name the gate here, so that tokens for other
    /// services are refused.
    #[schemars(with = "Vec<String>", length(min = 1, max = 20))]
    pub(super) audiences: Spanned<Vec<String>>,
    /// The signature algorithms that tokens may use, at least one.
    #[schemars(with = "Vec<Algorithm>", length(min = 1))]
    pub(super) algorithms: Spanned<Vec<Algorithm>>,
    /// The place of the public keys (JWKS): `discover` (from `/.well-known/openid-configuration` of the issuer), an `https` URL,
    /// or a file. A relative path starts at the folder of the configuration file.
    #[schemars(with = "String")]
    pub(super) keys: Spanned<String>,
    /// A PEM file of the certificate authorities to trust for fetching keys. Absent: those of the operating system.
    #[schemars(with = "Option<String>")]
    pub(super) ca: Option<Spanned<String>>,
}

/// A grant of a role to all callers whose name and claims match.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "grant")]
pub(super) struct GrantTable {
    /// A pattern of whole names, case-sensitive, of 1 to 512 bytes. `*` stays within one segment, which `/` and `:` end; `**` does
    /// not. A name begins with `spiffe:`, `dns:`, `cn:`, `uid:` or the name of an issuer and `:`.
    #[schemars(with = "String", length(min = 1, max = 512))]
    pub(super) who: Spanned<String>,
    /// Claims that the caller's token must have, with exactly these values. Use ids, not names: names change hands. A caller
    /// without a token has no claims. 1 to 20, or absent.
    #[schemars(with = "Option<BTreeMap<String, String>>")]
    pub(super) claims: Option<Spanned<BTreeMap<String, String>>>,
    /// A shipped role (reader, deployer, author, proposer, approver, operator or admin), or one of `[role.NAME]`.
    #[schemars(with = "String")]
    pub(super) role: Spanned<String>,
    /// Globs over repository names, in which `*` also stands for `/`. 1 to 100; absent: all repositories.
    #[schemars(with = "Option<Vec<String>>", length(min = 1, max = 100))]
    pub(super) repositories: Option<Spanned<Vec<Glob>>>,
    /// Globs over environments. 1 to 100; absent: all environments, and calls without one.
    #[schemars(with = "Option<Vec<String>>", length(min = 1, max = 100))]
    pub(super) environments: Option<Spanned<Vec<Glob>>>,
}

/// A role: a list of permissions.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "role")]
pub(super) struct RoleTable {
    /// The permissions, at least one.
    #[schemars(schema_with = "permissions")]
    pub(super) permissions: Spanned<Vec<Spanned<String>>>,
}

fn permissions(_: &mut SchemaGenerator) -> Schema {
    let names = Permission::ALL.map(Permission::name);
    json_schema!({ "type": "array", "minItems": 1, "items": { "type": "string", "enum": names } })
}

/// Returns the JSON Schema of the file, as `docs/config.schema.json` has it.
pub fn schema() -> Schema {
    SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<File>()
}

/// Reads the text of a file of at most 1 MiB.
pub(super) fn read(path: &Path) -> Result<String, Invalid> {
    let content = bounded_file::read(path, MAX_FILE_BYTES).map_err(|error| unreadable(path, &error))?;
    let content = content
        .ok_or_else(|| Invalid::file(path, format!("file is larger than {MAX_FILE_BYTES} bytes; make it smaller")))?;
    String::from_utf8(content).map_err(|_| unreadable(path, &io::ErrorKind::InvalidData.into()))
}

fn unreadable(path: &Path, error: &io::Error) -> Invalid {
    Invalid::file(path, format!("file cannot be read: {error}; check the path and its permissions"))
}

impl File {
    /// Parses the text of a file.
    pub(super) fn parse(path: &Path, text: &str) -> Result<Self, Invalid> {
        toml::from_str(text).or_else(|error| {
            let mut problems = Problems::new(path, text);
            problems.add(error.span().map_or(0, |span| span.start), "", error.message());
            problems.unless_any(Self::default())
        })
    }
}
