//! Stored form of policies and waivers: fields at their default are left out, so that a server that does not know them yet
//! understands every document that does not use them.

/// True if a field has its default and is not stored.
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
