//! The names under which findings were seen, for comparison with the patterns of rules.

use std::collections::HashSet;

use scangate_core::{finding::Package, glob::Glob, package_name};

/// The distinct names of the findings seen so far.
#[derive(Clone, Debug, Default)]
pub struct SeenNames {
    vulnerabilities: Names,
    packages: Names,
}

/// Distinct names, or too many to compare.
#[derive(Clone, Debug, Default)]
struct Names {
    as_written: Vec<String>,
    /// The names in lower case: most patterns are whole names.
    folded: HashSet<String>,
    /// False if there are more names, so that any pattern may have matched.
    is_complete: bool,
}

impl SeenNames {
    /// Creates the names from vulnerability ids, related ids among them, and package names. A list of `limit` names or more is
    /// taken as incomplete.
    pub fn new(vulnerabilities: Vec<String>, packages: Vec<String>, limit: usize) -> Self {
        Self { vulnerabilities: Names::new(vulnerabilities, limit), packages: Names::new(packages, limit) }
    }

    /// True if no vulnerability that matches a rule's pattern was seen.
    pub fn lacks_vulnerability(&self, glob: &Glob) -> bool {
        self.vulnerabilities.lacks(glob, |name| glob.matches_ignoring_case(name))
    }

    /// True if no package that matches a rule's pattern was seen.
    pub fn lacks_package(&self, glob: &Glob) -> bool {
        let globs = std::slice::from_ref(glob);
        // The manager is not recorded, so every spelling counts.
        let matches = |name: &String| {
            package_name::any_may_match(globs, &Package { name: name.as_str().into(), ..Package::default() })
        };
        self.packages.lacks(glob, matches)
    }
}

impl Names {
    fn new(names: Vec<String>, limit: usize) -> Self {
        let folded = names.iter().map(|name| name.to_ascii_lowercase()).collect();
        Self { folded, is_complete: names.len() < limit, as_written: names }
    }

    fn lacks(&self, glob: &Glob, matches: impl Fn(&String) -> bool) -> bool {
        self.is_complete
            && !glob.exact().is_some_and(|name| self.folded.contains(&name.to_ascii_lowercase()))
            && !self.as_written.iter().any(matches)
    }
}
