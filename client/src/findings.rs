//! All findings of an image, collected from every page.

use crate::{
    client::Client,
    error::Error,
    v1::{ErrorReason, GetFindingsRequest, GetFindingsResponse},
};

/// The largest page that the contract allows.
const PAGE_SIZE: i32 = 1000;

impl Client {
    /// Returns all findings of an image as one response without a next page.
    ///
    /// `page_size` and `page_token` of the request are ignored. If the scan changes between two pages, reading restarts
    /// once from the first page. If the number of findings differs from `total_size`, the call fails.
    ///
    /// ```no_run
    /// # use scangate_client::{Client, Error, v1::GetFindingsRequest};
    /// # async fn count(client: Client) -> Result<(), Error> {
    /// let request = GetFindingsRequest { image: "team/app:2.3.0".into(), ..Default::default() };
    /// let findings = client.all_findings(request).await?.findings;
    /// println!("{} findings", findings.len());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn all_findings(&self, request: GetFindingsRequest) -> Result<GetFindingsResponse, Error> {
        match self.collect_pages(request.clone()).await {
            Err(error) if findings_changed(&error) => self.collect_pages(request).await,
            result => result,
        }
    }

    async fn collect_pages(&self, mut request: GetFindingsRequest) -> Result<GetFindingsResponse, Error> {
        request.page_size = PAGE_SIZE;
        request.page_token = String::new();
        let mut all = self.findings(request.clone()).await?;
        while !all.next_page_token.is_empty() {
            if all.next_page_token == request.page_token {
                // Without progress the loop would never end.
                return Err(Error::Incomplete { missing: "a page of findings has its own token as next_page_token" });
            }
            request.page_token = std::mem::take(&mut all.next_page_token);
            let page = self.findings(request.clone()).await?;
            all.findings.extend(page.findings);
            all.next_page_token = page.next_page_token;
        }
        if all.findings.len() != total_size(&all) {
            return Err(Error::Incomplete { missing: "the number of findings differs from total_size" });
        }
        Ok(all)
    }
}

fn total_size(response: &GetFindingsResponse) -> usize {
    usize::try_from(response.total_size).unwrap_or(usize::MAX)
}

fn findings_changed(error: &Error) -> bool {
    error.rejection().is_some_and(|rejection| rejection.error_reason() == ErrorReason::FindingsChanged)
}
