//! Reads the certificate authorities of the broker and the database.

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::reader::Reader;

/// Takes `ca_file` of a section: certificate authorities in PEM, each of them checked. `instead` says why this address
/// uses none.
pub(super) fn take(reader: &mut Reader, section: &str, instead: Option<&str>) -> Option<String> {
    let path = reader.text(section, "ca_file")?;
    let key = format!("{section}.ca_file");
    let pem = reader.file(&key, &path)?;
    if let Some(why) = instead {
        reader.mistake(format!("{key}: {why}"));
    }
    match check(&pem) {
        Ok(()) => Some(pem),
        Err(why) => {
            reader.mistake(format!("{key}: {path} {why}"));
            None
        }
    }
}

fn check(pem: &str) -> Result<(), String> {
    let mut known = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.map_err(|error| format!("is not PEM: {error}"))?;
        known.add(certificate).map_err(|error| format!("holds a certificate that cannot be read: {error}"))?;
    }
    match known.is_empty() {
        true => Err("holds no certificate in PEM (-----BEGIN CERTIFICATE-----)".to_owned()),
        false => Ok(()),
    }
}
