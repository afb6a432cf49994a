//! The calls of `PolicyService` that are served.

use crate::{
    client::Client,
    error::Error,
    v1::{
        CreatePolicyRequest, CreatePolicyResponse, DeletePolicyRequest, DeletePolicyResponse, GetPolicyRequest,
        GetPolicyResponse, ListPoliciesRequest, ListPoliciesResponse, UpdatePolicyRequest, UpdatePolicyResponse,
    },
};

impl Client {
    /// Adds a policy.
    pub async fn create_policy(&self, mut request: CreatePolicyRequest) -> Result<CreatePolicyResponse, Error> {
        name_request(&mut request.request_id);
        self.call()
            .unary(request, |request| {
                let mut policies = self.policies();
                async move { policies.create_policy(request).await }
            })
            .await
    }

    /// Reads a policy.
    pub async fn get_policy(&self, request: GetPolicyRequest) -> Result<GetPolicyResponse, Error> {
        self.call()
            .unary(request, |request| {
                let mut policies = self.policies();
                async move { policies.get_policy(request).await }
            })
            .await
    }

    /// Reads every policy from the request's page on, as one answer without a next page.
    pub async fn list_policies(&self, mut request: ListPoliciesRequest) -> Result<ListPoliciesResponse, Error> {
        let mut all = self.policy_page(request.clone()).await?;
        while !all.next_page_token.is_empty() {
            if all.next_page_token == request.page_token {
                return Err(Error::Incomplete { missing: "a page of policies names itself as the next" });
            }
            request.page_token = std::mem::take(&mut all.next_page_token);
            let page = self.policy_page(request.clone()).await?;
            all.policies.extend(page.policies);
            all.next_page_token = page.next_page_token;
        }
        Ok(all)
    }

    /// Replaces a policy; its `etag` must be the one that was read, or `*`.
    pub async fn update_policy(&self, mut request: UpdatePolicyRequest) -> Result<UpdatePolicyResponse, Error> {
        name_request(&mut request.request_id);
        self.call()
            .unary(request, |request| {
                let mut policies = self.policies();
                async move { policies.update_policy(request).await }
            })
            .await
    }

    /// Removes a policy; the request's `etag` must be the one that was read, or `*`.
    pub async fn delete_policy(&self, mut request: DeletePolicyRequest) -> Result<DeletePolicyResponse, Error> {
        name_request(&mut request.request_id);
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

/// Gives a write a name of its own, without which a retry could act twice.
fn name_request(request_id: &mut String) {
    if request_id.is_empty() {
        *request_id = format!("{:032x}", rand::random::<u128>());
    }
}
