//! The end of who somebody is: whether the sender of a token is the one that it is bound to. RFC 9449, sections 7 and 9; RFC 8705,
//! section 3.
//!
//! The invariant: the scheme of a request and the binding of its token agree both ways, and whatever the token is bound to was
//! shown with this request. No cache knows of it.

use super::authorize::Run;
use super::binding_fault::BindingFault;
use super::ends::{Halt, ShownToken, deny, deny_for};
use super::operator_log::Detail;
use crate::config::{BindingMode, Dpop, NonceMode};
use crate::jose::confirmation::{Confirmation, ProvenCertificate, ProvenKey};
use crate::jose::jwk::Thumbprint;
use crate::jose::jwt::CheckedClaims;
use crate::oauth::certificate::ClientCertificate;
use crate::oauth::credentials::{AuthScheme, Credentials};
use crate::oauth::dpop::nonce::NonceAge;
use crate::oauth::dpop::{Expected, Proof};
use crate::provider::Provider;
use crate::reply::{Denial, Reason};
use std::rc::Rc;

impl Run<'_> {
    /// Makes an access token of checked claims, if its sender is the one that they are bound to.
    pub(super) fn bind(
        &mut self,
        credentials: &Credentials,
        checked: CheckedClaims,
        provider: &Provider,
    ) -> Result<ShownToken, Halt> {
        // What a JWT says of itself holds, too, where its provider's answer doesn't repeat it (RFC 9449, section 6.2).
        let checked =
            checked.and_bound_to(self.claimed).map_err(|_| not_bound(provider, BindingFault::Contradiction))?;
        let (key, certificate) =
            checked.confirmation().map_or((None, None), |bound| (bound.key(), bound.certificate()));
        self.check_key(key, credentials.scheme).map_err(|fault| not_bound(provider, fault))?;
        let (proof, needs_nonce) = match (key, &self.policy.dpop) {
            (Some(key), Some(dpop)) => {
                let proof = self.proof(dpop, key, credentials, provider)?;
                let needs_nonce = self.needs_nonce(dpop, &proof, provider)?;
                (Some(proof), needs_nonce)
            }
            (Some(_), None) => return Err(not_bound(provider, BindingFault::KeyUnchecked)),
            (None, _) => (None, false),
        };
        let certificate = self.certificate_of(certificate).map_err(|fault| not_bound(provider, fault))?;
        let key = proof.as_ref().map(|proof| proof as &dyn ProvenKey);
        let shown = certificate.as_ref().map(|certificate| certificate as &dyn ProvenCertificate);
        // The proof was held to the key already.
        let token = checked.shown_with(key, shown).map_err(|_| not_bound(provider, BindingFault::OtherCertificate))?;
        Ok(ShownToken { token, proof, needs_nonce })
    }

    /// Whether a token that is bound to this key, or to none, may come under this scheme here.
    fn check_key(&self, bound_to: Option<Thumbprint>, scheme: AuthScheme) -> Result<(), BindingFault> {
        let mode = self.policy.dpop.as_ref().map(|dpop| dpop.mode).unwrap_or_default();
        match (bound_to, mode, scheme) {
            (None, BindingMode::Required, _) | (None, _, AuthScheme::Dpop) => Err(BindingFault::NoKey),
            (Some(_), BindingMode::Off, _) => Err(BindingFault::KeyUnchecked),
            (Some(_), _, AuthScheme::Bearer) => Err(BindingFault::Scheme),
            (None, _, AuthScheme::Bearer | AuthScheme::None) | (Some(_), _, AuthScheme::Dpop | AuthScheme::None) => {
                Ok(())
            }
        }
    }

    /// The certificate of the sender of a token that is bound to one; `None` for a token that is bound to none, and need not be.
    fn certificate_of(&self, bound_to: Option<Thumbprint>) -> Result<Option<ClientCertificate>, BindingFault> {
        let mode = self.policy.certificate_bound.as_ref().map(|bound| bound.mode).unwrap_or_default();
        match (bound_to, mode) {
            (None, BindingMode::Off | BindingMode::Opportunistic) => Ok(None),
            (None, BindingMode::Required) => Err(BindingFault::NoCertificate),
            (Some(_), BindingMode::Off) => Err(BindingFault::CertificateUnchecked),
            (Some(_), BindingMode::Opportunistic | BindingMode::Required) => self.certificate().map(Some),
        }
    }

    /// Whether this policy checks bindings of each kind that a token has; an error if there is one that it doesn't.
    pub(super) fn checks(&self, confirmation: Option<Confirmation>) -> Result<(), BindingFault> {
        let (key, certificate) = confirmation.map_or((None, None), |bound| (bound.key(), bound.certificate()));
        if key.is_some() && !self.policy.takes_dpop() {
            Err(BindingFault::KeyUnchecked)
        } else if certificate.is_some() && !self.policy.takes_certificates() {
            Err(BindingFault::CertificateUnchecked)
        } else {
            Ok(())
        }
    }

    /// The proof of this request, which is checked once however often the decision runs.
    fn proof(
        &mut self,
        settings: &Rc<Dpop>,
        key: Thumbprint,
        credentials: &Credentials,
        provider: &Provider,
    ) -> Result<Proof, Halt> {
        let checked = match self.learnt.proof(settings) {
            Some(checked) => checked.clone(),
            None => {
                let token = credentials.token().map_err(Denial::from)?;
                let expected = Expected { request: self.request, token: token.as_str(), key, settings };
                Proof::check(&expected, &self.facts.verifier, self.now)
            }
        };
        self.trail.lessons.proof = Some((Rc::clone(settings), checked.clone()));
        let checked = checked.and_then(|proof| proof.still_good(self.now));
        checked.map_err(|error| deny_for(provider, Denial::InvalidDpopProof, Some(Detail::Proof(error))))
    }

    /// Whether the client is to be given a nonce; an error if it must have had one.
    fn needs_nonce(&self, settings: &Dpop, proof: &Proof, provider: &Provider) -> Result<bool, Halt> {
        let Some(proofs) = self.facts.proofs.ready() else {
            return Err(deny(provider, Denial::Misconfigured));
        };
        match (settings.nonce, proof.nonce()) {
            (NonceMode::Off, _) => Ok(false),
            (NonceMode::Optional, None) => Ok(true),
            (NonceMode::Required, None) => Err(deny(provider, Denial::UseDpopNonce)),
            (_, Some(nonce)) => match proofs.nonces.age_of(nonce, self.now) {
                NonceAge::Current => Ok(false),
                NonceAge::Ageing => Ok(true),
                NonceAge::Stale => Err(deny(provider, Denial::UseDpopNonce)),
            },
        }
    }

    /// The certificate of the client: from the one place that the operator trusts.
    fn certificate(&self) -> Result<ClientCertificate, BindingFault> {
        let header = self.policy.certificate_bound.as_ref().and_then(|bound| bound.header.as_deref());
        match (header, &self.request.certificate) {
            (Some(header), _) => {
                let is_there = self.request.headers.first(header).is_some();
                let fault = if is_there { BindingFault::CertificateUnclear } else { BindingFault::CertificateMissing };
                ClientCertificate::in_header(self.request, header).ok_or(fault)
            }
            (None, Some(digest)) => ClientCertificate::of_connection(digest).ok_or(BindingFault::CertificateMissing),
            (None, None) => Err(BindingFault::CertificateMissing),
        }
    }
}

pub(super) fn not_bound(provider: &Provider, fault: BindingFault) -> Halt {
    deny_for(provider, Denial::InvalidToken(Reason::NotBound), Some(Detail::Binding(fault)))
}
