//! Byte budgets of responses: every gRPC client accepts 4 MiB by default, and no response comes near it.
//!
//! Lists end a page early, and decisions leave out details and count them. Sizes are those of the encoded messages.

use prost::Message;

use super::page_token::MAX_TOKEN;

/// The maximum size of a response before compression, in bytes: 3.5 MiB.
pub(crate) const MAX_RESPONSE_BYTES: usize = 3_584 * 1024;
/// The most bytes that a message adds to the one that it is a field of, beside its own: its key, its length, and the growth of
/// the length of the enclosing message.
const FIELD_BYTES: usize = 10;

/// Bytes held back for the fields of a decision that differ between its records: a name, a time, and labels of the largest size.
const RECORDED_BYTES: usize = 16 * 1024;

/// The bytes that are left for a response or a part of it.
#[derive(Debug)]
pub(crate) struct ByteBudget(usize);

impl ByteBudget {
    /// The budget of a whole response.
    pub(crate) fn response() -> Self {
        Self(MAX_RESPONSE_BYTES)
    }

    /// The budget of each of `count` equal parts of a response.
    pub(crate) fn shared_by(count: usize) -> Self {
        Self((MAX_RESPONSE_BYTES / count.max(1)).saturating_sub(FIELD_BYTES))
    }

    /// The budget of a response with one decision, without the fields that differ between its records. It is the same for every
    /// such response, so that a recorded decision reads back as it was returned.
    pub(crate) fn decision() -> Self {
        Self(MAX_RESPONSE_BYTES - RECORDED_BYTES)
    }

    /// The budget of a page, without its token.
    pub(crate) fn page() -> Self {
        Self(MAX_RESPONSE_BYTES - MAX_TOKEN)
    }

    /// The bytes that are left.
    pub(crate) fn remaining(&self) -> usize {
        self.0
    }

    /// Charges a message that stays in the response in any case.
    pub(crate) fn charge(&mut self, message: &impl Message) {
        self.0 = self.0.saturating_sub(cost(message));
    }

    /// Charges a message if it fits; returns true if so.
    pub(crate) fn admits(&mut self, message: &impl Message) -> bool {
        let rest = self.0.checked_sub(cost(message));
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    /// Takes items up to the first that does not fit.
    pub(crate) fn take_while_fits<M: Message>(&mut self, items: impl IntoIterator<Item = M>) -> Vec<M> {
        items.into_iter().take_while(|item| self.admits(item)).collect()
    }

    /// Takes the items of a page up to the first that does not fit.
    pub(crate) fn take_page<M: Message>(&mut self, items: impl IntoIterator<Item = M>) -> Vec<M> {
        let mut is_first = true;
        items.into_iter().take_while(|item| self.admits_to_page(item, std::mem::take(&mut is_first))).collect()
    }

    /// Renders the first `size` items of a list as a page up to the first that does not fit. Returns the last rendered item unless
    /// it is the last one of the list: the next page begins after it.
    pub(crate) fn take_page_of<'a, T, M: Message>(
        &mut self,
        items: &'a [T],
        size: usize,
        render: impl Fn(&T) -> M,
    ) -> (Vec<M>, Option<&'a T>) {
        let page = self.take_page(items.iter().take(size).map(render));
        let last = items.get(..page.len()).filter(|taken| taken.len() < items.len()).and_then(<[T]>::last);
        (page, last)
    }

    /// Charges an item of a page; returns false if it must wait for the next page. The first item never does, so that every page
    /// makes progress; each kind of item is small enough to fit alone.
    pub(crate) fn admits_to_page(&mut self, item: &impl Message, is_first: bool) -> bool {
        if is_first {
            self.charge(item);
        }
        is_first || self.admits(item)
    }

    /// Runs `use_part` with one of `parts` equal parts of this budget. What it leaves stays in this budget.
    pub(crate) fn with_part<T>(&mut self, parts: usize, use_part: impl FnOnce(&mut Self) -> T) -> T {
        let whole = self.0;
        let mut part = Self(whole / parts.max(1));
        let granted = part.0;
        let result = use_part(&mut part);
        self.0 = whole.saturating_sub(granted.saturating_sub(part.0));
        result
    }
}

fn cost(message: &impl Message) -> usize {
    message.encoded_len().saturating_add(FIELD_BYTES)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use scangate_proto::v1::{Decision, ListDecisionsResponse};

    use super::*;

    /// A decision of about `size` bytes.
    fn decision(size: usize) -> Decision {
        Decision { name: "d".repeat(size), ..Decision::default() }
    }

    /// The pages of a list of decisions.
    fn pages(sizes: &[usize], page_size: usize) -> Vec<ListDecisionsResponse> {
        let mut pages = Vec::new();
        let mut rest = sizes;
        while !rest.is_empty() {
            let items = rest.iter().take(page_size).map(|size| decision(*size));
            let decisions = ByteBudget::page().take_page(items);
            rest = &rest[decisions.len()..];
            pages.push(ListDecisionsResponse { decisions, ..ListDecisionsResponse::default() });
        }
        pages
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn pages_have_every_item_and_fit(
            sizes in prop::collection::vec(prop_oneof![0..200_usize, 0..MAX_RESPONSE_BYTES * 2], 0..40),
            page_size in 1..50_usize,
        ) {
            let pages = pages(&sizes, page_size);

            let listed: Vec<usize> =
                pages.iter().flat_map(|page| &page.decisions).map(|decision| decision.name.len()).collect();
            prop_assert_eq!(listed, sizes);
            for page in pages {
                // An item that is larger than a response is alone on its page, so that the list ends.
                prop_assert!(page.encoded_len() <= MAX_RESPONSE_BYTES || page.decisions.len() == 1);
                prop_assert!((1..=page_size).contains(&page.decisions.len()));
            }
        }

        #[test]
        fn parts_never_exceed_their_budget(sizes in prop::collection::vec(0..400_000_usize, 0..40), parts in 1..9_usize) {
            let mut budget = ByteBudget::response();

            let first = budget.with_part(parts, |part| part.take_while_fits(sizes.iter().map(|size| decision(*size))));
            let rest = budget.take_while_fits(sizes.iter().map(|size| decision(*size)));

            let bytes = |decisions: Vec<Decision>| ListDecisionsResponse { decisions, ..Default::default() }.encoded_len();
            let first = bytes(first);
            prop_assert!(first <= MAX_RESPONSE_BYTES / parts);
            prop_assert!(first + bytes(rest) <= MAX_RESPONSE_BYTES);
        }
    }
}
