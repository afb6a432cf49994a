//! Identity and permissions: the caller of each call, and the calls that it may make. No type of tonic occurs here.
//!
//! A [`Principal`] is an established [`Identity`]: of a certificate, a token or a Unix socket. [`Access`] has the roles and grants.
//! It turns a principal into a [`Caller`], which has a set of scopes for each [`Permission`]. A caller is authorized for a method
//! by the one table in [`permission`], and the handler then checks what the request is about against the scopes.

mod access;
mod caller;
mod identity;
mod name_pattern;
mod permission;
mod role;
mod scope;
pub mod token;

pub use self::{
    access::{Access, Grant},
    caller::{Authorization, Caller, Refusal},
    identity::{ANONYMOUS, Identity, MAX_NAME_BYTES, Principal, Source, is_valid_name},
    name_pattern::{NamePattern, NamePatternError},
    permission::{Permission, required},
    role::Role,
    scope::Scope,
};
