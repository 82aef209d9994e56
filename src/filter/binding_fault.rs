//! Why a token is not taken for its sender's: nothing here decides anything.

use crate::config::Policy;

/// Why a token is not taken for its sender's: for the log alone.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum BindingFault {
    /// What the token says of it can't be read.
    Unreadable,
    /// The token says one thing of it, and its provider another.
    Contradiction,
    /// It is bound to a key, and nobody asks for proofs.
    KeyUnchecked,
    /// It is bound to a key, and not under the scheme for that.
    Scheme,
    /// It is bound to no key, and must be.
    NoKey,
    /// It is bound to a certificate, and nobody looks at these.
    CertificateUnchecked,
    /// It is bound to no certificate, and must be.
    NoCertificate,
    /// No certificate is shown.
    CertificateMissing,
    /// What is shown is none, or more than one.
    CertificateUnclear,
    /// Another one is shown.
    OtherCertificate,
}

impl BindingFault {
    /// What the log says of it.
    pub(super) fn text(self, policy: &Policy) -> String {
        let header = policy.certificate_bound.as_ref().and_then(|bound| bound.header.as_deref());
        let place = header.map_or_else(|| "the connection".to_owned(), |header| format!("the header {header}"));
        match self {
            Self::Unreadable => "the token's cnf is malformed, or of a kind that is not known".to_owned(),
            Self::Contradiction => "the token's cnf is not what its provider says of it".to_owned(),
            Self::KeyUnchecked => "the token is bound to a key (cnf.jkt), and there is no `dpop` here".to_owned(),
            Self::Scheme => "the token is bound to a key (cnf.jkt), and comes not under the scheme DPoP".to_owned(),
            Self::NoKey => "the token has no cnf.jkt, which the scheme DPoP, or `dpop.mode`, wants".to_owned(),
            Self::CertificateUnchecked => {
                "the token is bound to a certificate (x5t#S256), and there is no `certificate_bound` here".to_owned()
            }
            Self::NoCertificate => "the token has no cnf.x5t#S256, which `certificate_bound.mode` wants".to_owned(),
            Self::CertificateMissing => format!("{place} shows no certificate"),
            Self::CertificateUnclear => {
                format!("{place} shows no certificate in a form that is read, or more than one")
            }
            Self::OtherCertificate => format!("{place} shows another certificate than that of the token's x5t#S256"),
        }
    }
}
