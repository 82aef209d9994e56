//! JSON Object Signing and Encryption: RFC 7515 to RFC 7519, RFC 7638, RFC 7800, RFC 8037. Nothing here knows a request or a provider.

pub mod claims;
pub mod confirmation;
pub mod jwk;
pub mod jws;
pub mod jwt;
pub mod signing;
pub mod verifier;
