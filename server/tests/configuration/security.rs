//! The security that flags and file demand: errors with their places, the rules of start, reload.

use scangate_server::{
    auth::{Access, Identity, Permission, Principal, Source},
    config::Security,
    listen::Listen,
};

use crate::{TestFile, config, load, loopback};

const ISSUER: &str = r#"
[[issuer]]
name = "github"
issuer = "https://token.actions.githubusercontent.com"
audiences = ["https://gate.example.com"]
algorithms = ["RS256"]
keys = "discover"
"#;
const GRANT: &str = r#"
[[grant]]
who = "github:**"
claims = { repository_owner_id = "9919" }
role = "deployer"
repositories = ["shop/*"]
environments = ["prod"]
"#;

/// The problems of a file, without its path.
fn problems(text: &str) -> Vec<String> {
    let invalid = load(text).unwrap_err();
    invalid
        .problems()
        .iter()
        .map(|problem| problem.to_string().split_once("gate.toml:").unwrap().1.to_owned())
        .collect()
}

#[test]
fn grant_has_permissions_of_its_role() {
    let custom = "[role.checker]\npermissions = [\"gate.evaluate\"]\n[[grant]]\nwho = \"dns:*\"\nrole = \"checker\"";

    let security = load(&format!("{ISSUER}{GRANT}{custom}")).unwrap();

    let [deployer, checker] = &security.grants[..] else { panic!("{security:?}") };
    assert_eq!(deployer.permissions, [Permission::GateEvaluate, Permission::FindingsRead, Permission::ScanStart]);
    assert_eq!(deployer.claims["repository_owner_id"], "9919");
    assert_eq!(deployer.scope.to_string(), "repositories shop/* in environments prod");
    assert_eq!(checker.permissions, [Permission::GateEvaluate]);
    assert!(checker.scope.is_unnarrowed());
    assert_eq!((security.anonymous_role, security.waiver_needs_approver), (None, true));
}

#[test]
fn all_problems_are_reported_with_their_lines() {
    let text = r#"[[grant]]
who = "githup:**"
role = "deployr"
repositories = []
[[grant]]
who = "dns:ci"
claims = { sub = "x" }
role = "admin"
environments = []
[role.admin]
permissions = ["gate.evaluate"]
[role.empty]
permissions = []
[role.typo]
permissions = ["gate.evaluate", "gate.check"]
"#;

    let problems = problems(text);

    let places: Vec<&str> = problems.iter().map(|problem| problem.rsplit_once(": ").unwrap().0).collect();
    let expected = [
        "10: role",
        "13: role.permissions",
        "15: role.permissions",
        "2: grant.who",
        "3: grant.role",
        "4: grant.repositories",
        "6: grant.who",
        "9: grant.environments",
    ];
    assert_eq!(places, expected, "{problems:#?}");
}

#[test]
fn unknown_role_lists_the_known() {
    let problems =
        problems("[[grant]]\nwho = \"dns:ci\"\nrole = \"deployr\"\n[role.mine]\npermissions = [\"scan.start\"]");

    let known =
        "unknown role \"deployr\"; use one of admin, approver, author, deployer, mine, operator, proposer, reader";
    assert!(problems[0].contains(known), "{problems:?}");
}

#[test]
fn unknown_or_missing_field_is_refused_with_its_line() {
    let cases = [
        ("[[grant]]\nwho = \"dns:ci\"\nrole = \"admin\"\nrepository = [\"a\"]", "4: unknown field `repository`"),
        ("[[registry]]\nid = \"x\"", "1: unknown field `registry`"),
        ("listen = \"0.0.0.0:1\"", "1: unknown field `listen`"),
        ("[[grant]]\nrole = \"admin\"", "1: missing field `who`"),
        ("[[grant]]\nwho = \"dns:ci\"\nrole = \"admin\"\nrole = \"reader\"", "4: duplicate key"),
        ("[[grant]]\nwho = \"dns:ci\"\nrole = \"admin\"\nrepositories = [\"\"]", "4: must be 1 to 256 bytes long"),
        ("[[grant]", "1: "),
    ];

    for (text, expected) in cases {
        let problems = problems(text);
        assert!(problems[0].starts_with(expected), "{text}: {problems:?}");
    }
}

#[test]
fn invalid_issuer_is_refused_with_its_line() {
    let cases = [
        ("audiences = [\"https://gate.example.com\"]", "", "2: missing field `audiences`"),
        ("[\"https://gate.example.com\"]", "[]", "5: issuer.audiences: name 1 to 20 audiences"),
        ("[\"RS256\"]", "[\"HS256\"]", "6: unknown variant `HS256`"),
        ("[\"RS256\"]", "[]", "6: issuer.algorithms: name at least one"),
        ("\"github\"", "\"dns\"", "3: issuer.name: reserved"),
        ("\"github\"", "\"GitHub\"", "3: issuer.name: use 1 to 40"),
        ("\"discover\"", "\"http://keys.example.com\"", "7: issuer.keys: use `discover`"),
        ("https://token.", "http://token.", "4: issuer.issuer: use the https URL"),
    ];

    for (from, to, expected) in cases {
        let problems = problems(&ISSUER.replace(from, to));
        assert!(problems[0].starts_with(expected), "{to}: {problems:?}");
    }
    assert!(problems(&format!("{ISSUER}{ISSUER}"))[0].starts_with("10: issuer.name: two issuers have this name"));
}

#[test]
fn grant_that_matches_no_name_is_refused() {
    for who in ["anonymous", "ci", "github", "gitlab:**", "DNS:ci", "dns", ""] {
        let problems = problems(&format!("{ISSUER}[[grant]]\nwho = \"{who}\"\nrole = \"reader\""));
        assert!(problems[0].starts_with("9: grant.who: "), "{who}: {problems:?}");
    }
    for who in ["**", "git*:**", "github:x", "uid:1000", "cn:Ann Example", "spiffe://example.org/*"] {
        assert!(load(&format!("{ISSUER}[[grant]]\nwho = \"{who}\"\nrole = \"reader\"")).is_ok(), "{who}");
    }
}

/// The reason for which a server on this address does not start; `None` if it starts.
fn refusal(listen: &str, flags: &[&[&str]]) -> Option<String> {
    Security::load(&config(&flags.concat()), &listen.parse().unwrap()).err().map(|error| error.to_string())
}

#[test]
fn start_depends_on_address_and_sources() {
    let (tls, ca) = (&["--tls-cert", "c.pem", "--tls-key", "k.pem"][..], &["--tls-client-ca", "ca.pem"][..]);
    let (plaintext, role) = (&["--insecure-plaintext"][..], &["--anonymous-role", "reader"][..]);
    let (beyond, unix) = ("0.0.0.0:50051", "unix:/run/scangate.sock");

    assert_eq!(refusal("127.0.0.1:50051", &[]), None);
    assert_eq!(refusal("[::1]:50051", &[]), None);
    assert_eq!(refusal(unix, &[]), None);
    assert_eq!(refusal(beyond, &[tls, ca]), None);
    assert_eq!(refusal(beyond, &[tls, role]), None);
    assert_eq!(refusal(beyond, &[plaintext, role]), None);
    let refused = |listen: &str, flags: &[&[&str]], expected: &str| {
        let reason = refusal(listen, flags).unwrap();
        assert!(reason.starts_with(expected), "{listen} with {flags:?}: {reason}");
    };
    refused(unix, &[tls], "--tls-cert: a Unix socket has no TLS");
    refused(beyond, &[], "--listen: beyond loopback the server needs --tls-cert");
    refused(beyond, &[role], "--listen: beyond loopback the server needs --tls-cert");
    refused(beyond, &[tls], "--listen: beyond loopback the server needs a source of identities");
    refused(beyond, &[plaintext], "--listen: beyond loopback the server needs a source of identities");
    refused("127.0.0.1:50051", &[&["--waiver-needs-approver"]], "--waiver-needs-approver: waivers cannot be approved");
}

#[test]
fn anonymous_role_depends_on_sources() {
    let unix: Listen = "unix:/run/scangate.sock".parse().unwrap();
    let role = |flags: &[&str], listen: &Listen| {
        let security = Security::load(&config(flags), listen).unwrap();
        (security.anonymous_role, security.waiver_needs_approver)
    };
    let named = |name: &str| Some(name.to_owned());

    assert_eq!(role(&[], &loopback()), (named("admin"), false));
    assert_eq!(role(&["--anonymous-role", "reader"], &loopback()), (named("reader"), false));
    assert_eq!(role(&[], &unix), (None, true));
    assert_eq!(role(&["--anonymous-role", "reader"], &unix), (named("reader"), true));
    assert_eq!(role(&["--waiver-needs-approver=false"], &unix), (None, false));
    let unknown = Security::load(&config(&["--anonymous-role", "root"]), &loopback()).unwrap_err();
    assert!(unknown.to_string().starts_with("--anonymous-role: unknown role \"root\""), "{unknown}");
}

#[test]
fn anonymous_caller_has_its_role_only() {
    let file = TestFile::new("[[grant]]\nwho = \"**\"\nrole = \"admin\"");
    let security = Security::load(&file.config(&["--anonymous-role", "reader"]), &loopback()).unwrap();
    let access = Access::new(security.grants);

    let anonymous = access.caller(&Principal::new(Identity::anonymous()));
    let named = Identity { name: "uid:1".to_owned(), source: Source::UnixSocket, ..Identity::anonymous() };
    let named = access.caller(&Principal::new(named));

    let methods = scangate_proto::requests::Method::ALL;
    let allowed = |caller: &std::sync::Arc<_>| {
        methods.iter().filter(|method| scangate_server::auth::Caller::authorize(caller, **method).is_ok()).count()
    };
    assert!(allowed(&anonymous) < methods.len());
    assert_eq!(allowed(&named), methods.len());
}

#[test]
fn changed_file_is_read_again() {
    let file = TestFile::new(&format!("{ISSUER}{GRANT}"));
    let config = file.config(&[]);
    let before = Security::load(&config, &loopback()).unwrap();
    assert_eq!(before.reload(&config, &loopback()), Ok(None));

    file.write(&format!("{ISSUER}{}", GRANT.replace("deployer", "reader")));

    let after = before.reload(&config, &loopback()).unwrap().unwrap();
    assert!(after.grants[0].permissions.contains(&Permission::PolicyRead));
    assert_eq!(after.reload(&config, &loopback()), Ok(None));
}

#[test]
fn emptied_or_damaged_file_is_not_applied() {
    let file = TestFile::new(&format!("{ISSUER}{GRANT}"));
    let config = file.config(&[]);
    let before = Security::load(&config, &loopback()).unwrap();
    let reload = |text: &str| {
        file.write(text);
        before.reload(&config, &loopback()).unwrap_err().to_string()
    };

    assert!(reload("").contains("adds the first issuer or removes the last; restart the server"));
    assert!(reload(&format!("{ISSUER}{}", &GRANT[..60])).contains("gate.toml:"));
    assert!(reload(&GRANT.replace("github:", "dns:")).contains("grant.who"));
    std::fs::remove_file(file.path()).unwrap();
    assert!(before.reload(&config, &loopback()).unwrap_err().to_string().contains("file cannot be read"));
}

#[test]
fn claims_without_an_issuer_are_refused() {
    assert!(problems(GRANT)[0].contains("no issuer is configured"), "{:?}", problems(GRANT));
}

#[test]
fn file_without_grants_is_not_applied() {
    let file = TestFile::new("[[grant]]\nwho = \"dns:*\"\nrole = \"reader\"\n");
    let config = file.config(&["--tls-cert", "c", "--tls-key", "k", "--tls-client-ca", "a"]);
    let before = Security::load(&config, &loopback()).unwrap();

    file.write("# nothing");

    let refused = before.reload(&config, &loopback()).unwrap_err().to_string();
    assert!(refused.contains("removes all grants; restart the server"), "{refused}");
}

#[test]
fn anonymous_callers_propose_nothing_to_approve() {
    let file = TestFile::new(&format!("{ISSUER}{GRANT}"));
    let load = |flags: &[&str]| Security::load(&file.config(flags), &loopback());

    let refused = load(&["--anonymous-role", "proposer"]).unwrap_err().to_string();

    assert!(refused.contains("must not have waiver.propose"), "{refused}");
    assert!(load(&["--anonymous-role", "reader"]).is_ok());
    assert!(load(&["--anonymous-role", "proposer", "--waiver-needs-approver=false"]).is_ok());
}

#[test]
fn file_in_the_middle_of_a_write_is_not_applied() {
    let file = TestFile::new(&format!("{ISSUER}{GRANT}"));
    let config = file.config(&[]);
    let before = Security::load(&config, &loopback()).unwrap();
    let whole = format!("{ISSUER}{GRANT}# end");
    // Valid, and wider than meant: the scope is still missing.
    file.write(whole.split_once("repositories").unwrap().0);

    let reloaded = std::thread::scope(|scope| {
        let reload = scope.spawn(|| before.reload(&config, &loopback()));
        // The writer ends within the time for which a file must stay the same, after the first read.
        std::thread::sleep(std::time::Duration::from_millis(300));
        file.write(&whole);
        reload.join().unwrap()
    });

    assert!(reloaded.unwrap_err().to_string().contains("changes while it is read"));
    assert_eq!(before.reload(&config, &loopback()).unwrap().unwrap().grants, before.grants);
}

#[test]
fn oversized_file_is_refused() {
    let refused = load(&"#".repeat(1024 * 1024 + 1)).unwrap_err().to_string();

    assert!(refused.contains("larger than 1048576 bytes"), "{refused}");
}
