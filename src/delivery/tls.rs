//! TLS to a receiver: whose word on who it is counts.

use std::io;
use std::path::Path;
use std::sync::Arc;

use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::{self, CertificateError, ClientConfig, RootCertStore};

use crate::delivery::bounded_file;

/// Bytes of a file of certificates, at most.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// TLS with the authorities in that file and no others, or with those that this system trusts.
pub(crate) fn connector(ca_file: Option<&Path>) -> Result<TlsConnector, String> {
    let roots = match ca_file {
        Some(path) => {
            roots_from_file(path).map_err(|error| format!("ca_file {}: {error}", path.display()))?
        }
        None => system_roots()?,
    };
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// What went wrong, with the mend where a person has one.
pub(crate) fn with_hint(error: io::Error) -> io::Error {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {
            io::Error::other(format!("{error}; name its authority by `ca_file`"))
        }
        _ => error,
    }
}

fn system_roots() -> Result<RootCertStore, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        return Err("this system has no trusted certificates; install `ca-certificates`, or set \
                    `ca_file` or SSL_CERT_FILE"
            .to_owned());
    }
    Ok(roots)
}

fn roots_from_file(path: &Path) -> io::Result<RootCertStore> {
    let (text, _) = bounded_file::read(path, MAX_FILE_BYTES)?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&text) {
        let certificate = certificate.map_err(|error| io::Error::other(error.to_string()))?;
        roots.add(certificate).map_err(io::Error::other)?;
    }
    if roots.is_empty() {
        return Err(io::Error::other("no certificate in PEM form (`-----BEGIN CERTIFICATE-----`)"));
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_names_no_authority_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        let refused = |path: &Path| connector(Some(path)).map(drop).unwrap_err();
        assert!(refused(&path).contains("No such file"));
        assert!(refused(folder.path()).contains("not a regular file"));
        for (text, why) in [
            (String::new(), "no certificate"),
            ("-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n".to_owned(), "base64"),
            ("x".repeat(2 << 20), "larger than 1048576 bytes"),
        ] {
            std::fs::write(&path, text).unwrap();
            assert!(refused(&path).contains(why), "{}", refused(&path));
        }
    }
}
