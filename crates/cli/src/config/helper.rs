//! Credential helpers: programs `docker-credential-…` that the user's configuration names.

use crate::failure::Failure;
use serde_json::{Value, json};
use std::io::Write;
use std::process::{Command, Stdio};
use wharf_docker_api::types::system::AuthConfig;

/// The user name that marks an identity token.
const TOKEN_USER: &str = "<token>";

/// The credentials for a server; empty ones when the helper has none.
pub(super) fn get(helper: &str, server: &str) -> Result<AuthConfig, Failure> {
    let output = match run(helper, "get", server) {
        Ok(output) => output,
        Err(failure) if failure.message.contains("credentials not found") => return Ok(AuthConfig::default()),
        Err(failure) => return Err(failure),
    };
    let answer: Value = serde_json::from_str(&output)
        .map_err(|e| Failure::new(format!("docker-credential-{helper} answered {output:?}: {e}")))?;
    let text = |key: &str| answer.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut auth = AuthConfig { server_address: server.to_owned(), ..AuthConfig::default() };
    if text("Username") == TOKEN_USER {
        auth.identity_token = text("Secret");
    } else {
        auth.username = text("Username");
        auth.password = text("Secret");
    }
    Ok(auth)
}

/// Gives the helper credentials to keep.
pub(super) fn store(helper: &str, auth: &AuthConfig) -> Result<(), Failure> {
    let (user, secret) = if auth.identity_token.is_empty() {
        (auth.username.as_str(), &auth.password)
    } else {
        (TOKEN_USER, &auth.identity_token)
    };
    let message = json!({"ServerURL": auth.server_address, "Username": user, "Secret": secret});
    run(helper, "store", &message.to_string()).map(|_| ())
}

/// Makes the helper forget.
pub(super) fn erase(helper: &str, server: &str) -> Result<(), Failure> {
    run(helper, "erase", server).map(|_| ())
}

fn run(helper: &str, action: &str, input: &str) -> Result<String, Failure> {
    let program = format!("docker-credential-{helper}");
    let failed = |error: std::io::Error| {
        Failure::new(format!(
            "run {program}, which the configuration names: {error}: install it or remove its name"
        ))
    };
    let mut child = Command::new(&program)
        .arg(action)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes()).map_err(failed)?;
    }
    let output = child.wait_with_output().map_err(failed)?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if output.status.success() { Ok(text) } else { Err(Failure::new(format!("{program} {action}: {text}"))) }
}
