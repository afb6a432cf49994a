//! A time that a scan reports.

use std::{fmt, num::NonZeroU64};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The sign bit, which gives signed numbers the order of unsigned ones. It also keeps 1970 from being zero.
const SIGN: u64 = 1 << 63;

/// A time in whole microseconds, which is the precision of the times that ECR reports.
///
/// It takes 8 bytes as an `Option`, instead of the 24 of a [`Timestamp`]: evaluation of a rule is bound by the size of the
/// findings.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "Timestamp", into = "Timestamp")]
pub struct ReportedTime(NonZeroU64);

impl ReportedTime {
    /// Returns the number of nanoseconds since 1970.
    fn as_nanosecond(self) -> i128 {
        i128::from(self.as_microsecond()) * 1_000
    }

    /// Returns the number of microseconds since 1970.
    pub(crate) fn as_microsecond(self) -> i64 {
        (self.0.get() ^ SIGN).cast_signed()
    }
}

impl From<Timestamp> for ReportedTime {
    /// Drops what is below a microsecond.
    fn from(time: Timestamp) -> Self {
        // The range of timestamps ends far from the one number that would give zero.
        Self(NonZeroU64::new(time.as_microsecond().cast_unsigned() ^ SIGN).unwrap_or(NonZeroU64::MIN))
    }
}

impl From<ReportedTime> for Timestamp {
    fn from(time: ReportedTime) -> Self {
        // `from_microsecond` refuses the last second that a timestamp can have.
        Self::from_nanosecond(time.as_nanosecond()).unwrap_or(Self::MAX)
    }
}

impl fmt::Debug for ReportedTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&Timestamp::from(*self), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_keep_microseconds_and_order() {
        let times = [
            "-009999-01-02T01:59:59Z",
            "1969-12-31T23:59:59.999999Z",
            "1970-01-01T00:00:00Z",
            "9999-12-30T22:00:00.999999Z",
        ];
        let times = times.map(|time| time.parse::<Timestamp>().unwrap());
        let reported = times.map(ReportedTime::from);
        assert!(reported.is_sorted());
        assert_eq!(reported.map(Timestamp::from), times);
        assert_eq!(reported.map(ReportedTime::as_nanosecond), times.map(Timestamp::as_nanosecond));
        assert_eq!(size_of::<Option<ReportedTime>>(), 8);
    }
}
