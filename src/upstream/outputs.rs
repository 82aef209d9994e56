//! What an identity becomes under a policy, and where that is kept with the token: the same claims give the same bytes, for as long
//! as the token is good.
//!
//! The invariant: what is kept depends on the token, the policy's outputs and the kind of place that the token was in, and on
//! nothing else of the request.

use super::rewrite::Rewrite;
use crate::config::{ClaimHeader, Policy, UserInfoOutput};
use crate::http::{Edit, Field};
use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;

/// All that is written about an identity.
#[derive(Default)]
pub struct Outputs {
    /// Headers of the request.
    pub headers: Vec<Field>,
    /// Its cookies, by name.
    pub cookies: Vec<(Rc<str>, String)>,
    /// Parameters of its query, by name.
    pub parameters: Vec<(Rc<str>, String)>,
    /// What is not of the request.
    pub aside: ResponseOutputs,
}

/// What is written beside the request itself.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct ResponseOutputs {
    /// Changes of the response's headers, whoever gives it.
    pub response_edits: Vec<Edit>,
    /// Filter state: key and serialised `google.protobuf.Struct`.
    pub filter_state: Vec<(String, Vec<u8>)>,
}

impl Outputs {
    /// Writes them to a request; what is left goes beside it.
    pub fn write(&self, rewrite: &mut Rewrite) -> ResponseOutputs {
        rewrite.set_headers(&self.headers);
        self.cookies.iter().for_each(|(name, value)| rewrite.add_cookie(name, value.clone()));
        self.parameters.iter().for_each(|(name, value)| rewrite.add_parameter(name, value.clone()));
        self.aside.clone()
    }

    /// How much memory they hold, in bytes, rounded up.
    fn memory_size(&self) -> usize {
        let ResponseOutputs { response_edits, filter_state } = &self.aside;
        let headers = self.headers.iter().map(|(_, value)| value.len());
        let texts = self.cookies.iter().chain(&self.parameters).map(|(_, value)| value.len());
        let state = filter_state.iter().map(|(key, value)| key.len().saturating_add(value.len()));
        let all = headers.chain(texts).chain(response_edits.iter().map(size)).chain(state);
        all.fold(size_of::<Self>(), |sum, size| sum.saturating_add(size).saturating_add(PART_SIZE))
    }
}

/// The outputs of one token, under the policies that it came under.
#[derive(Default)]
pub struct KeptOutputs {
    all: RefCell<Vec<Kept>>,
    /// How much memory they hold, in bytes.
    size: Cell<usize>,
}

struct Kept {
    claim_headers: Rc<[ClaimHeader]>,
    user_info: Rc<[UserInfoOutput]>,
    location: &'static str,
    outputs: Rc<Outputs>,
}

fn size(edit: &Edit) -> usize {
    match edit {
        Edit::Remove(name) => name.len(),
        Edit::Set(_, value) | Edit::Add(_, value) => value.len(),
    }
}

impl KeptOutputs {
    /// Those of a policy, or of another one that writes the same, for a token in this kind of place.
    pub fn get(&self, policy: &Policy, location: &str) -> Option<Rc<Outputs>> {
        let all = self.all.try_borrow().ok()?;
        let kept = all.iter().find(|kept| {
            Rc::ptr_eq(&kept.claim_headers, &policy.claim_headers)
                && Rc::ptr_eq(&kept.user_info, &policy.user_info)
                && kept.location == location
        });
        kept.map(|kept| Rc::clone(&kept.outputs))
    }

    /// Keeps them, if there is room. By how many bytes that is more than before.
    pub fn put(&self, policy: &Policy, location: &'static str, outputs: &Rc<Outputs>) -> usize {
        let (size, held) = (outputs.memory_size(), self.size.get());
        let Ok(mut all) = self.all.try_borrow_mut() else { return 0 };
        let sum = held.saturating_add(size);
        if sum > MAX_KEPT_BYTES {
            return 0;
        }
        self.size.set(sum);
        all.push(Kept {
            claim_headers: Rc::clone(&policy.claim_headers),
            user_info: Rc::clone(&policy.user_info),
            location,
            outputs: Rc::clone(outputs),
        });
        size
    }
}

/// Without values, which are claims.
impl fmt::Debug for KeptOutputs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeptOutputs")
    }
}

/// As much as the rest of a token's entry has on average when the cache is full: longer outputs are made again each time, which costs
/// less than to verify again the signatures of those that would have to make room.
const MAX_KEPT_BYTES: usize = 2048;

/// What one part of them takes beside its bytes, rounded up.
const PART_SIZE: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn policy() -> Policy {
        let config = br#"{"provider": "https://idp.example.com", "claim_headers": {"header": "x", "claim": "sub"}}"#;
        Policy::clone(&Config::read(config, &|_: &str| None).unwrap().policy)
    }

    fn outputs(length: usize) -> Rc<Outputs> {
        Rc::new(Outputs { headers: vec![("x".into(), vec![b'a'; length])], ..Outputs::default() })
    }

    /// CCH-08.
    #[test]
    fn what_is_kept_of_a_token_is_counted_and_bounded() {
        let kept = KeptOutputs::default();
        let mut counted = 0;
        let policies: Vec<Policy> = (0..100).map(|_| policy()).collect();
        for policy in &policies {
            let grown = kept.put(policy, "header", &outputs(300));
            assert_eq!(kept.get(policy, "header").is_some(), grown > 300);
            counted += grown;
        }
        assert!((1_500..=MAX_KEPT_BYTES).contains(&counted), "{counted}");
        assert_eq!(KeptOutputs::default().put(&policies[0], "header", &outputs(MAX_KEPT_BYTES)), 0);
    }

    #[test]
    fn it_is_found_under_its_own_policy_and_place() {
        let (kept, one, other) = (KeptOutputs::default(), policy(), policy());
        kept.put(&one, "header", &outputs(1));
        let inherited = Policy { forward: false, ..one.clone() };
        let [here, elsewhere] = ["header", "cookie"];
        assert!(kept.get(&one, here).is_some() && kept.get(&inherited, here).is_some());
        assert!(kept.get(&one, elsewhere).is_none() && kept.get(&other, here).is_none());
    }
}
