//! The documentation of the configuration matches the program. `SCANGATE_UPDATE_DOCS=1` renews the generated parts.

use std::{
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
};

use scangate_proto::requests::Method;
use scangate_server::auth::{Permission, Role, required};

use crate::{check::check, reference};

/// A key set, for examples with a key file.
const KEYS: &str = r#"{"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "1", "use": "sig",
    "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

fn document(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join(path)
}

/// Compares a file with its generated form, or renews it.
fn compare(path: &str, generated: &str) {
    let path = document(path);
    if env::var_os("SCANGATE_UPDATE_DOCS").is_some() {
        fs::write(&path, generated).unwrap();
    }
    let is_current = fs::read_to_string(&path).unwrap() == generated;
    assert!(is_current, "{} is out of date; run the test with SCANGATE_UPDATE_DOCS=1", path.display());
}

/// Replaces the part of a page that a comment marks as generated.
fn with_part(page: &str, name: &str, part: &str) -> String {
    let (begin, end) = (format!("<!-- generated: {name} -->\n"), "<!-- end of the generated part -->");
    let (before, rest) = page.split_once(&begin).unwrap();
    let (_, after) = rest.split_once(end).unwrap();
    format!("{before}{begin}\n{}\n\n{end}{after}", part.trim_end())
}

#[test]
fn schema_is_that_of_the_program() {
    compare("docs/config.schema.json", &reference::schema());
}

#[test]
fn page_lists_every_flag_and_table() {
    let page = fs::read_to_string(document("docs/configuration.md")).unwrap();

    let generated = with_part(&page, "flags", &reference::flags());
    let generated = with_part(&generated, "tables", &reference::tables());

    compare("docs/configuration.md", &generated);
}

/// The rows of the table of a page that begins with these headings: the cells of each row, without code marks.
fn rows(page: &str, headings: &str) -> Vec<Vec<String>> {
    let start = page.find(headings).unwrap_or_else(|| panic!("no table {headings}"));
    let lines = page[start..].lines().skip(2).take_while(|line| line.starts_with('|'));
    let cells = |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().replace('`', "")).collect();
    lines.map(cells).collect()
}

#[test]
fn page_has_permission_of_every_method() {
    let page = fs::read_to_string(document("docs/permissions.md")).unwrap();

    let documented: Vec<(String, String)> = rows(&page, "| method | permission | scope check |")
        .iter()
        .flat_map(|row| row[0].split(", ").map(|method| (method.to_owned(), row[1].clone())).collect::<Vec<_>>())
        .collect();

    let expected: BTreeSet<_> =
        Method::ALL.iter().map(|method| (format!("{method:?}"), required(*method).name().to_owned())).collect();
    assert_eq!(documented.len(), expected.len(), "a method has several rows");
    assert_eq!(documented.into_iter().collect::<BTreeSet<_>>(), expected);
}

#[test]
fn page_has_permissions_of_every_role() {
    let page = fs::read_to_string(document("docs/permissions.md")).unwrap();

    let documented: Vec<(String, String)> =
        rows(&page, "| role | permissions | for |").into_iter().map(|row| (row[0].clone(), row[1].clone())).collect();

    let names = |role: Role| role.permissions().iter().copied().map(Permission::name).collect::<Vec<_>>().join(", ");
    let expected: Vec<_> = Role::ALL
        .into_iter()
        .map(|role| (role.name().to_owned(), if role == Role::Admin { "all".to_owned() } else { names(role) }))
        .collect();
    assert_eq!(documented, expected);
}

/// The blocks of a page in a language.
fn blocks<'a>(page: &'a str, language: &str) -> Vec<&'a str> {
    let fence = format!("\n```{language}\n");
    page.split(fence.as_str()).skip(1).map(|rest| rest.split_once("\n```").unwrap().0).collect()
}

#[test]
fn examples_of_pages_pass_check() {
    let pages = ["README.md", "docs/configuration.md", "docs/permissions.md"];
    let mut checked = 0;
    for page in pages {
        let text = fs::read_to_string(document(page)).unwrap();
        for example in blocks(&text, "toml").into_iter().filter(|example| !example.starts_with("[dependencies]")) {
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join("gate.toml"), example).unwrap();
            fs::write(folder.path().join("cluster-keys.json"), KEYS).unwrap();

            let output = check(folder.path(), &["--config", "gate.toml"]);

            assert!(output.status.success(), "{page}: {example}\n{}", String::from_utf8_lossy(&output.stderr));
            checked += 1;
        }
    }
    assert!(checked >= 8, "only {checked} examples");
}
