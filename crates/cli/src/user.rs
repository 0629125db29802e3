//! What the other programs of the binary need to know of the user: credentials for registries, and secrets typed in.

use crate::config::ConfigFile;
use crate::image_ref::server_of_domain;
use crate::stream::terminal;

/// Credentials for a registry; empty when there are none.
#[derive(Debug, Default)]
pub struct Credentials {
    /// The user's name.
    pub username: String,
    /// The password.
    pub password: String,
    /// In place of the password, when the registry gave one.
    pub identity_token: String,
}

/// The credentials that `login` kept for a registry, by its name (`docker.io`).
///
/// # Errors
/// The reason, when the configuration or a helper cannot be used.
pub fn credentials(registry: &str) -> Result<Credentials, String> {
    let config = ConfigFile::load(&crate::app::config_dir(None)).map_err(|e| e.to_string())?;
    let auth = config.credentials(server_of_domain(registry)).map_err(|e| e.to_string())?;
    Ok(Credentials { username: auth.username, password: auth.password, identity_token: auth.identity_token })
}

/// A secret: typed in without being shown, or a line of standard input when that is no terminal.
pub fn secret(prompt: &str) -> Result<String, String> {
    if terminal::stdin_is_terminal() {
        return terminal::read_secret(prompt).map_err(|e| e.to_string());
    }
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).map_err(|e| format!("read the secret: {e}"))?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// Whether the user can be asked.
pub fn is_at_terminal() -> bool {
    terminal::stdin_is_terminal()
}
