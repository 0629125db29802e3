//! Token servers as registries have them, each of its own kind.
#![allow(clippy::unwrap_used)]

mod bad;

use bad::{Asked, Bad, Reply, answer, download, me, refused, serve};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use std::sync::atomic::{AtomicUsize, Ordering};
use wharf_distribution::client::{Credentials, Mount};
use wharf_model::ErrorKind;
use wharf_oci::digest::Digest;

const INDEX: &[u8] = br#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json"}"#;

/// A registry whose token server is answered for by `token`; content is for `Bearer good…` only.
async fn registry(token: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Bad {
    serve(move |asked| {
        if asked.line().contains("/token") {
            return token(asked);
        }
        if asked.header("authorization").is_some_and(|value| value.starts_with("Bearer good")) {
            return answer("200 OK", &["Content-Type: application/vnd.oci.image.index.v1+json"], INDEX);
        }
        challenge(asked)
    })
    .await
}

fn challenge(asked: &Asked) -> Reply {
    let host = asked.header("host").unwrap();
    let header = format!(
        "WWW-Authenticate: Bearer realm=\"http://{host}/token\",service=\"reg, istry\",scope=\"repository:a:pull\""
    );
    answer("401 Unauthorized", &[&header], b"")
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}")))
}

#[tokio::test]
async fn by_query_with_a_password() {
    // Docker Hub and Harbor say `token`, GHCR and Quay too, others `access_token`.
    for answered in [r#"{"token":"good","expires_in":300}"#, r#"{"access_token":"good"}"#] {
        let bad = registry(move |asked| {
            let line = asked.line();
            assert!(
                line.starts_with("GET /token?service=reg%2C%20istry&scope=repository%3Aa%3Apull&"),
                "{line}"
            );
            assert!(line.contains("account=me"), "{line}");
            assert_eq!(asked.header("authorization"), Some(&basic("me", "secret")[..]));
            answer("200 OK", &[], answered.as_bytes())
        })
        .await;
        let repository = bad.repository_as(me());
        repository.manifest("v1").await.unwrap();
        repository.manifest("v2").await.unwrap();
        let tokens = bad.seen().iter().filter(|head| head.contains("/token")).count();
        assert_eq!(tokens, 1, "it is kept");
    }
}

#[tokio::test]
async fn as_nobody() {
    let bad = registry(|asked| {
        assert_eq!(asked.header("authorization"), None);
        assert!(!asked.line().contains("account="));
        answer("200 OK", &[], br#"{"token":"good"}"#)
    })
    .await;
    bad.repository().manifest("v1").await.unwrap();
}

#[tokio::test]
async fn by_form() {
    // An identity token; and a password where the server knows no queries.
    let bad = registry(|asked| {
        assert!(asked.line().starts_with("POST /token "), "{}", asked.line());
        assert!(
            asked.body.starts_with("grant_type=refresh_token&refresh_token=kept%2Ftoken&"),
            "{}",
            asked.body
        );
        assert!(asked.body.contains("scope=repository%3Aa%3Apull"), "{}", asked.body);
        answer("200 OK", &[], br#"{"access_token":"good","refresh_token":"next"}"#)
    })
    .await;
    bad.repository_as(Credentials::IdentityToken("kept/token".into())).manifest("v1").await.unwrap();
    let bad = registry(|asked| {
        if asked.line().starts_with("GET") {
            return answer("405 Method Not Allowed", &[], b"");
        }
        assert!(asked.body.contains("grant_type=password") && asked.body.contains("password=secret"));
        answer("200 OK", &[], br#"{"access_token":"good"}"#)
    })
    .await;
    bad.repository_as(me()).manifest("v1").await.unwrap();
}

#[tokio::test]
async fn users_of_clouds() {
    // ECR asks for Basic with the user AWS; GCR for tokens, with keys of accounts as passwords; Harbor's and Quay's robots and
    // Quay's applications have names with `$` and `+`.
    let bad = serve(|asked| match asked.header("authorization") {
        None => answer("401 Unauthorized", &["WWW-Authenticate: Basic realm=\"ecr\",service=\"ecr\""], b""),
        Some(value) => {
            assert_eq!(value, basic("AWS", "long:password=="));
            answer("200 OK", &["Content-Type: application/vnd.oci.image.index.v1+json"], INDEX)
        }
    })
    .await;
    let aws = Credentials::Password { user: "AWS".into(), password: "long:password==".into() };
    bad.repository_as(aws).manifest("v1").await.unwrap();
    let key = "{\n  \"private_key\": \"-----BEGIN\\nä\"\n}\n";
    for (user, password) in [
        ("_json_key", key),
        ("oauth2accesstoken", "ya29.x"),
        ("robot$team+ci", "Harbor1$"),
        ("team+ci", "quay"),
        ("$oauthtoken", "quay"),
    ] {
        let bad = registry(move |asked| {
            assert_eq!(asked.header("authorization"), Some(&basic(user, password)[..]));
            answer("200 OK", &[], br#"{"token":"good"}"#)
        })
        .await;
        let credentials = Credentials::Password { user: user.into(), password: password.into() };
        bad.repository_as(credentials).manifest("v1").await.unwrap();
    }
}

#[tokio::test]
async fn what_token_servers_say_is_shown() {
    for (status, body, expected) in [
        (
            "401 Unauthorized",
            r#"{"details":"incorrect username or password"}"#,
            "incorrect username or password",
        ),
        ("400 Bad Request", r#"{"errors":[{"code":"UNAUTHORIZED","message":"no"}]}"#, "unauthorized: no"),
        ("400 Bad", r#"{"error":"invalid_grant","error_description":"expired"}"#, "invalid_grant; expired"),
        ("403 Forbidden", r#"{"message":"suspended"}"#, "suspended"),
        ("403 Forbidden", "<html>", "403 Forbidden"),
    ] {
        let bad = registry(move |_| answer(status, &[], body.as_bytes())).await;
        let (kind, said) = refused(bad.repository_as(me()).manifest("v1")).await;
        assert!(kind == ErrorKind::Unauthorised && said.contains(expected), "{said}");
    }
    let bad = registry(|_| answer("200 OK", &[], b"{}")).await;
    assert!(refused(bad.repository().manifest("v1")).await.1.contains("without a token"));
}

#[tokio::test]
async fn tokens_that_expire_in_the_middle_are_renewed() {
    let tokens = AtomicUsize::new(0);
    let content = [5; 1000];
    let bad = serve(move |asked| {
        if asked.line().contains("/token") {
            let n = tokens.fetch_add(1, Ordering::Relaxed);
            return answer("200 OK", &[], format!(r#"{{"token":"good{n}"}}"#).as_bytes());
        }
        match (asked.header("authorization"), asked.header("range")) {
            // The transfer breaks, and the rest is for the second token only.
            (Some("Bearer good0"), None) => {
                Reply::Bytes([&bad::head("200 OK", &[], 1000)[..], &[5; 300]].concat())
            }
            (Some("Bearer good1"), Some("bytes=300-")) => {
                answer("206 Partial", &["Content-Range: bytes 300-999/1000"], &[5; 700])
            }
            _ => challenge(asked),
        }
    })
    .await;
    assert_eq!(download(&bad.repository(), &content, 0).await.unwrap(), content);
}

#[tokio::test]
async fn scopes_of_several_repositories() {
    let bad = registry(|asked| {
        let scopes = "scope=repository%3Aa%3Apull%2Cpush&scope=repository%3Aother%3Apull";
        assert!(asked.line().contains(scopes), "{}", asked.line());
        answer("200 OK", &[], br#"{"token":"good"}"#)
    })
    .await;
    assert_eq!(bad.repository().mount(&Digest::sha256(b""), "other").await.unwrap(), Mount::Refused);
}
