//! Envoy's cryptography.

use super::abi;
use crate::ports::Cryptography;
use crate::protobuf;

/// The BoringSSL of Envoy, behind its foreign functions `verify_signature` (since 1.31) and `sign` (since 1.37).
pub struct BoringSsl;

impl Cryptography for BoringSsl {
    fn verify(&self, hash: &str, spki: &[u8], message: &[u8], signature: &[u8]) -> Option<bool> {
        let mut arguments = Vec::with_capacity(spki.len().saturating_add(message.len()).saturating_add(SIGNATURE_ROOM));
        protobuf::write_bytes(&mut arguments, 1, hash.as_bytes());
        protobuf::write_bytes(&mut arguments, 2, spki);
        protobuf::write_bytes(&mut arguments, 3, signature);
        protobuf::write_bytes(&mut arguments, 4, message);
        let answer = abi::call_foreign("verify_signature", &arguments).ok()?;
        // VerifySignatureResult { bool result = 1; string error = 2 }, without an error.
        Some(answer == [1 << 3, 1])
    }

    fn sign(&self, hash: &str, pkcs8: &[u8], message: &[u8]) -> Option<Vec<u8>> {
        let mut arguments =
            Vec::with_capacity(pkcs8.len().saturating_add(message.len()).saturating_add(SIGNATURE_ROOM));
        protobuf::write_bytes(&mut arguments, 1, hash.as_bytes());
        protobuf::write_bytes(&mut arguments, 2, pkcs8);
        protobuf::write_bytes(&mut arguments, 3, message);
        let answer = abi::call_foreign("sign", &arguments).ok()?;
        // SignResult { bool result = 1; bytes signature = 2; string error = 3 }.
        protobuf::read_bytes(&answer, 2).map(<[u8]>::to_vec)
    }
}

/// For the largest signature (RSA 8192), the hash's name and the fields' tags.
const SIGNATURE_ROOM: usize = 1024 + 64;
