//! The host key a server shows, without logging in.

use crate::locking::lock;
use crate::wire::{BoxStream, Carrier, Wire};
use russh::client::{Config, Handler, connect_stream};
use russh::keys::{HashAlg, PublicKeyOrCertificate};
use std::sync::{Arc, Mutex};

/// Takes the key down and goes.
struct Looker(Arc<Mutex<Option<String>>>);

impl Handler for Looker {
    type Error = russh::Error;

    async fn check_server_key(
        &mut self,
        key: &PublicKeyOrCertificate,
    ) -> Result<bool, russh::Error> {
        let fingerprint = match key {
            PublicKeyOrCertificate::PublicKey { key, .. } => key.fingerprint(HashAlg::Sha256),
            PublicKeyOrCertificate::Certificate(certificate) => {
                certificate.public_key().fingerprint(HashAlg::Sha256)
            }
        };
        let mut seen = lock(&self.0);
        *seen = Some(fingerprint.to_string());
        Ok(false)
    }
}

/// `SHA256:…` of the key of the server at the other end; none if it shows none.
pub async fn host_key_of(stream: BoxStream) -> Option<String> {
    let seen = Arc::<Mutex<Option<String>>>::default();
    let (wire, _kill) = Wire::new(Carrier::Other(stream));
    // It always fails: we do not accept the key.
    let _ = connect_stream(Arc::new(Config::default()), wire, Looker(seen.clone())).await;
    let mut seen = lock(&seen);
    seen.take()
}
