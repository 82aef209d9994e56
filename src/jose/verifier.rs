//! Who does the arithmetic of a signature: the host, where it has been seen to do it right, or this module.
//!
//! Envoy's BoringSSL verifies an RS256 signature many times faster than WebAssembly can. But a host is not
//! believed: for each algorithm it is first given signatures that are right and signatures that are wrong. It is never
//! asked which algorithm fits a key; that was decided here. If it can't answer, this module's own code does.
//!
//! The same holds for what the filter signs by ES256: see [`Verifier::sign_es256`].

use crate::jose::jwk::{Algorithm, BadSignature, Jwk, JwkSet, KeySetOrigin};
use crate::ports::Cryptography;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;
use p256::ecdsa::signature::Verifier as _;
use p256::pkcs8::EncodePrivateKey as _;
use std::cell::OnceCell;
use std::fmt;

/// Who did the arithmetic.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Backend {
    /// The host.
    Host,
    /// This crate's own code.
    Own,
}

/// Verifies signatures.
#[derive(Default)]
pub struct Verifier {
    host: Option<Box<dyn Cryptography>>,
    trusted: Vec<Algorithm>,
    /// Whether the host signs with ES256, and rightly. Found out when it is first wanted.
    signs_es256: OnceCell<bool>,
}

impl Verifier {
    /// One that trusts the host with those algorithms that it gets right.
    pub fn with_host(host: Box<dyn Cryptography>) -> Self {
        let mut trusted = Vec::new();
        for (algorithm, key, signature) in SELF_TEST {
            match self_test(&*host, algorithm, key, signature) {
                Some(true) => trusted.push(algorithm),
                Some(false) => log::error!("the host gets {} wrong: it is not used for it", algorithm.name()),
                None => log::info!("the host does not verify {}", algorithm.name()),
            }
        }
        Self { host: Some(host), trusted, signs_es256: OnceCell::new() }
    }

    /// The algorithms that the host is used for.
    pub fn trusted(&self) -> &[Algorithm] {
        &self.trusted
    }

    /// Who verifies signatures of this algorithm.
    pub fn backend(&self, algorithm: Algorithm) -> Backend {
        if self.trusted.contains(&algorithm) { Backend::Host } else { Backend::Own }
    }

    /// Has the host sign, if there is one that does.
    pub fn sign_by_host(&self, hash: &str, pkcs8: &[u8], message: &[u8]) -> Option<Vec<u8>> {
        self.host.as_deref()?.sign(hash, pkcs8, message)
    }

    /// Has the host sign with ES256, if it has been seen to do that right. The signature is `r || s` (RFC 7518, section 3.4).
    pub fn sign_es256(&self, pkcs8: &[u8], message: &[u8]) -> Option<Vec<u8>> {
        let host = self.host.as_deref()?;
        let signs = *self.signs_es256.get_or_init(|| signs_es256(host));
        signs.then(|| es256_by(host, pkcs8, message)).flatten()
    }

    /// Verifies one signature in the form of RFC 7518, section 3. The one way from a token to the cryptography.
    pub fn verify(
        &self,
        key: &Jwk,
        algorithm: Algorithm,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), BadSignature> {
        if !key.permits(algorithm) {
            return Err(BadSignature);
        }
        let host = self.host.as_deref().filter(|_| self.trusted.contains(&algorithm));
        match host.and_then(|host| ask(host, key, algorithm, message, signature)) {
            Some(true) => Ok(()),
            Some(false) => Err(BadSignature),
            None => key.verify(algorithm, message, signature),
        }
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("trusted", &self.trusted).finish_non_exhaustive()
    }
}

fn ask(host: &dyn Cryptography, key: &Jwk, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> Option<bool> {
    let hash = match algorithm {
        Algorithm::Rs256 | Algorithm::Es256 => "sha256",
        Algorithm::Rs384 | Algorithm::Es384 => "sha384",
        Algorithm::Rs512 | Algorithm::Es512 => "sha512",
        _ => return None,
    };
    // JOSE has r || s, X.509 and with it the rest of the world a DER sequence (RFC 7518, section 3.4; RFC 3279).
    // One of the wrong length, or with a number out of range, is wrong whoever looks at it.
    let der = match algorithm {
        Algorithm::Es256 => p256::ecdsa::Signature::from_slice(signature).map(|s| s.to_der().as_bytes().to_vec()),
        Algorithm::Es384 => p384::ecdsa::Signature::from_slice(signature).map(|s| s.to_der().as_bytes().to_vec()),
        Algorithm::Es512 => p521::ecdsa::Signature::from_slice(signature).map(|s| s.to_der().as_bytes().to_vec()),
        _ => Ok(Vec::new()),
    };
    match der {
        Err(_) => Some(false),
        Ok(der) if der.is_empty() => host.verify(hash, key.spki(), message, signature),
        Ok(der) => host.verify(hash, key.spki(), message, &der),
    }
}

/// Whether a signature that the host makes verifies here.
fn signs_es256(host: &dyn Cryptography) -> bool {
    let Ok(key) = p256::ecdsa::SigningKey::from_slice(&EVERYBODYS_KEY) else { return false };
    let Ok(pkcs8) = key.to_pkcs8_der() else { return false };
    let Some(signature) = es256_by(host, pkcs8.as_bytes(), SELF_TEST_MESSAGE) else { return false };
    let signature = p256::ecdsa::Signature::from_slice(&signature);
    let is_right = signature.is_ok_and(|signature| key.verifying_key().verify(SELF_TEST_MESSAGE, &signature).is_ok());
    if !is_right {
        log::error!("the host signs ES256 wrongly: it is not used for it");
    }
    is_right
}

/// From DER, as the host has it, to both numbers in full length. What is longer than 72 octets, or holds a number out of range,
/// is no signature.
fn es256_by(host: &dyn Cryptography, pkcs8: &[u8], message: &[u8]) -> Option<Vec<u8>> {
    let der = host.sign("sha256", pkcs8, message)?;
    let signature = p256::ecdsa::Signature::from_der(&der).ok()?;
    Some(signature.to_bytes().to_vec())
}

/// Whether the host takes what is right and refuses what is wrong; `None` if it takes nothing and says nothing.
fn self_test(host: &dyn Cryptography, algorithm: Algorithm, key: &str, signature: &str) -> Option<bool> {
    let set = JwkSet::parse(format!("{{\"keys\":[{key}]}}").as_bytes(), KeySetOrigin::Remote).ok()?;
    let key = set.candidates(None, algorithm).next()?;
    let signature = BASE64URL.decode(signature).ok()?;
    let mut damaged = signature.clone();
    *damaged.last_mut()? ^= 1;
    let takes = |message: &[u8], signature: &[u8]| ask(host, key, algorithm, message, signature);
    // The same two numbers the other way round, where there are two: well-formed, and wrong.
    let (r, s) = signature.split_at_checked(signature.len().checked_div(2)?)?;
    let wrong = [
        takes(b"oidc-filteR", &signature),
        takes(b"", &signature),
        takes(SELF_TEST_MESSAGE, &damaged),
        takes(SELF_TEST_MESSAGE, &[s, r].concat()),
    ];
    if takes(SELF_TEST_MESSAGE, &signature)? {
        return Some(wrong.iter().all(|answer| *answer == Some(false)));
    }
    // A host that knows nothing of the algorithm says no to everything.
    wrong.contains(&Some(true)).then_some(false)
}

/// A key that is no secret: only for seeing whether the host signs.
const EVERYBODYS_KEY: [u8; 32] = [7; 32];

/// What the signatures below sign.
const SELF_TEST_MESSAGE: &[u8] = b"oidc-filter";

const RSA: &str = r#"{"kty":"RSA","e":"AQAB","n":"jBAU4BCxUX9RsedT7KUUg3RbyKpe6XKoxdkX_nQ5z_WbHuo9ShORyCuzSzuVyGx3vDN3sFtAJUAO8a-glQc3pSMOA02G2kQ4ZwfL9x4ripy6RvNVCK8CwbWf6KUAkmoYofMOs4Wtmhk09j_OktECcdXzpnJl8NVVPIcs9sf6QRsENmZv44OLUjP7dXIUKpvKN510YRb2q43Z3umM2q3DDcCMJsTD3_6gggPzEqK8RIGQeSlGK00__IfVZUVthbWsXoUi2pDGseNS1977_vpZ0YovnDrApkRDlTEU6zO37YvD-8ytOm1Ab68oN-Nfwul0rxx-ifrGYhMdA0N0iQWwzQ"}"#;
const P256: &str = r#"{"kty":"EC","crv":"P-256","x":"ENlVh44kUm2gcLMb_JuNWKuAWCmJ5xKnWZFeA1010Cs","y":"j8mTctaeEzNHw8lRI9HGJ1LyE4D2KlTI8meyC6pNV0A"}"#;
const P384: &str = r#"{"kty":"EC","crv":"P-384","x":"vQ3b6lK0T0HYofkNz4RFy_BOv9tq4UvSGjhRNSiI1Pu77_BA5cY4V5OudWUlq3cC","y":"h0SEsu4miJMShTXpYrIEnfB5LUjMFZjlWZKgUIZSTjluqOij0-Hb3ke2OFuGH6SP"}"#;
const P521: &str = r#"{"kty":"EC","crv":"P-521","x":"Ae_eX4scL9pcM4rEy805oFM44gWQoIxARReE0KS2WXACsL7W23ddsX8np9wCXIcHA4ncMOJXGSwb8uRO652uw_PQ","y":"AT6FaykcbK2frgAFdVaZCWIz1VyN9ACJMhdj-ZNGizG3HsrUHK9p7LOeZpD5lt-a5y1__09X_Q07gFZjtFmWnipc"}"#;

/// Algorithms that a host may verify, each with a key and its signature of [`SELF_TEST_MESSAGE`].
const SELF_TEST: [(Algorithm, &str, &str); 6] = [
    (
        Algorithm::Rs256,
        RSA,
        "PyUbFaxLGhxmUdbAEp1EM8zyNegKCwmhDxBp4FlX-4L0aPbtonCiLexitnX0AjvOBiU4h6kaa8bLcPR-3C5l3toyXzwmdvKLluH5EmVd6hKOuOiBOxOJKFuBOmUmYdtRMCp31pS3c5bnV8xhxWULyHRt46ps18hYpINUX8QSAYvAzkdPw2Pk0ZrTO2umawZT6Ou18DoZF6bCDCuF-vHCpWF_FDXEdxPxwd71MEI5MtKnGmtOm3pu1dfYmvJCZA5YW9YuyxHKEYPhTGyQiNzPqN_bNlfWma7n8PgOlqGFt6a74Wr5vHPR_XrQG0b0JzKwx65TckD8eqdgldke2tWKgg",
    ),
    (
        Algorithm::Rs384,
        RSA,
        "VTGrZtPhEjZUiBruLrWO6tdFWM0E5JIFxDzzbiUTWOdZqVN-Cqq_iLaklOhkRvFVqjAhEgXQ33zZ3dV97d8wzbnyCIgpSrJexSa_Yox_ygBioCtm_qZ9mCMgl_9LQw9AL7_UTX6uSz8ToXBtvHdPkVIW7vai4L3i4vADaxZkRzLGMrqHjJ5eIKZDN8kSozgjp30zO2JcBXdtSXcpqBMrKaoD9sTqSYA_o19F1yix_dfPmNCOmtgjG6kYzlj59w0yLa_JPcKMatdbDJVaTphsnvDzTGgoJdEsRPZVY13CClWbgMomO0KmdHGp0a50QBZ06KJnI9vei9MTowtj9oHK8w",
    ),
    (
        Algorithm::Rs512,
        RSA,
        "LHLlr5zwX7wFEquwxoVTg0zVy17_F3P9FkCZjoYlVyWRl3m-NcFb-zH_VvgKRfaNjWfD-u_5fca9FS6aS9E9KSy4OJ6kFDc01FjkyTlXwKPhyCioIlutipMUYkfjQsrV-JXmp-vxeGnOVPQpBFWTuMO4ITde6aGW2CIm2rI9FxEuIkvZWdvA5yolJD8VurwsJizT3aGLfRnlzxzIxLAjLW9dEzTXrnJvJq_YSoilmeocufRjvezwsym_H2R72VW2KVM9lS4JD109GRK6373uzX38wifbhBtN2ZEXmUVOt42WdRB__3uAJzXtiXJSweE2N-38tsptbtwxXoMt0zpyZg",
    ),
    (Algorithm::Es256, P256, "fp2iYaHd6JazUXcso59CzPouW_j8UB0y6Te1vBDHAMJgmsvh6zZ3xjdtUKEe0NmtboIIuQf87TTnBe1Wp1a6Tw"),
    (
        Algorithm::Es384,
        P384,
        "2uRLBdkKx9xRsQqY89pZNdvVYv-qNeUKPIqu4Hv6kGvmB3Ge-UztnS66sWM80pZ4fOTjuK92Hm_BIxYrSVWV1pyU0CVHMIZf-1KytR3LDKxdSnNiHVAoPCCvXHuIzT_-",
    ),
    (
        Algorithm::Es512,
        P521,
        "AGfb9IiSHt7mJrvdoYqmKTx8E0lMj2MyNtmwE6X0YspgC563iRyeb1CN3p7AZSCqfZRB5T8nt_Yo-K4yG7h9NoGHAD_1HvzWgESJ3PvngegNFatVo_Q1zJVWoCVcHYmyhsNAl4odzopCe7L1-ZKT6Lcoqm_J0o6S33TTppT9vGjuk9Gj",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use p256::pkcs8::DecodePublicKey as _;
    use rsa::RsaPublicKey;
    use rsa::pkcs1v15::Pkcs1v15Sign;
    use sha2::{Digest as _, Sha256, Sha384, Sha512};
    use std::cell::RefCell;
    use std::collections::BTreeSet;
    use std::rc::Rc;

    /// A host that reads what it is handed with code of its own: DER keys and DER signatures.
    struct Honest;

    impl Cryptography for Honest {
        fn verify(&self, hash: &str, spki: &[u8], message: &[u8], signature: &[u8]) -> Option<bool> {
            if let Ok(key) = RsaPublicKey::from_public_key_der(spki) {
                let verified = match hash {
                    "sha256" => key.verify(Pkcs1v15Sign::new::<Sha256>(), &Sha256::digest(message), signature),
                    "sha384" => key.verify(Pkcs1v15Sign::new::<Sha384>(), &Sha384::digest(message), signature),
                    _ => key.verify(Pkcs1v15Sign::new::<Sha512>(), &Sha512::digest(message), signature),
                };
                return Some(verified.is_ok());
            }
            if let Ok(key) = p256::ecdsa::VerifyingKey::from_public_key_der(spki) {
                return Some(
                    p256::ecdsa::DerSignature::from_bytes(signature).is_ok_and(|s| key.verify(message, &s).is_ok()),
                );
            }
            if let Ok(key) = p384::ecdsa::VerifyingKey::from_public_key_der(spki) {
                return Some(
                    p384::ecdsa::DerSignature::from_bytes(signature).is_ok_and(|s| key.verify(message, &s).is_ok()),
                );
            }
            let key = p521::ecdsa::VerifyingKey::from_public_key_der(spki).ok()?;
            Some(p521::ecdsa::DerSignature::from_bytes(signature).is_ok_and(|s| key.verify(message, &s).is_ok()))
        }
    }

    /// A host that answers everything alike.
    struct Always(Option<bool>);

    impl Cryptography for Always {
        fn verify(&self, _: &str, _: &[u8], _: &[u8], _: &[u8]) -> Option<bool> {
            self.0
        }
    }

    fn key(jwk: &str) -> Jwk {
        let set = JwkSet::parse(format!("{{\"keys\":[{jwk}]}}").as_bytes(), KeySetOrigin::Remote).unwrap();
        set.candidates(None, Algorithm::Rs256).chain(set.candidates(None, Algorithm::Es256)).next().unwrap().clone()
    }

    #[test]
    fn an_honest_host_is_used_for_all_that_it_can() {
        let verifier = Verifier::with_host(Box::new(Honest));
        assert_eq!(verifier.trusted().len(), SELF_TEST.len());
        assert_eq!(verifier.backend(Algorithm::Es512), Backend::Host);
        assert_eq!(verifier.backend(Algorithm::Ps256), Backend::Own);
    }

    #[test]
    fn a_host_that_is_wrong_or_silent_is_not_used() {
        for answer in [Some(true), Some(false), None] {
            let verifier = Verifier::with_host(Box::new(Always(answer)));
            assert!(verifier.trusted().is_empty(), "{answer:?}");
            let (algorithm, jwk, signature) = SELF_TEST[0];
            let signature = BASE64URL.decode(signature).unwrap();
            assert_eq!(verifier.verify(&key(jwk), algorithm, SELF_TEST_MESSAGE, &signature), Ok(()));
            assert_eq!(verifier.verify(&key(jwk), algorithm, b"other", &signature), Err(BadSignature));
        }
    }

    /// SIG-09.
    #[test]
    fn a_host_that_fails_later_is_stood_in_for() {
        let verifier = Verifier {
            host: Some(Box::new(Always(None))),
            trusted: vec![Algorithm::Es256],
            signs_es256: OnceCell::new(),
        };
        let (algorithm, jwk, signature) = SELF_TEST[3];
        let signature = BASE64URL.decode(signature).unwrap();
        assert_eq!(verifier.verify(&key(jwk), algorithm, SELF_TEST_MESSAGE, &signature), Ok(()));
        assert_eq!(verifier.verify(&key(jwk), algorithm, b"other", &signature), Err(BadSignature));
    }

    /// A host whose signature is this, in DER as Envoy's is.
    struct Signs(Rc<RefCell<Vec<u8>>>);

    impl Cryptography for Signs {
        fn verify(&self, _: &str, _: &[u8], _: &[u8], _: &[u8]) -> Option<bool> {
            None
        }

        fn sign(&self, _: &str, _: &[u8], _: &[u8]) -> Option<Vec<u8>> {
            Some(self.0.borrow().clone())
        }
    }

    /// Ten thousand signatures in DER, of every length that there is: each becomes its two numbers in full length.
    #[test]
    fn signatures_of_a_host_of_every_length() {
        let der = Rc::new(RefCell::new(Vec::new()));
        let host: Box<dyn Cryptography> = Box::new(Signs(Rc::clone(&der)));
        let verifier = Verifier { host: Some(host), signs_es256: OnceCell::from(true), ..Verifier::default() };
        let number = |seed: String, zeros: usize| -> [u8; 32] {
            let mut number: [u8; 32] = Sha256::digest(seed).into();
            number[..zeros].fill(0);
            number
        };
        let mut lengths = BTreeSet::new();
        for seed in 0..10_000 {
            // One in three has zeros in front, up to all but the last octet.
            let zeros = |of: usize| if (seed + of).is_multiple_of(3) { (seed / 3) % 32 } else { 0 };
            let (r, s) = (number(format!("r{seed}"), zeros(0)), number(format!("s{seed}"), zeros(1)));
            let Ok(signature) = p256::ecdsa::Signature::from_scalars(r, s) else { continue };
            *der.borrow_mut() = signature.to_der().as_bytes().to_vec();
            lengths.insert(der.borrow().len());
            assert_eq!(verifier.sign_es256(b"", b""), Some([r, s].concat()), "{seed}");
        }
        assert!([39, 40, 68, 69, 70, 71, 72].iter().all(|length| lengths.contains(length)), "{lengths:?}");
        let good = der.borrow().clone();
        for garbage in [&b""[..], b"\x30\x00", &[0x30; 72], &good[1..], &[&good[..], b"\0"].concat()] {
            *der.borrow_mut() = garbage.to_vec();
            assert_eq!(verifier.sign_es256(b"", b""), None);
        }
    }

    /// ALG-04.
    #[test]
    fn the_host_is_not_asked_what_fits_a_key() {
        let verifier = Verifier {
            host: Some(Box::new(Always(Some(true)))),
            trusted: Algorithm::ASYMMETRIC.to_vec(),
            ..Verifier::default()
        };
        assert_eq!(verifier.verify(&key(P256), Algorithm::Rs256, b"", &[1; 256]), Err(BadSignature));
        assert_eq!(verifier.verify(&key(P256), Algorithm::Es256, b"", &[0; 64]), Err(BadSignature));
        assert_eq!(verifier.verify(&key(P256), Algorithm::Es256, b"", &[1; 63]), Err(BadSignature));
    }
}
