//! A check of a request's bytes against the fields that this server knows.
//!
//! prost drops fields that it does not know, and then a waiver whose scope has such a field would become broader. So a request with
//! an unknown field is refused, at any depth. The check walks the bytes and allocates only for an error. It also refuses everything
//! that prost would fail to decode, so that each such error has its reason.

use prost::{
    DecodeError,
    encoding::{WireType, decode_key, decode_varint},
};
use scangate_proto::requests::{Field, Kind, Message};

/// The deepest accepted message. No request of the contract comes close, and prost accepts 100.
const MAX_DEPTH: usize = 64;
/// The most values of a request. A message counts as several, since prost makes a struct of it: two bytes on the wire can take
/// hundreds in memory, and compression can make millions of them out of a few. A policy with full lists has 100,000 values.
const MAX_VALUES: usize = 300_000;
/// The number of values that a message counts as.
const MESSAGE_VALUES: usize = 10;

/// The reason to refuse a request.
#[derive(Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A field that this server does not know.
    UnknownField {
        /// The full name of the message that contains it.
        message: &'static str,
        /// Its path, which ends with its number, e.g. `policy.rules[2].99`.
        path: String,
        /// Its number.
        number: u32,
    },
    /// Bytes that are not a message of this type.
    Malformed {
        /// The path of the field or message with the error; empty for the request.
        path: String,
        /// The error.
        error: &'static str,
    },
}

impl Refusal {
    fn malformed(error: &'static str) -> Self {
        Self::Malformed { path: String::new(), error }
    }

    /// Puts the path of the enclosing field in front.
    fn within(mut self, parent: &str) -> Self {
        let (Self::UnknownField { path, .. } | Self::Malformed { path, .. }) = &mut self;
        *path = if path.is_empty() { parent.to_owned() } else { format!("{parent}.{path}") };
        self
    }
}

impl From<DecodeError> for Refusal {
    fn from(_: DecodeError) -> Self {
        Self::malformed("a field is cut short or has an invalid number, wire type or integer")
    }
}

/// Checks the bytes of a message.
pub fn check(bytes: &[u8], message: &'static Message) -> Result<(), Refusal> {
    check_message(bytes, message, &mut Limits { depth: MAX_DEPTH, values: MAX_VALUES })
}

/// The depth and the number of values that are left.
struct Limits {
    depth: usize,
    values: usize,
}

impl Limits {
    fn take_values(&mut self, count: usize) -> Result<(), Refusal> {
        self.values =
            self.values.checked_sub(count).ok_or_else(|| Refusal::malformed("it has too many values; split it"))?;
        Ok(())
    }
}

fn check_message(bytes: &[u8], message: &'static Message, limits: &mut Limits) -> Result<(), Refusal> {
    limits.depth = limits.depth.checked_sub(1).ok_or_else(|| Refusal::malformed("messages are nested too deeply"))?;
    limits.take_values(MESSAGE_VALUES)?;
    let mut rest = bytes;
    while !rest.is_empty() {
        let earlier = bytes.len().saturating_sub(rest.len());
        let (number, wire_type) = decode_key(&mut rest)?;
        let Some(field) = message.fields.iter().find(|field| field.number == number) else {
            return Err(unknown(message, number, wire_type));
        };
        check_value(&mut rest, field, wire_type, limits)
            .map_err(|refusal| refusal.within(&name(field, bytes.get(..earlier).unwrap_or_default())))?;
    }
    limits.depth = limits.depth.saturating_add(1);
    Ok(())
}

fn check_value(rest: &mut &[u8], field: &Field, wire_type: WireType, limits: &mut Limits) -> Result<(), Refusal> {
    limits.take_values(1)?;
    match (&field.kind, wire_type) {
        (Kind::Varint, WireType::Varint) => check_varint(rest),
        (Kind::Fixed32, WireType::ThirtyTwoBit) => take(rest, 4).map(drop),
        (Kind::Fixed64, WireType::SixtyFourBit) => take(rest, 8).map(drop),
        (Kind::Bytes, WireType::LengthDelimited) => take_delimited(rest).map(drop),
        (Kind::String, WireType::LengthDelimited) => match std::str::from_utf8(take_delimited(rest)?) {
            Ok(_) => Ok(()),
            Err(_) => Err(Refusal::malformed("text is not UTF-8")),
        },
        (Kind::Message(message), WireType::LengthDelimited) => check_message(take_delimited(rest)?, message, limits),
        (scalar @ (Kind::Varint | Kind::Fixed32 | Kind::Fixed64), WireType::LengthDelimited) if field.is_repeated => {
            check_packed(take_delimited(rest)?, scalar)
        }
        (Kind::Varint | Kind::Fixed32 | Kind::Fixed64 | Kind::Bytes | Kind::String | Kind::Message(_), _) => {
            Err(Refusal::malformed("the value has another wire type than the field"))
        }
    }
}

/// Checks the values of a list that share one record.
fn check_packed(mut values: &[u8], kind: &Kind) -> Result<(), Refusal> {
    while !values.is_empty() {
        match kind {
            Kind::Fixed32 => take(&mut values, 4).map(drop)?,
            Kind::Fixed64 => take(&mut values, 8).map(drop)?,
            Kind::Varint | Kind::Bytes | Kind::String | Kind::Message(_) => check_varint(&mut values)?,
        }
    }
    Ok(())
}

fn unknown(message: &'static Message, number: u32, wire_type: WireType) -> Refusal {
    match wire_type {
        WireType::Varint | WireType::SixtyFourBit | WireType::LengthDelimited | WireType::ThirtyTwoBit => {
            Refusal::UnknownField { message: message.name, path: number.to_string(), number }
        }
        WireType::StartGroup | WireType::EndGroup => Refusal::malformed("proto3 has no groups"),
    }
}

/// Returns the name of a field, with its index if it is one of several values.
fn name(field: &Field, earlier: &[u8]) -> String {
    if field.is_repeated { format!("{}[{}]", field.name, count(earlier, field.number)) } else { field.name.to_owned() }
}

/// Counts the records of a field among bytes that are already checked.
fn count(mut rest: &[u8], number: u32) -> usize {
    let mut count = 0_usize;
    while let Ok((found, wire_type)) = decode_key(&mut rest) {
        let skipped = match wire_type {
            WireType::Varint => check_varint(&mut rest),
            WireType::SixtyFourBit => take(&mut rest, 8).map(drop),
            WireType::ThirtyTwoBit => take(&mut rest, 4).map(drop),
            WireType::LengthDelimited | WireType::StartGroup | WireType::EndGroup => {
                take_delimited(&mut rest).map(drop)
            }
        };
        if skipped.is_err() {
            break;
        }
        count = count.saturating_add(usize::from(found == number));
    }
    count
}

fn check_varint(rest: &mut &[u8]) -> Result<(), Refusal> {
    decode_varint(rest)?;
    Ok(())
}

fn take_delimited<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], Refusal> {
    let length = decode_varint(rest)?;
    take(rest, usize::try_from(length).unwrap_or(usize::MAX))
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Result<&'a [u8], Refusal> {
    let Some((taken, after)) = rest.split_at_checked(length) else {
        return Err(Refusal::malformed("the message ends within a field"));
    };
    *rest = after;
    Ok(taken)
}

#[cfg(test)]
mod tests;
