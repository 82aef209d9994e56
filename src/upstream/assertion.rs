//! A short signed JWT of chosen claims: who is asking, for whom that is meant, good for a minute.
//!
//! The invariants: what is signed was proved, or is the operator's word, and nothing of it is a client's. It ends no later than
//! the token. What was signed for one token and place is never written for another. What doesn't fit is an error, never cut.

mod kept;
mod payload;

use crate::config::Assertion;
use crate::jose::signing::{AssertionResult, AssertionUse, AssertionUses, MAX_USES};
use crate::jose::verifier::{Backend, Verifier};
use crate::time::Timestamp;
use crate::upstream::identity::{Identity, MAX_VALUE_BYTES};
use crate::upstream::rewrite::Rewrite;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kept::KeptAssertion;
pub use kept::KeptAssertions;
use payload::{chosen_claims, payload};
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

/// Why an assertion could not be written.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Error {
    /// The token lacks this claim, which is required.
    Missing(String),
    /// It is this long, for this header, and this claim takes most of it.
    TooLarge {
        /// The header.
        header: Rc<str>,
        /// Bytes, as written.
        size: usize,
        /// The largest claim.
        claim: String,
    },
    /// Nobody can sign it.
    CannotSign(Rc<str>),
    /// There is no id for it that nobody can foretell.
    NoRandomness(Rc<str>),
}

impl Error {
    /// What the operator is to mend; `None` for what only the token lacks.
    pub fn problem(&self) -> Option<String> {
        match self {
            Self::Missing(_) => None,
            Self::TooLarge { header, size, claim } => Some(format!(
                "{header}: an assertion of {size} bytes is too long to be written; most of it is the claim {}: leave it out of \
                 `assertion.claims`, or choose from it with `any_of`",
                claim.escape_default()
            )),
            Self::CannotSign(header) => Some(format!(
                "{header}: the host has not signed an assertion with the RSA key; put an EC P-256 or Ed25519 key first in \
                 `assertion.keys`, with which the filter signs by itself"
            )),
            Self::NoRandomness(header) => Some(format!(
                "{header}: the host has no randomness, and so an assertion has no id (`jti`); Envoy has it: run the filter there"
            )),
        }
    }
}

/// What an identity rests on beside its token: another basis is another identity.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Basis([u8; 32]);

impl Basis {
    /// The basis that what somebody said makes.
    pub fn of(said: &[u8]) -> Self {
        Self(blake3::hash(said).into())
    }

    /// That of both together.
    pub fn and(&self, other: &Self) -> Self {
        Self(blake3::hash(&[self.0, other.0].concat()).into())
    }
}

/// Who a request is from: a token's subject, or nobody in particular.
#[derive(Clone, Copy)]
pub enum Principal<'c> {
    /// The subject of a token, which ends then.
    Subject(Identity<'c>, Basis),
    /// One who needed no token.
    Anonymous,
}

impl Principal<'_> {
    /// Where its token was, and what else it rests on.
    fn about(&self) -> (&'static str, Basis) {
        match self {
            Self::Subject(identity, basis) => (identity.location, *basis),
            Self::Anonymous => ("", Basis::default()),
        }
    }
}

/// What signs: the host or this module, and the source of ids that no assertion had before.
pub struct Signer<'s> {
    /// Who does the arithmetic.
    pub verifier: &'s Verifier,
    /// Values of `jti`.
    pub ids: &'s JwtIds,
    /// The time.
    pub now: Timestamp,
}

/// Values of `jti` (RFC 7519, section 4.1.7) that never come twice: 96 bits each, which only who knows the seed can foretell.
#[derive(Default)]
pub struct JwtIds {
    seed: Option<[u8; 32]>,
    count: Cell<u64>,
}

impl JwtIds {
    /// Ids by a seed that nobody else has; without a seed, there are none.
    pub fn of(seed: Option<[u8; 32]>) -> Self {
        Self { seed, count: Cell::new(0) }
    }

    fn next(&self) -> Option<String> {
        let seed = self.seed.as_ref()?;
        let count = self.count.get();
        self.count.set(count.wrapping_add(1));
        let hash = blake3::keyed_hash(seed, &count.to_le_bytes());
        let (id, _) = hash.as_bytes().split_at(ID_BYTES);
        Some(URL_SAFE_NO_PAD.encode(id))
    }
}

/// What was written.
#[derive(Debug, Default)]
pub struct Written {
    /// What was done for each.
    pub uses: AssertionUses,
    /// How many more bytes are kept than ever before.
    pub grown: usize,
}

/// Writes the assertions of a policy about one request, until one can't be written. `kept` are those of the same token, or of nobody.
pub fn write(
    assertions: &[Rc<Assertion>],
    principal: Principal,
    kept: &KeptAssertions,
    signer: &Signer,
    rewrite: &mut Rewrite,
) -> (Written, Result<(), Error>) {
    let mut written = Written::default();
    let about = principal.about();
    let wanted =
        assertions.iter().filter(|assertion| assertion.anonymous || matches!(principal, Principal::Subject(..)));
    for (assertion, use_) in wanted.zip(0..MAX_USES) {
        let algorithm = assertion.keys.signing.algorithm();
        let reused = kept.get(assertion, about, signer.now, |kept| (kept.value.to_vec(), kept.backend));
        let (value, backend, result) = match reused {
            Some((value, backend)) => (value, backend, AssertionResult::Reused),
            None => match sign(assertion, principal, signer) {
                Ok(signed) => {
                    let (value, backend) = (signed.value.to_vec(), signed.backend);
                    written.grown = written.grown.saturating_add(kept.put(signed, signer.now));
                    (value, backend, AssertionResult::Signed)
                }
                Err(error) => {
                    if let (Error::CannotSign(_) | Error::NoRandomness(_), Some(place)) =
                        (&error, written.uses.get_mut(use_))
                    {
                        *place =
                            Some(AssertionUse { algorithm, backend: Backend::Host, result: AssertionResult::Failed });
                    }
                    return (written, Err(error));
                }
            },
        };
        if let Some(place) = written.uses.get_mut(use_) {
            *place = Some(AssertionUse { algorithm, backend, result });
        }
        rewrite.set_header(&assertion.header, value);
    }
    (written, Ok(()))
}

/// Whether the claims do for all assertions: what [`write()`] would say of them, but for who signs. Nothing is signed.
pub fn check(assertions: &[Rc<Assertion>], identity: Identity) -> Result<(), Error> {
    assertions.iter().try_for_each(|assertion| chosen_claims(assertion, identity.claims.object()).map(|_| ()))
}

fn sign(assertion: &Rc<Assertion>, principal: Principal, signer: &Signer) -> Result<KeptAssertion, Error> {
    let Signer { verifier, ids, now } = signer;
    let issued = Timestamp::from_unix_seconds(now.unix_seconds());
    let wanted = issued.saturating_add(assertion.lifetime);
    let end = match principal {
        Principal::Subject(identity, _) => identity.claims.expires_at().map_or(wanted, |end| wanted.min(end)),
        Principal::Anonymous => wanted,
    };
    let id = ids.next().ok_or_else(|| Error::NoRandomness(Rc::clone(&assertion.header)))?;
    let payload = payload(assertion, principal, id, issued, end)?;
    let signed = assertion.keys.signing.jwt(&assertion.token_type, &payload, verifier);
    let signed = signed.ok_or_else(|| Error::CannotSign(Rc::clone(&assertion.header)))?;
    let value = match &assertion.scheme {
        Some(scheme) => format!("{scheme} {}", signed.jwt),
        None => signed.jwt,
    };
    if value.len() > MAX_VALUE_BYTES {
        let sizes = payload.iter().map(|(name, value)| (value.to_string().len(), name.clone()));
        let claim = sizes.max().map(|(_, name)| name).unwrap_or_default();
        return Err(Error::TooLarge { header: Rc::clone(&assertion.header), size: value.len(), claim });
    }
    let margin = assertion.lifetime.checked_div(4).unwrap_or_default().max(MIN_MARGIN);
    // One that ends with its token gets no better by being signed again.
    let until = if end < wanted { end } else { end.saturating_sub(margin) };
    let (location, basis) = principal.about();
    let value = value.into_bytes().into_boxed_slice();
    Ok(KeptAssertion { of: Rc::clone(assertion), location, basis, value, backend: signed.backend, issued, until })
}

/// A service sees at least this much of an assertion's life, unless that is shorter, or the token's.
const MIN_MARGIN: Duration = Duration::from_secs(5);

/// 96 bits.
const ID_BYTES: usize = 12;

#[cfg(test)]
mod tests {
    use super::kept::MAX_KEPT_BYTES;
    use super::*;
    use crate::config::Config;
    use crate::jose::claims::ClaimMapping;
    use crate::jose::jws::CompactJws;
    use crate::jose::jwt::Claims;
    use crate::json::{self, Value};

    const START: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);

    /// The assertions of a configuration with these members beside issuer, audience and key.
    fn assertions(members: &str) -> Rc<[Rc<Assertion>]> {
        let text = format!(
            r#"{{"providers":{{"issuer":"https://idp.example.com","audiences":"a"}},"assertion":{{"issuer":"https://edge","audience":"b","keys":{{"kty":"OKP","crv":"Ed25519","kid":"k","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"}}{members}}}}}"#
        );
        let config = Config::read(text.as_bytes(), &|_: &str| None).unwrap();
        Rc::clone(&config.policy.assertions)
    }

    fn claims(text: &str) -> Claims {
        Claims::from_answer(json::parse_object(text.as_bytes()).unwrap())
            .unwrap()
            .mapped(&ClaimMapping::default())
            .unwrap()
    }

    struct Stage {
        assertions: Rc<[Rc<Assertion>]>,
        kept: KeptAssertions,
        ids: JwtIds,
    }

    impl Stage {
        fn new(members: &str) -> Self {
            Self { assertions: assertions(members), kept: KeptAssertions::default(), ids: JwtIds::of(Some([7; 32])) }
        }

        fn write(&self, principal: Principal, seconds: u64) -> Result<(Option<String>, Written), Error> {
            let signer = Signer {
                verifier: &Verifier::default(),
                ids: &self.ids,
                now: START.saturating_add(Duration::from_secs(seconds)),
            };
            let mut rewrite = Rewrite::default();
            let (written, result) = write(&self.assertions, principal, &self.kept, &signer, &mut rewrite);
            result?;
            let value = rewrite.into_headers().pop().map(|(_, value)| String::from_utf8(value).unwrap());
            Ok((value, written))
        }

        /// The payload, whose signature is right, and whether it was signed just now.
        fn told(
            &self,
            claims: &Claims,
            location: &'static str,
            seconds: u64,
        ) -> Result<(String, AssertionResult), Error> {
            let identity = Identity { claims, provider: "idp", issuer: "https://idp.example.com", location };
            let (value, written) = self.write(Principal::Subject(identity, Basis::default()), seconds)?;
            Ok((payload(&self.assertions[0], &value.unwrap()), written.uses[0].unwrap().result))
        }
    }

    fn payload(assertion: &Assertion, jwt: &str) -> String {
        let jws = CompactJws::parse(jwt).unwrap();
        let key = assertion.keys.signing.verifying();
        let payload = jws.verify(std::iter::once(key), &Verifier::default()).ok().unwrap();
        String::from_utf8(payload.octets().to_vec()).unwrap()
    }

    #[test]
    fn members_stand_in_order_and_keep_their_types() {
        let stage = Stage::new(
            r#","claims":["groups",{"name":"n","claim":"big"},{"name":"role","path":"a.b","prefix":"r:"},{"name":"fixed","value":{"x":[1.50,null]}},
            {"name":"none","claim":"nope"},{"name":"other","claim":"nope","default":[]}],"not_before":true"#,
        );
        let claims = claims(r#"{"sub":"ann","groups":["b","a"],"big":18446744073709551617,"a":{"b":["x",1]}}"#);
        let (payload, result) = stage.told(&claims, "header", 0).unwrap();
        assert_eq!(result, AssertionResult::Signed);
        let (before, after) = payload.split_once(r#""jti":""#).unwrap();
        assert_eq!(
            before,
            r#"{"aud":"b","auth":"header","exp":1800000060,"fixed":{"x":[1.50,null]},"groups":["b","a"],"iat":1800000000,"idp":"https://idp.example.com","iss":"https://edge","#
        );
        let (name, after) = after.split_at(16);
        assert!(URL_SAFE_NO_PAD.decode(name).is_ok_and(|name| name.len() == ID_BYTES));
        assert_eq!(after, r#"","n":18446744073709551617,"nbf":1800000000,"other":[],"role":["r:x",1],"sub":"ann"}"#);
    }

    #[test]
    fn one_signature_serves_until_a_quarter_is_left() {
        let stage = Stage::new("");
        let claims = claims(r#"{"sub":"ann"}"#);
        let (first, _) = stage.told(&claims, "header", 0).unwrap();
        for seconds in [0, 10, 44] {
            assert_eq!(stage.told(&claims, "header", seconds), Ok((first.clone(), AssertionResult::Reused)));
        }
        let (second, result) = stage.told(&claims, "header", 45).unwrap();
        assert!(second != first && result == AssertionResult::Signed);
        // A clock that went back ends it, too.
        assert_eq!(stage.told(&claims, "header", 44).unwrap().1, AssertionResult::Signed);
        // Another place is another word.
        assert_eq!(stage.told(&claims, "cookie", 44).unwrap().1, AssertionResult::Signed);
        assert_eq!(stage.told(&claims, "header", 45).unwrap().1, AssertionResult::Reused);
    }

    #[test]
    fn it_ends_with_its_token_and_is_not_signed_again_for_that() {
        let stage = Stage::new("");
        let claims = claims(r#"{"sub":"ann","exp":1800000020}"#);
        let (first, _) = stage.told(&claims, "header", 0).unwrap();
        assert!(first.contains(r#""exp":1800000020"#));
        assert_eq!(stage.told(&claims, "header", 19).unwrap(), (first, AssertionResult::Reused));
        assert_eq!(stage.told(&claims, "header", 20).unwrap().1, AssertionResult::Signed);
    }

    #[test]
    fn what_is_missing() {
        let claims_ = claims(r#"{"sub":"ann","groups":["a","b","c"],"one":"a","n":5}"#);
        let told = |members: &str| Stage::new(members).told(&claims_, "header", 0).map(|(payload, _)| payload);
        let claim = |member: &str| format!(r#","claims":{{"name":"x",{member}}}"#);
        for (member, expected) in [
            (r#""claim":"groups","any_of":["b","x"]"#, Some(r#""x":["b"]"#)),
            (r#""claim":"groups","any_of":["x"]"#, Some(r#""x":[]"#)),
            (r#""claim":"one","any_of":["a"]"#, Some(r#""x":"a""#)),
            (r#""claim":"one","any_of":["x"]"#, None),
            (r#""claim":"one","any_of":["x"],"default":"y""#, Some(r#""x":"y""#)),
            (r#""claim":"n","any_of":["5"]"#, None),
            (r#""claims":["nope","n"]"#, Some(r#""x":5"#)),
            (r#""claim":"groups","transformers":[{"matches":"^a$","replaces":"z"}]"#, Some(r#""x":["z","b","c"]"#)),
        ] {
            let payload = told(&claim(member)).unwrap();
            assert_eq!(expected.is_some(), payload.contains(r#""x":"#), "{member}: {payload}");
            assert!(expected.is_none_or(|expected| payload.contains(expected)), "{member}: {payload}");
        }
        let missing = |name: &str| Err(Error::Missing(name.to_owned()));
        assert_eq!(told(&claim(r#""claim":"nope","required":true"#)), missing("x"));
        assert_eq!(told(&claim(r#""claim":"one","any_of":["x"],"required":true"#)), missing("x"));
        assert_eq!(told(r#","subject":"nope""#), missing("sub"));
        assert_eq!(told(r#","subject":"groups""#), missing("sub"));
        assert!(told(r#","subject":["nope","n"]"#).unwrap().contains(r#""sub":"5""#));
        // Another spelling of a number would be another subject.
        let odd = claims(r#"{"sub":"ann","n":5.0,"e":5e0,"minus":-5,"yes":true}"#);
        for name in ["n", "e", "minus", "yes"] {
            let stage = Stage::new(&format!(r#","subject":"{name}""#));
            assert_eq!(stage.told(&odd, "header", 0).unwrap_err(), Error::Missing("sub".to_owned()), "{name}");
        }
        let origin = told(r#","origin":false"#).unwrap();
        assert!(!origin.contains("idp") && !origin.contains("auth"));
    }

    #[test]
    fn what_is_too_long_is_named_and_not_kept() {
        let groups: Vec<String> = (0..600).map(|number| format!("{number:040}")).collect();
        let stage = Stage::new(r#","claims":["groups","x"]"#);
        let claims = claims(&format!(r#"{{"sub":"ann","x":"y","groups":{}}}"#, Value::from(groups)));
        match stage.told(&claims, "header", 0) {
            Err(Error::TooLarge { header, size, claim }) => {
                assert!(size > 30_000);
                assert_eq!((&*header, claim.as_str()), ("x-oidc-assertion", "groups"));
            }
            other => panic!("{other:?}"),
        }
        assert!(stage.kept.assertions.borrow().is_empty());
    }

    #[test]
    fn one_token_keeps_8_kilobytes_at_most() {
        let stage = Stage::new(r#","claims":["x"]"#);
        let claims = claims(&format!(r#"{{"sub":"ann","x":"{}"}}"#, "x".repeat(4000)));
        let locations = ["header", "cookie", "query_string", "metadata"];
        for location in locations {
            stage.told(&claims, location, 0).unwrap();
        }
        let results = locations.map(|location| stage.told(&claims, location, 1).unwrap().1);
        assert_eq!(results.iter().filter(|result| **result == AssertionResult::Reused).count(), 1);
        let size: usize = stage.kept.assertions.borrow().iter().map(KeptAssertion::size).sum();
        assert!(size <= MAX_KEPT_BYTES && size == stage.kept.counted.get());
    }

    /// AST-25: what is dropped and signed again is not counted again, however long the token lives: it would drive out others.
    #[test]
    fn a_token_is_counted_for_what_it_keeps() {
        let stage = Stage::new("");
        let claims = claims(r#"{"sub":"ann"}"#);
        let mut counted = 0;
        for minute in 0..1000 {
            for location in ["header", "cookie"] {
                let identity =
                    Identity { claims: &claims, provider: "idp", issuer: "https://idp.example.com", location };
                let (_, written) = stage.write(Principal::Subject(identity, Basis::default()), minute * 60).unwrap();
                counted += written.grown;
            }
        }
        let size: usize = stage.kept.assertions.borrow().iter().map(KeptAssertion::size).sum();
        assert_eq!((counted, stage.kept.counted.get()), (size, size));
    }

    #[test]
    fn nobody_in_particular_has_no_subject() {
        let stage = Stage::new(
            r#","anonymous":true,"claims":[{"name":"x","value":1}],"header":"x-principal","scheme":"Assertion""#,
        );
        let (value, written) = stage.write(Principal::Anonymous, 0).unwrap();
        let payload = payload(&stage.assertions[0], value.unwrap().strip_prefix("Assertion ").unwrap());
        assert!(payload.starts_with(
            r#"{"anonymous":true,"aud":"b","exp":1800000060,"iat":1800000000,"iss":"https://edge","jti":""#
        ));
        assert!(!payload.contains("sub") && !payload.contains(r#""x""#) && !payload.contains("auth"));
        assert_eq!(written.uses[0].unwrap().result, AssertionResult::Signed);
        assert_eq!(stage.write(Principal::Anonymous, 1).unwrap().1.uses[0].unwrap().result, AssertionResult::Reused);
        assert_eq!(Stage::new("").write(Principal::Anonymous, 0).unwrap().0, None);
    }

    #[test]
    fn no_name_is_given_twice() {
        let mut given: Vec<String> = Vec::new();
        for seed in [[1; 32], [2; 32]] {
            let ids = JwtIds::of(Some(seed));
            given.extend((0..10_000).map(|_| ids.next().unwrap()));
        }
        assert_eq!(JwtIds::default().next(), None);
        let count = given.len();
        given.sort();
        given.dedup();
        assert_eq!(given.len(), count);
    }
}
