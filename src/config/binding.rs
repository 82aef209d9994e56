//! The part of the configuration that says how bound tokens are proved: `dpop` (RFC 9449) and `certificate_bound` (RFC 8705).
//!
//! The invariant: what is left out opens nothing. A token that is bound is refused where its binding isn't checked.

use super::fields::Fields;
use super::output::header_name;
use super::{Error, Secret};
use crate::http::uri::Origin;
use crate::jose::jwk::Algorithm;
use std::rc::Rc;
use std::time::Duration;

/// Whether tokens of a kind must be bound.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum BindingMode {
    /// Bound tokens are refused: nobody checks the binding.
    #[default]
    Off,
    /// A bound token needs its proof; others pass as bearer tokens.
    Opportunistic,
    /// Only bound tokens pass.
    Required,
}

/// How DPoP proofs are checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Dpop {
    /// Which tokens need them.
    pub mode: BindingMode,
    /// The origins under which clients know the services behind.
    pub origins: Rc<[Origin]>,
    /// How old a proof may be.
    pub proof_lifetime: Duration,
    /// How much a client's clock may differ, either way.
    pub clock_skew: Duration,
    /// Whether proofs have nonces.
    pub nonce: NonceMode,
    /// What proofs may be signed with.
    pub algorithms: Rc<[Algorithm]>,
    /// The proof stays on the request.
    pub forward_proof: bool,
    /// The token goes on as a bearer token.
    pub forward_as_bearer: bool,
}

/// Whether proofs have nonces (RFC 9449, section 9).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum NonceMode {
    /// None is offered, and none is looked at.
    Off,
    /// They are offered, and must be ours where they are sent.
    #[default]
    Optional,
    /// Each proof has one.
    Required,
}

/// How proofs are remembered, and what nonces are made with: one for the whole filter.
#[derive(Clone, Debug)]
pub struct DpopStore {
    /// How many proofs are remembered at a time.
    pub capacity: usize,
    /// What happens when there are more.
    pub when_full: WhenFull,
    /// The secrets of nonces: the first makes them, all know them. None: one that the process draws.
    pub nonce_secrets: Vec<Secret>,
    /// How long a nonce is good.
    pub nonce_lifetime: Duration,
}

/// What happens to a proof that there is no room to remember.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum WhenFull {
    /// The oldest is forgotten for it, and what is not younger than that is refused.
    #[default]
    Shrink,
    /// It is refused.
    Refuse,
}

/// How certificate-bound tokens are checked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CertificateBound {
    /// Which tokens need the certificate.
    pub mode: BindingMode,
    /// The header in which a proxy before Envoy tells the client's certificate; `None` for that of Envoy's own connection.
    pub header: Option<Rc<str>>,
}

impl Dpop {
    /// `dpop` of the top level, with what only that may say.
    pub(super) fn top(fields: &mut Fields) -> Result<(Option<Rc<Self>>, DpopStore), Error> {
        let Some(mut dpop) = fields.object("dpop")? else { return Ok((None, DpopStore::default())) };
        dpop.allow_only(&[FIELDS, &["replay"]].concat())?;
        let mut store = DpopStore::default();
        if let Some(replay) = dpop.object("replay")? {
            store.read_replay(replay)?;
        }
        let settings = Self::read(&mut dpop, None, Some(&mut store))?;
        dpop.finish()?;
        Ok((Some(Rc::new(settings)), store))
    }

    /// `dpop` of a rule: what it leaves out is as at the top level.
    pub(super) fn overridden(fields: &mut Fields, base: Option<&Rc<Self>>) -> Result<Option<Rc<Self>>, Error> {
        let Some(mut dpop) = fields.object("dpop")? else { return Ok(base.cloned()) };
        if dpop.has("replay") {
            return Err(dpop.error("replay", "only at the top level: all rules share one memory"));
        }
        dpop.allow_only(FIELDS)?;
        let settings = Self::read(&mut dpop, base.map(Rc::as_ref), None)?;
        dpop.finish()?;
        Ok(Some(Rc::new(settings)))
    }

    fn read(fields: &mut Fields, base: Option<&Self>, store: Option<&mut DpopStore>) -> Result<Self, Error> {
        let mode = mode(fields)?;
        let mode = mode.unwrap_or_else(|| base.map_or(BindingMode::Opportunistic, |base| base.mode));
        let origins = match fields.strings("origins")? {
            Some(texts) => {
                let origins: Option<Vec<Origin>> = texts.iter().map(|text| Origin::parse(text)).collect();
                let problem = "must be origins as clients write them: https://api.example.com, without a path and without a \
                               slash at the end";
                Rc::from(origins.filter(|all| !all.is_empty()).ok_or_else(|| fields.error("origins", problem))?)
            }
            None => base.map(|base| Rc::clone(&base.origins)).unwrap_or_default(),
        };
        if origins.is_empty() && mode != BindingMode::Off {
            let problem = "required: the origins under which clients know this service, such as https://api.example.com; what \
                           they send in Host or X-Forwarded-* proves nothing";
            return Err(fields.error("origins", problem));
        }
        let lifetime = fields.duration("proof_lifetime")?;
        if lifetime.is_some_and(|lifetime| !(SECOND..=MAX_LIFETIME).contains(&lifetime)) {
            return Err(fields.error("proof_lifetime", "must be from 1s to 10m"));
        }
        let skew = fields.duration("clock_skew")?;
        if skew.is_some_and(|skew| skew > MAX_SKEW) {
            return Err(fields.error("clock_skew", "must be from 0s to 5m"));
        }
        let nonce = nonce(fields, store)?;
        let algorithms = match fields.strings("algorithms")? {
            Some(names) => {
                let algorithms: Option<Vec<Algorithm>> = names.iter().map(|name| asymmetric(name)).collect();
                let problem = "must be asymmetric algorithms (RFC 9449, section 4.2): ES256, ES384, ES512, EdDSA, PS256, \
                               PS384, PS512, RS256, RS384 or RS512";
                Rc::from(algorithms.filter(|all| !all.is_empty()).ok_or_else(|| fields.error("algorithms", problem))?)
            }
            None => base.map_or_else(|| Rc::from(Algorithm::ASYMMETRIC), |base| Rc::clone(&base.algorithms)),
        };
        let forward_as_bearer = match fields.string("forward_as")?.as_deref() {
            None => base.is_some_and(|base| base.forward_as_bearer),
            Some("bearer") => true,
            Some("dpop") => false,
            Some(_) => return Err(fields.error("forward_as", "expected dpop or bearer")),
        };
        let forward_proof = fields.boolean("forward_proof")?;
        let forward_proof = forward_proof.unwrap_or_else(|| base.is_some_and(|base| base.forward_proof));
        if forward_as_bearer && forward_proof {
            let problem = "not with forward_as: bearer; a service that checks proofs needs the token as it was sent";
            return Err(fields.error("forward_proof", problem));
        }
        Ok(Self {
            mode,
            origins,
            proof_lifetime: lifetime.unwrap_or_else(|| base.map_or(LIFETIME, |base| base.proof_lifetime)),
            clock_skew: skew.unwrap_or_else(|| base.map_or(SKEW, |base| base.clock_skew)),
            nonce: nonce.unwrap_or_else(|| base.map_or(NonceMode::default(), |base| base.nonce)),
            algorithms,
            forward_proof,
            forward_as_bearer,
        })
    }

    /// How old a proof may be by our clock.
    pub fn window(&self) -> Duration {
        self.proof_lifetime.saturating_add(self.clock_skew)
    }

    /// Whether clients are given nonces.
    pub fn offers_nonces(&self) -> bool {
        self.mode != BindingMode::Off && self.nonce != NonceMode::Off
    }

    /// What a challenge says of the algorithms (RFC 9449, section 7.1).
    pub fn algorithm_names(&self) -> String {
        self.algorithms.iter().map(|algorithm| algorithm.name()).collect::<Vec<_>>().join(" ")
    }
}

impl Default for DpopStore {
    fn default() -> Self {
        Self {
            capacity: CAPACITY,
            when_full: WhenFull::default(),
            nonce_secrets: Vec::new(),
            nonce_lifetime: NONCE_LIFETIME,
        }
    }
}

impl DpopStore {
    fn read_replay(&mut self, mut fields: Fields) -> Result<(), Error> {
        fields.allow_only(&["capacity", "when_full"])?;
        if let Some(capacity) = fields.integer("capacity")? {
            let capacity = usize::try_from(capacity).ok().filter(|capacity| CAPACITIES.contains(capacity));
            let problem = format!("must be from {} to {} proofs", CAPACITIES.start(), CAPACITIES.end());
            self.capacity = capacity.ok_or_else(|| fields.error("capacity", problem))?;
        }
        self.when_full = match fields.string("when_full")?.as_deref() {
            None | Some("shrink") => WhenFull::Shrink,
            Some("refuse") => WhenFull::Refuse,
            Some(_) => return Err(fields.error("when_full", "expected shrink or refuse")),
        };
        fields.finish()
    }
}

impl CertificateBound {
    /// `certificate_bound`.
    pub(super) fn overridden(fields: &mut Fields, base: Option<&Rc<Self>>) -> Result<Option<Rc<Self>>, Error> {
        let Some(mut bound) = fields.object("certificate_bound")? else { return Ok(base.cloned()) };
        bound.allow_only(&["mode", "header"])?;
        let mode = mode(&mut bound)?;
        let header = match bound.string("header")? {
            Some(name) => Some(header_name(&bound, "header", &name)?),
            None => base.and_then(|base| base.header.clone()),
        };
        bound.finish()?;
        let mode = mode.unwrap_or_else(|| base.map_or(BindingMode::Opportunistic, |base| base.mode));
        Ok(Some(Rc::new(Self { mode, header })))
    }
}

fn mode(fields: &mut Fields) -> Result<Option<BindingMode>, Error> {
    match fields.string("mode")?.as_deref() {
        None => Ok(None),
        Some("off") => Ok(Some(BindingMode::Off)),
        Some("opportunistic") => Ok(Some(BindingMode::Opportunistic)),
        Some("required") => Ok(Some(BindingMode::Required)),
        Some(_) => Err(fields.error("mode", "expected off, opportunistic or required")),
    }
}

/// `nonce`: a word, or an object with `mode` and, at the top level, what all nonces are made with.
fn nonce(fields: &mut Fields, store: Option<&mut DpopStore>) -> Result<Option<NonceMode>, Error> {
    if !fields.is_object("nonce") {
        let word = fields.string("nonce")?;
        return word.map(|word| nonce_mode(fields, "nonce", &word)).transpose();
    }
    let Some(mut nonce) = fields.object("nonce")? else { return Ok(None) };
    nonce.allow_only(&["mode", "lifetime", "secrets"])?;
    let mode = nonce.string("mode")?.map(|word| nonce_mode(&nonce, "mode", &word)).transpose()?;
    let (lifetime, secrets) = (nonce.duration("lifetime")?, nonce.strings("secrets")?);
    match store {
        None => {
            let stray = lifetime.map(|_| "lifetime").or(secrets.map(|_| "secrets"));
            if let Some(stray) = stray {
                return Err(nonce.error(stray, "only at the top level: all rules share their nonces"));
            }
        }
        Some(store) => {
            if let Some(lifetime) = lifetime {
                if !(MIN_NONCE_LIFETIME..=MAX_NONCE_LIFETIME).contains(&lifetime) {
                    return Err(nonce.error("lifetime", "must be from 10s to 1h"));
                }
                store.nonce_lifetime = lifetime;
            }
            if let Some(secrets) = secrets {
                if secrets.is_empty() || secrets.iter().any(|secret| secret.len() < MIN_SECRET_BYTES) {
                    let problem = "must be texts of 32 bytes or more, such as `openssl rand -base64 32` gives; the first makes \
                                   nonces, the others are known for a while";
                    return Err(nonce.error("secrets", problem));
                }
                store.nonce_secrets = secrets.into_iter().map(Secret::new).collect();
            }
        }
    }
    nonce.finish()?;
    Ok(mode)
}

fn nonce_mode(fields: &Fields, field: &str, word: &str) -> Result<NonceMode, Error> {
    match word {
        "off" => Ok(NonceMode::Off),
        "optional" => Ok(NonceMode::Optional),
        "required" => Ok(NonceMode::Required),
        _ => Err(fields.error(field, "expected off, optional or required")),
    }
}

fn asymmetric(name: &str) -> Option<Algorithm> {
    Algorithm::from_name(name).filter(|algorithm| Algorithm::ASYMMETRIC.contains(algorithm))
}

const FIELDS: &[&str] =
    &["mode", "origins", "proof_lifetime", "clock_skew", "nonce", "algorithms", "forward_proof", "forward_as"];

const SECOND: Duration = Duration::from_secs(1);

/// RFC 9449, section 11.1: seconds or minutes.
const LIFETIME: Duration = Duration::from_secs(60);
const MAX_LIFETIME: Duration = Duration::from_secs(600);

/// A client whose clock differs more can be given a nonce, but has to mend its clock.
const SKEW: Duration = Duration::from_secs(10);
const MAX_SKEW: Duration = Duration::from_secs(300);

const NONCE_LIFETIME: Duration = Duration::from_secs(300);
const MIN_NONCE_LIFETIME: Duration = Duration::from_secs(10);
const MAX_NONCE_LIFETIME: Duration = Duration::from_secs(3600);

/// As long as what the tag is made of.
const MIN_SECRET_BYTES: usize = 32;

/// Proofs of 80 seconds at three thousand a second; 6 MiB of Envoy's memory when they are there.
const CAPACITY: usize = 1 << 18;

/// The most is what the slots have room for, with 8 KiB in each.
const CAPACITIES: std::ops::RangeInclusive<usize> = 4096..=1_392_640;
