//! What several test binaries need: keys that sign, tokens of any kind, and noise that is the same on every run.
#![allow(dead_code, reason = "no binary needs all of it")]

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;
use ed25519_dalek::Signer as _;
use hmac::Hmac;
use rsa::rand_core::{TryCryptoRng, TryRng};
use rsa::{BoxedUint, Pkcs1v15Sign, Pss, RsaPrivateKey};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256, Sha384, Sha512};
use std::convert::Infallible;

/// A private key that signs as its name says.
pub enum Signing {
    Ed25519(ed25519_dalek::SigningKey),
    Hmac(Vec<u8>),
    P256(p256::ecdsa::SigningKey),
    P384(p384::ecdsa::SigningKey),
    P521(p521::ecdsa::SigningKey),
    Rsa(Box<RsaPrivateKey>),
}

impl Signing {
    /// Signs with one of the key's algorithms.
    pub fn sign(&self, algorithm: &str, message: &[u8]) -> Vec<u8> {
        match (self, algorithm) {
            (Self::Ed25519(key), _) => key.sign(message).to_vec(),
            (Self::P256(key), _) => {
                let signature: p256::ecdsa::Signature = key.sign(message);
                signature.to_bytes().to_vec()
            }
            (Self::P384(key), _) => {
                let signature: p384::ecdsa::Signature = key.sign(message);
                signature.to_bytes().to_vec()
            }
            (Self::P521(key), _) => {
                let signature: p521::ecdsa::Signature = key.sign(message);
                signature.to_bytes().to_vec()
            }
            (Self::Rsa(key), "RS384") => key.sign(Pkcs1v15Sign::new::<Sha384>(), &Sha384::digest(message)).unwrap(),
            (Self::Rsa(key), "RS512") => key.sign(Pkcs1v15Sign::new::<Sha512>(), &Sha512::digest(message)).unwrap(),
            (Self::Rsa(key), "PS256") => pss(key, Pss::<Sha256>::new(), &Sha256::digest(message)),
            (Self::Rsa(key), "PS384") => pss(key, Pss::<Sha384>::new(), &Sha384::digest(message)),
            (Self::Rsa(key), "PS512") => pss(key, Pss::<Sha512>::new(), &Sha512::digest(message)),
            (Self::Rsa(key), _) => key.sign(Pkcs1v15Sign::new::<Sha256>(), &Sha256::digest(message)).unwrap(),
            (Self::Hmac(secret), "HS384") => mac::<Hmac<Sha384>>(secret, message),
            (Self::Hmac(secret), "HS512") => mac::<Hmac<Sha512>>(secret, message),
            (Self::Hmac(secret), _) => mac::<Hmac<Sha256>>(secret, message),
        }
    }

    /// The public half as a JWK that doesn't say its `alg`.
    pub fn jwk(&self, kid: &str) -> Value {
        let (point, curve) = match self {
            Self::Rsa(_) => return json!({"kid": kid, "kty": "RSA", "n": RSA_N, "e": "AQAB"}),
            Self::Hmac(secret) => return json!({"kid": kid, "kty": "oct", "k": BASE64URL.encode(secret)}),
            Self::Ed25519(key) => {
                let x = BASE64URL.encode(key.verifying_key().as_bytes());
                return json!({"kid": kid, "kty": "OKP", "crv": "Ed25519", "x": x});
            }
            Self::P256(key) => (key.verifying_key().to_sec1_point(false).as_bytes().to_vec(), "P-256"),
            Self::P384(key) => (key.verifying_key().to_sec1_point(false).as_bytes().to_vec(), "P-384"),
            Self::P521(key) => (key.verifying_key().to_sec1_point(false).as_bytes().to_vec(), "P-521"),
        };
        let (x, y) = coordinates(&point);
        json!({"kid": kid, "kty": "EC", "crv": curve, "x": x, "y": y})
    }
}

fn pss(key: &RsaPrivateKey, scheme: impl rsa::traits::SignatureScheme, digest: &[u8]) -> Vec<u8> {
    key.sign_with_rng(&mut Noise(0x9e37_79b9_7f4a_7c15), scheme, digest).unwrap()
}

fn mac<M: hmac::KeyInit + hmac::Mac>(secret: &[u8], message: &[u8]) -> Vec<u8> {
    let mac = <M as hmac::KeyInit>::new_from_slice(secret).unwrap();
    mac.chain_update(message).finalize().into_bytes().to_vec()
}

pub fn p521_key() -> p521::ecdsa::SigningKey {
    let mut scalar = [7; 66];
    scalar[0] = 0;
    p521::ecdsa::SigningKey::from_slice(&scalar).unwrap()
}

/// The RSA key of RFC 7520, section 3.4: published, and so of use for tests only.
pub fn rsa_key() -> RsaPrivateKey {
    let number = |text| BoxedUint::from_be_slice_vartime(&BASE64URL.decode(text).unwrap());
    RsaPrivateKey::from_components(number(RSA_N), number("AQAB"), number(RSA_D), vec![number(RSA_P), number(RSA_Q)])
        .unwrap()
}

fn coordinates(point: &[u8]) -> (String, String) {
    let (x, y) = point[1..].split_at(point.len() / 2);
    (BASE64URL.encode(x), BASE64URL.encode(y))
}

/// A certificate with this key (SubjectPublicKeyInfo in DER) that ends then (`20301231235959Z`). Its signature is nobody's.
pub fn certificate(spki: &[u8], not_after: &str) -> Vec<u8> {
    let ecdsa_with_sha256 = der(0x30, &[b"\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02"]);
    let name = der(0x30, &[&der(0x31, &[&der(0x30, &[b"\x06\x03\x55\x04\x03", &der(0x0c, &[b"signer"])])])]);
    let validity = der(0x30, &[&der(0x17, &[b"000101000000Z"]), &der(0x18, &[not_after.as_bytes()])]);
    let version = der(0xa0, &[b"\x02\x01\x02"]);
    let signed = der(0x30, &[&version, b"\x02\x01\x07", &ecdsa_with_sha256, &name, &validity, &name, spki]);
    der(0x30, &[&signed, &ecdsa_with_sha256, &der(0x03, &[&[0; 65]])])
}

/// One value in DER, made of these parts.
fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let contents = parts.concat();
    let length = match contents.len() {
        short @ 0..=0x7f => vec![short as u8],
        long => [&[0x82][..], &(long as u16).to_be_bytes()].concat(),
    };
    // DER has the shortest length that does.
    let length = if length.starts_with(&[0x82, 0]) { vec![0x81, length[2]] } else { length };
    [&[tag][..], &length, &contents].concat()
}

/// As openssl writes it.
pub fn pem(label: &str, der: &[u8]) -> String {
    let base64 = base64::prelude::BASE64_STANDARD.encode(der);
    let lines: Vec<&str> = base64.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// `base` with the members of `change`; null takes one out.
pub fn with(mut base: Value, change: Value) -> Value {
    for (name, value) in change.as_object().unwrap() {
        match value {
            Value::Null => base.as_object_mut().unwrap().remove(name),
            value => base.as_object_mut().unwrap().insert(name.clone(), value.clone()),
        };
    }
    base
}

/// Signs any header text and payload, sound or not.
pub fn sign(key: &Signing, algorithm: &str, header: impl AsRef<[u8]>, payload: impl AsRef<[u8]>) -> String {
    let message = format!("{}.{}", BASE64URL.encode(header), BASE64URL.encode(payload));
    let signature = key.sign(algorithm, message.as_bytes());
    format!("{message}.{}", BASE64URL.encode(signature))
}

/// The same numbers on every run (Marsaglia's xorshift64).
pub struct Noise(pub u64);

impl Noise {
    /// A number below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }

    /// `text` with some damage: octets changed, doubled, dropped, cut off, or moved.
    pub fn damage(&mut self, text: &[u8], alphabet: &[u8]) -> Vec<u8> {
        let mut damaged = text.to_vec();
        for _ in 0..=self.below(3) {
            if damaged.is_empty() {
                break;
            }
            let (at, other) = (self.below(damaged.len()), self.below(damaged.len()));
            match self.below(6) {
                0 => damaged[at] = alphabet[self.below(alphabet.len())],
                1 => damaged[at] = self.below(256) as u8,
                2 => damaged.insert(at, alphabet[self.below(alphabet.len())]),
                3 => drop(damaged.remove(at)),
                4 => damaged.swap(at, other),
                _ => damaged.truncate(at),
            }
        }
        damaged
    }
}

/// For salts that are the same on every run.
impl TryRng for Noise {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(self.below(1 << 32) as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.below(usize::MAX) as u64)
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        bytes.fill_with(|| self.below(256) as u8);
        Ok(())
    }
}

impl TryCryptoRng for Noise {}

pub const RSA_N: &str = "\
    n4EPtAOCc9AlkeQHPzHStgAbgs7bTZLwUBZdR8_KuKPEHLd4rHVTeT-O-XV2jRojdNhxJWTDvNd7nqQ0VEiZQHz_AJmSCpMaJMRB\
    SFKrKb2wqVwGU_NsYOYL-QtiWN2lbzcEe6XC0dApr5ydQLrHqkHHig3RBordaZ6Aj-oBHqFEHYpPe7Tpe-OfVfHd1E6cS6M1FZcD\
    1NNLYD5lFHpPI9bTwJlsde3uhGqC0ZCuEHg8lhzwOHrtIQbS0FVbb9k3-tVTU4fg_3L_vniUFAKwuCLqKnS2BYwdq_mzSnbLY7h_\
    qixoR7jig3__kRhuaxwUkRz5iaiQkqgc5gHdrNP5zw";
pub const RSA_D: &str = "\
    bWUC9B-EFRIo8kpGfh0ZuyGPvMNKvYWNtB_ikiH9k20eT-O1q_I78eiZkpXxXQ0UTEs2LsNRS-8uJbvQ-A1irkwMSMkK1J3XTGgd\
    rhCku9gRldY7sNA_AKZGh-Q661_42rINLRCe8W-nZ34ui_qOfkLnK9QWDDqpaIsA-bMwWWSDFu2MUBYwkHTMEzLYGqOe04noqeq1\
    hExBTHBOBdkMXiuFhUq1BU6l-DqEiWxqg82sXt2h-LMnT3046AOYJoRioz75tSUQfGCshWTBnP5uDjd18kKhyv07lhfSJdrPdM5P\
    lyl21hsFf4L_mHCuoFau7gdsPfHPxxjVOcOpBrQzwQ";
pub const RSA_P: &str = "\
    3Slxg_DwTXJcb6095RoXygQCAZ5RnAvZlno1yhHtnUex_fp7AZ_9nRaO7HX_-SFfGQeutao2TDjDAWU4Vupk8rw9JR0AzZ0N2fvu\
    IAmr_WCsmGpeNqQnev1T7IyEsnh8UMt-n5CafhkikzhEsrmndH6LxOrvRJlsPp6Zv8bUq0k";
pub const RSA_Q: &str = "\
    uKE2dh-cTf6ERF4k4e_jy78GfPYUIaUyoSSJuBzp3Cubk3OCqs6grT8bR_cu0Dm1MZwWmtdqDyI95HrUeq3MP15vMMON8lHTeZu2\
    lmKvwqW7anV5UzhM1iZ7z4yMkuUwFWoBvyY898EXvRD-hdqRxHlSqAZ192zB3pVFJ0s7pFc";
