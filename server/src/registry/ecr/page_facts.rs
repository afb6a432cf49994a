//! The facts that each page of a scan repeats, or states for itself.
//!
//! ECR documents the counts and times as those of the whole scan. For enhanced scans it is open if they are: Inspector's
//! times look derived from the findings of a page. So both forms are read, and any other difference is a change.

use std::collections::HashMap;

use aws_sdk_ecr::{primitives::DateTime, types::FindingSeverity};
use scangate_core::scan::Counts;

/// `findingSeverityCounts`.
pub(super) type SeverityCounts = HashMap<FindingSeverity, i32>;

/// The times and counts of a scan.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct ScanFacts {
    pub(super) complete_time: Option<DateTime>,
    pub(super) source_update_time: Option<DateTime>,
    pub(super) counts: Option<SeverityCounts>,
}

/// The times and counts of one page, and the counts of the findings that it lists.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct PageFacts {
    pub(super) stated: ScanFacts,
    pub(super) enumerated: Counts,
}

/// The combined facts of all pages.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Combined {
    /// The pages that state a value state the same one.
    Same(ScanFacts),
    /// Each page counts its own findings, or has times of its own. The counts are sums; the times are the latest.
    PerPage(ScanFacts),
    /// The pages are of different scans.
    Contradictory,
}

impl PageFacts {
    /// True if the page counts exactly the findings that it lists.
    fn counts_itself(&self) -> bool {
        let Some(counts) = &self.stated.counts else { return false };
        let stated = counts.iter().filter(|(_, count)| **count != 0);
        let listed = self.enumerated.iter().filter(|(_, count)| **count != 0);
        stated.count() == listed.clone().count()
            && listed.into_iter().all(|(label, listed)| {
                counts.get(&FindingSeverity::from(&**label)).is_some_and(|count| u32::try_from(*count) == Ok(*listed))
            })
    }
}

/// Combines the facts of all pages.
pub(super) fn combine(pages: &[PageFacts]) -> Combined {
    let complete_time: Vec<_> = pages.iter().filter_map(|page| page.stated.complete_time).collect();
    let source_update_time: Vec<_> = pages.iter().filter_map(|page| page.stated.source_update_time).collect();
    let counts: Vec<_> = pages.iter().filter_map(|page| page.stated.counts.as_ref()).collect();
    let facts = |counts| ScanFacts {
        complete_time: latest(&complete_time),
        source_update_time: latest(&source_update_time),
        counts,
    };
    // Equal counts can be per page, too. A single page is the whole scan.
    if pages.len() > 1 && pages.iter().all(PageFacts::counts_itself) {
        return Combined::PerPage(facts(Some(sum(&counts))));
    }
    if !are_equal(&counts) {
        return Combined::Contradictory;
    }
    let facts = facts(counts.first().copied().cloned());
    if are_equal(&complete_time) && are_equal(&source_update_time) {
        Combined::Same(facts)
    } else {
        Combined::PerPage(facts)
    }
}

fn are_equal<T: PartialEq>(values: &[T]) -> bool {
    values.windows(2).all(|pair| pair.first() == pair.last())
}

fn latest(times: &[DateTime]) -> Option<DateTime> {
    times.iter().copied().max_by_key(|time| (time.secs(), time.subsec_nanos()))
}

fn sum(pages: &[&SeverityCounts]) -> SeverityCounts {
    let mut total = SeverityCounts::new();
    for (severity, count) in pages.iter().copied().flatten() {
        let sum = total.entry(severity.clone()).or_default();
        *sum = sum.saturating_add(*count);
    }
    total
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn page(time: Option<i64>, stated: Option<&[(&str, i32)]>, listed: &[(&str, u32)]) -> PageFacts {
        let time = time.map(DateTime::from_secs);
        let counts = stated.map(|counts| counts.iter().map(|(label, count)| ((*label).into(), *count)).collect());
        PageFacts {
            stated: ScanFacts { complete_time: time, source_update_time: time, counts },
            enumerated: listed.iter().map(|(label, count)| (Arc::from(*label), *count)).collect(),
        }
    }

    fn high(facts: &ScanFacts) -> Option<i32> {
        facts.counts.as_ref().and_then(|counts| counts.get(&FindingSeverity::High)).copied()
    }

    #[test]
    fn value_of_one_page_holds_for_all() {
        let whole: &[(&str, i32)] = &[("HIGH", 3)];
        let cases = [
            vec![page(Some(9), Some(whole), &[("HIGH", 3)])],
            vec![page(Some(9), Some(whole), &[("HIGH", 2)]), page(Some(9), Some(whole), &[("HIGH", 1)])],
            vec![page(Some(9), Some(whole), &[("HIGH", 2)]), page(None, None, &[("HIGH", 1)])],
            vec![page(None, None, &[("HIGH", 2)]), page(Some(9), Some(whole), &[("HIGH", 1)])],
        ];
        for pages in cases {
            let Combined::Same(facts) = combine(&pages) else { panic!("{pages:?}") };
            assert_eq!((facts.complete_time, high(&facts)), (Some(DateTime::from_secs(9)), Some(3)), "{pages:?}");
        }
    }

    #[test]
    fn counts_of_pages_are_added() {
        let times = [[Some(5), Some(9)], [Some(9), Some(9)]];
        for [first, second] in times {
            let pages = [
                page(first, Some(&[("HIGH", 2), ("LOW", 0)]), &[("HIGH", 2)]),
                page(second, Some(&[("HIGH", 2)]), &[("HIGH", 2)]),
            ];
            let Combined::PerPage(facts) = combine(&pages) else { panic!("{pages:?}") };
            assert_eq!((facts.complete_time, high(&facts)), (Some(DateTime::from_secs(9)), Some(4)));
        }
    }

    #[test]
    fn times_may_differ_beside_equal_counts() {
        let whole: &[(&str, i32)] = &[("HIGH", 3)];
        let pages = [page(Some(9), Some(whole), &[("HIGH", 2)]), page(Some(5), Some(whole), &[("HIGH", 1)])];

        let Combined::PerPage(facts) = combine(&pages) else { panic!("{pages:?}") };

        assert_eq!((facts.complete_time, high(&facts)), (Some(DateTime::from_secs(9)), Some(3)));
    }

    #[test]
    fn other_counts_are_of_another_scan() {
        let pages =
            [page(Some(9), Some(&[("HIGH", 3)]), &[("HIGH", 2)]), page(Some(9), Some(&[("HIGH", 1)]), &[("HIGH", 1)])];
        assert_eq!(combine(&pages), Combined::Contradictory);
    }
}
