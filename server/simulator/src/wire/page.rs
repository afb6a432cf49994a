//! Pages: which items an answer carries, and the token that leads on. The faults of paging are made here, since they
//! are about which page follows which.

use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::{Error, Input};

/// A fault of paging.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Twist {
    /// Every answer is the first page, with the token of the first page.
    Repeat,
    /// The first page comes twice, under different tokens, and then the rest.
    Duplicate,
    /// The second page (of a single page: its items) is left out.
    Skip,
    /// The last page leads back to the first.
    Loop,
}

/// Where a request is in a list.
#[derive(Clone, Debug)]
pub(crate) struct Paging {
    start: usize,
    size: usize,
    /// The page at `start` is to come once more.
    again: bool,
    list: String,
    twist: Option<Twist>,
}

impl Paging {
    /// Reads the request's token, which must be one that this list gave. `list` names what is listed.
    pub(crate) fn read(input: &Input, list: &str, size: usize, twist: Option<Twist>) -> Result<Self, Error> {
        let (start, again) = match input.string("nextToken")? {
            Some(token) if !token.is_empty() => {
                read_token(token, list).ok_or_else(|| Error::invalid_parameter("Invalid parameter at 'nextToken'"))?
            }
            Some(_) | None => (0, false),
        };
        Ok(Self { start, size, again, list: list.to_owned(), twist })
    }

    /// The items of this page out of `count`, and the next page's token.
    pub(crate) fn of(&self, count: usize) -> (Range<usize>, Option<String>) {
        let page = |start: usize| start.min(count)..start.saturating_add(self.size).min(count);
        let after = |range: &Range<usize>| (range.end < count).then_some(range.end);
        let here = page(self.start);
        let first = here.start == 0;
        let (range, next) = match self.twist {
            Some(Twist::Repeat) => (page(0), Some(page(0).end)),
            Some(Twist::Loop) => (here.clone(), after(&here).or(Some(0))),
            Some(Twist::Duplicate) if first && !self.again => return (here, Some(self.token(0, true))),
            Some(Twist::Skip) if first && here.end == count => (0..0, None),
            Some(Twist::Skip) if first => (here.clone(), after(&page(here.end))),
            Some(Twist::Duplicate | Twist::Skip) | None => (here.clone(), after(&here)),
        };
        (range, next.map(|start| self.token(start, false)))
    }

    fn token(&self, start: usize, again: bool) -> String {
        URL_SAFE_NO_PAD.encode(format!("{start} {} {}", u8::from(again), self.list))
    }
}

fn read_token(token: &str, list: &str) -> Option<(usize, bool)> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(token).ok()?).ok()?;
    let (start, rest) = text.split_once(' ')?;
    let (again, of) = rest.split_once(' ')?;
    (of == list).then_some((start.parse().ok()?, again == "1"))
}
