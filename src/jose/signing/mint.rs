//! Where a JWT is put together: by `jwt-compact`, which knows the form, and asks an [`Algorithm`] of ours for the signature.

use super::{Signed, SigningKey};
use crate::jose::verifier::{Backend, Verifier};
use crate::json::Object;
use jwt_compact::{Algorithm, AlgorithmExt as _, AlgorithmSignature, Claims, Header};
use std::borrow::Cow;
use std::cell::Cell;

/// One signature by one key.
struct Signing<'k> {
    key: &'k SigningKey,
    verifier: &'k Verifier,
    /// Who made it: nobody, until somebody has.
    backend: Cell<Option<Backend>>,
}

struct Signature(Vec<u8>);

impl AlgorithmSignature for Signature {
    fn try_from_slice(slice: &[u8]) -> anyhow::Result<Self> {
        Ok(Self(slice.to_vec()))
    }

    fn as_bytes(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.0)
    }
}

impl Algorithm for Signing<'_> {
    type SigningKey = ();
    type VerifyingKey = ();
    type Signature = Signature;

    fn name(&self) -> Cow<'static, str> {
        Cow::Borrowed(self.key.algorithm().name())
    }

    fn sign(&self, (): &(), message: &[u8]) -> Signature {
        match self.key.sign(message, self.verifier) {
            Some((signature, backend)) => {
                self.backend.set(Some(backend));
                Signature(signature)
            }
            None => Signature(Vec::new()),
        }
    }

    fn verify_signature(&self, signature: &Signature, (): &(), message: &[u8]) -> bool {
        self.key.verifying.verify(self.key.algorithm(), message, &signature.0).is_ok()
    }
}

pub(super) fn mint(key: &SigningKey, token_type: &str, claims: &Object, verifier: &Verifier) -> Option<Signed> {
    let mut header = Header::empty().with_token_type(token_type);
    header.key_id = key.kid.clone();
    let signing = Signing { key, verifier, backend: Cell::new(None) };
    let jwt = signing.token(&header, &Claims::new(claims), &()).ok()?;
    Some(Signed { jwt, backend: signing.backend.get()? })
}
