//! How every script ends: first nobody answers any more, then all is well again.

use super::tokens::{FAR_FUTURE, ISSUERS, favourite, signer};
use super::{HOUR, World};
use crate::scene::*;
use oidc_filter::time::Timestamp;
use serde_json::{Value, json};
use std::time::Duration;

impl World {
    pub fn nobody_answers_any_more(&mut self) {
        // Near the end of time no time goes by.
        if self.scene.now() > Timestamp::from_unix_seconds(FAR_FUTURE - 1_000_000) {
            self.scene.set_clock(Timestamp::from_unix_seconds(NOW));
            self.set_backs += 1;
        }
        let end = self.scene.now().saturating_add(Duration::from_secs(130));
        let mut ticks = 0;
        while self.scene.now() < end {
            let next = self.scene.filter.next_tick(self.scene.now());
            self.scene.set_clock(self.scene.now().saturating_add(next));
            self.scene.only_tick();
            self.look();
            ticks += 1;
            assert!(ticks < 500, "the timer runs hot");
        }
        assert!(self.undecided.is_empty(), "somebody still waits");
    }

    pub fn all_is_well_again(&mut self) {
        for (number, issuer) in ISSUERS.iter().enumerate() {
            let provider = &mut self.scene.provider;
            provider.add_issuer(issuer, &[signer(number, 0).jwk()]);
            provider.serve(&format!("{issuer}/first/jwks"), says_json(json!({"keys": [signer(number, 0).jwk()]})));
            provider.serve(&format!("{issuer}/first/introspect"), Answer::Introspects("token"));
            provider.serve(&format!("{issuer}/first/userinfo"), Answer::TellsUser);
        }
        let top = self.laws.policy(0).clone();
        if let Some(authorizer) = top["external_authorization"]["uri"].as_str() {
            self.scene.provider.serve(authorizer, status(204));
        }
        // What a provider said of its keys, and of its dislike for strangers, is believed for so long; and so is an authorizer.
        self.scene.set_clock(self.scene.now().saturating_add(HOUR * 2));
        // Two pauses: keys are not found before the metadata say anew where they are.
        self.scene.pass_seconds(40);
        let down: Vec<_> = self.scene.filter.endpoint_facts().filter(|(.., is_up)| !is_up).collect();
        assert!(down.is_empty(), "{down:?}");
        for number in 0..self.issuers.len() {
            self.good_tokens_pass(number, &top);
        }
    }

    fn good_tokens_pass(&mut self, number: usize, top: &Value) {
        let issuer = &self.issuers[number];
        let is_theirs = |source: &&Value| source["provider"].as_str().is_none_or(|name| name == issuer.config.name);
        let Some(source) = self.sources.iter().find(is_theirs).cloned() else { return };
        let jwt = &favourite(issuer.home).text;
        let named =
            |other: &usize| source["provider"].as_str().is_none_or(|name| name == self.issuers[*other].config.name);
        let trusted: Vec<usize> = (0..self.issuers.len()).filter(named).collect();
        let is_taken = self.taker(&trusted) == Some(number) && issuer.config.is_online();
        let heard = active(json!({"iss": ISSUERS[issuer.home], "exp": FAR_FUTURE}));
        for token in [Some(jwt.as_str()), is_taken.then_some("opaque0")].into_iter().flatten() {
            self.scene.provider.tokens.insert(token.to_owned(), heard.clone());
            self.scene.provider.users.insert(token.to_owned(), json!({"sub": "ann"}));
            let ask = match (source["location"].as_str(), source["key"].as_str()) {
                (Some("cookie"), _) => get("/").header("cookie", format!("t={token}")),
                (_, Some("x-token")) => get("/").header("x-token", token).metadata(None),
                _ => get("/").bearer(token),
            };
            let seen = self.scene.send(ask);
            let Seen::Upstream(upstream) = &seen else { panic!("{token}: {seen:?}\n{top}") };
            assert_eq!(upstream.result, "allowed", "{token}: {upstream:?}\n{top}");
            self.ends.healed += 1;
        }
    }
}
