//! The several spellings of one package name.
//!
//! Rules match generously: a pattern matches under every spelling that may mean the same package. Waivers match exactly: a
//! pattern matches under another spelling only if it certainly means the same package.

use crate::{
    finding::Package,
    glob::{Glob, matches_symbols},
};

/// The index from which a package comes, as far as its manager shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Index {
    Pypi,
    Maven,
    Other,
    /// The scan reports no manager, or an unrecognised one.
    Unknown,
}

/// The package managers of Inspector whose packages are in PyPI. `PYTHON` is a spelling of other scanners.
const PYPI: [&str; 5] = ["PYTHONPKG", "PIP", "PIPENV", "POETRY", "PYTHON"];
/// The package managers of Inspector whose packages are in Maven repositories.
const MAVEN: [&str; 2] = ["JAR", "POM"];
/// The other package managers of Inspector.
const OTHERS: [&str; 12] = [
    "OS",
    "NODEPKG",
    "NPM",
    "YARN",
    "GOBINARY",
    "GOMOD",
    "BUNDLER",
    "GEMSPEC",
    "CARGO",
    "COMPOSER",
    "NUGET",
    "DOTNET_CORE",
];

impl Index {
    fn of(manager: Option<&str>) -> Self {
        let Some(manager) = manager else { return Self::Unknown };
        let is_listed = |managers: &[&str]| managers.iter().any(|known| known.eq_ignore_ascii_case(manager));
        if is_listed(&OTHERS) {
            Self::Other
        } else if is_listed(&PYPI) {
            Self::Pypi
        } else if is_listed(&MAVEN) {
            Self::Maven
        } else {
            Self::Unknown
        }
    }
}

/// A package name with the spellings under which rules find it.
#[derive(Clone, Copy, Debug)]
struct Spellings<'a> {
    name: &'a str,
    /// The artifact of `group:artifact`, if the name may be Maven's.
    artifact: Option<&'a str>,
    may_be_pypi: bool,
}

impl<'a> Spellings<'a> {
    fn of(package: &'a Package) -> Self {
        let index = Index::of(package.manager.as_deref());
        let artifact = match index {
            Index::Maven | Index::Unknown => package.name.rsplit_once(':').map(|(_, artifact)| artifact),
            Index::Pypi | Index::Other => None,
        };
        Self { name: &package.name, artifact, may_be_pypi: matches!(index, Index::Pypi | Index::Unknown) }
    }

    fn match_glob(self, glob: &Glob) -> bool {
        let has_group = || glob.as_str().contains(':');
        glob.matches_ignoring_case(self.name)
            || self.artifact.is_some_and(|artifact| !has_group() && glob.matches_ignoring_case(artifact))
            || (self.may_be_pypi && matches_symbols(pypi_normal_form(glob.as_str()), pypi_normal_form(self.name)))
    }
}

/// True if a glob of a rule matches the package under one of its spellings.
///
/// Names compare without regard to case. `-`, `_` and `.`, and runs of them, are alike in names that may be PyPI's. A glob
/// without a group matches the artifact of every Maven group.
///
/// ```
/// use scangate_core::{finding::Package, glob::Glob, package_name};
///
/// let package = Package {
///     name: "org.apache.logging.log4j:log4j-core".into(), manager: Some("JAR".into()), ..Package::default()
/// };
///
/// assert!(package_name::any_may_match(&[Glob::parse("log4j-core")?], &package));
/// assert!(!package_name::matches(&Glob::parse("log4j-core")?, &package));
/// # Ok::<(), scangate_core::glob::Error>(())
/// ```
pub fn any_may_match(globs: &[Glob], package: &Package) -> bool {
    // Most packages match as written.
    globs.iter().any(|glob| glob.matches_ignoring_case(&package.name)) || {
        let spellings = Spellings::of(package);
        globs.iter().any(|glob| spellings.match_glob(glob))
    }
}

/// True if a glob of a waiver matches the package. Only PyPI makes two spellings equal: it ignores case, and `-`, `_` and
/// `.`, and runs of them, are alike.
pub fn matches(glob: &Glob, package: &Package) -> bool {
    glob.matches(&package.name)
        || (Index::of(package.manager.as_deref()) == Index::Pypi
            && matches_symbols(pypi_normal_form(glob.as_str()), pypi_normal_form(&package.name)))
}

/// True if every package that one glob of a waiver matches is also matched by the other, [`wide`](fn@matches).
pub fn covers(wide: &Glob, narrow: &Glob) -> bool {
    wide.covers(narrow) && covers_in_pypi(wide, narrow)
}

/// True if every package that one glob of a rule matches is also matched by the other, [`wide`](any_may_match).
pub fn may_cover(wide: &Glob, narrow: &Glob) -> bool {
    // A pattern with a colon never covers one without, so the artifacts of Maven need no comparison of their own.
    wide.covers_ignoring_case(narrow) && covers_in_pypi(wide, narrow)
}

/// True if the normal form of one pattern covers the other's: a normal form can match a name that the pattern itself does not.
fn covers_in_pypi(wide: &Glob, narrow: &Glob) -> bool {
    matches_symbols(pypi_normal_form(wide.as_str()), pypi_normal_form(narrow.as_str()))
}

/// The normal form of a name in PyPI: lower case, with one `-` for every run of `-`, `_` and `.`.
fn pypi_normal_form(name: &str) -> impl Iterator<Item = u8> + Clone + '_ {
    let mut after_separator = false;
    name.bytes().filter_map(move |b| {
        let is_separator = matches!(b, b'-' | b'_' | b'.');
        let is_repeated = is_separator && std::mem::replace(&mut after_separator, is_separator);
        after_separator = is_separator;
        match b {
            _ if is_repeated => None,
            _ if is_separator => Some(b'-'),
            _ => Some(b.to_ascii_lowercase()),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, manager: Option<&str>) -> Package {
        Package { name: name.into(), manager: manager.map(Into::into), ..Package::default() }
    }

    #[test]
    fn rules_match_generously_and_waivers_exactly() {
        let cases = [
            // Pattern, name, manager, matches in rules, matches in waivers.
            ("pyyaml", "PyYAML", Some("PYTHONPKG"), true, true),
            ("zope.interface", "zope_-interface", Some("pip"), true, true),
            ("zope-*", "zope.interface", Some("POETRY"), true, true),
            ("pyyaml", "PyYAML", None, true, false),
            ("lodash-merge", "lodash.merge", Some("NPM"), false, false),
            ("lodash.merge", "LODASH.merge", Some("NPM"), true, false),
            ("a-b", "a.b", Some("NEW"), true, false),
            ("log4j-core", "org.apache.logging.log4j:log4j-core", Some("JAR"), true, false),
            ("log4j*", "org.apache.logging.log4j:log4j-core", Some("pom"), true, false),
            ("other:log4j-core", "org.apache.logging.log4j:log4j-core", Some("JAR"), false, false),
            ("log4j", "org.apache.logging.log4j:log4j-core", Some("JAR"), false, false),
            ("amd64", "libc6:amd64", Some("OS"), false, false),
            ("openssl", "openssl", Some("OS"), true, true),
            (".*.", "..", Some("PIP"), true, true),
        ];

        for (pattern, name, manager, in_rules, in_waivers) in cases {
            let (glob, package) = (Glob::parse(pattern).unwrap(), package(name, manager));
            let matched = (any_may_match(std::slice::from_ref(&glob), &package), matches(&glob, &package));
            assert_eq!(matched, (in_rules, in_waivers), "{pattern} over {name} of {manager:?}");
        }
    }
}
