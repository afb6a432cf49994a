//! Every method × every role × every kind of identity, over TLS. The methods come from the contract and the roles from the server,
//! so a new one is part of the table at once.

use std::time::{Duration, Instant};

use scangate_client::{Code, Rejection};
use scangate_ecr_simulator::World;
use scangate_proto::requests::Method;
use scangate_server::auth::{Role, required};
use scangate_test_identities::{Authority, Pair, Purpose, Subject, Validity, client_config};
use tempfile::TempDir;

use crate::harness::{
    Gate,
    callers::AUDIENCE,
    gate,
    oidc_provider::OidcProvider,
    raw::{Connection, connect_tls},
};

/// The time after which a token of a second has expired, with the leeway of 30 seconds for clocks.
const EXPIRY: Duration = Duration::from_secs(33);

/// A gate over TLS, whose callers have the name of their role. Tokens are those of a certified provider.
struct Secured {
    gate: Gate,
    authority: Authority,
    provider: OidcProvider,
    revoked: Vec<Pair>,
    /// Tokens of keys that the provider has replaced, for each role.
    of_old_keys: Vec<String>,
    _files: TempDir,
}

fn spiffe_id(role: Role) -> String {
    format!("spiffe://example.com/{}", role.name())
}

/// The client of the provider with the name of a role. Each role has one of the algorithms.
fn client_id(role: Role) -> String {
    let position = Role::ALL.iter().position(|known| *known == role).unwrap();
    let algorithm = ["RS256", "ES256", "EdDSA"][position % 3];
    format!("{}-{algorithm}", role.name())
}

async fn secured() -> Secured {
    let (authority, files) = (Authority::new("clients"), tempfile::tempdir().unwrap());
    let revoked: Vec<Pair> = Role::ALL.map(|role| authority.client(&spiffe_id(role))).into();
    let provider = OidcProvider::start(&Role::ALL.map(Role::name)).await;
    let mut of_old_keys = Vec::new();
    for role in Role::ALL {
        of_old_keys.push(provider.token(&client_id(role), AUDIENCE).await);
    }
    provider.rotate().await;
    let grant = |role: Role| {
        let (id, name) = (spiffe_id(role), role.name());
        format!(
            "[[grant]]\nwho = \"{id}\"\nrole = \"{name}\"\n\n[[grant]]\nwho = \"oidc:{name}-*\"\nrole = \"{name}\"\n\n"
        )
    };
    let tables = provider.issuer_table(AUDIENCE) + &Role::ALL.map(grant).concat();
    let file = |name: &str, content: &str| {
        let path = files.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.display().to_string()
    };
    let server = authority.server();
    let gate = gate(World::demo())
        .flag("--config", &file("config.toml", &tables))
        .flag("--tls-cert", &file("server.pem", &server.certificate))
        .flag("--tls-key", &file("server.key", &server.key))
        .flag("--tls-client-ca", &file("ca.pem", &authority.certificate()))
        .flag("--tls-crl", &file("crl.pem", &authority.revoke(&revoked.iter().collect::<Vec<_>>())))
        .tls()
        .start()
        .await;
    Secured { gate, authority, provider, revoked, of_old_keys, _files: files }
}

impl Secured {
    /// Connects with a client certificate, if there is one.
    async fn connect(&self, own: Option<&Pair>) -> Connection {
        connect_tls(self.gate.address, &client_config(&self.authority, own)).await.unwrap()
    }

    /// True if a connection with this certificate serves no call.
    async fn refuses_certificate(&self, own: &Pair) -> bool {
        match connect_tls(self.gate.address, &client_config(&self.authority, Some(own))).await {
            Ok(connection) => connection.status_of(&path(Method::EvaluateGate), &[]).await.is_err(),
            Err(_) => true,
        }
    }
}

fn path(method: Method) -> String {
    format!("/{}", method.full_name())
}

/// Calls every method, and returns the code and the rejection of each.
async fn call_all(connection: &Connection, token: Option<&str>) -> Vec<(Method, Rejection)> {
    let authorization = token.map(|token| format!("Bearer {token}"));
    let headers: Vec<(&str, &str)> = authorization.iter().map(|value| ("authorization", value.as_str())).collect();
    let mut answers = Vec::new();
    for method in Method::ALL {
        let status = connection.status_of(&path(*method), &headers).await.unwrap();
        answers.push((*method, Rejection::from(&status)));
    }
    answers
}

/// Asserts that the caller reaches the methods of its role and no others.
fn assert_permissions_of(role: Role, source: &str, answers: &[(Method, Rejection)]) {
    for (method, answer) in answers {
        let permission = required(*method);
        if role.permissions().contains(&permission) {
            let is_refused = [Code::Unauthenticated, Code::PermissionDenied].contains(&answer.code);
            assert!(!is_refused, "{source} {role:?} {method:?}: {answer:?}");
        } else {
            let expected = (Code::PermissionDenied, "PERMISSION_MISSING");
            assert_eq!((answer.code, answer.reason.as_str()), expected, "{source} {role:?} {method:?}");
            assert_eq!(answer.metadata["permission"], permission.name());
        }
    }
}

#[track_caller]
fn assert_unauthenticated(kind: &str, reason: &str, answers: &[(Method, Rejection)]) {
    for (method, answer) in answers {
        assert_eq!((answer.code, answer.reason.as_str()), (Code::Unauthenticated, reason), "{kind} {method:?}");
        if reason == "IDENTITY_REJECTED" {
            assert_eq!(answer.metadata["kind"], kind, "{method:?}");
        }
    }
}

#[tokio::test]
async fn method_needs_identity_and_permission() {
    let secured = secured().await;
    let stranger = Authority::new("strangers");
    let anonymous = secured.connect(None).await;
    assert_unauthenticated("none", "IDENTITY_MISSING", &call_all(&anonymous, None).await);
    let mut brief = Vec::new();
    for role in Role::ALL {
        brief.push(secured.provider.token(&format!("{}-brief", client_id(role)), AUDIENCE).await);
    }
    let taken = Instant::now();

    for ((role, revoked), of_old_key) in Role::ALL.into_iter().zip(&secured.revoked).zip(&secured.of_old_keys) {
        let id = spiffe_id(role);
        let subject = Subject { uris: &[&id], ..Subject::default() };
        assert!(secured.refuses_certificate(&stranger.client(&id)).await, "wrong authority");
        let expired = secured.authority.issue(&subject, Purpose::Client, Validity::Expired);
        assert!(secured.refuses_certificate(&expired).await, "expired");
        assert!(secured.refuses_certificate(revoked).await, "revoked");
        let server = secured.authority.issue(&subject, Purpose::Server, Validity::Current);
        assert!(secured.refuses_certificate(&server).await, "for servers");

        let elsewhere = secured.provider.token(&client_id(role), "https://other.example.com").await;
        assert_unauthenticated("audience", "IDENTITY_REJECTED", &call_all(&anonymous, Some(&elsewhere)).await);
        assert_unauthenticated("unknown_key", "IDENTITY_REJECTED", &call_all(&anonymous, Some(of_old_key)).await);

        let certified = secured.connect(Some(&secured.authority.client(&id))).await;
        assert_permissions_of(role, "certificate", &call_all(&certified, None).await);
        let valid = secured.provider.token(&client_id(role), AUDIENCE).await;
        assert_permissions_of(role, "token", &call_all(&anonymous, Some(&valid)).await);
        // A bad token is refused even on a good certificate.
        assert_unauthenticated("audience", "IDENTITY_REJECTED", &call_all(&certified, Some(&elsewhere)).await);
    }

    check_token_before_certificate(&secured).await;
    check_open_services(&anonymous).await;
    check_spellings(&anonymous).await;

    tokio::time::sleep(EXPIRY.saturating_sub(taken.elapsed())).await;
    for expired in &brief {
        assert_unauthenticated("expired", "IDENTITY_REJECTED", &call_all(&anonymous, Some(expired)).await);
    }
}

/// The token names a caller that also has a certificate.
async fn check_token_before_certificate(secured: &Secured) {
    let certified = secured.connect(Some(&secured.authority.client(&spiffe_id(Role::Admin)))).await;

    let token = secured.provider.token(&client_id(Role::Reader), AUDIENCE).await;

    assert_permissions_of(Role::Reader, "token", &call_all(&certified, Some(&token)).await);
}

/// Health needs no identity, and a method without a row does not exist.
async fn check_open_services(anonymous: &Connection) {
    let health = anonymous.status_of("/grpc.health.v1.Health/Check", &[]).await.unwrap();
    let unknown = anonymous.status_of("/scangate.v1.ScanGateService/Unknown", &[]).await.unwrap();

    assert_eq!(health.code(), Code::Ok);
    assert_eq!(Rejection::from(&unknown).reason, "UNKNOWN_METHOD");
}

/// The path of a method has one spelling.
async fn check_spellings(anonymous: &Connection) {
    for path in [
        "/scangate.v1.PolicyService/ListPolicies/",
        "/scangate.v1.PolicyService//ListPolicies",
        "//scangate.v1.PolicyService/ListPolicies",
        "/scangate.v1.PolicyService/%4cistPolicies",
        "/scangate.v1.PolicyService/listPolicies",
        "/grpc.health.v1.Health/../scangate.v1.PolicyService/ListPolicies",
    ] {
        let status = anonymous.status_of(path, &[]).await.unwrap();
        assert_eq!(status.code(), Code::Unimplemented, "{path}: {status:?}");
    }
}
