//! What was done for the assertions of one request, for metrics.

use crate::jose::jwk::Algorithm;
use crate::jose::verifier::Backend;

/// What was done for one assertion, for metrics.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct AssertionUse {
    /// What its signature is called.
    pub algorithm: Algorithm,
    /// Who made it.
    pub backend: Backend,
    /// Whether it was made now.
    pub result: AssertionResult,
}

/// Whether an assertion was signed.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum AssertionResult {
    /// Now.
    Signed,
    /// Before, for the same token.
    Reused,
    /// Nobody could.
    Failed,
}

impl AssertionResult {
    /// The word for it in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Signed => "signed",
            Self::Reused => "reused",
            Self::Failed => "failed",
        }
    }
}

/// What was done for each assertion of one request.
pub type AssertionUses = [Option<AssertionUse>; MAX_USES];

/// As many assertions as a policy may have.
pub const MAX_USES: usize = 4;
