//! Algorithm names to what russh has, in our own order of preference.
//!
//! Post-quantum key exchange first, AES-GCM before ChaCha20 (machines have AES instructions),
//! no SHA-1 signatures unless a list names them. A list that leaves nothing is an error that names both sides.

use crate::error::{Error, ErrorKind, Phase};
use crate::host_key;
use crate::plan::Algorithms;
use russh::keys::{Algorithm, EcdsaCurve, HashAlg, PublicKeyOrCertificate};
use russh::{Preferred, cipher, compression, kex, mac};
use std::borrow::Cow;

const KEX: &[kex::Name] = &[
    kex::MLKEM768X25519_SHA256,
    kex::CURVE25519,
    kex::CURVE25519_PRE_RFC_8731,
    kex::ECDH_SHA2_NISTP256,
    kex::ECDH_SHA2_NISTP384,
    kex::ECDH_SHA2_NISTP521,
    kex::DH_GEX_SHA256,
    kex::DH_G18_SHA512,
    kex::DH_G16_SHA512,
    kex::DH_G14_SHA256,
];

/// Only if a list names them, as in ssh: SHA-1 and CBC, for old devices.
const KEX_ON_REQUEST: &[kex::Name] = &[kex::DH_G14_SHA1, kex::DH_GEX_SHA1, kex::DH_G1_SHA1];
const CIPHERS_ON_REQUEST: &[cipher::Name] =
    &[cipher::AES_128_CBC, cipher::AES_192_CBC, cipher::AES_256_CBC];

/// Announced beside the key exchanges: extensions and strict key exchange.
const KEX_MARKS: &[kex::Name] =
    &[kex::EXTENSION_SUPPORT_AS_CLIENT, kex::EXTENSION_OPENSSH_STRICT_KEX_AS_CLIENT];

const CIPHERS: &[cipher::Name] = &[
    cipher::AES_128_GCM,
    cipher::AES_256_GCM,
    cipher::CHACHA20_POLY1305,
    cipher::AES_128_CTR,
    cipher::AES_192_CTR,
    cipher::AES_256_CTR,
];

const MACS: &[mac::Name] = &[
    mac::HMAC_SHA256_ETM,
    mac::HMAC_SHA512_ETM,
    mac::HMAC_SHA256,
    mac::HMAC_SHA512,
    mac::HMAC_SHA1_ETM,
    mac::HMAC_SHA1,
];

const KEYS: &[Algorithm] = &[
    Algorithm::Ed25519,
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 },
    Algorithm::Rsa { hash: Some(HashAlg::Sha512) },
    Algorithm::Rsa { hash: Some(HashAlg::Sha256) },
];

/// `ssh-rsa`: signatures with SHA-1.
const KEYS_ON_REQUEST: &[Algorithm] = &[Algorithm::Rsa { hash: None }];

/// What russh offers for a plan. `host_keys` are the key algorithms to offer in order (from the
/// plan, or known ones first); names of certificate algorithms among them announce certificates.
///
/// # Errors
/// Phase handshake, no common algorithm: a list of which we support nothing.
pub(crate) fn preferred(wanted: &Algorithms, host_keys: &[String]) -> Result<Preferred, Error> {
    let mut kex = select("KexAlgorithms", [KEX, KEX_ON_REQUEST], &wanted.kex)?;
    kex.extend_from_slice(KEX_MARKS);
    let (certificates, plain): (Vec<String>, Vec<String>) =
        host_keys.iter().cloned().partition(|name| name.contains("-cert-v01@"));
    let of_name = |name: &String| KEYS_WITH_CERTIFICATES.iter().find(|(ours, _)| ours == name);
    let host_key_certificates: Vec<Algorithm> =
        certificates.iter().filter_map(of_name).map(|(_, algorithm)| algorithm.clone()).collect();
    let key = match (plain.is_empty(), host_key_certificates.is_empty()) {
        (true, false) => Vec::new(),
        // Certificates of kinds we do not have are not "no preference".
        (true, true) if !host_keys.is_empty() => select_keys(host_keys)?,
        _ => select_keys(&plain)?,
    };
    Ok(Preferred {
        kex: Cow::Owned(kex),
        key: Cow::Owned(key),
        host_key_certificates: Cow::Owned(host_key_certificates),
        cipher: Cow::Owned(select("Ciphers", [CIPHERS, CIPHERS_ON_REQUEST], &wanted.ciphers)?),
        mac: Cow::Owned(select("MACs", [MACS, &[]], &wanted.macs)?),
        compression: match wanted.compression {
            true => {
                Cow::Borrowed(&[compression::ZLIB_LEGACY, compression::ZLIB, compression::NONE])
            }
            // As ssh: for a server that insists on it.
            false => Cow::Borrowed(&[compression::NONE, compression::ZLIB_LEGACY]),
        },
    })
}

const KEYS_WITH_CERTIFICATES: &[(&str, Algorithm)] = &[
    ("ssh-ed25519-cert-v01@openssh.com", Algorithm::Ed25519),
    ("ecdsa-sha2-nistp256-cert-v01@openssh.com", Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 }),
    ("ecdsa-sha2-nistp384-cert-v01@openssh.com", Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 }),
    ("ecdsa-sha2-nistp521-cert-v01@openssh.com", Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 }),
    ("rsa-sha2-512-cert-v01@openssh.com", Algorithm::Rsa { hash: Some(HashAlg::Sha512) }),
    ("rsa-sha2-256-cert-v01@openssh.com", Algorithm::Rsa { hash: Some(HashAlg::Sha256) }),
    // Only announced if a list names it.
    ("ssh-rsa-cert-v01@openssh.com", Algorithm::Rsa { hash: None }),
];

/// A list names this kind of host key; an empty one names all. A server may agree on one kind and
/// then show another.
pub(crate) fn names(offered: &[String], key: &PublicKeyOrCertificate) -> bool {
    let certificate = key.certificate().is_some();
    let of_its_form = offered.iter().filter(|name| name.contains("-cert-v01@") == certificate);
    let kinds: Vec<String> =
        of_its_form.map(|name| name.replace("-cert-v01@openssh.com", "")).collect();
    offered.is_empty() || !kinds.is_empty() && host_key::is_wanted(&kinds, &key.public_key())
}

fn select_keys(wanted: &[String]) -> Result<Vec<Algorithm>, Error> {
    if wanted.is_empty() {
        return Ok(KEYS.to_vec());
    }
    let ours = || KEYS.iter().chain(KEYS_ON_REQUEST);
    let chosen: Vec<Algorithm> =
        wanted.iter().filter_map(|name| ours().find(|k| k.as_str() == name)).cloned().collect();
    match chosen.is_empty() {
        true => {
            let ours = ours().map(|k| k.as_str().to_owned());
            Err(nothing_left("HostKeyAlgorithms", wanted, ours))
        }
        false => Ok(chosen),
    }
}

/// What is wanted of the usual ones and those on request; the usual ones if nothing is wanted.
fn select<N: Copy + AsRef<str>>(
    keyword: &'static str,
    [usual, on_request]: [&[N]; 2],
    wanted: &[String],
) -> Result<Vec<N>, Error> {
    if wanted.is_empty() {
        return Ok(usual.to_vec());
    }
    let ours = || usual.iter().chain(on_request);
    let chosen: Vec<N> =
        wanted.iter().filter_map(|w| ours().find(|n| n.as_ref() == w)).copied().collect();
    match chosen.is_empty() {
        true => Err(nothing_left(keyword, wanted, ours().map(|n| n.as_ref().to_owned()))),
        false => Ok(chosen),
    }
}

fn nothing_left(
    keyword: &'static str,
    wanted: &[String],
    ours: impl Iterator<Item = String>,
) -> Error {
    let supported = ours.collect::<Vec<_>>().join(",");
    let wanted = wanted.join(",");
    Error::new(Phase::Handshake, ErrorKind::NoSupportedAlgorithm { keyword, wanted, supported })
}

#[cfg(test)]
mod tests {
    use super::*;
    use russh::keys::PublicKey;

    #[test]
    fn certificates_are_offered_in_the_order_of_the_list() {
        let names = ["rsa-sha2-256-cert-v01@openssh.com", "ssh-ed25519-cert-v01@openssh.com"];
        for names in [names, [names[1], names[0]]] {
            let list = names.map(str::to_owned);
            let offered = preferred(&Algorithms::default(), &list).unwrap().host_key_certificates;
            let offered: Vec<_> = offered.iter().map(Algorithm::to_certificate_type).collect();
            assert_eq!(offered, names);
        }
    }

    #[test]
    fn a_key_of_a_kind_that_no_list_names() {
        let text =
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
        let key = PublicKey::from_openssh(text).unwrap().into();
        for (offered, want) in [
            (&[][..], true),
            (&["rsa-sha2-512", "ssh-ed25519"], true),
            (&["rsa-sha2-512"], false),
            (&["ssh-ed25519-cert-v01@openssh.com"], false),
            (&["ssh-ed25519-cert-v01@openssh.com", "ecdsa-sha2-nistp256"], false),
        ] {
            let offered: Vec<String> = offered.iter().map(|name| (*name).to_owned()).collect();
            assert_eq!(names(&offered, &key), want, "{offered:?}");
        }
    }
}
