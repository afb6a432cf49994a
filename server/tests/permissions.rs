//! The permissions of callers: patterns of names, claims, roles and scopes.

#![expect(clippy::unwrap_used, reason = "a test panics on a failed step")]

use std::{collections::BTreeMap, sync::Arc};

use proptest::{collection::vec, option, prelude::*};
use scangate_core::{glob::Glob, image::RepositoryName, name::Environment};
use scangate_proto::requests::Method;
use scangate_server::auth::{
    Access, Authorization, Caller, Grant, Identity, NamePattern, Permission, Principal, Refusal, Role, Scope, Source,
};

/// The meaning of a pattern, written without regard to time.
fn naive(pattern: &str, name: &str) -> bool {
    let mut rest = name.chars();
    if let Some(after) = pattern.strip_prefix("**") {
        return naive(after, name) || (rest.next().is_some() && naive(pattern, rest.as_str()));
    }
    if let Some(after) = pattern.strip_prefix('*') {
        let within = rest.next().is_some_and(|c| c != '/' && c != ':');
        return naive(after, name) || (within && naive(pattern, rest.as_str()));
    }
    match pattern.chars().next() {
        None => name.is_empty(),
        Some(first) => rest.next() == Some(first) && naive(&pattern[first.len_utf8()..], rest.as_str()),
    }
}

fn identity(name: &str, source: Source, claims: &[(&str, &str)]) -> Identity {
    let claims = claims.iter().map(|(claim, value)| ((*claim).to_owned(), (*value).to_owned())).collect();
    Identity { name: name.to_owned(), source, claims, expire_time: None }
}

fn grant(who: &str, role: Role, scope: Scope) -> Grant {
    let who = NamePattern::parse(who).unwrap();
    Grant { who, claims: BTreeMap::new(), permissions: role.permissions().to_vec(), scope }
}

fn caller(grants: Vec<Grant>, identity: Identity) -> Arc<Caller> {
    Access::new(grants).caller(&Principal::new(identity))
}

/// An authorized EvaluateGate of a caller whose grants have these scopes.
fn authorization(scopes: Vec<Scope>) -> Authorization {
    let grants = scopes.into_iter().map(|scope| grant("dns:ci", Role::Deployer, scope)).collect();
    caller(grants, identity("dns:ci", Source::Certificate, &[])).authorize(Method::EvaluateGate).unwrap()
}

fn globs(patterns: &[&str]) -> Vec<Glob> {
    patterns.iter().map(|pattern| Glob::parse(pattern).unwrap()).collect()
}

fn scope(repositories: Option<&[&str]>, environments: Option<&[&str]>) -> Scope {
    Scope { repositories: repositories.map(globs), environments: environments.map(globs) }
}

fn repository(name: &str) -> RepositoryName {
    RepositoryName::parse(name).unwrap()
}

fn environment(name: &str) -> Environment {
    Environment::parse(name).unwrap()
}

#[test]
fn grant_with_claims_needs_their_values() {
    let mut grant = grant("github:**", Role::Deployer, Scope::default());
    grant.claims = BTreeMap::from([("repository_owner_id".to_owned(), "9919".to_owned())]);
    let may = |claims: &[(&str, &str)]| {
        let identity = identity("github:repo:acme/shop", Source::Token, claims);
        caller(vec![grant.clone()], identity).authorize(Method::EvaluateGate).is_ok()
    };

    assert!(may(&[("repository_owner_id", "9919"), ("ref", "main")]));
    assert!(!may(&[]));
    assert!(!may(&[("repository_owner_id", "99190")]));
    assert!(!may(&[("repository_id", "9919")]));
}

#[test]
fn star_matches_no_anonymous_caller() {
    let may = |who: &str| {
        let grants = vec![grant(who, Role::Admin, Scope::default())];
        caller(grants, Identity::anonymous()).authorize(Method::GetPolicy).is_ok()
    };

    assert!(!may("**") && !may("*") && !may("anon*"));
    assert!(may("anonymous"));
}

#[test]
fn replaced_grants_apply_to_next_call() {
    let access = Access::new(vec![grant("dns:ci", Role::Deployer, Scope::default())]);
    let principal = Principal::new(identity("dns:ci", Source::Certificate, &[]));
    assert!(access.caller(&principal).authorize(Method::EvaluateGate).is_ok());

    access.replace(vec![grant("dns:ci", Role::Reader, Scope::default())]);

    let refused = access.caller(&principal).authorize(Method::EvaluateGate).unwrap_err();
    let missing = Refusal::PermissionMissing { caller: "dns:ci".to_owned(), permission: Permission::GateEvaluate };
    assert_eq!(refused, missing);
    assert!(access.caller(&principal).authorize(Method::GetPolicy).is_ok());
}

#[test]
fn only_admin_may_replace_default_policy() {
    for role in Role::ALL {
        let may = role.permissions().contains(&Permission::PolicyReplaceDefault);
        assert_eq!(may, role == Role::Admin, "{}", role.name());
    }
    assert_eq!(Role::Admin.permissions(), Permission::ALL);
}

#[test]
fn names_of_roles_and_permissions_parse() {
    for role in Role::ALL {
        assert_eq!(Role::parse(role.name()), Some(role));
    }
    for permission in Permission::ALL {
        assert_eq!(Permission::parse(permission.name()), Some(permission));
    }
    assert_eq!((Role::parse("Admin"), Permission::parse("gate")), (None, None));
}

#[test]
fn call_without_environment_needs_all_of_them() {
    let all_named = authorization(vec![scope(None, Some(&["*"]))]);
    let unnarrowed = authorization(vec![scope(None, None)]);

    assert!(all_named.covers(&repository("shop/api"), Some(&environment("prod"))));
    assert!(!all_named.covers(&repository("shop/api"), None));
    assert!(unnarrowed.covers(&repository("shop/api"), None));
}

#[test]
fn every_environment_is_wider_than_a_list() {
    let all_named = authorization(vec![scope(None, Some(&["*"]))]);

    assert!(all_named.check_patterns(&[], &globs(&["prod*"])).is_ok());
    assert!(all_named.check_patterns(&[], &globs(&["*"])).is_err(), "it also stands for calls without an environment");
    assert!(all_named.check_patterns(&[], &[]).is_err());
}

#[test]
fn empty_scope_covers_nothing() {
    let nothing = authorization(vec![scope(Some(&[]), None), scope(None, Some(&[]))]);

    assert!(!nothing.covers(&repository("shop/api"), Some(&environment("prod"))));
    assert!(nothing.check_patterns(&[], &[]).is_err());
    assert!(nothing.check_patterns(&globs(&["shop/api"]), &globs(&["prod"])).is_err());
    assert!(nothing.narrowed_to().is_some());
}

#[test]
fn registry_needs_grant_without_repositories() {
    assert!(authorization(vec![scope(Some(&["*"]), None)]).check_registry().is_err());
    assert!(authorization(vec![scope(None, Some(&["prod"]))]).check_registry().is_ok());
}

#[test]
fn long_patterns_are_shortened_in_refusal() {
    let narrow = authorization(vec![scope(Some(&["shop/*"]), None)]);
    let long = globs(&vec!["ä".repeat(100).as_str(); 100]);

    let refusal = narrow.check_patterns(&long, &[]).unwrap_err().to_string();

    assert!(refusal.chars().count() < 500, "{refusal}");
    assert!(refusal.contains("for repositories shop/*, not for repositories ä"), "{refusal}");
}

fn pattern_text() -> impl Strategy<Value = String> {
    vec(prop::sample::select(vec!["a", "b", "/", ":", "*", "**", "é"]), 1..8).prop_map(|parts| parts.concat())
}

/// Names and globs of few letters, so that they often meet.
fn glob() -> impl Strategy<Value = Glob> {
    "[ab/*]{1,5}".prop_map(|pattern| Glob::parse(&pattern).unwrap())
}

fn scopes() -> impl Strategy<Value = Vec<Scope>> {
    let scope = (option::of(vec(glob(), 0..3)), option::of(vec(glob(), 0..3)));
    vec(scope.prop_map(|(repositories, environments)| Scope { repositories, environments }), 1..4)
}

fn covers(scope: &Scope, repository: &RepositoryName, environment: Option<&Environment>) -> bool {
    let any = |globs: &Vec<Glob>, name: &str| globs.iter().any(|glob| glob.matches(name));
    let covers_environment = match (&scope.environments, environment) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(globs), Some(environment)) => any(globs, environment.as_str()),
    };
    covers_environment && scope.repositories.as_ref().is_none_or(|globs| any(globs, repository.as_str()))
}

fn environments() -> impl Strategy<Value = Option<Environment>> {
    option::of("[ab]{1,4}".prop_map(|name| environment(&name)))
}

fn repositories() -> impl Strategy<Value = RepositoryName> {
    "[ab]{2,3}(/[ab]{1,3})?".prop_map(|name| repository(&name))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn pattern_matches_as_defined(pattern in pattern_text(), name in "[ab/:é]{0,8}") {
        prop_assert_eq!(NamePattern::parse(&pattern).unwrap().matches(&name), naive(&pattern, &name));
    }

    #[test]
    fn call_is_covered_by_one_grant(scopes in scopes(), repository in repositories(), environment in environments()) {
        let expected = scopes.iter().any(|scope| covers(scope, &repository, environment.as_ref()));

        let authorization = authorization(scopes);

        prop_assert_eq!(authorization.covers(&repository, environment.as_ref()), expected);
        prop_assert_eq!(authorization.check(&repository, environment.as_ref()).is_ok(), expected);
        prop_assert!(authorization.narrowed_to().is_some() || expected);
    }

    #[test]
    fn accepted_patterns_match_covered_names_only(
        scopes in scopes(),
        patterns in (vec(glob(), 0..3), vec(glob(), 0..3)),
        repository in repositories(),
        environment in environments(),
    ) {
        let authorization = authorization(scopes);
        let any = |globs: &[Glob], name: &str| globs.is_empty() || globs.iter().any(|glob| glob.matches(name));
        // Only patterns of every environment stand for calls without one.
        let is_matched = any(&patterns.0, repository.as_str()) && match &environment {
            Some(environment) => any(&patterns.1, environment.as_str()),
            None => patterns.1.is_empty() || patterns.1.iter().any(Glob::matches_everything),
        };

        if is_matched && authorization.check_patterns(&patterns.0, &patterns.1).is_ok() {
            prop_assert!(authorization.covers(&repository, environment.as_ref()));
        }
    }
}
