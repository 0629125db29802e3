//! `login`.

use crate::context::{Context, line, note, print};
use crate::failure::{Failure, Outcome};
use crate::image_ref::{DEFAULT_SERVER, server_of_domain};
use crate::stream::terminal::{read_secret, stdin_is_terminal};
use std::io::Read;
use wharf_docker_api::client::Call;
use wharf_docker_api::types::system::{AuthConfig, AuthResponse};

/// Flags of `login`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Password or token
    #[arg(short = 'p', long, value_name = "string")]
    password: Option<String>,
    /// Read the password or token from standard input
    #[arg(long)]
    password_stdin: bool,
    /// Name of the user
    #[arg(short = 'u', long, value_name = "string")]
    username: Option<String>,
    #[arg(value_name = "SERVER", hide = true)]
    server: Option<String>,
}

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    if options.password.is_some() && options.password_stdin {
        return Err(Failure::new("--password and --password-stdin are mutually exclusive"));
    }
    if options.password_stdin && options.username.is_none() {
        return Err(Failure::new("must provide --username with --password-stdin"));
    }
    if options.password.is_some() {
        note("WARNING! Using --password via the CLI is insecure. Use --password-stdin.");
    }
    let mut config = context.config()?;
    let server = server_key(options.server.as_deref());
    let mut auth = AuthConfig { server_address: server.clone(), ..AuthConfig::default() };
    let known = config.credentials(&server)?;
    if options.username.is_none() && options.password.is_none() && !known.username.is_empty() {
        note("Authenticating with existing credentials...");
        auth = known;
    } else {
        auth.username = match &options.username {
            Some(name) => name.clone(),
            None => ask_name()?,
        };
        auth.password = match (&options.password, options.password_stdin) {
            (Some(password), _) => password.clone(),
            (None, true) => {
                let mut text = String::new();
                std::io::stdin().read_to_string(&mut text)?;
                text.trim_end_matches(['\r', '\n']).to_owned()
            }
            (None, false) if stdin_is_terminal() => read_secret("Password: ")?,
            (None, false) => {
                return Err(Failure::new("cannot perform an interactive login from a non TTY device"));
            }
        };
        if auth.password.is_empty() {
            return Err(Failure::new("password is required"));
        }
    }
    let answer: AuthResponse = context.client.json(Call::post("/auth").json(&auth)?).await?;
    if !answer.identity_token.is_empty() {
        auth.password = String::new();
        auth.identity_token = answer.identity_token;
    }
    auth.server_address = server;
    if config.keep(&auth)? {
        note(format!(
            "WARNING! Your credentials are stored unencrypted in '{}'.\nConfigure a credential helper to remove this warning.\n",
            context.config_dir.join("config.json").display()
        ));
    }
    if !answer.status.is_empty() {
        line(answer.status)?;
    }
    Ok(0)
}

/// The key that credentials are kept under.
pub(super) fn server_key(server: Option<&str>) -> String {
    let Some(server) = server else { return DEFAULT_SERVER.into() };
    let host = server.trim_start_matches("https://").trim_start_matches("http://");
    server_of_domain(host.split('/').next().unwrap_or(host)).to_owned()
}

fn ask_name() -> Result<String, Failure> {
    if !stdin_is_terminal() {
        return Err(Failure::new("cannot perform an interactive login from a non TTY device"));
    }
    print("Username: ")?;
    let mut name = String::new();
    std::io::stdin().read_line(&mut name)?;
    match name.trim() {
        "" => Err(Failure::new("username is required")),
        name => Ok(name.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys() {
        assert_eq!(server_key(None), DEFAULT_SERVER);
        assert_eq!(server_key(Some("docker.io")), DEFAULT_SERVER);
        assert_eq!(server_key(Some("https://127.0.0.1:5000/v2/")), "127.0.0.1:5000");
    }
}
