//! Which certificates are trusted: the system's, and those given for one server.

mod pinned;

use pinned::Pinned;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;
use wharf_model::{Error, ErrorKind, Result};

/// Where distributions keep the certificates of all authorities in one file.
const BUNDLES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Whom a client trusts, and what it shows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trust {
    /// Files with authorities besides the system's.
    pub authorities: Vec<PathBuf>,
    /// Our own certificate with its key.
    pub own: Option<(PathBuf, PathBuf)>,
    /// Any certificate is taken.
    pub unverified: bool,
}

impl Trust {
    /// Reads the files.
    ///
    /// # Errors
    /// `Invalid` when one cannot be read or is no certificate.
    pub fn config(&self) -> Result<Arc<ClientConfig>> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let unusable = |e| Error::wrap(ErrorKind::Invalid, "set up TLS", e);
        let builder =
            ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
        let builder = builder.map_err(unusable)?;
        let builder = if self.unverified {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Unverified(provider)))
        } else {
            let roots = Arc::new(roots(&self.authorities)?);
            let usual = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider)).build();
            let usual = usual.map_err(|e| Error::wrap(ErrorKind::Invalid, "set up TLS", e))?;
            let mut trusted = Vec::new();
            for file in &self.authorities {
                trusted.extend(pem(file)?);
            }
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Pinned { usual, trusted }))
        };
        let config = match &self.own {
            None => builder.with_no_client_auth(),
            Some((certificate, key_path)) => {
                let key = PrivateKeyDer::from_pem_file(key_path).map_err(|e| unreadable(key_path, e))?;
                builder.with_client_auth_cert(pem(certificate)?, key).map_err(unusable)?
            }
        };
        Ok(Arc::new(config))
    }
}

/// Trust for one registry. `certs_dir/<host>/` holds `*.crt` (authorities) and `*.cert` with `*.key` (our own
/// certificate), as Docker has it.
pub(super) fn config(certs_dir: &Path, host: &str, verify: bool) -> Result<Arc<ClientConfig>> {
    let files = files(&certs_dir.join(host))?;
    let named = |extension: &str| {
        let matching = files.iter().filter(|f| f.extension().is_some_and(|e| e == extension));
        matching.cloned().collect::<Vec<_>>()
    };
    let own = named("cert").into_iter().next();
    let trust = Trust {
        authorities: named("crt"),
        own: own.map(|certificate| (certificate.clone(), certificate.with_extension("key"))),
        unverified: !verify,
    };
    let with_host = |e: Error| Error::wrap(e.kind(), format!("set up TLS for {host}"), e);
    trust.config().map_err(with_host)
}

/// What changes when somebody changes the certificates of a registry.
pub(super) type Stamp = Vec<(PathBuf, Option<SystemTime>)>;

/// As it is now.
pub(super) fn stamp(certs_dir: &Path, host: &str) -> Result<Stamp> {
    let modified = |path: &PathBuf| std::fs::metadata(path).and_then(|m| m.modified()).ok();
    Ok(files(&certs_dir.join(host))?.into_iter().map(|path| (path.clone(), modified(&path))).collect())
}

fn roots(files: &[PathBuf]) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let env = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
    let bundle = env.into_iter().chain(BUNDLES.map(PathBuf::from)).find(|path| path.is_file());
    match bundle {
        // Systems carry certificates nobody can use; the others still count.
        Some(path) => drop(roots.add_parsable_certificates(pem(&path)?)),
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
    }
    for file in files {
        for certificate in pem(file)? {
            roots.add(certificate).map_err(|e| unreadable(file, e))?;
        }
    }
    Ok(roots)
}

fn pem(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    CertificateDer::pem_file_iter(path).and_then(Iterator::collect).map_err(|e| unreadable(path, e))
}

fn unreadable(path: &Path, error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::wrap(ErrorKind::Invalid, format!("read {} (PEM is expected)", path.display()), error)
}

fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    match std::fs::read_dir(dir) {
        Err(e) if matches!(e.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => {
            Ok(Vec::new())
        }
        entries => {
            let failed = |e| Error::wrap(ErrorKind::Internal, format!("list {}", dir.display()), e);
            let mut files = Vec::new();
            for entry in entries.map_err(failed)? {
                files.push(entry.map_err(failed)?.path());
            }
            files.sort();
            Ok(files)
        }
    }
}

/// Takes any certificate: for servers a person has called insecure.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(
            message,
            certificate,
            signed,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(
            message,
            certificate,
            signed,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
