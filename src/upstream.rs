//! What the service behind the filter gets.

pub mod identity;
pub mod rewrite;
