//! Hosts of ECR, and lookalikes.

pub(crate) const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
pub(crate) const HOST: &str = "123456789012.dkr.ecr.eu-west-1.amazonaws.com";

/// An ECR host, its region, and the default host of its registry.
pub(crate) const HOSTS: &[(&str, &str, &str)] = &[
    (HOST, "eu-west-1", HOST),
    ("123456789012.dkr.ecr-fips.us-east-1.amazonaws.com", "us-east-1", "123456789012.dkr.ecr.us-east-1.amazonaws.com"),
    ("123456789012.dkr-ecr.eu-west-1.on.aws", "eu-west-1", HOST),
    ("123456789012.dkr-ecr-fips.us-west-2.on.aws", "us-west-2", "123456789012.dkr.ecr.us-west-2.amazonaws.com"),
    (
        "123456789012.dkr.ecr.us-gov-west-1.amazonaws.com",
        "us-gov-west-1",
        "123456789012.dkr.ecr.us-gov-west-1.amazonaws.com",
    ),
    (
        "123456789012.dkr.ecr-fips.us-gov-east-1.amazonaws.com",
        "us-gov-east-1",
        "123456789012.dkr.ecr.us-gov-east-1.amazonaws.com",
    ),
    (
        "123456789012.dkr-ecr-fips.us-gov-west-1.on.aws",
        "us-gov-west-1",
        "123456789012.dkr.ecr.us-gov-west-1.amazonaws.com",
    ),
    (
        "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn",
        "cn-north-1",
        "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn",
    ),
    (
        "123456789012.dkr-ecr.cn-northwest-1.on.amazonwebservices.com.cn",
        "cn-northwest-1",
        "123456789012.dkr.ecr.cn-northwest-1.amazonaws.com.cn",
    ),
    (
        "123456789012.dkr.ecr.eusc-de-east-1.amazonaws.eu",
        "eusc-de-east-1",
        "123456789012.dkr.ecr.eusc-de-east-1.amazonaws.eu",
    ),
    ("123456789012.dkr.ecr.us-iso-east-1.c2s.ic.gov", "us-iso-east-1", "123456789012.dkr.ecr.us-iso-east-1.c2s.ic.gov"),
    (
        "123456789012.dkr.ecr.us-isob-east-1.sc2s.sgov.gov",
        "us-isob-east-1",
        "123456789012.dkr.ecr.us-isob-east-1.sc2s.sgov.gov",
    ),
    (
        "123456789012.dkr.ecr.eu-isoe-west-1.cloud.adc-e.uk",
        "eu-isoe-west-1",
        "123456789012.dkr.ecr.eu-isoe-west-1.cloud.adc-e.uk",
    ),
    (
        "123456789012.dkr.ecr.us-isof-south-1.csp.hci.ic.gov",
        "us-isof-south-1",
        "123456789012.dkr.ecr.us-isof-south-1.csp.hci.ic.gov",
    ),
];

pub(crate) const LOOKALIKE_HOSTS: &[&str] = &[
    "",
    ".",
    "localhost",
    "evil.com",
    "amazonaws.com",
    "public.ecr.aws",
    "ghcr.io",
    "docker.io",
    "dkr.ecr.eu-west-1.amazonaws.com",
    ".dkr.ecr.eu-west-1.amazonaws.com",
    "12345678901.dkr.ecr.eu-west-1.amazonaws.com",
    "1234567890123.dkr.ecr.eu-west-1.amazonaws.com",
    "12345678901a.dkr.ecr.eu-west-1.amazonaws.com",
    "١٢٣٤٥٦٧٨٩٠١٢.dkr.ecr.eu-west-1.amazonaws.com",
    "123456789012.dkr.ecr.eu-west-1.amazonaws.com.evil.com",
    "123456789012.dkr.ecr.eu-west-1.amazonaws.com.",
    "123456789012.dkr.ecr.eu-west-1.amazonaws.com:443",
    "123456789012.dkr.ecr.eu-west-1.evilamazonaws.com",
    "123456789012.dkr.ecr.eu-west-1.evil.amazonaws.com",
    "123456789012.dkr.ecr.evil.com.eu-west-1.amazonaws.com",
    "evil.123456789012.dkr.ecr.eu-west-1.amazonaws.com",
    "user@123456789012.dkr.ecr.eu-west-1.amazonaws.com",
    "123456789012.dkr.ecr.eu-west-1.amazonaws.org",
    "123456789012.dkr.ecr..amazonaws.com",
    "123456789012.dkr.ecr.amazonaws.com",
    "123456789012.dkr.ecr.eu-west.amazonaws.com",
    "123456789012.dkr.ecr.1.amazonaws.com",
    "123456789012.dkr.ecr.eu_west_1.amazonaws.com",
    "123456789012.dkr.ecr.EU-WEST-1.amazonaws.com",
    "123456789012.DKR.ECR.eu-west-1.amazonaws.com",
    "123456789012.dkr.ecr.eu-west-1.AMAZONAWS.COM",
    "123456789012.dkr-ecr.eu-west-1.amazonaws.com",
    "123456789012.dkr.ecr.eu-west-1.on.aws",
    "123456789012.dkr.ecr.eu-west-1.amazоnaws.com",
    " 123456789012.dkr.ecr.eu-west-1.amazonaws.com",
    "123456789012.dkr.ecr.eu-west-1.amazonaws.com\n",
];

/// A host, and the domain to which its region does not belong.
pub(crate) const WRONG_PARTITIONS: &[(&str, &str)] = &[
    ("123456789012.dkr.ecr.cn-north-1.amazonaws.com", "amazonaws.com"),
    ("123456789012.dkr.ecr.eu-west-1.amazonaws.com.cn", "amazonaws.com.cn"),
    ("123456789012.dkr.ecr.us-gov-west-1.amazonaws.com.cn", "amazonaws.com.cn"),
    ("123456789012.dkr.ecr.eusc-de-east-1.amazonaws.com", "amazonaws.com"),
    ("123456789012.dkr.ecr.eu-west-1.amazonaws.eu", "amazonaws.eu"),
    ("123456789012.dkr.ecr.us-iso-east-1.amazonaws.com", "amazonaws.com"),
    ("123456789012.dkr.ecr.us-isob-east-1.c2s.ic.gov", "c2s.ic.gov"),
    ("123456789012.dkr-ecr.cn-north-1.on.aws", "on.aws"),
];
