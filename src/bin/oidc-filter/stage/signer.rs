//! Tokens that are made of claims, so that a policy can be tested without a provider: signed by a key that is made for the purpose, or
//! opaque ones about which the provider answers.
//!
//! The keys are in no configuration: they are what the key set of a provider holds on the stage, and nowhere else.

use super::answers::{json_answer, metadata};
use super::request::Ask;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;
use ed25519_dalek::Signer as _;
use oidc_filter::config::{ProviderConfig, Validation};
use oidc_filter::filter::CallPurpose;
use oidc_filter::http::Response;
use oidc_filter::jose::jwk::Algorithm;
use oidc_filter::jose::jwt::Audiences;
use oidc_filter::time::Timestamp;
use rsa::rand_core::{TryCryptoRng, TryRng};
use rsa::traits::PublicKeyParts as _;
use rsa::{Pkcs1v15Sign, Pss, RsaPrivateKey};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256, Sha384, Sha512};
use std::convert::Infallible;
use std::time::Duration;

/// Whoever signs for one provider on the stage, and one token of that provider.
pub struct Signer {
    issuer: String,
    pub token: String,
    /// The proof that goes with a token that is bound to a key.
    pub proof: Option<String>,
    jwk: Value,
    /// What the provider answers about the token.
    answer: Value,
}

impl Signer {
    /// A token of this provider with these claims, beside those that every good one has, bound to a key of its own that proves itself
    /// with this request; these changes are to the claims of the proof.
    pub fn bound(
        provider: &ProviderConfig,
        header: &Value,
        claims: &Value,
        (ask, changes): (&Ask, &Value),
        now: Timestamp,
    ) -> Result<Self, String> {
        let key = Key::of(Algorithm::Es256)?;
        let mut jwk = key.jwk()?;
        // What RFC 7638 takes, in its order: serde_json sorts.
        jwk.as_object_mut().map(|members| members.remove("kid"));
        let binding = json!({"cnf": {"jkt": hash(&jwk.to_string())}});
        let mut signer = Self::new(provider, header, &Value::Object(with(binding, claims)), now)?;
        let path = ask.target.split(['?', '#']).next().unwrap_or_default();
        let proof = json!({
            "jti": "1", "htm": ask.method, "htu": format!("{}://{}{path}", ask.scheme, ask.host), "iat": seconds(now),
            "ath": hash(&signer.token),
        });
        let header = with(json!({"typ": "dpop+jwt", "jwk": jwk}), &Value::Null);
        signer.proof = Some(key.jws(Algorithm::Es256, header, with(proof, changes))?);
        Ok(signer)
    }

    /// A token of this provider with these claims, beside those that every good one has; `null` takes one out.
    pub fn new(provider: &ProviderConfig, header: &Value, claims: &Value, now: Timestamp) -> Result<Self, String> {
        let claims = with(good(provider, now), claims);
        let mut answer = claims.clone();
        answer.insert("active".to_owned(), Value::Bool(true));
        let (issuer, answer) = (provider.issuer.clone(), Value::Object(answer));
        if matches!(provider.validation, Validation::Introspection | Validation::Userinfo) {
            let prefix = provider.token_prefixes.first().map(String::as_str).unwrap_or_default();
            return Ok(Self {
                issuer,
                token: format!("{prefix}made-of-claims"),
                proof: None,
                jwk: Value::Null,
                answer,
            });
        }
        if !provider.jwks.iter().any(|source| source.remote) {
            return Err(format!(
                "the keys of {} stand in the configuration, and none of them signs here: give `token` in place of `claims`",
                provider.name
            ));
        }
        let signable = SIGNABLE.into_iter().find(|algorithm| provider.algorithms.contains(algorithm));
        let Some(algorithm) = signable else {
            return Err(format!("{} takes no algorithm that is signed with here: give `token`", provider.name));
        };
        let key = Key::of(algorithm)?;
        let token_type = provider.token_types.first().map_or("at+jwt", String::as_str);
        let header = with(json!({"kid": KEY_ID, "typ": token_type}), header);
        Ok(Self { issuer, token: key.jws(algorithm, header, claims)?, proof: None, jwk: key.jwk()?, answer })
    }

    /// What the provider answers where nothing else is written.
    pub fn answer(&self, purpose: &CallPurpose, provider: &ProviderConfig) -> Option<Response> {
        if provider.issuer != self.issuer {
            return None;
        }
        let is_about_it = purpose.token.as_ref().is_some_and(|token| token.as_str() == self.token);
        match purpose.kind {
            "metadata" => Some(metadata(provider)),
            "jwks" => Some(json_answer(&json!({"keys": [self.jwk]}))),
            "introspection" | "userinfo" if is_about_it => Some(json_answer(&self.answer)),
            _ => None,
        }
    }
}

/// The claims of a token that passes where nothing but a good token is asked for.
fn good(provider: &ProviderConfig, now: Timestamp) -> Value {
    let audience = match &provider.audiences {
        Audiences::AnyOf(audiences) => audiences.first().cloned().into(),
        Audiences::Any => Value::Null,
    };
    json!({
        "iss": provider.issuer, "aud": audience, "sub": "test", "client_id": "test", "jti": "1",
        "iat": seconds(now.saturating_sub(Duration::from_secs(60))),
        "exp": seconds(now.saturating_add(Duration::from_secs(3600))),
    })
}

fn seconds(time: Timestamp) -> Option<i64> {
    time.unix_millis().checked_div(1000)
}

fn with(base: Value, changes: &Value) -> Map<String, Value> {
    let Value::Object(mut object) = base else { return Map::new() };
    for (name, value) in changes.as_object().into_iter().flatten() {
        object.insert(name.clone(), value.clone());
    }
    object.retain(|_, value| !value.is_null());
    object
}

/// A hash as RFC 7638 and RFC 9449 write it.
fn hash(text: &str) -> String {
    BASE64URL.encode(Sha256::digest(text))
}

/// A part of a JWS.
fn part(object: Map<String, Value>) -> String {
    BASE64URL.encode(Value::Object(object).to_string())
}

/// A private key, made for one run.
enum Key {
    Ed25519(Box<ed25519_dalek::SigningKey>),
    P256(Box<p256::ecdsa::SigningKey>),
    P384(Box<p384::ecdsa::SigningKey>),
    P521(Box<p521::ecdsa::SigningKey>),
    Rsa(Box<RsaPrivateKey>),
}

impl Key {
    /// RFC 7515, section 7.1. A header may say another algorithm than is signed with.
    fn jws(
        &self,
        algorithm: Algorithm,
        header: Map<String, Value>,
        claims: Map<String, Value>,
    ) -> Result<String, String> {
        let header = with(json!({"alg": algorithm.name()}), &Value::Object(header));
        let input = format!("{}.{}", part(header), part(claims));
        let signature = self.sign(algorithm, input.as_bytes())?;
        Ok(format!("{input}.{}", BASE64URL.encode(signature)))
    }

    fn of(algorithm: Algorithm) -> Result<Self, String> {
        let mut octets = [0; 66];
        getrandom::fill(&mut octets).map_err(|error| format!("the system has no randomness: {error}"))?;
        let seed: [u8; 32] = octets.first_chunk().copied().unwrap_or_default();
        // A number whose first octet is 0 is below the order of each curve.
        octets[0] = 0;
        let problem = |_| "no key could be made".to_owned();
        Ok(match algorithm {
            Algorithm::Es256 => {
                Self::P256(Box::new(p256::ecdsa::SigningKey::from_slice(&octets[..32]).map_err(problem)?))
            }
            Algorithm::Es384 => {
                Self::P384(Box::new(p384::ecdsa::SigningKey::from_slice(&octets[..48]).map_err(problem)?))
            }
            Algorithm::Es512 => Self::P521(Box::new(p521::ecdsa::SigningKey::from_slice(&octets).map_err(problem)?)),
            Algorithm::EdDsa => Self::Ed25519(Box::new(ed25519_dalek::SigningKey::from_bytes(&seed))),
            _ => {
                let key = RsaPrivateKey::new(&mut SystemRandom, RSA_BITS);
                Self::Rsa(Box::new(key.map_err(|error| format!("no RSA key could be made: {error}"))?))
            }
        })
    }

    fn sign(&self, algorithm: Algorithm, message: &[u8]) -> Result<Vec<u8>, String> {
        let key = match self {
            Self::Ed25519(key) => return Ok(key.sign(message).to_vec()),
            Self::P256(key) => {
                let signature: p256::ecdsa::Signature = key.sign(message);
                return Ok(signature.to_bytes().to_vec());
            }
            Self::P384(key) => {
                let signature: p384::ecdsa::Signature = key.sign(message);
                return Ok(signature.to_bytes().to_vec());
            }
            Self::P521(key) => {
                let signature: p521::ecdsa::Signature = key.sign(message);
                return Ok(signature.to_bytes().to_vec());
            }
            Self::Rsa(key) => key,
        };
        let signed = match algorithm {
            Algorithm::Rs384 => key.sign(Pkcs1v15Sign::new::<Sha384>(), &Sha384::digest(message)),
            Algorithm::Rs512 => key.sign(Pkcs1v15Sign::new::<Sha512>(), &Sha512::digest(message)),
            Algorithm::Ps256 => key.sign_with_rng(&mut SystemRandom, Pss::<Sha256>::new(), &Sha256::digest(message)),
            Algorithm::Ps384 => key.sign_with_rng(&mut SystemRandom, Pss::<Sha384>::new(), &Sha384::digest(message)),
            Algorithm::Ps512 => key.sign_with_rng(&mut SystemRandom, Pss::<Sha512>::new(), &Sha512::digest(message)),
            _ => key.sign(Pkcs1v15Sign::new::<Sha256>(), &Sha256::digest(message)),
        };
        signed.map_err(|error| format!("the token could not be signed: {error}"))
    }

    fn jwk(&self) -> Result<Value, String> {
        let (curve, point) = match self {
            Self::Rsa(key) => {
                let modulus = BASE64URL.encode(key.n().to_be_bytes_trimmed_vartime());
                let exponent = BASE64URL.encode(key.e().to_be_bytes_trimmed_vartime());
                return Ok(json!({"kty": "RSA", "kid": KEY_ID, "n": modulus, "e": exponent}));
            }
            Self::Ed25519(key) => {
                let x = BASE64URL.encode(key.verifying_key().as_bytes());
                return Ok(json!({"kty": "OKP", "kid": KEY_ID, "crv": "Ed25519", "x": x}));
            }
            Self::P256(key) => ("P-256", key.verifying_key().to_sec1_point(false).as_bytes().to_vec()),
            Self::P384(key) => ("P-384", key.verifying_key().to_sec1_point(false).as_bytes().to_vec()),
            Self::P521(key) => ("P-521", key.verifying_key().to_sec1_point(false).as_bytes().to_vec()),
        };
        let coordinates = point.split_first().map(|(_, both)| both.split_at(both.len().checked_div(2).unwrap_or(0)));
        let (x, y) = coordinates.ok_or("no key could be written")?;
        Ok(json!({"kty": "EC", "kid": KEY_ID, "crv": curve, "x": BASE64URL.encode(x), "y": BASE64URL.encode(y)}))
    }
}

/// The randomness of the system. Where there was none, no key was made.
struct SystemRandom;

impl TryRng for SystemRandom {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut octets = [0; 4];
        self.try_fill_bytes(&mut octets).map(|()| u32::from_le_bytes(octets))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut octets = [0; 8];
        self.try_fill_bytes(&mut octets).map(|()| u64::from_le_bytes(octets))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        // Keys of a test that nobody else trusts.
        let _ = getrandom::fill(bytes);
        Ok(())
    }
}

impl TryCryptoRng for SystemRandom {}

/// What is signed with, of what a provider takes: RSA last, whose keys take a second.
const SIGNABLE: [Algorithm; 10] = [
    Algorithm::EdDsa,
    Algorithm::Es256,
    Algorithm::Es384,
    Algorithm::Es512,
    Algorithm::Rs256,
    Algorithm::Rs384,
    Algorithm::Rs512,
    Algorithm::Ps256,
    Algorithm::Ps384,
    Algorithm::Ps512,
];

const KEY_ID: &str = "made-of-claims";

const RSA_BITS: usize = 2048;
