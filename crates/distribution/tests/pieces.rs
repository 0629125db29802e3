//! Uploads to a registry that takes small pieces only.
#![allow(clippy::unwrap_used)]

mod bad;

use bad::{answer, serve};
use std::io::{Seek, Write};
use std::sync::{Arc, Mutex};
use wharf_distribution::client::Made;
use wharf_oci::digest::Digest;

const MOST: usize = 3 << 20;

#[tokio::test]
async fn what_is_too_large_goes_in_pieces() {
    let got = Arc::new(Mutex::new(Vec::new()));
    let taking = Arc::clone(&got);
    let registry = serve(move |asked| {
        let place = "Location: /v2/a/blobs/uploads/1";
        match asked.line().split(' ').next().unwrap() {
            "HEAD" => answer("404 Not Found", &[], b""),
            "POST" => {
                taking.lock().unwrap().clear();
                answer("202 Accepted", &[place], b"")
            }
            "PATCH" if asked.body.len() > MOST => answer("413 Too Large", &[], b""),
            "PATCH" => {
                let mut taken = taking.lock().unwrap();
                let range = format!("{}-{}", taken.len(), taken.len() + asked.body.len() - 1);
                if let Some(stated) = asked.header("content-range") {
                    assert_eq!(stated, range);
                }
                taken.extend_from_slice(asked.body.as_bytes());
                answer("202 Accepted", &[place], b"")
            }
            _ => answer("201 Created", &[], b""),
        }
    })
    .await;
    let content: Vec<u8> = (0..9_000_000u32).map(|n| b'a' + (n % 23) as u8).collect();
    let digest = Digest::sha256(&content);
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&content).unwrap();
    file.rewind().unwrap();
    let repository = registry.repository();
    repository.upload(&digest, content.len() as u64, &file, Arc::new(|_| {})).await.unwrap();
    assert!(*got.lock().unwrap() == content);
    // What is made on the way; a client that does not know yet finds out, too.
    for repository in [repository, registry.repository()] {
        let made = || {
            let (sender, pieces) = tokio::sync::mpsc::channel(2);
            let (told, end) = tokio::sync::oneshot::channel();
            let (content, digest) = (content.clone(), digest.clone());
            tokio::spawn(async move {
                for part in content.chunks(100_000) {
                    // An upload that begins again wants no more.
                    if sender.send(Ok(bytes::Bytes::copy_from_slice(part))).await.is_err() {
                        return;
                    }
                }
                let _ = told.send((digest, content.len() as u64));
            });
            Made { pieces, digest: end }
        };
        got.lock().unwrap().clear();
        assert_eq!(repository.upload_made(&made).await.unwrap().0, digest);
        assert!(*got.lock().unwrap() == content);
    }
}
