//! Paging: the range of items on a page, and the token of the next page. Paging faults are applied here, because they
//! change the order of the pages.

use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::{Error, Input};

/// A fault in the order of the pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PagingFault {
    /// Every response is the first page, with the token of the first page.
    Repeat,
    /// The first page is returned twice, under different tokens, and then the rest.
    Duplicate,
    /// The second page is omitted. If there is a single page, its items are omitted.
    Skip,
    /// The token of the last page leads to the first page.
    Loop,
}

/// The position of a request in a list.
#[derive(Clone, Debug)]
pub(crate) struct Paging {
    start: usize,
    size: usize,
    /// True if the page at `start` was returned before ([`PagingFault::Duplicate`]).
    repeated: bool,
    list: String,
    fault: Option<PagingFault>,
}

impl Paging {
    /// Reads the request's token, which must come from the same list. `list` identifies the list.
    pub(crate) fn from_input(
        input: &Input,
        list: &str,
        size: usize,
        fault: Option<PagingFault>,
    ) -> Result<Self, Error> {
        let (start, repeated) = match input.string("nextToken")? {
            Some(token) if !token.is_empty() => {
                parse_token(token, list).ok_or_else(|| Error::invalid_parameter("Invalid parameter at 'nextToken'"))?
            }
            Some(_) | None => (0, false),
        };
        Ok(Self { start, size, repeated, list: list.to_owned(), fault })
    }

    /// Returns this page's range out of `count` items, and the next page's token.
    pub(crate) fn page(&self, count: usize) -> (Range<usize>, Option<String>) {
        let range_at = |start: usize| start.min(count)..start.saturating_add(self.size).min(count);
        let next_start = |range: &Range<usize>| (range.end < count).then_some(range.end);
        let current = range_at(self.start);
        let is_first = current.start == 0;
        let (range, next) = match self.fault {
            Some(PagingFault::Repeat) => (range_at(0), Some(range_at(0).end)),
            Some(PagingFault::Loop) => (current.clone(), next_start(&current).or(Some(0))),
            Some(PagingFault::Duplicate) if is_first && !self.repeated => return (current, Some(self.token(0, true))),
            Some(PagingFault::Skip) if is_first && current.end == count => (0..0, None),
            Some(PagingFault::Skip) if is_first => (current.clone(), next_start(&range_at(current.end))),
            Some(PagingFault::Duplicate | PagingFault::Skip) | None => (current.clone(), next_start(&current)),
        };
        (range, next.map(|start| self.token(start, false)))
    }

    fn token(&self, start: usize, repeated: bool) -> String {
        URL_SAFE_NO_PAD.encode(format!("{start} {} {}", u8::from(repeated), self.list))
    }
}

/// Returns the start and the repeated flag of a token of `list`.
fn parse_token(token: &str, list: &str) -> Option<(usize, bool)> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(token).ok()?).ok()?;
    let (start, rest) = text.split_once(' ')?;
    let (repeated, of_list) = rest.split_once(' ')?;
    (of_list == list).then_some((start.parse().ok()?, repeated == "1"))
}
