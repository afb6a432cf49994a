//! `serve --check`, as a process.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use rcgen::{CertificateParams, KeyPair};

use crate::TestFile;

/// Runs `serve --check` in a folder, without variables of the environment.
pub(crate) fn check(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_scangate-server"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("SCANGATE_")) {
        command.env_remove(name);
    }
    command.current_dir(folder).args(["serve", "--check"]).args(arguments).output().unwrap()
}

/// The exit code, standard output and standard error.
fn parts(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn effective_configuration_is_printed_without_secrets() {
    let file = TestFile::new("[[grant]]\nwho = \"dns:ci\"\nrole = \"deployer\"\nrepositories = [\"shop/*\"]\n");
    let flags = ["--config", "gate.toml", "--store", "postgres://gate:hunter2@db/gate", "--environment", "prod,test"];

    let (code, printed, errors) = parts(&check(file.folder.path(), &flags));

    assert_eq!((code, errors.as_str()), (0, ""));
    for line in [
        "--listen 127.0.0.1:50051 (default; restart)",
        "--store *** (set; restart)",
        "--config gate.toml (flag; restart, its contents: reload)",
        "--environment prod,test (flag; restart)",
        "--tls-cert is not set (restart)",
        "grant dns:ci: gate.evaluate findings.read scan.start for repositories shop/* (reload)",
        "callers without an identity have the role admin (restart)",
        "waivers do not need the approval of another caller (restart)",
        "warning: no source of identities is configured: every caller is anonymous with the role admin",
    ] {
        assert!(printed.lines().any(|printed| printed == line), "{line}\n{printed}");
    }
    assert!(!printed.contains("hunter2"));
    assert!(!file.folder.path().join("scangate.db").exists());
}

#[test]
fn invalid_configuration_exits_with_64() {
    let file = TestFile::new("[[grant]]\nwho = \"dns:ci\"\nrole = \"deployr\"\n");

    let (code, printed, errors) = parts(&check(file.folder.path(), &["--config", "gate.toml"]));
    let (open, _, refused) = parts(&check(file.folder.path(), &["--listen", "0.0.0.0:50051"]));

    assert_eq!((code, printed.as_str()), (64, ""));
    assert!(errors.starts_with("gate.toml:3: grant.role: unknown role \"deployr\"; use one of admin,"), "{errors}");
    assert_eq!(open, 64);
    assert!(refused.starts_with("--listen: beyond loopback the server needs --tls-cert"), "{refused}");
}

#[test]
fn key_of_another_certificate_exits_with_64() {
    let file = TestFile::new("");
    let folder = file.folder.path();
    let [own, other] = [(), ()].map(|()| KeyPair::generate().unwrap());
    let certificate = CertificateParams::new(vec!["gate.example.com".to_owned()]).unwrap().self_signed(&own).unwrap();
    fs::write(folder.join("cert.pem"), certificate.pem()).unwrap();
    fs::write(folder.join("own.pem"), own.serialize_pem()).unwrap();
    fs::write(folder.join("other.pem"), other.serialize_pem()).unwrap();

    let (fits, ..) = parts(&check(folder, &["--tls-cert", "cert.pem", "--tls-key", "own.pem"]));
    let (differs, _, errors) = parts(&check(folder, &["--tls-cert", "cert.pem", "--tls-key", "other.pem"]));

    assert_eq!((fits, differs), (0, 64));
    assert!(errors.starts_with("--tls-cert: "), "{errors}");
    assert!(!errors.contains("PRIVATE KEY"));
}

#[test]
fn server_that_would_be_open_exits_with_64() {
    let folder = tempfile::tempdir().unwrap();
    let serve = |flags: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_scangate-server"));
        let output = command.current_dir(folder.path()).args(["serve", "--listen", "0.0.0.0:0"]).args(flags).output();
        output.unwrap().status.code()
    };

    assert_eq!(serve(&[]), Some(64));
    assert_eq!(serve(&["--insecure-plaintext"]), Some(64));
    assert!(!folder.path().join("scangate.db").exists(), "no store is opened");
}

#[test]
fn damaged_key_file_of_issuer_exits_with_64() {
    let file = TestFile::new(
        "[[issuer]]\nname = \"cluster\"\nissuer = \"https://kubernetes.default.svc\"\naudiences = [\"gate\"]\n\
         algorithms = [\"RS256\"]\nkeys = \"keys.json\"\n",
    );
    let check = || parts(&check(file.folder.path(), &["--config", "gate.toml"]));

    let (missing, _, reason) = check();
    fs::write(file.folder.path().join("keys.json"), "{").unwrap();
    let (damaged, _, damage) = check();

    assert_eq!((missing, damaged), (64, 64));
    assert!(reason.starts_with("gate.toml: issuer cluster: keys.json unreadable"), "{reason}");
    assert!(damage.starts_with("gate.toml: issuer cluster: keys.json: not a JSON Web Key Set"), "{damage}");
}
