//! What a request must have beyond a valid token, and which rule says so.

pub mod external;
pub mod operation;
pub mod requirement;
pub mod rules;
