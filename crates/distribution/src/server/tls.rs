//! The server's certificate.

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::path::Path;
use std::sync::Arc;
use wharf_model::{Error, ErrorKind, Result};

/// An acceptor for a certificate chain and its key.
pub(super) fn acceptor(certificate: &Path, key: &Path) -> Result<tokio_rustls::TlsAcceptor> {
    let unreadable = |what: &str, path: &Path, e| {
        Error::wrap(ErrorKind::Invalid, format!("read the {what} {} (PEM is expected)", path.display()), e)
    };
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<std::result::Result<Vec<_>, _>>)
        .map_err(|e| unreadable("certificate", certificate, e))?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|e| unreadable("key", key, e))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, private))
        .map_err(|e| {
            let text =
                format!("use the certificate {} with the key {}", certificate.display(), key.display());
            Error::wrap(ErrorKind::Invalid, text, e)
        })?;
    Ok(Arc::new(config).into())
}
