//! The server's certificate.

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use std::path::Path;
use std::sync::Arc;
use wharf_model::{Error, ErrorKind, Result};

/// An acceptor for a certificate chain and its key (PEM). With `clients`, only those may connect whose certificate
/// is signed by an authority in that file; with `optional`, those without a certificate, too.
///
/// # Errors
/// `Invalid` for files that cannot be read or do not belong together.
pub fn acceptor(
    certificate: &Path,
    key: &Path,
    clients: Option<&Path>,
    optional: bool,
) -> Result<tokio_rustls::TlsAcceptor> {
    let unreadable = |what: &str, path: &Path, e| {
        Error::wrap(ErrorKind::Invalid, format!("read the {what} {} (PEM is expected)", path.display()), e)
    };
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<std::result::Result<Vec<_>, _>>)
        .map_err(|e| unreadable("certificate", certificate, e))?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|e| unreadable("key", key, e))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let unusable = |e| {
        let text = format!("use the certificate {} with the key {}", certificate.display(), key.display());
        Error::wrap(ErrorKind::Invalid, text, e)
    };
    let builder = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(unusable)?;
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(file) => {
            let mut roots = RootCertStore::empty();
            let authorities = CertificateDer::pem_file_iter(file)
                .and_then(Iterator::collect::<std::result::Result<Vec<_>, _>>)
                .map_err(|e| unreadable("authority", file, e))?;
            for authority in authorities {
                roots.add(authority).map_err(unusable)?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            let verifier = if optional { verifier.allow_unauthenticated() } else { verifier };
            let verifier = verifier
                .build()
                .map_err(|e| Error::wrap(ErrorKind::Invalid, format!("use {}", file.display()), e))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let config = builder.with_single_cert(chain, private).map_err(unusable)?;
    Ok(Arc::new(config).into())
}
