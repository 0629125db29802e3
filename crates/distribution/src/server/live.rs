//! What can change while the registry serves: everything that comes of the settings.

use super::access::Access;
use super::audit::Audit;
use super::auth::Auth;
use super::limits::Limits;
use super::mirrors::Upstream;
use super::replicas::Copies;
use super::settings::Settings;
use super::tls::acceptor;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use wharf_model::Result;
use wharf_signing::policy::Policy;

/// One state of the settings, with the files open that they name.
pub(super) struct Live {
    pub(super) settings: Settings,
    pub(super) access: Access,
    pub(super) auth: Auth,
    pub(super) audit: Option<Audit>,
    pub(super) limits: Option<Limits>,
    pub(super) upstreams: Vec<Upstream>,
    pub(super) copies: Vec<Copies>,
    pub(super) signatures: Policy,
    pub(super) tls: Option<tokio_rustls::TlsAcceptor>,
    /// The files that are read once, and when they were last changed.
    files: HashMap<PathBuf, Option<SystemTime>>,
}

impl Live {
    /// Opens what the settings name. Without `keep` nothing is written below the root.
    pub(super) fn open(settings: Settings, root: &Path, keep: bool) -> Result<Self> {
        let access = Access::new(&settings);
        let mut files: Vec<PathBuf> = Vec::new();
        let tls = match &settings.tls {
            None => None,
            Some(tls) => {
                files.extend([tls.certificate.clone(), tls.key.clone()]);
                files.extend(tls.client_ca.clone());
                let clients = tls.client_ca.as_deref();
                Some(acceptor(&tls.certificate, &tls.key, clients, tls.client_optional)?)
            }
        };
        files.extend(Policy::files(&settings.signatures).cloned());
        files.extend(settings.auth.trust.as_ref().map(|trust| trust.keys.clone()));
        let files =
            files.into_iter().map(|file| (modified(&file), file)).map(|(time, file)| (file, time)).collect();
        Ok(Self {
            auth: Auth::open(&settings, &access, root, keep)?,
            audit: settings.audit_log.as_deref().map(Audit::open).transpose()?,
            limits: settings.rate_limit.map(Limits::new),
            copies: settings.replicas.iter().map(Copies::open).collect::<Result<_>>()?,
            upstreams: settings.mirrors.iter().map(Upstream::open).collect::<Result<_>>()?,
            signatures: Policy::open(&settings.signatures)?,
            access,
            tls,
            settings,
            files,
        })
    }

    /// Whether a file was changed since it was read.
    pub(super) fn is_outdated(&self) -> bool {
        self.files.iter().any(|(file, time)| modified(file) != *time)
    }
}

fn modified(file: &Path) -> Option<SystemTime> {
    std::fs::metadata(file).and_then(|m| m.modified()).ok()
}
