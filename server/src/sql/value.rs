//! Parameters of statements.

use std::borrow::Cow;

/// A parameter of a statement.
#[derive(Clone, Debug)]
pub(crate) enum Value<'a> {
    Integer(Option<i64>),
    Text(Option<Cow<'a, str>>),
    Bytes(&'a [u8]),
}

/// Converts types into parameters.
macro_rules! into_value {
    ($($type:ty => |$from:ident| $value:expr;)+) => {$(
        impl<'a> From<$type> for Value<'a> {
            fn from($from: $type) -> Self {
                $value
            }
        }
    )+};
}

into_value! {
    i64 => |number| Self::Integer(Some(number));
    Option<i64> => |number| Self::Integer(number);
    // A number that does not fit is larger than any stored one.
    u64 => |number| Self::Integer(Some(i64::try_from(number).unwrap_or(i64::MAX)));
    usize => |number| Self::Integer(Some(i64::try_from(number).unwrap_or(i64::MAX)));
    &'a str => |text| Self::Text(Some(Cow::Borrowed(text)));
    &'a String => |text| Self::Text(Some(Cow::Borrowed(text)));
    String => |text| Self::Text(Some(Cow::Owned(text)));
    &'a Option<String> => |text| Self::Text(text.as_deref().map(Cow::Borrowed));
    &'a [u8] => |bytes| Self::Bytes(bytes);
}

/// The parameters of a statement, in order.
macro_rules! values {
    ($($value:expr),* $(,)?) => { [$($crate::sql::Value::from($value)),*] };
}
pub(crate) use values;
