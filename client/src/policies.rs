//! The calls of `PolicyService` on policies.

use uuid::Uuid;

use crate::{
    client::Client,
    error::Error,
    v1::{
        CreatePolicyRequest, CreatePolicyResponse, DeletePolicyRequest, DeletePolicyResponse, GetPolicyRequest,
        GetPolicyResponse, ListPoliciesRequest, ListPoliciesResponse, UpdatePolicyRequest, UpdatePolicyResponse,
    },
};

impl Client {
    /// Creates a policy.
    pub async fn create_policy(&self, mut request: CreatePolicyRequest) -> Result<CreatePolicyResponse, Error> {
        ensure_request_id(&mut request.request_id);
        self.call()
            .unary(request, |request| {
                let mut policies = self.policies();
                async move { policies.create_policy(request).await }
            })
            .await
    }

    /// Returns a policy.
    pub async fn get_policy(&self, request: GetPolicyRequest) -> Result<GetPolicyResponse, Error> {
        self.call()
            .unary(request, |request| {
                let mut policies = self.policies();
                async move { policies.get_policy(request).await }
            })
            .await
    }

    /// Returns every policy, from the request's page on, as one response without a next page.
    pub async fn list_policies(&self, mut request: ListPoliciesRequest) -> Result<ListPoliciesResponse, Error> {
        let mut all = self.policy_page(request.clone()).await?;
        while !all.next_page_token.is_empty() {
            if all.next_page_token == request.page_token {
                return Err(Error::Incomplete { missing: "a page of policies has its own token as next_page_token" });
            }
            request.page_token = std::mem::take(&mut all.next_page_token);
            let page = self.policy_page(request.clone()).await?;
            all.policies.extend(page.policies);
            all.next_page_token = page.next_page_token;
        }
        Ok(all)
    }

    /// Changes a policy: the fields of `update_mask`, or without a mask the fields that are set.
    ///
    /// The policy's `etag` must be that of the version to change; `*` changes any version.
    pub async fn update_policy(&self, mut request: UpdatePolicyRequest) -> Result<UpdatePolicyResponse, Error> {
        ensure_request_id(&mut request.request_id);
        self.call()
            .unary(request, |request| {
                let mut policies = self.policies();
                async move { policies.update_policy(request).await }
            })
            .await
    }

    /// Deletes a policy.
    ///
    /// The request's `etag` must be that of the version to delete; `*` deletes any version.
    pub async fn delete_policy(&self, mut request: DeletePolicyRequest) -> Result<DeletePolicyResponse, Error> {
        ensure_request_id(&mut request.request_id);
        self.call()
            .unary(request, |request| {
                let mut policies = self.policies();
                async move { policies.delete_policy(request).await }
            })
            .await
    }

    async fn policy_page(&self, request: ListPoliciesRequest) -> Result<ListPoliciesResponse, Error> {
        self.call()
            .unary(request, |request| {
                let mut policies = self.policies();
                async move { policies.list_policies(request).await }
            })
            .await
    }
}

/// Sets a random idempotency key if the caller set none: without one, a retried write could apply twice.
fn ensure_request_id(request_id: &mut String) {
    if request_id.is_empty() {
        *request_id = Uuid::new_v4().to_string();
    }
}
