//! The AWS operations that this adapter calls.

/// An AWS operation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Operation {
    /// Its name, e.g. `DescribeImages`.
    pub(super) name: &'static str,
    /// The service's prefix in IAM actions.
    service: &'static str,
    /// True if a repeated request has the effect of one.
    pub(super) is_idempotent: bool,
}

impl Operation {
    /// A read operation of ECR.
    pub(super) const fn read(name: &'static str) -> Self {
        Self { name, service: "ecr", is_idempotent: true }
    }

    /// A read operation of Inspector.
    pub(super) const fn inspector(name: &'static str) -> Self {
        Self { name, service: "inspector2", is_idempotent: true }
    }

    /// A write operation of ECR. It is retried only if AWS reports that it did not accept the request.
    pub(super) const fn write(name: &'static str) -> Self {
        Self { name, service: "ecr", is_idempotent: false }
    }

    /// The IAM action that the operation needs.
    pub(super) fn action(self) -> String {
        format!("{}:{}", self.service, self.name)
    }
}
