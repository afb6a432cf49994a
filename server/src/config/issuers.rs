//! The issuers of a configuration file.

use std::path::Path;

use toml::Spanned;

use super::{
    file::{File, IssuerTable},
    invalid::Problems,
};
use crate::auth::token::{Issuer, Issuers, Keys};

/// The value of `keys` that stands for discovery.
const DISCOVER: &str = "discover";

/// Checks the issuers of a file in the folder.
pub(super) fn resolve(file: &File, folder: &Path, problems: &mut Problems<'_>) -> Issuers {
    let issuers = file.issuer.iter().map(|table| issuer(table.get_ref(), folder)).collect();
    Issuers::new(issuers).unwrap_or_else(|invalid| {
        // Of two issuers with one name, the second is in the way.
        let table = file.issuer.iter().rfind(|table| *table.get_ref().name.get_ref() == invalid.issuer);
        let at = table.map_or(0, |table| position(table, invalid.field));
        problems.add(at, &format!("issuer.{}", invalid.field), invalid.reason);
        Issuers::default()
    })
}

fn issuer(table: &IssuerTable, folder: &Path) -> Issuer {
    Issuer {
        name: table.name.get_ref().clone(),
        issuer: table.issuer.get_ref().clone(),
        audiences: table.audiences.get_ref().clone(),
        algorithms: table.algorithms.get_ref().clone(),
        keys: match table.keys.get_ref().as_str() {
            DISCOVER => Keys::Discover,
            url if url.contains("://") => Keys::Url(url.to_owned()),
            path => Keys::File(folder.join(path)),
        },
        ca: table.ca.as_ref().map(|path| folder.join(path.get_ref())),
    }
}

/// The first byte of a field.
fn position(table: &Spanned<IssuerTable>, field: &str) -> usize {
    let fields = table.get_ref();
    let span = match field {
        "name" => fields.name.span(),
        "issuer" => fields.issuer.span(),
        "audiences" => fields.audiences.span(),
        "algorithms" => fields.algorithms.span(),
        "keys" => fields.keys.span(),
        _ => table.span(),
    };
    span.start
}
