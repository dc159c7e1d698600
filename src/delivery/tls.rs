//! TLS to the receiver: which certificate authorities are trusted, and errors with their fix.
//! Verification itself is done by rustls.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::{self, CertificateError, ClientConfig, RootCertStore};

use crate::delivery::bounded_file;

/// Maximum size of the file of certificates in bytes; a larger one is an error.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Why TLS to the receiver is not possible.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    #[error(
        "the system has no trusted certificate authorities; install `ca-certificates`, or set \
         `ca_file` or SSL_CERT_FILE"
    )]
    NoSystemRoots,
    #[error("cannot read ca_file {}", .path.display())]
    ReadCaFile { path: PathBuf, source: io::Error },
    #[error("ca_file {} has an invalid certificate", .path.display())]
    InvalidCertificate { path: PathBuf, source: Box<dyn Error + Send + Sync> },
    #[error(
        "ca_file {} has no certificate in PEM form (`-----BEGIN CERTIFICATE-----`)",
        .path.display()
    )]
    NoCertificate { path: PathBuf },
    /// The fix is behind the cause, which therefore is part of this text.
    #[error("TLS handshake failed: {0}; set `ca_file` to the certificate of its authority")]
    UnknownIssuer(io::Error),
    #[error("TLS handshake failed")]
    Handshake(#[source] io::Error),
}

impl TlsError {
    /// Returns the error for a failed handshake.
    pub(crate) fn from_handshake(error: io::Error) -> Self {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match inner {
            Some(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {
                Self::UnknownIssuer(error)
            }
            _ => Self::Handshake(error),
        }
    }
}

/// Returns a connector that trusts only the authorities in `ca_file`, or those of the system if
/// there is none.
pub(crate) fn connector(ca_file: Option<&Path>) -> Result<TlsConnector, TlsError> {
    let roots = match ca_file {
        Some(path) => roots_from_file(path)?,
        None => system_roots()?,
    };
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

fn system_roots() -> Result<RootCertStore, TlsError> {
    let loaded = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(loaded.certs);
    if added == 0 {
        return Err(TlsError::NoSystemRoots);
    }
    Ok(roots)
}

fn roots_from_file(path: &Path) -> Result<RootCertStore, TlsError> {
    let (text, _) = bounded_file::read(path, MAX_FILE_BYTES)
        .map_err(|source| TlsError::ReadCaFile { path: path.into(), source })?;
    let invalid = |source| TlsError::InvalidCertificate { path: path.into(), source };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&text) {
        let certificate = certificate.map_err(|error| invalid(error.to_string().into()))?;
        roots.add(certificate).map_err(|error| invalid(error.into()))?;
    }
    if roots.is_empty() {
        return Err(TlsError::NoCertificate { path: path.into() });
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::error::error_chain;

    #[test]
    fn ca_file_without_a_valid_certificate_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ca.pem");
        let refused = |path: &Path| error_chain(&connector(Some(path)).map(drop).unwrap_err());
        assert!(refused(&path).contains("No such file"));
        assert!(refused(dir.path()).contains("not a regular file"));
        for (text, error) in [
            (String::new(), "no certificate"),
            ("-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n".to_owned(), "base64"),
            ("x".repeat(2 << 20), "larger than 1048576 bytes"),
        ] {
            std::fs::write(&path, text).unwrap();
            assert!(refused(&path).contains(error), "{}", refused(&path));
        }
    }
}
