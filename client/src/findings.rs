//! All findings of an image, over however many pages.

use crate::{
    client::Client,
    error::Error,
    v1::{ErrorReason, GetFindingsRequest, GetFindingsResponse},
};

const PAGE_SIZE: i32 = 1000;

impl Client {
    /// Reads all findings of an image as one answer without a next page.
    ///
    /// `page_size` and `page_token` of the request do not matter. Where the scan changes between two pages, it begins
    /// again, once. Pages that do not add up to the announced total are an error.
    pub async fn all_findings(&self, request: GetFindingsRequest) -> Result<GetFindingsResponse, Error> {
        match self.walk(request.clone()).await {
            Err(error) if findings_changed(&error) => self.walk(request).await,
            answer => answer,
        }
    }

    async fn walk(&self, mut request: GetFindingsRequest) -> Result<GetFindingsResponse, Error> {
        request.page_size = PAGE_SIZE;
        request.page_token = String::new();
        let mut all = self.findings(request.clone()).await?;
        while !all.next_page_token.is_empty() {
            request.page_token = std::mem::take(&mut all.next_page_token);
            let page = self.findings(request.clone()).await?;
            if page.findings.is_empty() {
                // Without progress the walk would never end.
                return Err(Error::Incomplete { missing: "an empty page of findings is not the last" });
            }
            all.findings.extend(page.findings);
            all.next_page_token = page.next_page_token;
            if all.findings.len() > total(&all) {
                break;
            }
        }
        if all.findings.len() != total(&all) {
            return Err(Error::Incomplete { missing: "the pages do not have as many findings as announced" });
        }
        Ok(all)
    }
}

fn total(answer: &GetFindingsResponse) -> usize {
    usize::try_from(answer.total_size).unwrap_or(usize::MAX)
}

fn findings_changed(error: &Error) -> bool {
    error.rejection().is_some_and(|rejection| rejection.error_reason() == ErrorReason::FindingsChanged)
}
