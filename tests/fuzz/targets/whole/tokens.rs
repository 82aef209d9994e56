//! Who signs what: issuers, their keys, and tokens of which it is known what is wrong with them.

use crate::scene::{ISSUER, Key, NOW, good_claims, key};
use crate::support::with;
use oidc_filter::jose::jwk::{JwkSet, KeySetOrigin};
use serde_json::{Value, json};
use std::sync::LazyLock;

/// The last two are tenants.
pub const ISSUERS: [&str; 5] = [
    ISSUER,
    "https://other.example",
    "https://third.example",
    "https://login.example/alpha/v2",
    "https://login.example/omega/v2",
];

pub const TEMPLATE: &str = "https://login.example/{tenant}/v2";
pub const TENANTS: [&str; 2] = ["alpha", "omega"];
pub const FIRST_TENANT: usize = 3;

/// The names of each issuer's keys; the names under which they are published are the same for all.
const SIGNERS: [[&str; 3]; 5] = [
    ["a1", "a2", "a3"],
    ["b1", "b2", "b3"],
    ["c1", "c2", "c3"],
    ["alpha1", "alpha2", "alpha3"],
    ["omega1", "omega2", "omega3"],
];
pub const KEY_IDS: [&str; 3] = ["k1", "k2", "k3"];

pub fn signer(issuer: usize, number: usize) -> Key {
    Key { kid: KEY_IDS[number], ..key(SIGNERS[issuer][number]) }
}

/// A neighbour, whose keys are not this issuer's: of a tenant, the other tenant.
fn neighbour(issuer: usize) -> usize {
    match issuer {
        FIRST_TENANT.. => FIRST_TENANT + 1 - (issuer - FIRST_TENANT),
        _ => (issuer + 1) % FIRST_TENANT,
    }
}

/// A JWT that was signed, and what is known about it.
pub struct Minted {
    pub text: String,
    /// The issuer that it names, and the key that signed it: another's, perhaps.
    pub issuer: usize,
    pub signer: (usize, usize),
    /// The key that it names.
    pub key_id: Option<String>,
    pub subject: String,
    pub claims: Value,
    pub not_before: u64,
    pub expires_at: u64,
    /// Nothing but its time and its key can be wrong with it.
    pub is_sound: bool,
    /// It is of use only to whoever has some other key, too.
    pub is_bound: bool,
}

pub static MINTED: LazyLock<Vec<Minted>> = LazyLock::new(|| {
    let mut minted: Vec<Minted> = Vec::new();
    let mut mint = |issuer: usize, signer_of: usize, number: usize, header: Value, claims: Value| {
        let subject = format!("jwt{}", minted.len());
        let base = json!({"iss": ISSUERS[issuer], "sub": subject, "iat": null, "exp": FAR_FUTURE});
        let claims = with(base, claims);
        let time = |name: &str| claims.get(name).and_then(Value::as_u64).unwrap_or_default();
        let own = json!({"kid": KEY_IDS[number]});
        minted.push(Minted {
            issuer,
            signer: (signer_of, number),
            key_id: with(own, header.clone()).get("kid").and_then(Value::as_str).map(str::to_owned),
            subject,
            not_before: time("nbf"),
            expires_at: time("exp"),
            is_sound: claims.get("aud").is_none() && claims.get("cnf").is_none() && header.get("typ").is_none(),
            is_bound: claims.get("cnf").is_some(),
            text: signer(signer_of, number).token_with(header, claims.clone()),
            claims: with(good_claims(), claims),
        });
    };
    for issuer in 0..ISSUERS.len() {
        for number in 0..KEY_IDS.len() {
            mint(issuer, issuer, number, json!({}), json!({}));
            mint(issuer, issuer, number, json!({"kid": null}), json!({"exp": NOW + 300}));
            mint(issuer, neighbour(issuer), number, json!({}), json!({}));
        }
        mint(issuer, issuer, 0, json!({}), json!({"nbf": NOW + 200}));
        mint(issuer, issuer, 0, json!({}), json!({"exp": NOW - 10}));
        mint(issuer, issuer, 0, json!({}), json!({"aud": "other"}));
        mint(issuer, issuer, 0, json!({}), json!({"cnf": {"jkt": "x"}}));
        mint(issuer, issuer, 0, json!({"typ": "logout+jwt"}), json!({}));
        mint(issuer, issuer, 0, json!({"kid": "unheard-of"}), json!({}));
    }
    minted
});

/// A good token of this issuer.
pub fn favourite(issuer: usize) -> &'static Minted {
    MINTED.iter().find(|minted| minted.issuer == issuer).unwrap()
}

pub const FAR_FUTURE: u64 = 4_000_000_000;

pub const OPAQUE: [&str; 6] = ["opaque0", "opaque1", "opaque2", "opaque3", "a.b.c", "worthless"];

pub fn inline_keys(issuer: usize) -> Vec<Value> {
    vec![signer(issuer, 0).jwk()]
}

pub fn key_set(keys: &[Value]) -> JwkSet {
    JwkSet::parse(json!({"keys": keys}).to_string().as_bytes(), KeySetOrigin::Inline).unwrap()
}
