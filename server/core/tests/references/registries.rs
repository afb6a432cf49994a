//! Registries and their hosts.

use scangate_core::registry::{self, Registry};

use crate::fixtures::{HOSTS, LOOKALIKE_HOSTS, WRONG_PARTITIONS};

#[test]
fn every_host_form_parses_to_its_registry() {
    for (host, region, default) in HOSTS {
        let registry = Registry::from_host(host).unwrap();

        assert_eq!((registry.account(), registry.region()), ("123456789012", *region), "{host}");
        assert_eq!(registry.host(), *default, "{host}");
        assert_eq!(Registry::parse(&registry.to_string()), Ok(registry.clone()), "{host}");
        assert_eq!(Registry::from_host(&registry.host()), Ok(registry), "{host}");
    }
}

#[test]
fn lookalike_hosts_are_refused() {
    for host in LOOKALIKE_HOSTS {
        assert_eq!(Registry::from_host(host), Err(registry::Error::Form), "{host}");
    }
}

#[test]
fn region_of_other_partition_is_refused() {
    for (host, domain) in WRONG_PARTITIONS {
        let refused = Registry::from_host(host);

        assert!(
            matches!(&refused, Err(registry::Error::Partition { suffix, .. }) if suffix == domain),
            "{host}: {refused:?}"
        );
    }
}

#[test]
fn registry_parses_from_account_and_region() {
    assert_eq!(Registry::parse("123456789012/eu-west-1"), Registry::new("123456789012", "eu-west-1"));
    for text in ["123456789012/", "/eu-west-1", "123456789012/eu-west-1/x", "123456789012/*", "12/eu-west-1"] {
        assert_eq!(Registry::parse(text), Err(registry::Error::Form), "{text}");
    }
}
