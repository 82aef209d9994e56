//! What a client, a provider and the filter say to each other: one file for each document or message of OAuth 2.0.

pub mod certificate;
pub mod client_assertion;
pub mod client_authentication;
pub mod credentials;
pub mod diagnosis;
pub mod dpop;
pub mod introspection;
pub mod metadata;
pub mod protected_resource;
pub mod token_exchange;
pub mod userinfo;
