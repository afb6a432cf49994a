//! Findings as bytes: the ids of their interned values, and the values that no other scan shares.
//!
//! Numbers are variable-length integers of seven bits a byte; times are delta-encoded. Equal findings have equal bytes.
//! So scans whose values have equal ids have the same findings exactly if they have the same bytes.

use jiff::Timestamp;

/// The number of texts that every finding has.
pub(super) const REQUIRED: usize = 3;
/// The number of texts that a finding may lack.
pub(super) const OPTIONAL: usize = 9;

/// Bits of the mask of present fields. The bits of basic findings come first, so that their mask fits into one byte.
const HAS_OPTIONAL: [u64; OPTIONAL] = [1, 1 << 1, 1 << 2, 1 << 3, 1 << 4, 1 << 5, 1 << 8, 1 << 11, 1 << 12];
const URI_ENDS_WITH_ID: u64 = 1 << 6;
const TITLE_BEGINS_WITH_ID: u64 = 1 << 7;
const HAS_TIME: u64 = 1 << 9;
const HAS_ARN: u64 = 1 << 10;

/// The kind of ARN that follows. Larger numbers are the length of a text plus [`TEXT_ARN`].
const SAME_ARN: u64 = 0;
const DIGITS_ARN: u64 = 1;
const TEXT_ARN: u64 = 2;

/// A finding as ids.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct EncodedFinding<'a> {
    /// The id of the fields that are no texts.
    pub(super) fixed_fields: u32,
    /// The ids of the texts that every finding has.
    pub(super) required: [u32; REQUIRED],
    /// The ids of the texts that a finding may lack.
    pub(super) optional: [Option<u32>; OPTIONAL],
    /// True if the finding's id follows the stored text of its address.
    pub(super) uri_ends_with_id: bool,
    /// True if the finding's id precedes the stored text of its title.
    pub(super) title_begins_with_id: bool,
    /// The time at which the finding was first observed.
    pub(super) first_observed_at: Option<Timestamp>,
    /// The finding's ARN.
    pub(super) arn: Option<Arn<'a>>,
}

/// The ARN of a finding, which is unique to its scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arn<'a> {
    /// Equal to the ARN of the preceding finding.
    Same,
    /// The id of a prefix, and the 32 hexadecimal digits after it.
    Digits(u32, u128),
    /// The id of a prefix, and the text after it.
    Text(u32, &'a str),
}

impl EncodedFinding<'_> {
    /// Returns the ids of all texts.
    pub(super) fn texts(&self) -> impl Iterator<Item = u32> {
        let prefix = match self.arn {
            Some(Arn::Digits(prefix, _) | Arn::Text(prefix, _)) => Some(prefix),
            Some(Arn::Same) | None => None,
        };
        self.required.into_iter().chain(self.optional.into_iter().flatten()).chain(prefix)
    }

    fn mask(&self) -> u64 {
        let optional =
            self.optional.iter().zip(HAS_OPTIONAL).map(|(number, bit)| if number.is_some() { bit } else { 0 });
        let others = [
            (self.uri_ends_with_id, URI_ENDS_WITH_ID),
            (self.title_begins_with_id, TITLE_BEGINS_WITH_ID),
            (self.first_observed_at.is_some(), HAS_TIME),
            (self.arn.is_some(), HAS_ARN),
        ];
        optional.chain(others.into_iter().map(|(is_set, bit)| if is_set { bit } else { 0 })).sum()
    }
}

/// A sequence of encoded findings.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct EncodedFindings {
    bytes: Box<[u8]>,
    count: usize,
}

impl EncodedFindings {
    /// Returns the number of findings.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// Returns the encoded bytes.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Encodes findings.
#[derive(Debug, Default)]
pub(super) struct Encoder {
    bytes: Vec<u8>,
    count: usize,
    last_second: i64,
}

impl Encoder {
    pub(super) fn push(&mut self, finding: &EncodedFinding<'_>) {
        self.count += 1;
        self.write_varint(finding.mask());
        self.write_varint(finding.fixed_fields.into());
        for number in finding.required.into_iter().chain(finding.optional.into_iter().flatten()) {
            self.write_varint(number.into());
        }
        if let Some(time) = finding.first_observed_at {
            self.write_signed(time.as_second().wrapping_sub(self.last_second));
            self.write_signed(time.subsec_nanosecond().into());
            self.last_second = time.as_second();
        }
        match finding.arn {
            None => {}
            Some(Arn::Same) => self.write_varint(SAME_ARN),
            Some(Arn::Digits(prefix, digits)) => {
                self.write_varint(DIGITS_ARN);
                self.write_varint(prefix.into());
                self.bytes.extend(digits.to_be_bytes());
            }
            Some(Arn::Text(prefix, text)) => {
                self.write_varint(TEXT_ARN + text.len() as u64);
                self.write_varint(prefix.into());
                self.bytes.extend(text.as_bytes());
            }
        }
    }

    pub(super) fn finish(self) -> EncodedFindings {
        EncodedFindings { bytes: self.bytes.into_boxed_slice(), count: self.count }
    }

    fn write_varint(&mut self, mut number: u64) {
        while let (low, rest @ 1..) = (number & 0x7f, number >> 7) {
            self.bytes.extend(u8::try_from(low | 0x80));
            number = rest;
        }
        self.bytes.extend(u8::try_from(number));
    }

    /// Zigzag encoding: small numbers are short on both sides of zero.
    fn write_signed(&mut self, number: i64) {
        self.write_varint(((number << 1) ^ (number >> 63)).cast_unsigned());
    }
}

/// Decodes findings.
#[derive(Clone, Debug)]
pub(super) struct Decoder<'a> {
    rest: &'a [u8],
    last_second: i64,
}

impl<'a> Decoder<'a> {
    pub(super) fn new(findings: &'a EncodedFindings) -> Self {
        Self { rest: &findings.bytes, last_second: 0 }
    }

    /// Returns the next finding; `None` at the end.
    pub(super) fn read_finding(&mut self) -> Option<EncodedFinding<'a>> {
        let mask = self.read_varint()?;
        let has = |bit| mask & bit != 0;
        let mut finding = EncodedFinding {
            fixed_fields: self.read_u32()?,
            uri_ends_with_id: has(URI_ENDS_WITH_ID),
            title_begins_with_id: has(TITLE_BEGINS_WITH_ID),
            ..EncodedFinding::default()
        };
        for number in &mut finding.required {
            *number = self.read_u32()?;
        }
        for (number, _) in finding.optional.iter_mut().zip(HAS_OPTIONAL).filter(|(_, bit)| has(*bit)) {
            *number = Some(self.read_u32()?);
        }
        if has(HAS_TIME) {
            self.last_second = self.last_second.wrapping_add(self.read_signed()?);
            let nanosecond = i32::try_from(self.read_signed()?).ok()?;
            finding.first_observed_at = Some(Timestamp::new(self.last_second, nanosecond).ok()?);
        }
        if has(HAS_ARN) {
            finding.arn = Some(self.read_arn()?);
        }
        Some(finding)
    }

    fn read_arn(&mut self) -> Option<Arn<'a>> {
        match self.read_varint()? {
            SAME_ARN => Some(Arn::Same),
            DIGITS_ARN => {
                let prefix = self.read_u32()?;
                let (digits, rest) = self.rest.split_first_chunk()?;
                self.rest = rest;
                Some(Arn::Digits(prefix, u128::from_be_bytes(*digits)))
            }
            length => {
                let prefix = self.read_u32()?;
                let (text, rest) = self.rest.split_at_checked(usize::try_from(length - TEXT_ARN).ok()?)?;
                self.rest = rest;
                Some(Arn::Text(prefix, str::from_utf8(text).ok()?))
            }
        }
    }

    fn read_varint(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let (byte, rest) = self.rest.split_first()?;
            self.rest = rest;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
        Some(number)
    }

    fn read_u32(&mut self) -> Option<u32> {
        u32::try_from(self.read_varint()?).ok()
    }

    fn read_signed(&mut self) -> Option<i64> {
        let number = self.read_varint()?;
        Some((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
    }
}
