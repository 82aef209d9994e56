//! What the service behind the filter gets.

pub mod assertion;
pub mod identity;
pub mod key_set;
pub mod outputs;
pub mod rewrite;
