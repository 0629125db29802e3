//! Registries that break, lie, stall or lead astray: each ends in a clear error within a bound.
#![allow(clippy::unwrap_used)]

mod bad;

use bad::{Reply, answer, download, head, me, refused, serve};
use std::time::{Duration, Instant};
use wharf_model::ErrorKind;
use wharf_oci::digest::Digest;

const MANIFEST: &str = "Content-Type: application/vnd.oci.image.index.v1+json";
const INDEX: &[u8] = br#"{"schemaVersion":2,"manifests":[]}"#;

#[tokio::test]
async fn content_of_another_digest() {
    let bad = serve(|_| answer("200 OK", &[MANIFEST], INDEX)).await;
    let wanted = Digest::sha256(b"other");
    let (kind, said) = refused(bad.repository().manifest(wanted.as_str())).await;
    assert_eq!(kind, ErrorKind::Invalid);
    assert!(said.contains(wanted.as_str()) && said.contains(Digest::sha256(INDEX).as_str()), "{said}");

    let header = format!("Docker-Content-Digest: {wanted}");
    let bad = serve(move |_| answer("200 OK", &[MANIFEST, &header], INDEX)).await;
    assert_eq!(refused(bad.repository().manifest("v1")).await.0, ErrorKind::Invalid);

    let bad = serve(|_| answer("200 OK", &[], b"12")).await;
    let (kind, said) = refused(bad.repository().small_blob(&Digest::sha256(b"{}"), 2, 10)).await;
    assert!(kind == ErrorKind::Invalid && said.contains("as promised"), "{said}");
}

#[tokio::test]
async fn manifests_without_end() {
    let bad = serve(|_| Reply::Endless(head("200 OK", &[MANIFEST], usize::MAX >> 1))).await;
    let (kind, said) = refused(bad.repository().manifest("v1")).await;
    assert_eq!(kind, ErrorKind::Invalid);
    assert!(said.contains("get the manifest of") && said.contains("more than 4194304 bytes"), "{said}");
    let bad = serve(|_| Reply::Endless(head("500 Oops", &[], usize::MAX >> 1))).await;
    assert!(refused(bad.repository().delete_manifest("v1")).await.1.contains("500"));
    // One that comes byte by byte is waited for only so long.
    let bad = serve(|_| Reply::Drip(head("200 OK", &[MANIFEST], 1000), 50)).await;
    let begun = Instant::now();
    let (_, said) = refused(bad.repository().manifest("v1")).await;
    assert!(said.contains("had not ended after") && begun.elapsed() < Duration::from_secs(10), "{said}");
}

#[tokio::test]
async fn pages_instead_of_content() {
    let page: &[u8] = b"<html>Please log in to this network</html>";
    let bad = serve(move |_| answer("200 OK", &["Content-Type: text/html"], page)).await;
    let (kind, said) = refused(bad.repository().manifest("v1")).await;
    assert_eq!(kind, ErrorKind::Invalid);
    assert!(said.contains("answered with \"text/html\"") && said.contains("malformed manifest"), "{said}");
    let (kind, said) = refused(download(&bad.repository(), &[1; 5000], 0)).await;
    assert_eq!(kind, ErrorKind::Invalid);
    assert!(said.contains("has 42 bytes, the manifest 5000"), "{said}");
    assert!(refused(bad.repository().tags()).await.1.contains("no list"));
}

#[tokio::test]
async fn lengths_that_lie() {
    let content = [7; 1000];
    for (length, sent, expected) in [
        (2000, 2000, "has 2000 bytes, the manifest 1000"),
        (500, 500, "has 500 bytes, the manifest 1000"),
        (1000, 300, "read the blob"),
    ] {
        let bad = serve(move |_| Reply::Bytes([head("200 OK", &[], length), vec![7; sent]].concat())).await;
        let (_, said) = refused(download(&bad.repository(), &content, 0)).await;
        assert!(said.contains(expected), "{length} {sent}: {said}");
        assert!(bad.seen().len() <= 4, "{} requests", bad.seen().len());
    }
    let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n";
    let bad = serve(|_| Reply::Endless(chunked.to_vec())).await;
    let (kind, said) = refused(download(&bad.repository(), &content, 0)).await;
    assert!(kind == ErrorKind::Invalid && said.contains("more for blob"), "{said}");
}

#[tokio::test]
async fn transfers_that_break_go_on() {
    let content: Vec<u8> = (0..1000u32).map(|n| (n % 251) as u8).collect();
    let part = |from: usize| {
        let range = format!("Content-Range: bytes {from}-999/1000");
        let content: Vec<u8> = (0..1000u32).map(|n| (n % 251) as u8).collect();
        answer("206 Partial Content", &[&range], &content[from..])
    };
    // By range; by all of it again; by more than was asked for; by all of it when another part comes.
    for kind in ["range", "whole", "more", "other", "unsatisfied"] {
        let whole = content.clone();
        let bad = serve(move |asked| match (asked.nth, asked.header("range"), kind) {
            (0, ..) => Reply::Bytes([head("200 OK", &[], 1000), whole[..400].to_vec()].concat()),
            (_, Some("bytes=400-"), "range") => part(400),
            (_, Some("bytes=400-"), "more") => part(100),
            (_, Some("bytes=400-"), "other") => part(700),
            (_, Some("bytes=400-"), "unsatisfied") => answer("416 No", &[], b""),
            (_, range, _) => {
                assert!(range.is_none() || kind == "whole", "{kind} {range:?}");
                answer("200 OK", &[], &whole)
            }
        })
        .await;
        assert_eq!(download(&bad.repository(), &content, 0).await.unwrap(), content, "{kind}");
        let requests = if matches!(kind, "other" | "unsatisfied") { 3 } else { 2 };
        assert_eq!(bad.seen().len(), requests, "{kind}");
    }
    // One that brings a byte each time is given up.
    let bad = serve(|_| Reply::Bytes([head("200 OK", &[], 1000), vec![0]].concat())).await;
    refused(download(&bad.repository(), &content, 0)).await;
    assert_eq!(bad.seen().len(), 4);
}

#[tokio::test]
async fn silence_has_an_end() {
    let bad = serve(|_| Reply::Stall(Vec::new())).await;
    let (_, said) = refused(bad.repository().manifest("v1")).await;
    assert!(said.contains("did not answer for 0.4 seconds"), "{said}");
    let bad = serve(|_| Reply::Stall([head("200 OK", &[], 1000), vec![0; 10]].concat())).await;
    let (_, said) = refused(download(&bad.repository(), &[0; 1000], 0)).await;
    assert!(said.contains("was silent for 0.4 seconds"), "{said}");
    assert_eq!(bad.seen().len(), 4);
}

#[tokio::test]
async fn a_registry_in_trouble_is_asked_again_later() {
    let bad = serve(|asked| match asked.nth {
        0 => answer("429 Too Many Requests", &["Retry-After: 1"], b""),
        1 => answer("503 Service Unavailable", &["Retry-After: Thu, 01 Jan 1970 00:00:00 GMT"], b""),
        _ => answer("200 OK", &[MANIFEST], INDEX),
    })
    .await;
    let begun = Instant::now();
    bad.repository().manifest("v1").await.unwrap();
    assert!(begun.elapsed() >= Duration::from_secs(1), "{:?}", begun.elapsed());
    let body = br#"{"errors":[{"code":"TOOMANYREQUESTS","message":"you have reached your limit"}]}"#;
    let bad = serve(|_| answer("429 Too Many Requests", &[], body)).await;
    let (_, said) = refused(bad.repository().manifest("v1")).await;
    assert!(said.contains("toomanyrequests: you have reached your limit"), "{said}");
    assert_eq!(bad.seen().len(), 4);
    let bad = serve(|_| answer("502 Bad Gateway", &[], b"<html>")).await;
    assert!(refused(bad.repository().manifest("v1")).await.1.contains("502 Bad Gateway"));
    assert_eq!(bad.seen().len(), 4);
}

#[tokio::test]
async fn redirects_have_an_end() {
    let bad = serve(|asked| answer("307 Go", &[&format!("Location: /v2/{}", asked.nth)], b"")).await;
    let (_, said) = refused(bad.repository().manifest("v1")).await;
    assert!(said.contains("redirects more than 8 times"), "{said}");
    assert_eq!(bad.seen().len(), 9, "a loop is not tried again");
    for (to, why) in [
        ("ftp://127.0.0.1/x", "neither https:// nor http://"),
        ("file:///etc/passwd", "which is no address"),
        ("file://x/etc/passwd", "neither https:// nor http://"),
    ] {
        let bad = serve(move |_| answer("302 Go", &[&format!("Location: {to}")], b"")).await;
        let (kind, said) = refused(bad.repository().manifest("v1")).await;
        assert!(kind != ErrorKind::Internal && said.contains(why), "{to}: {said}");
        assert_eq!(bad.seen().len(), 1);
    }
}

#[tokio::test]
async fn credentials_stay_with_their_host() {
    // Where the redirect leads, somebody asks who we are.
    let thief = serve(|asked| {
        if asked.line().contains("/token") {
            return answer("200 OK", &[], br#"{"token":"x"}"#);
        }
        let realm = format!("http://{}/token", asked.header("host").unwrap());
        let challenge = format!("WWW-Authenticate: Bearer realm=\"{realm}\"");
        answer("401 Unauthorized", &[&challenge, "WWW-Authenticate: Basic realm=\"x\""], b"")
    })
    .await;
    let to = thief.address.clone();
    let bad = serve(move |asked| match asked.header("authorization") {
        None => answer("401 Unauthorized", &["WWW-Authenticate: Basic realm=\"x\""], b""),
        Some(_) => answer("307 Go", &[&format!("Location: http://{to}/blob")], b""),
    })
    .await;
    let (kind, _) = refused(download(&bad.repository_as(me()), b"content", 0)).await;
    assert_eq!(kind, ErrorKind::Unauthorised);
    assert_eq!(thief.seen().len(), 1, "nobody's token was asked for");
    assert!(!thief.seen()[0].to_lowercase().contains("authorization"), "{}", thief.seen()[0]);
}
